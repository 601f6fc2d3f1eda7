//! SegNet (Badrinarayanan et al. 2015, arXiv:1511.00561) in the tutorials' form: a batch norm on the
//! picture, four stages down, each maximum put back on the way up where it came from, no
//! convolution with a bias, and a norm and a ReLU after every one, the last included.

use segmenta_graph::{Builder, Conv2d, Graph, GraphError, Node, Pool2d, Scope};

use crate::options::Options;

/// Channels and convolutions of each stage down.
const STAGES: [(usize, usize); 4] = [(64, 2), (128, 2), (256, 3), (512, 3)];

/// One layer of convolutions, from a map to one of so many channels.
type Layer = fn(&mut Builder, &Scope, Node, usize) -> Node;

pub(crate) fn dense(options: &Options) -> Result<Graph, GraphError> {
    build(options, |g, name, x, channels| {
        g.conv(x, &(name / "conv"), Conv2d::square(3, channels))
    })
}

/// Each convolution as one a channel and one a pixel (Howard et al. 2017, arXiv:1704.04861), with
/// nothing between them.
pub(crate) fn separable(options: &Options) -> Result<Graph, GraphError> {
    build(options, |g, name, x, channels| {
        let depthwise = Conv2d::square(3, g.channels(x)).depthwise(g.channels(x));
        let x = g.conv(x, &(name / "depthwise"), depthwise);
        g.conv(x, &(name / "pointwise"), Conv2d::pointwise(channels))
    })
}

fn build(options: &Options, layer: Layer) -> Result<Graph, GraphError> {
    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let layer = |g: &mut Builder, name: &Scope, x, channels| {
        let y = layer(g, name, x, channels);
        let y = g.batch_norm(y, &(name / "norm"));
        g.relu(y)
    };
    let mut x = g.batch_norm(input, &(&root / "norm"));
    let mut pools = Vec::new();
    for (stage, (channels, layers)) in STAGES.into_iter().enumerate() {
        let name = &root / "encoder" / stage;
        for i in 0..layers {
            x = layer(&mut g, &(&name / i), x, channels);
        }
        x = g.max_pool(x, &(&name / "pool"), Pool2d::square(2));
        pools.push(x);
    }
    for (stage, (channels, layers)) in STAGES.into_iter().rev().enumerate() {
        let name = &root / "decoder" / stage;
        let above = STAGES.len() - 1 - stage;
        let fewer = match above {
            0 => options.classes,
            _ => STAGES[above - 1].0,
        };
        x = g.max_unpool(x, pools[above], &(&name / "unpool"));
        for i in 0..layers {
            let channels = if i + 1 == layers { fewer } else { channels };
            x = layer(&mut g, &(&name / i), x, channels);
        }
    }
    g.output("out", x);
    g.finish()
}
