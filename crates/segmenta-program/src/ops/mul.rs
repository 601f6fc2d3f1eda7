//! Products of a map and a map of the same shape, of one pixel or of one channel.

use segmenta_kernels::{self as kernels, Activation, low};

use crate::run::View;
use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// x, by → their product, and a non-linearity of it.
#[derive(Clone, Copy, Debug)]
pub struct Mul(pub Activation);

/// x, dy → the gradient of a factor for each channel, or else for each pixel.
#[derive(Clone, Copy, Debug)]
pub struct FactorGradient {
    a_channel: bool,
}

impl Operation for Mul {
    const LABEL: &'static str = "multiply";

    fn run(&self, run: &mut Run<'_, '_>) {
        match run.io.mixed() {
            ([View::F32(x), View::F32(by)], View::F32(mut to)) => {
                kernels::mul(x, by, &mut to, self.0);
            }
            ([View::Low(x), View::F32(by)], View::Low(mut to)) => low::scale(x, by, &mut to),
            _ => unreachable!("factors a channel of a map of low precision are f32"),
        }
    }
}

impl Forward for Mul {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        assert!(self.0 == Activation::None, "inference's alone");
        let ([of_x, of_by], [x, by]) = (
            [0, 1].map(|i| step.inputs[i]),
            [0, 1].map(|i| step.reads[i]),
        );
        to.give(of_x, *self, vec![dy, by]);
        let (shape, other) = (to.shape(of_x), to.shape(of_by));
        let a_channel = other.pixels() == 1;
        if other == shape {
            to.give(of_by, *self, vec![x, dy]);
        } else {
            to.give(of_by, FactorGradient { a_channel }, vec![x, dy]);
        }
    }
}

impl Operation for FactorGradient {
    const LABEL: &'static str = "d scale";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.binary(if self.a_channel {
            kernels::scale_gradient
        } else {
            kernels::gate_gradient
        });
    }
}
