//! Layers with weights and norms, and the gradients of their numbers.

use segmenta_kernels::{
    self as kernels, Activation, BatchNorm, Kernel2d, Map, Statistics, WeightGradient,
};
use segmenta_runtime::lower::{has_leading_taps, with_leading_taps, without_leading_taps};

use super::{Run, Views};
use crate::engine::cpu::layers::{ConvLayer, NormLayer, TransposedLayer};
use crate::engine::cpu::program::Work;

impl Run<'_> {
    pub(super) fn norm(&mut self, layer: usize) {
        let parameters = self.around.parameters;
        let norm = &mut self.layers.norms[layer];
        if norm.frozen {
            let running = [norm.mean, norm.variance].map(|at| parameters[at]);
            norm.statistics = Statistics::fixed(running[0], running[1], norm.epsilon);
            return self.normalise(layer);
        }
        let numbers = numbers(norm, parameters);
        let mut measured = Statistics::default();
        self.unary(|x, to| measured = numbers.train(x, to));
        self.layers.norms[layer].statistics = measured;
    }

    /// A norm by statistics that are known.
    pub(super) fn normalise(&mut self, layer: usize) {
        let norm = &self.layers.norms[layer];
        let numbers = numbers(norm, self.around.parameters);
        let known = &norm.statistics;
        let scales = numbers.scale.iter().zip(&known.inverse_std);
        let scale: Vec<f32> = scales.map(|(scale, inverse)| scale * inverse).collect();
        let means = scale.iter().zip(&known.mean);
        let shifts = numbers.shift.iter().zip(means);
        let shift: Vec<f32> = shifts
            .map(|(shift, (scale, mean))| shift - scale * mean)
            .collect();
        self.unary(|x, to| kernels::affine(x, &scale, &shift, to, numbers.activation));
    }

    pub(super) fn norm_gradient(&mut self, layer: usize, gradients: &mut [Option<Vec<f32>>]) {
        let norm = &mut self.layers.norms[layer];
        let numbers = numbers(norm, self.around.parameters);
        let statistics = std::mem::take(&mut norm.statistics);
        let [scale, shift] = [norm.scale, norm.shift];
        let mut own = None;
        self.binary(|x, dy, dx| own = Some(numbers.gradients(x, dy, &statistics, dx)));
        self.layers.norms[layer].statistics = statistics;
        if let Some(own) = own {
            give(gradients, [scale, shift], &[own.scale, own.shift]);
        }
    }

    pub(super) fn conv_input(&mut self, layer: usize) {
        let parameters = self.around.parameters;
        self.with_conv(layer, |run, conv| {
            let Some(way) = &mut conv.input_gradient else {
                return;
            };
            let weights = parameters[conv.kernel];
            let wider = has_leading_taps(&conv.description)
                .then(|| with_leading_taps(&conv.description, weights));
            let weights = wider.as_deref().unwrap_or(weights);
            if run.instruction.reads.len() == 2 {
                let Views {
                    reads: [dy, others],
                    writes: [to],
                    scratch,
                } = run.views::<2, 1>();
                way.run(dy, weights, Some(others), to, scratch);
            } else {
                let Views {
                    reads: [dy],
                    writes: [to],
                    scratch,
                } = run.views::<1, 1>();
                way.run(dy, weights, None, to, scratch);
            }
        });
    }

    pub(super) fn transposed_input(&mut self, layer: usize) {
        let parameters = self.around.parameters;
        self.with_transposed(layer, |run, conv| {
            let Some((back, plan)) = &mut conv.input_gradient else {
                return;
            };
            back.repack(Kernel2d {
                weights: parameters[conv.kernel],
                bias: &[],
            });
            let Views {
                reads: [dy],
                writes: [to],
                scratch,
            } = run.views::<1, 1>();
            back.run(plan, dy, to, None, scratch);
        });
    }

    /// Packs the weights as they are now.
    pub(super) fn pack(&self, conv: &mut ConvLayer) {
        let parameters = self.around.parameters;
        let weights = parameters[conv.kernel];
        let wider = has_leading_taps(&conv.description)
            .then(|| with_leading_taps(&conv.description, weights));
        conv.forward.repack(Kernel2d {
            weights: wider.as_deref().unwrap_or(weights),
            bias: conv.bias.map_or(&[], |bias| parameters[bias]),
        });
    }

    pub(super) fn group_norm(&mut self, groups: usize, eps: f32, affine: Option<[usize; 2]>) {
        let parameters = self.around.parameters;
        let affine = affine.map(|own| own.map(|at| parameters[at]));
        self.unary(|x, to| kernels::group_norm(x, groups, affine, eps, to, Activation::None));
    }

    pub(super) fn group_norm_gradient(&mut self, gradients: &mut [Option<Vec<f32>>]) {
        let Work::GroupNormGradient {
            groups,
            eps,
            affine,
        } = self.instruction.work
        else {
            return;
        };
        let scale = affine.map(|[scale, _]| self.around.parameters[scale]);
        let mut own = [vec![], vec![]];
        self.binary(|x, dy, dx| {
            own = kernels::group_norm_gradient(x, dy, groups, scale, eps, dx);
        });
        if let Some(affine) = affine {
            give(gradients, affine, &own);
        }
    }

    pub(super) fn layer_norm(&mut self, eps: f32, affine: [usize; 2]) {
        let affine = affine.map(|at| self.around.parameters[at]);
        self.unary(|x, to| kernels::layer_norm(x, affine, eps, to));
    }

    pub(super) fn layer_norm_gradient(
        &mut self,
        eps: f32,
        affine: [usize; 2],
        gradients: &mut [Option<Vec<f32>>],
    ) {
        let scale = self.around.parameters[affine[0]];
        let mut own = [(); 2].map(|()| vec![0.0; scale.len()]);
        self.binary(|x, dy, dx| {
            let own = own.each_mut().map(|own| &mut own[..]);
            kernels::layer_norm_gradient(x, dy, scale, eps, dx, own);
        });
        give(gradients, affine, &own);
    }

    /// Lends a convolution out while the rest is in use.
    pub(super) fn with_conv(&mut self, layer: usize, work: impl FnOnce(&mut Self, &mut ConvLayer)) {
        let mut convs = std::mem::take(&mut self.layers.convs);
        work(self, &mut convs[layer]);
        self.layers.convs = convs;
    }

    /// Lends a transposed convolution out while the rest is in use.
    pub(super) fn with_transposed(
        &mut self,
        layer: usize,
        work: impl FnOnce(&mut Self, &mut TransposedLayer),
    ) {
        let mut transposed = std::mem::take(&mut self.layers.transposed);
        work(self, &mut transposed[layer]);
        self.layers.transposed = transposed;
    }
}

/// Writes gradients to where there is room for them.
pub(super) fn give(
    gradients: &mut [Option<Vec<f32>>],
    parameters: [usize; 2],
    values: &[Vec<f32>; 2],
) {
    for (at, values) in parameters.into_iter().zip(values) {
        if let Some(to) = &mut gradients[at] {
            to.copy_from_slice(values);
        }
    }
}

/// A batch norm with its numbers.
fn numbers<'p>(norm: &NormLayer, parameters: &[&'p [f32]]) -> BatchNorm<'p> {
    BatchNorm {
        scale: parameters[norm.scale],
        shift: parameters[norm.shift],
        epsilon: norm.epsilon,
        activation: norm.activation,
    }
}

/// Has `work` write the gradient of a convolution's kernel.
pub(super) fn conv_weights(
    conv: &ConvLayer,
    gradients: &mut [Option<Vec<f32>>],
    work: impl FnOnce(&WeightGradient, &mut [f32]),
) {
    let (Some(way), Some(to)) = (&conv.weight_gradient, &mut gradients[conv.kernel]) else {
        return;
    };
    if has_leading_taps(&conv.description) {
        let mut wider = vec![0.0; conv.forward.spec().weights_len()];
        work(way, &mut wider);
        without_leading_taps(&conv.description, &wider, to);
    } else {
        work(way, to);
    }
}

pub(super) fn bias_gradient(bias: Option<usize>, gradients: &mut [Option<Vec<f32>>], dy: Map<'_>) {
    if let Some(to) = bias.and_then(|bias| gradients[bias].as_mut()) {
        kernels::bias_gradient(dy, to);
    }
}
