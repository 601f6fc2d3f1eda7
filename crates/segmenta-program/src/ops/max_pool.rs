//! Maxima over windows, and values put back where they were found.

use segmenta_graph::Node;
use segmenta_kernels::{self as kernels, PoolWindow, low};

use crate::run::View;
use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// x → y, and where the maxima were.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool {
    /// The window; the whole map if `None`.
    pub window: Option<PoolWindow>,
    /// Whether where the maxima were is written down.
    pub keeps_indices: bool,
}

/// x, where the maxima were → y.
#[derive(Clone, Copy, Debug)]
pub struct MaxUnpool {
    /// The max pool that found them.
    pub pool: Node,
}

/// dy, where the maxima were → dx.
#[derive(Clone, Copy, Debug)]
pub struct MaxPoolGradient;

/// dy, where the maxima were → dx.
#[derive(Clone, Copy, Debug)]
pub struct MaxUnpoolGradient;

impl Operation for MaxPool {
    const LABEL: &'static str = "max pool";

    fn run(&self, run: &mut Run<'_, '_>) {
        let shape = run.io.plan.shape(run.io.step.reads[0]);
        let all = [shape.height, shape.width];
        let window = self.window.unwrap_or(PoolWindow {
            kernel: all,
            stride: all,
            ..PoolWindow::square(1)
        });
        if self.keeps_indices {
            run.io.writing_indices(|x, to, indices| {
                kernels::max_pool_with_indices(x, window, to, indices);
            });
        } else {
            match run.io.mixed() {
                ([View::F32(x)], View::F32(mut to)) => kernels::max_pool(x, window, &mut to),
                ([View::Low(x)], View::Low(mut to)) => low::max_pool(x, window, &mut to),
                _ => unreachable!("both are of one precision"),
            }
        }
    }
}

impl Forward for MaxPool {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(step.inputs[0], MaxPoolGradient, vec![dy, step.writes[1]]);
    }
}

impl Operation for MaxUnpool {
    const LABEL: &'static str = "max unpool";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.io.with_indices(kernels::max_unpool);
    }
}

impl Forward for MaxUnpool {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(step.inputs[0], MaxUnpoolGradient, vec![dy, step.reads[1]]);
    }
}

impl Operation for MaxPoolGradient {
    const LABEL: &'static str = "d max pool";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.io.with_indices(kernels::max_pool_gradient);
    }
}

impl Operation for MaxUnpoolGradient {
    const LABEL: &'static str = "d max unpool";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.io.with_indices(kernels::max_unpool_gradient);
    }
}
