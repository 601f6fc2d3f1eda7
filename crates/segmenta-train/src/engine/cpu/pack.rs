//! Layers that learn: packed anew for each step, with the ways that their gradients go.

use segmenta_graph::{Node, Op, Shape};
use segmenta_kernels::{
    Activation, ConvPlan, Convolution, InputGradient, Kernel2d, Statistics, TransposedConvolution,
    WeightGradient, WeightMemory,
};
use segmenta_program::terms::{as_convolution, conv_spec, map_shape, transposed_spec};
use segmenta_program::{
    BatchNorm, Conv, ConvDraft, ConvLayer, ConvLearning, Draft, DraftStep, Layers, NormDraft,
    NormLayer, NormLearning, NormNumbers, Packed, Transposed, TransposedLayer, TransposedLearning,
    Work,
};

use super::passes::Purpose;
use crate::engine::EngineError;

/// The layers of a network for inputs of one size; `learns` says of each node whether something at or before it does.
pub(super) fn pack(
    draft: &mut Draft<'_>,
    shapes: &[Shape],
    learns: &[bool],
    purpose: Purpose<'_>,
) -> Result<Layers, EngineError> {
    // Indices are in the order of steps from here on.
    draft.drop_unused_layers();
    let packing = Packing {
        draft,
        shapes,
        learns,
        purpose,
    };
    let mut layers = Layers::default();
    for at in packing.draft.places() {
        let Some(DraftStep { inputs, work, .. }) = packing.draft.step(at) else {
            continue;
        };
        match *work {
            Work::Conv(conv) => layers.convs.push(packing.conv(conv, inputs)),
            Work::Transposed(conv) => layers.transposed.push(packing.transposed(conv, inputs[0])),
            Work::BatchNorm(norm) => layers.norms.push(packing.norm(norm)?),
            _ => {}
        }
    }
    Ok(layers)
}

struct Packing<'a, 'g> {
    draft: &'a Draft<'g>,
    shapes: &'a [Shape],
    learns: &'a [bool],
    purpose: Purpose<'a>,
}

impl Packing<'_, '_> {
    /// A convolution or linear layer that reads `inputs`; none if it reads the picture as it came.
    fn conv(&self, Conv { layer, .. }: Conv, inputs: &[Node]) -> ConvLayer {
        let Purpose { isa, threads, .. } = self.purpose;
        let &ConvDraft {
            node, activation, ..
        } = &self.draft.convs[layer];
        let data = self.draft.graph.node(node);
        let Some(description) = as_convolution(&data.op) else {
            unreachable!("drafted from a convolution")
        };
        let from = inputs.first().copied();
        let shape = map_shape(self.shapes[from.map_or(0, Node::index)]);
        let spec = conv_spec(&description, shape.channels);
        let zeros = vec![0.0; spec.weights_len()];
        let kernel = Kernel2d {
            weights: &zeros,
            bias: &[],
        };
        let parameters: Vec<usize> = data.parameters.iter().map(|p| p.index()).collect();
        let trains = self.purpose.trains[parameters[0]];
        let (packed, weight_gradient) = match from {
            None => (
                Convolution::on_picture(isa, spec, kernel, activation),
                trains.then(|| WeightGradient::on_picture(isa, spec, shape)),
            ),
            Some(_) => (
                Some(Convolution::new(isa, spec, kernel, activation)),
                trains.then(|| Some(WeightGradient::new(isa, spec, shape))),
            ),
        };
        let input_gradient = from.filter(|input| self.learns[input.index()]);
        ConvLayer {
            packed: Packed::F32(packed.expect("asked before it was made to read the picture")),
            learning: Some(ConvLearning {
                description,
                kernel: parameters[0],
                bias: parameters.get(1).copied(),
                activation,
                weight_gradient: weight_gradient.flatten(),
                // A picture needs no gradient.
                input_gradient: input_gradient
                    .map(|_| InputGradient::new(isa, spec, shape, threads)),
            }),
        }
    }

    fn transposed(&self, Transposed { layer }: Transposed, input: Node) -> TransposedLayer {
        let Purpose { isa, threads, .. } = self.purpose;
        let node = self.draft.transposed[layer].node;
        let data = self.draft.graph.node(node);
        let Op::ConvTranspose2d(conv) = data.op else {
            unreachable!("drafted from a transposed convolution")
        };
        let spec = transposed_spec(&conv, self.shapes[input.index()].channels);
        let zeros = vec![0.0; spec.weights_len()];
        let kernel = Kernel2d {
            weights: &zeros,
            bias: &[],
        };
        let parameters: Vec<usize> = data.parameters.iter().map(|p| p.index()).collect();
        let (adjoint, output) = (spec.adjoint(), map_shape(self.shapes[node.index()]));
        let input_gradient = self.learns[input.index()].then(|| {
            let back = Convolution::new(isa, adjoint, kernel, Activation::None);
            let plan: ConvPlan = back.plan(output, threads, WeightMemory::Brief);
            (back, plan)
        });
        let trains = self.purpose.trains[parameters[0]];
        TransposedLayer {
            packed: TransposedConvolution::new(isa, spec, kernel, Activation::None),
            learning: Some(TransposedLearning {
                kernel: parameters[0],
                bias: parameters.get(1).copied(),
                weight_gradient: trains.then(|| WeightGradient::new(isa, adjoint, output)),
                input_gradient,
            }),
        }
    }

    fn norm(&self, BatchNorm { layer }: BatchNorm) -> Result<NormLayer, EngineError> {
        let &NormDraft { node, activation } = &self.draft.norms[layer];
        let data = self.draft.graph.node(node);
        let Op::BatchNorm(norm) = data.op else {
            unreachable!("drafted from a batch norm")
        };
        let parameters: Vec<usize> = data.parameters.iter().map(|p| p.index()).collect();
        let [scale, shift, mean, variance, counter] = parameters[..] else {
            unreachable!("a batch norm has five entries")
        };
        let frozen = !self.purpose.trains[scale];
        if !frozen {
            EngineError::check_values(data, self.shapes[node.index()])?;
        }
        Ok(NormLayer {
            activation,
            numbers: NormNumbers::Learning(NormLearning {
                scale,
                shift,
                mean,
                variance,
                counter,
                epsilon: norm.eps,
                momentum: norm.momentum,
                frozen,
                statistics: Statistics::default(),
            }),
        })
    }
}
