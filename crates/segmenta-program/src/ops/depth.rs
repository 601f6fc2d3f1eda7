//! Squares of pixels as channels of one pixel, and back; each is the other's gradient.

use segmenta_kernels as kernels;

use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// x → its squares as pixels.
#[derive(Clone, Copy, Debug)]
pub struct SpaceToDepth {
    /// Rows and columns of a square.
    pub side: usize,
}

/// Pixels → squares.
#[derive(Clone, Copy, Debug)]
pub struct DepthToSpace {
    /// Rows and columns of a square.
    pub side: usize,
}

impl Operation for SpaceToDepth {
    const LABEL: &'static str = "space to depth";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(|x, to| kernels::space_to_depth(x, self.side, to));
    }
}

impl Forward for SpaceToDepth {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(step.inputs[0], DepthToSpace { side: self.side }, vec![dy]);
    }
}

impl Operation for DepthToSpace {
    const LABEL: &'static str = "depth to space";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(|x, to| kernels::depth_to_space(x, self.side, to));
    }
}

impl Forward for DepthToSpace {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(step.inputs[0], SpaceToDepth { side: self.side }, vec![dy]);
    }
}
