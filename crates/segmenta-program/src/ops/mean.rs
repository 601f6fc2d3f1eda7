//! Means over windows: x → y.

use segmenta_kernels::{self as kernels, PoolWindow, low};

use crate::run::View;
use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// x → y.
#[derive(Clone, Copy, Debug)]
pub enum AvgPool {
    /// Over a window that moves.
    Window {
        /// The window.
        window: PoolWindow,
        /// Whether padding counts as zeros, or not at all.
        count_include_pad: bool,
    },
    /// Over a grid of as many windows as are written.
    Grid,
    /// Over the whole map.
    Global,
}

/// dy → dx.
#[derive(Clone, Copy, Debug)]
pub struct AvgPoolGradient(AvgPool);

impl Operation for AvgPool {
    const LABEL: &'static str = "average pool";

    fn run(&self, run: &mut Run<'_, '_>) {
        match (run.io.mixed(), *self) {
            (
                ([View::F32(x)], View::F32(mut to)),
                Self::Window {
                    window,
                    count_include_pad,
                },
            ) => kernels::avg_pool(x, window, count_include_pad, &mut to),
            (([View::F32(x)], View::F32(mut to)), Self::Grid) => {
                kernels::adaptive_avg_pool(x, &mut to);
            }
            (([View::F32(x)], View::F32(mut to)), Self::Global) => {
                kernels::global_avg_pool(x, &mut to);
            }
            (
                ([View::Low(x)], View::Low(mut to)),
                Self::Window {
                    window,
                    count_include_pad,
                },
            ) => low::avg_pool(x, window, count_include_pad, &mut to),
            (([View::Low(x)], View::F32(mut to)), Self::Grid | Self::Global) => {
                low::adaptive_avg_pool(x, &mut to);
            }
            _ => unreachable!("windows keep the precision, grids end it"),
        }
    }
}

impl Forward for AvgPool {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(step.inputs[0], AvgPoolGradient(*self), vec![dy]);
    }
}

impl Operation for AvgPoolGradient {
    const LABEL: &'static str = "d average pool";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(|dy, to| match self.0 {
            AvgPool::Window {
                window,
                count_include_pad,
            } => kernels::avg_pool_gradient(dy, window, count_include_pad, to),
            AvgPool::Grid | AvgPool::Global => kernels::adaptive_avg_pool_gradient(dy, to),
        });
    }
}
