//! A non-linearity: x → y.

use segmenta_kernels::{self as kernels, Activation, low};

use crate::run::View;
use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// x → y.
#[derive(Clone, Copy, Debug)]
pub struct Apply(pub Activation);

/// x (or y, for one that only clamps), dy → dx.
#[derive(Clone, Copy, Debug)]
pub struct ApplyGradient(pub Activation);

impl Operation for Apply {
    const LABEL: &'static str = "activation";

    fn run(&self, run: &mut Run<'_, '_>) {
        match run.io.mixed() {
            ([View::F32(x)], View::F32(mut to)) => kernels::apply(x, &mut to, self.0),
            ([View::Low(x)], View::Low(mut to)) => low::apply(x, self.0, &mut to),
            _ => unreachable!("both are of one precision"),
        }
    }
}

impl Forward for Apply {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(
            step.inputs[0],
            ApplyGradient(self.0),
            vec![step.reads[0], dy],
        );
    }
}

impl Operation for ApplyGradient {
    const LABEL: &'static str = "d activation";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.binary(|x, dy, to| kernels::activation_gradient(x, dy, to, self.0));
    }
}
