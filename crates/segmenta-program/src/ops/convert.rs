//! A map in another element: x → y.

use segmenta_kernels::{Activation, low};

use crate::run::View;
use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// x → y, in whatever elements they are.
#[derive(Clone, Copy, Debug)]
pub struct Convert;

impl Operation for Convert {
    const LABEL: &'static str = "convert";

    fn run(&self, run: &mut Run<'_, '_>) {
        match run.io.mixed() {
            ([View::F32(x)], View::Low(mut to)) => low::from_blocked(x, &mut to),
            ([View::Low(x)], View::F32(mut to)) => low::to_blocked(x, &mut to),
            ([View::Low(x)], View::Low(mut to)) => low::apply(x, Activation::None, &mut to),
            ([View::F32(_)], View::F32(_)) => unreachable!("it is in that element"),
        }
    }
}

impl Forward for Convert {
    fn backward(&self, _: &Step, _: Value, _: &mut Backward<'_>) {
        unreachable!("inference's alone");
    }
}
