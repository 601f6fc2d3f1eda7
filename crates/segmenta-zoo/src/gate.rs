//! Squeeze-and-excitation (Hu et al. 2018, arXiv:1709.01507): channels scaled by what the mean of all of
//! them says.

use segmenta_graph::{Activation, Builder, Conv2d, Node, Scope};

/// How the scales come from the means: two 1×1 convolutions with biases.
pub(crate) struct Gate {
    /// Channels between the two.
    pub(crate) squeezed: usize,
    /// What follows the first.
    pub(crate) inner: Activation,
    /// What follows the second.
    pub(crate) outer: Activation,
}

impl Gate {
    /// The paper's: ReLU, then a sigmoid; at least one channel between.
    pub(crate) fn new(squeezed: usize) -> Self {
        Self {
            squeezed: squeezed.max(1),
            inner: Activation::Relu,
            outer: Activation::Sigmoid,
        }
    }

    /// A scale for each channel of `x`, by convolutions of the names given.
    pub(crate) fn scales(&self, g: &mut Builder, x: Node, names: [&Scope; 2]) -> Node {
        let back = Conv2d::pointwise(g.channels(x)).with_bias();
        let squeeze = Conv2d::pointwise(self.squeezed).with_bias();
        let y = g.global_avg_pool(x, names[0]);
        let y = g.conv(y, names[0], squeeze);
        let y = g.activation(y, self.inner);
        let y = g.conv(y, names[1], back);
        g.activation(y, self.outer)
    }

    /// `x`, scaled.
    pub(crate) fn apply(&self, g: &mut Builder, x: Node, names: [&Scope; 2]) -> Node {
        let scales = self.scales(g, x, names);
        g.mul(x, scales, names[0])
    }
}
