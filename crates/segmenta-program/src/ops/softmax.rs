//! Softmax between runs of channels, or its logarithm: x → y.

use segmenta_kernels as kernels;

use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// x → y.
#[derive(Clone, Copy, Debug)]
pub struct Softmax {
    /// Runs of channels.
    pub parts: usize,
    /// Whether the logarithm is given.
    pub log: bool,
}

/// y, dy → dx.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxGradient(Softmax);

impl Operation for Softmax {
    const LABEL: &'static str = "softmax";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(|x, to| {
            if self.parts == x.shape().channels && !self.log {
                kernels::softmax(x, to);
            } else {
                kernels::softmax_between(x, self.parts, self.log, to);
            }
        });
    }
}

impl Forward for Softmax {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(
            step.inputs[0],
            SoftmaxGradient(*self),
            vec![step.writes[0], dy],
        );
    }
}

impl Operation for SoftmaxGradient {
    const LABEL: &'static str = "d softmax";

    fn run(&self, run: &mut Run<'_, '_>) {
        let Softmax { parts, log } = self.0;
        run.binary(|y, dy, to| kernels::softmax_between_gradient(y, dy, parts, log, to));
    }
}
