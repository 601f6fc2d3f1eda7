//! Sums.

use segmenta_kernels::{self as kernels, Activation, low};

use crate::run::View;
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
        match run.io.mixed() {
            ([View::F32(a), View::F32(b)], View::F32(mut to)) => {
                kernels::add(a, b, &mut to, self.0);
            }
            ([View::Low(a), View::Low(b)], View::Low(mut to)) => low::add(a, b, self.0, &mut to),
            _ => unreachable!("operands and sum are of one precision"),
        }
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
