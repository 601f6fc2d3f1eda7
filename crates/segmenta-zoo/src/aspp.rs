//! Atrous spatial pyramid pooling (Chen et al. 2017, arXiv:1706.05587), under the names that torchvision
//! and SMP share.

use segmenta_graph::{Builder, Conv2d, Filter, Node, Scope};

/// What it is made with.
pub(crate) struct Aspp {
    /// Channels of each branch and of the result.
    pub(crate) width: usize,
    /// Dilations of the three spread windows.
    pub(crate) rates: [usize; 3],
    /// Whether these are depthwise separable.
    pub(crate) separable: bool,
    /// Probability that a value is dropped in training.
    pub(crate) dropout: f32,
}

impl Aspp {
    /// One 1×1 branch, one branch a rate, one of the whole picture; side by side, then projected.
    pub(crate) fn build(&self, g: &mut Builder, name: &Scope, x: Node) -> Node {
        let convs = name / "convs";
        let mut parts = vec![branch(
            g,
            &(&convs / 0),
            x,
            Conv2d::pointwise(self.width),
            0,
        )];
        for (rate, i) in self.rates.into_iter().zip(1..) {
            let module = &convs / i;
            let spread = Conv2d::square(3, self.width).dilation(rate);
            parts.push(if self.separable {
                separable_relu(g, &module, x, spread, 0)
            } else {
                branch(g, &module, x, spread, 0)
            });
        }
        let pooling = &convs / 4;
        let mean = g.global_avg_pool(x, &(&pooling / 0));
        let mean = branch(g, &pooling, mean, Conv2d::pointwise(self.width), 1);
        parts.push(g.resize_like(mean, x, Filter::BILINEAR, &pooling));

        let y = g.concat(&parts, &convs);
        let project = name / "project";
        let y = branch(g, &project, y, Conv2d::pointwise(self.width), 0);
        g.dropout(y, self.dropout, &(&project / 3))
    }
}

/// Convolution, batch norm and ReLU, the first under number `first`.
fn branch(g: &mut Builder, name: &Scope, x: Node, conv: Conv2d, first: usize) -> Node {
    g.conv_bn_relu(x, &(name / first), &(name / (first + 1)), conv)
}

/// Depthwise and pointwise convolution, batch norm and ReLU, the first two under number `first`.
pub(crate) fn separable_relu(
    g: &mut Builder,
    name: &Scope,
    x: Node,
    conv: Conv2d,
    first: usize,
) -> Node {
    let y = separable(g, &(name / first), x, conv);
    let y = g.batch_norm(y, &(name / (first + 1)));
    g.relu(y)
}

/// Depthwise and pointwise convolution without biases.
fn separable(g: &mut Builder, name: &Scope, x: Node, conv: Conv2d) -> Node {
    let channels = g.channels(x);
    let depthwise = Conv2d {
        out_channels: channels,
        ..conv
    };
    let y = g.conv(x, &(name / 0), depthwise.depthwise(channels));
    g.conv(y, &(name / 1), Conv2d::pointwise(conv.out_channels))
}
