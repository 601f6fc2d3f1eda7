//! Sums.

use segmenta_kernels::{self as kernels, Activation};

use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// a, b → their sum, and a non-linearity of it.
#[derive(Clone, Copy, Debug)]
pub struct Add(pub Activation);

/// more → the sum so far, in place.
#[derive(Clone, Copy, Debug)]
pub struct Accumulate;

impl Operation for Add {
    const LABEL: &'static str = "add";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.binary(|a, b, to| kernels::add(a, b, to, self.0));
    }
}

impl Forward for Add {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let dz = to.before(self.0, step.writes[0], dy, step.output);
        for &input in &step.inputs {
            to.pass(input, dz);
        }
    }
}

impl Operation for Accumulate {
    const LABEL: &'static str = "accumulate";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(kernels::accumulate);
    }
}
