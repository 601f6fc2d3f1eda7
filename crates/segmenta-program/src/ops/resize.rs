//! A map resized: x → y.

use segmenta_graph::Filter;
use segmenta_kernels as kernels;

use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// x → y, as large as what is written.
#[derive(Clone, Copy, Debug)]
pub struct Resize(pub Filter);

/// dy → dx.
#[derive(Clone, Copy, Debug)]
pub struct ResizeGradient(Filter);

impl Operation for Resize {
    const LABEL: &'static str = "resize";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(|x, to| match self.0 {
            Filter::Nearest => kernels::resize_nearest(x, to),
            Filter::Bilinear { align_corners } => kernels::resize_bilinear(x, to, align_corners),
        });
    }
}

impl Forward for Resize {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(step.inputs[0], ResizeGradient(self.0), vec![dy]);
    }
}

impl Operation for ResizeGradient {
    const LABEL: &'static str = "d resize";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(|dy, to| match self.0 {
            Filter::Nearest => kernels::resize_nearest_gradient(dy, to),
            Filter::Bilinear { align_corners } => {
                kernels::resize_bilinear_gradient(dy, to, align_corners);
            }
        });
    }
}
