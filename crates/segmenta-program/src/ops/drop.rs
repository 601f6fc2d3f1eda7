//! Dropout, of values, channels or pictures: x → y; and its own gradient.

use segmenta_graph::Node;
use segmenta_kernels as kernels;

use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// x → y.
#[derive(Clone, Copy, Debug)]
pub struct Drop {
    what: Dropped,
    p: f32,
    node: Node,
}

/// What is dropped as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// Each value by itself.
    Values,
    /// A picture's channel.
    Channels,
    /// A picture's map (stochastic depth).
    Pictures,
}

impl Drop {
    /// Drops with probability `p`; the node decides, with the step's seed, what is dropped.
    pub fn new(what: Dropped, p: f32, node: Node) -> Self {
        Self { what, p, node }
    }
}

/// What decides what one node drops in a step of this seed: the same on every device.
pub fn drop_seed(seed: u64, node: usize) -> u64 {
    seed ^ (node as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Operation for Drop {
    const LABEL: &'static str = "dropout";

    fn run(&self, run: &mut Run<'_, '_>) {
        let (p, seed) = (self.p, drop_seed(run.around.seed, self.node.index()));
        run.unary(|x, to| match self.what {
            Dropped::Values => kernels::dropout(x, p, seed, to),
            Dropped::Channels => kernels::drop_channels(x, p, seed, to),
            Dropped::Pictures => kernels::drop_pictures(x, p, seed, to),
        });
    }
}

impl Forward for Drop {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(step.inputs[0], *self, vec![dy]);
    }
}
