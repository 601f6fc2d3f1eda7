//! Where pixels are, as numbers: waves of a map, and rotations of what attends.

use segmenta_kernels as kernels;

use crate::run::Views;
use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// Nothing → waves that say where the pixels of what is written are.
#[derive(Clone, Copy, Debug)]
pub struct SinePositions;

/// x, a map that says how many of its last pixels are meant → x with those turned by their places.
#[derive(Clone, Copy, Debug)]
pub struct Rotary {
    /// Runs of channels.
    pub heads: usize,
    /// How much slower each pair of channels turns than the one before.
    pub theta: f32,
}

/// dy → the gradient of what was turned.
#[derive(Clone, Copy, Debug)]
pub struct RotaryGradient {
    of: Rotary,
    size: [usize; 2],
}

impl Operation for SinePositions {
    const LABEL: &'static str = "sine positions";

    fn run(&self, run: &mut Run<'_, '_>) {
        let [mut to] = run.io.views::<0, 1>().writes;
        kernels::sine_positions(&mut to);
    }
}

impl Forward for SinePositions {
    /// Nothing before them learns.
    fn backward(&self, _: &Step, _: Value, _: &mut Backward<'_>) {}
}

impl Operation for Rotary {
    const LABEL: &'static str = "rotary";

    fn run(&self, run: &mut Run<'_, '_>) {
        let map = run.io.plan.shape(run.io.step.reads[1]);
        let size = [map.height, map.width];
        let Views {
            reads: [x],
            writes: [mut to],
            ..
        } = run.io.views::<1, 1>();
        kernels::rotary(x, size, self.heads, self.theta, false, &mut to);
    }
}

impl Forward for Rotary {
    /// The map is not read.
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let map = to.shape(step.inputs[1]);
        let size = [map.height, map.width];
        to.give(step.inputs[0], RotaryGradient { of: *self, size }, vec![dy]);
    }
}

impl Operation for RotaryGradient {
    const LABEL: &'static str = "d rotary";

    fn run(&self, run: &mut Run<'_, '_>) {
        let Rotary { heads, theta } = self.of;
        run.unary(|dy, to| kernels::rotary(dy, self.size, heads, theta, true, to));
    }
}
