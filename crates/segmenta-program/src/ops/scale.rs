//! A map times a number: x → y; and its own gradient.

use segmenta_kernels as kernels;

use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// x → y.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// The number.
    pub by: f32,
}

impl Operation for Scale {
    const LABEL: &'static str = "times a number";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(|x, to| kernels::scale(x, self.by, to));
    }
}

impl Forward for Scale {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(step.inputs[0], *self, vec![dy]);
    }
}
