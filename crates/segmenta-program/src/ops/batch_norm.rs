//! Batch norms with the non-linearity after them: x → y.

use segmenta_kernels as kernels;
use segmenta_kernels::{BatchNorm as Kernel, Statistics};

use crate::layers::{NormLayer, NormLearning, NormNumbers};
use crate::run::Views;
use crate::value::Value;
use crate::work::{Backward, Forward, Gradient, Layers, Operation, Run, Step};

/// x → y: by fixed numbers, or by those of the batch, which are kept for the backward pass.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// Index among [`Layers::norms`].
    pub layer: usize,
}

/// x → y once more, by the numbers of the forward pass: what that did not keep (gradient checkpointing, Chen et al. 2016,
/// arXiv:1604.06174).
#[derive(Clone, Copy, Debug)]
pub struct Renorm {
    /// Index among [`Layers::norms`].
    pub layer: usize,
}

/// x, dy → dx; and the gradients of scale and shift.
#[derive(Clone, Copy, Debug)]
pub struct BatchNormGradient {
    /// Index among [`Layers::norms`].
    pub layer: usize,
}

impl Operation for BatchNorm {
    const LABEL: &'static str = "batch norm";

    fn weight_bytes(&self, layers: &Layers) -> usize {
        match &layers.norms[self.layer].numbers {
            NormNumbers::Fixed(affine) => affine.iter().map(|v| size_of_val(&v[..])).sum(),
            NormNumbers::Learning(_) => 0,
        }
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let parameters = run.around.parameters;
        let mut measured = None;
        let norm = &run.layers.get().norms[self.layer];
        let Views {
            reads: [x],
            writes: [mut to],
            ..
        } = run.io.views::<1, 1>();
        match &norm.numbers {
            NormNumbers::Fixed([scale, shift]) => {
                kernels::affine(x, scale, shift, &mut to, norm.activation);
            }
            NormNumbers::Learning(own) if own.frozen => {
                let [mean, variance] = [own.mean, own.variance].map(|at| parameters[at]);
                let fixed = Statistics::fixed(mean, variance, own.epsilon);
                normalise(&numbers(norm, own, parameters), &fixed, x, &mut to);
                measured = Some(fixed);
            }
            NormNumbers::Learning(own) => {
                measured = Some(numbers(norm, own, parameters).train(x, &mut to));
            }
        }
        if let (Some(measured), Some(layers)) = (measured, run.layers.learning())
            && let NormNumbers::Learning(own) = &mut layers.norms[self.layer].numbers
        {
            own.statistics = measured;
        }
    }
}

impl Forward for BatchNorm {
    /// Its own numbers may learn where its input does not: what it gives to that is dropped.
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let dx = to.fresh(step.inputs[0]);
        let layer = self.layer;
        to.push(
            BatchNormGradient { layer },
            vec![step.reads[0], dy],
            vec![dx],
        );
        to.pass(step.inputs[0], dx);
    }
}

impl Operation for Renorm {
    const LABEL: &'static str = "batch norm again";

    fn run(&self, run: &mut Run<'_, '_>) {
        let parameters = run.around.parameters;
        let (norm, own) = learning(run.layers.get(), self.layer);
        let Views {
            reads: [x],
            writes: [mut to],
            ..
        } = run.io.views::<1, 1>();
        normalise(&numbers(norm, own, parameters), &own.statistics, x, &mut to);
    }
}

impl Operation for BatchNormGradient {
    const LABEL: &'static str = "d batch norm";

    fn run(&self, run: &mut Run<'_, '_>) {
        let (norm, own) = learning(run.layers.get(), self.layer);
        let kernel = numbers(norm, own, run.around.parameters);
        let Views {
            reads: [x, dy],
            writes: [mut dx],
            ..
        } = run.io.views::<2, 1>();
        let gradients = kernel.gradients(x, dy, &own.statistics, &mut dx);
        let both = [gradients.scale, gradients.shift];
        run.pass.give([own.scale, own.shift], &both);
    }
}

impl Gradient for BatchNormGradient {
    fn parameters(&self, layers: &Layers) -> Vec<usize> {
        let (_, own) = learning(layers, self.layer);
        vec![own.scale, own.shift]
    }
}

fn learning(layers: &Layers, layer: usize) -> (&NormLayer, &NormLearning) {
    let norm = &layers.norms[layer];
    match &norm.numbers {
        NormNumbers::Learning(own) => (norm, own),
        NormNumbers::Fixed(_) => unreachable!("a backward pass of a network that does not learn"),
    }
}

/// A batch norm with its numbers.
fn numbers<'p>(norm: &NormLayer, own: &NormLearning, parameters: &[&'p [f32]]) -> Kernel<'p> {
    Kernel {
        scale: parameters[own.scale],
        shift: parameters[own.shift],
        epsilon: own.epsilon,
        activation: norm.activation,
    }
}

/// A norm by statistics that are known.
fn normalise(
    numbers: &Kernel<'_>,
    known: &Statistics,
    x: kernels::Map<'_>,
    to: &mut kernels::MapMut<'_>,
) {
    let scales = numbers.scale.iter().zip(&known.inverse_std);
    let scale: Vec<f32> = scales.map(|(scale, inverse)| scale * inverse).collect();
    let means = scale.iter().zip(&known.mean);
    let shifts = numbers.shift.iter().zip(means);
    let shift: Vec<f32> = shifts
        .map(|(shift, (scale, mean))| shift - scale * mean)
        .collect();
    kernels::affine(x, &scale, &shift, to, numbers.activation);
}
