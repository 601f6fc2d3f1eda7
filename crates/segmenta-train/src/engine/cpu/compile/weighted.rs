//! Nodes with weights: convolutions, linear layers, norms.

use segmenta_graph::{ConvTranspose2d, NodeData, Op};
use segmenta_kernels::{
    Activation, ConvPlan, Convolution, InputGradient, Kernel2d, Statistics, TransposedConvolution,
    WeightGradient, WeightMemory,
};
use segmenta_runtime::lower::{as_convolution, conv_spec, map_shape, transposed_spec};

use super::{Draft, Purpose, is_clamp};
use crate::engine::EngineError;
use crate::engine::cpu::layers::{ConvLayer, NormLayer, TransposedLayer};
use crate::engine::cpu::program::Work;

impl Draft<'_> {
    pub(super) fn conv(&mut self, at: usize, data: &NodeData) {
        let Some(description) = as_convolution(&data.op) else {
            return;
        };
        let Purpose { isa, threads, .. } = self.purpose;
        let input = self.same_as[data.inputs[0].index()];
        let shape = map_shape(self.shapes[input]);
        let spec = conv_spec(&description, shape.channels);
        let (tail, activation) = self.absorb(at, is_clamp);
        let zeros = vec![0.0; spec.weights_len()];
        let kernel = Kernel2d {
            weights: &zeros,
            bias: &[],
        };
        let parameters: Vec<usize> = data.parameters.iter().map(|p| p.index()).collect();
        let trains = self.purpose.trains[parameters[0]];
        // A picture needs no gradient, and is read as it came where there are kernels for that.
        let on_picture = (input == 0)
            .then(|| Convolution::on_picture(isa, spec, kernel, activation))
            .flatten();
        let weights_of_picture = || WeightGradient::on_picture(isa, spec, shape);
        let (forward, weight_gradient, work, inputs) = match on_picture {
            Some(forward) => {
                let gradient = trains.then(weights_of_picture).flatten();
                (
                    forward,
                    gradient,
                    Work::ConvOnPicture as fn(usize) -> Work,
                    vec![],
                )
            }
            None => (
                Convolution::new(isa, spec, kernel, activation),
                trains.then(|| WeightGradient::new(isa, spec, shape)),
                Work::Conv as fn(usize) -> Work,
                vec![input],
            ),
        };
        let memory = if self.precise[at] {
            WeightMemory::Low
        } else {
            WeightMemory::Brief
        };
        let plan = forward.plan(shape, threads, memory);
        let scratch = plan.scratch_len();
        let input_gradient = (self.learns[input] && !inputs.is_empty())
            .then(|| InputGradient::new(isa, spec, shape, threads));
        self.layers.convs.push(ConvLayer {
            description,
            kernel: parameters[0],
            bias: parameters.get(1).copied(),
            activation,
            forward,
            plan,
            weight_gradient,
            input_gradient,
        });
        let work = work(self.layers.convs.len() - 1);
        self.push_nodes(at, tail, inputs, work, scratch);
    }

    pub(super) fn conv_transpose(&mut self, at: usize, data: &NodeData, conv: &ConvTranspose2d) {
        let Purpose { isa, threads, .. } = self.purpose;
        let input = self.same_as[data.inputs[0].index()];
        let spec = transposed_spec(conv, self.shapes[input].channels);
        let zeros = vec![0.0; spec.weights_len()];
        let kernel = Kernel2d {
            weights: &zeros,
            bias: &[],
        };
        let parameters: Vec<usize> = data.parameters.iter().map(|p| p.index()).collect();
        let (adjoint, output) = (spec.adjoint(), map_shape(self.shapes[at]));
        let input_gradient = self.learns[input].then(|| {
            let back = Convolution::new(isa, adjoint, kernel, Activation::None);
            let plan: ConvPlan = back.plan(output, threads, WeightMemory::Brief);
            (back, plan)
        });
        let trains = self.purpose.trains[parameters[0]];
        self.layers.transposed.push(TransposedLayer {
            kernel: parameters[0],
            bias: parameters.get(1).copied(),
            forward: TransposedConvolution::new(isa, spec, kernel, Activation::None),
            weight_gradient: trains.then(|| WeightGradient::new(isa, adjoint, output)),
            input_gradient,
        });
        let work = Work::Transposed(self.layers.transposed.len() - 1);
        self.push(at, data, work);
    }

    pub(super) fn norm(&mut self, at: usize, data: &NodeData) -> Result<(), EngineError> {
        let Op::BatchNorm(norm) = data.op else {
            return Ok(());
        };
        let parameters: Vec<usize> = data.parameters.iter().map(|p| p.index()).collect();
        let [scale, shift, mean, variance, counter] = parameters[..] else {
            unreachable!("a batch norm has five entries")
        };
        let frozen = !self.purpose.trains[scale];
        let shape = self.shapes[at];
        if !frozen {
            EngineError::check_values(data, shape)?;
        }
        let (tail, activation) = self.absorb(at, |_| true);
        self.layers.norms.push(NormLayer {
            scale,
            shift,
            mean,
            variance,
            counter,
            epsilon: norm.eps,
            momentum: norm.momentum,
            activation,
            frozen,
            statistics: Statistics::default(),
        });
        let work = Work::Norm(self.layers.norms.len() - 1);
        self.push_as(at, tail, data, work, 0);
        Ok(())
    }

    /// A norm of each picture's or pixel's own values, the same in training as in evaluation.
    pub(super) fn norm_of_values(&mut self, at: usize, data: &NodeData) {
        let entries: Vec<usize> = data.parameters.iter().map(|p| p.index()).collect();
        let affine = <[usize; 2]>::try_from(entries).ok();
        let work = match (data.op, affine) {
            (Op::GroupNorm { groups, eps }, affine) => Work::GroupNorm {
                groups,
                eps,
                affine,
            },
            (Op::LayerNorm { eps }, Some(affine)) => Work::LayerNorm { eps, affine },
            _ => unreachable!("a layer norm has two entries"),
        };
        self.push(at, data, work);
    }
}
