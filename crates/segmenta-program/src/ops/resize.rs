//! A map resized: x → y.

use segmenta_graph::Filter;
use segmenta_kernels::{self as kernels, low};

use crate::run::View;
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
        match (run.io.mixed(), self.0) {
            (([View::F32(x)], View::F32(mut to)), Filter::Nearest) => {
                kernels::resize_nearest(x, &mut to);
            }
            (([View::F32(x)], View::F32(mut to)), Filter::Bilinear { align_corners }) => {
                kernels::resize_bilinear(x, &mut to, align_corners);
            }
            (([View::F32(x)], View::F32(mut to)), Filter::Bicubic) => {
                kernels::resize_bicubic(x, &mut to);
            }
            (([View::Low(x)], View::Low(mut to)), Filter::Nearest) => {
                low::resize_nearest(x, &mut to);
            }
            (([View::Low(x)], View::Low(mut to)), Filter::Bilinear { align_corners }) => {
                low::resize_bilinear(x, &mut to, align_corners);
            }
            _ => unreachable!("both are of one precision, which a bicubic one has as f32"),
        }
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
            Filter::Bicubic => kernels::resize_bicubic_gradient(dy, to),
            Filter::Bilinear { align_corners } => {
                kernels::resize_bilinear_gradient(dy, to, align_corners);
            }
        });
    }
}
