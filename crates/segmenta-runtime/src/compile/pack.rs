//! Weights read, batch norms folded into them, and packed for the kernels.

use segmenta_graph::{BatchNorm, Conv2d, Graph, Node, NodeData, Op, Parameter};
use segmenta_kernels::{Activation, Convolution, Embeddings, Isa, Kernel2d, TransposedConvolution};

use super::parallel::{Branch, in_window, read_branch};
use crate::lower::{
    as_convolution, conv_spec, has_leading_taps, transposed_spec, with_leading_taps,
};
use crate::program::Work;

/// A convolution, a transposed convolution or a linear layer whose weights are not read yet.
pub(super) struct DraftConv {
    pub(super) node: Node,
    /// The batch norm to fold in.
    pub(super) norm: Option<Node>,
    /// What is added to it then and is a convolution of the same map.
    pub(super) parallel: Vec<Branch>,
    /// The window that holds all of theirs.
    pub(super) window: [usize; 2],
    /// What the result is multiplied by after it.
    pub(super) scale: f32,
    pub(super) activation: Activation,
    /// Whether it reads the network's input as it came.
    pub(super) on_picture: bool,
    /// Whether its second operand is a factor for each channel of the first.
    pub(super) scaled: bool,
}

/// Kernel and bias in f32, the batch norm folded in.
struct Weights {
    kernel: Vec<f32>,
    bias: Vec<f32>,
}

impl Weights {
    fn as_kernel(&self) -> Kernel2d<'_> {
        Kernel2d {
            weights: &self.kernel,
            bias: &self.bias,
        }
    }
}

impl DraftConv {
    /// Reads the weights, folds the batch norm in, packs.
    pub(super) fn pack<E>(
        &self,
        graph: &Graph,
        isa: Isa,
        read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
    ) -> Result<Work, E> {
        let data = graph.node(self.node);
        let in_channels = graph.node(data.inputs[0]).channels;
        if let Op::ConvTranspose2d(conv) = data.op {
            let spec = transposed_spec(&conv, in_channels);
            // Kernels lie by input channel: a group's outputs follow each other within each.
            let out_per_group = spec.out_channels / spec.groups;
            let (taps, in_per_group) = (spec.kernel[0] * spec.kernel[1], in_channels / spec.groups);
            let channel_of = |index: usize| {
                let (input, within) = (index / taps / out_per_group, index / taps % out_per_group);
                input / in_per_group * out_per_group + within
            };
            let weights = self.read(graph, spec.out_channels, read, channel_of)?;
            let packed =
                TransposedConvolution::new(isa, spec, weights.as_kernel(), self.activation);
            return Ok(Work::Transposed(Box::new(packed)));
        }
        let Some(conv) = as_convolution(&data.op) else {
            unreachable!("drafted from a convolution")
        };
        let per_group = in_channels / conv.groups;
        let per_channel = per_group * conv.kernel[0] * conv.kernel[1];
        let mut weights = self.read(graph, conv.out_channels, read, |index| index / per_channel)?;
        let (conv, narrow) = self.widened(conv);
        weights.kernel = in_window(&weights.kernel, narrow, conv.kernel);
        for branch in &self.parallel {
            let (kernel, bias) = read_branch(branch, graph, self.window, per_group, read)?;
            let sums = weights.kernel.iter_mut().zip(&kernel);
            let sums = sums.chain(weights.bias.iter_mut().zip(&bias));
            sums.for_each(|(sum, value)| *sum += self.scale * value);
        }
        let spec = conv_spec(&conv, in_channels);
        if has_leading_taps(&conv) {
            weights.kernel = with_leading_taps(&conv, &weights.kernel);
        }
        if self.on_picture
            && let Some(packed) =
                Convolution::on_picture(isa, spec, weights.as_kernel(), self.activation)
        {
            return Ok(Work::ConvOnPicture(Box::new(packed)));
        }
        let packed = Convolution::new(isa, spec, weights.as_kernel(), self.activation);
        Ok(if self.scaled {
            Work::ScaledConv(Box::new(packed))
        } else {
            Work::Conv(Box::new(packed))
        })
    }

    /// The convolution with the window that holds all branches, and the window that it had.
    fn widened(&self, conv: Conv2d) -> (Conv2d, [usize; 2]) {
        if self.parallel.is_empty() {
            return (conv, conv.kernel);
        }
        let around = [0, 1].map(|axis| conv.dilation[axis] * (self.window[axis] / 2));
        let wide = Conv2d {
            kernel: self.window,
            padding: around,
            ..conv
        };
        (wide, conv.kernel)
    }

    /// `channel_of` says which output channel a kernel's value is for.
    fn read<E>(
        &self,
        graph: &Graph,
        out_channels: usize,
        read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
        channel_of: impl Fn(usize) -> usize,
    ) -> Result<Weights, E> {
        let parameters = &graph.node(self.node).parameters;
        let mut kernel = read(graph.parameter(parameters[0]))?;
        let mut bias = match parameters.get(1) {
            Some(&id) => read(graph.parameter(id))?,
            None => vec![0.0; out_channels],
        };
        if let Some(norm) = self.norm {
            let (scale, shift) = folded_norm(graph, graph.node(norm), read)?;
            for (index, weight) in kernel.iter_mut().enumerate() {
                *weight *= scale[channel_of(index)];
            }
            for ((bias, scale), shift) in bias.iter_mut().zip(&scale).zip(&shift) {
                *bias = *bias * scale + shift;
            }
        }
        for value in kernel.iter_mut().chain(&mut bias) {
            *value *= self.scale;
        }
        Ok(Weights { kernel, bias })
    }
}

/// A batch norm in evaluation mode as a scale and a shift a channel.
pub(super) fn folded_norm<E>(
    graph: &Graph,
    norm: &NodeData,
    read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<(Vec<f32>, Vec<f32>), E> {
    let Op::BatchNorm(BatchNorm { eps, .. }) = norm.op else {
        unreachable!("drafted from a batch norm")
    };
    let entry = |i: usize| read(graph.parameter(norm.parameters[i]));
    let (weight, bias, mean, variance) = (entry(0)?, entry(1)?, entry(2)?, entry(3)?);
    // In f64, so that folding adds no rounding of its own.
    let scales = weight.iter().zip(&variance);
    let scale: Vec<f64> = scales
        .map(|(&w, &v)| f64::from(w) / (f64::from(v) + f64::from(eps)).sqrt())
        .collect();
    let shifts = bias.iter().zip(&mean).zip(&scale);
    let shift = shifts
        .map(|((&b, &m), s)| (f64::from(b) - f64::from(m) * s) as f32)
        .collect();
    Ok((scale.into_iter().map(|s| s as f32).collect(), shift))
}

/// A layer norm or a group norm with its scale and shift.
pub(super) fn read_norm<E>(
    graph: &Graph,
    norm: &NodeData,
    activation: Activation,
    read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<Work, E> {
    let entries: Result<Vec<_>, E> = norm
        .parameters
        .iter()
        .map(|&id| read(graph.parameter(id)))
        .collect();
    let affine = <[Vec<f32>; 2]>::try_from(entries?).ok();
    Ok(match (norm.op, affine) {
        (Op::GroupNorm { groups, eps }, affine) => Work::GroupNorm {
            groups,
            eps,
            affine,
            activation,
        },
        (Op::LayerNorm { eps }, Some(affine)) => Work::LayerNorm { eps, affine },
        _ => unreachable!("drafted from a norm"),
    })
}

/// Tokens with their embeddings.
pub(super) fn read_embeddings<E>(
    graph: &Graph,
    data: &NodeData,
    read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<Work, E> {
    let Op::Tokens { grid } = data.op else {
        unreachable!("drafted from tokens")
    };
    let entry = |i: usize| read(graph.parameter(data.parameters[i]));
    let embeddings = Embeddings::new(&entry(0)?, &entry(1)?, grid);
    Ok(Work::Tokens(Box::new(embeddings)))
}
