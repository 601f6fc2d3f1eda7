//! A map cut off, or filled up with zeros, below and right, or above and left: x → y; and its own gradient.

use segmenta_kernels as kernels;

use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// x → y, as large as what is written.
#[derive(Clone, Copy, Debug)]
pub struct Fit;

impl Operation for Fit {
    const LABEL: &'static str = "fit";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(kernels::fit);
    }
}

impl Forward for Fit {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(step.inputs[0], Fit, vec![dy]);
    }
}

/// x → y, as large as what is written, whose bottom right is x's.
#[derive(Clone, Copy, Debug)]
pub struct FitBelow;

impl Operation for FitBelow {
    const LABEL: &'static str = "pad to even";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(kernels::fit_below);
    }
}

impl Forward for FitBelow {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(step.inputs[0], FitBelow, vec![dy]);
    }
}
