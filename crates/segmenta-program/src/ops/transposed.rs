//! Transposed convolutions: x → y.

use segmenta_kernels::{ConvPlan, Kernel2d, WeightGradient};

use crate::layers::TransposedLearning;
use crate::ops::BiasGradient;
use crate::run::Views;
use crate::value::Value;
use crate::work::{Backward, Forward, Gradient, Layers, Operation, Run, Sizes, Step};

/// x → y.
#[derive(Clone, Copy, Debug)]
pub struct Transposed {
    /// Index among [`Layers::transposed`].
    pub layer: usize,
}

/// dy → dx.
#[derive(Clone, Copy, Debug)]
pub struct TransposedInput {
    /// Index among [`Layers::transposed`].
    pub layer: usize,
}

/// x, dy → the gradient of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct TransposedWeights {
    /// Index among [`Layers::transposed`].
    pub layer: usize,
}

fn learning(layers: &Layers, layer: usize) -> &TransposedLearning {
    let own = layers.transposed[layer].learning.as_ref();
    own.expect("a network that learns")
}

impl Operation for Transposed {
    const LABEL: &'static str = "transposed";

    fn weight_bytes(&self, layers: &Layers) -> usize {
        layers.transposed[self.layer].packed.weight_bytes()
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        if let Some(layers) = run.layers.learning() {
            layers.transposed[self.layer].pack(run.around.parameters);
        }
        let conv = &run.layers.get().transposed[self.layer].packed;
        let Views {
            reads: [x],
            writes: [to],
            ..
        } = run.io.views::<1, 1>();
        conv.run(x, to);
    }
}

impl Forward for Transposed {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let layer = self.layer;
        let own = learning(to.learning.layers, layer);
        if own.weight_gradient.is_some() {
            to.push(TransposedWeights { layer }, vec![step.reads[0], dy], vec![]);
        }
        if let Some(bias) = own.bias.filter(|&bias| to.trains(bias)) {
            to.push(BiasGradient { bias }, vec![dy], vec![]);
        }
        if own.input_gradient.is_some() {
            to.give(step.inputs[0], TransposedInput { layer }, vec![dy]);
        }
    }
}

impl Operation for TransposedInput {
    const LABEL: &'static str = "d input (transposed)";

    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        let back = learning(sizes.layers, self.layer).input_gradient.as_ref();
        back.map_or(0, |(_, plan)| ConvPlan::scratch_len(plan))
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let layers = run.layers.learning().expect("a network that learns");
        let own = layers.transposed[self.layer].learning.as_mut();
        let own = own.expect("a network that learns");
        let Some((back, plan)) = &mut own.input_gradient else {
            return;
        };
        back.repack(Kernel2d {
            weights: run.around.parameters[own.kernel],
            bias: &[],
        });
        let Views {
            reads: [dy],
            writes: [to],
            scratch,
        } = run.io.views::<1, 1>();
        back.run(plan, dy, to, None, scratch);
    }
}

impl Operation for TransposedWeights {
    const LABEL: &'static str = "d weights (transposed)";

    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        let gradient = learning(sizes.layers, self.layer).weight_gradient.as_ref();
        gradient.map_or(0, WeightGradient::scratch_len)
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let own = learning(run.layers.get(), self.layer);
        if let (Some(way), Some(to)) = (&own.weight_gradient, run.pass.gradient(own.kernel)) {
            let Views {
                reads: [x, dy],
                scratch,
                ..
            } = run.io.views::<2, 0>();
            way.run(dy, x, to, scratch);
        }
    }
}

impl Gradient for TransposedWeights {
    fn parameters(&self, layers: &Layers) -> Vec<usize> {
        vec![learning(layers, self.layer).kernel]
    }
}
