//! Weights read, batch norms folded into them, and packed for the kernels.

use segmenta_graph::{BatchNorm, Conv2d, Graph, Node, NodeData, Op, Parameter};
use segmenta_kernels::{
    Activation, ConvSpec, Convolution, Isa, Kernel2d, TransposedConvolution, TransposedSpec,
};

use crate::program::Work;

/// A convolution, a transposed convolution or a linear layer whose weights are not read yet.
pub(super) struct DraftConv {
    pub(super) node: Node,
    /// The batch norm to fold in.
    pub(super) norm: Option<Node>,
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
            let spec = TransposedSpec {
                in_channels,
                out_channels: conv.out_channels,
                kernel: conv.kernel,
                stride: conv.stride,
                padding: conv.padding,
                output_padding: conv.output_padding,
                dilation: conv.dilation,
                groups: conv.groups,
            };
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
        let spec = conv_spec(&conv, in_channels);
        let per_channel = in_channels / conv.groups * conv.kernel[0] * conv.kernel[1];
        let mut weights = self.read(graph, spec.out_channels, read, |index| index / per_channel)?;
        weights.kernel = with_leading_taps(&conv, weights.kernel);
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
        Ok(Weights { kernel, bias })
    }
}

/// What a node is as a convolution; a linear layer is one of 1×1.
pub(super) fn as_convolution(op: &Op) -> Option<Conv2d> {
    match *op {
        Op::Conv2d(conv) => Some(conv),
        Op::Linear { out_channels } => Some(Conv2d::pointwise(out_channels).with_bias()),
        _ => None,
    }
}

/// The extents for the kernels, whose padding is the same on both ends: where there is more below and
/// right, the window has as many taps of zero weight above and left.
pub(super) fn conv_spec(conv: &Conv2d, in_channels: usize) -> ConvSpec {
    let with_extra = |of: [usize; 2]| [0, 1].map(|axis| of[axis] + conv.extra_padding[axis]);
    ConvSpec {
        in_channels,
        out_channels: conv.out_channels,
        kernel: with_extra(conv.kernel),
        stride: conv.stride,
        padding: with_extra(conv.padding),
        dilation: conv.dilation,
        groups: conv.groups,
    }
}

/// The kernel with the taps of zero weight that [`conv_spec`] adds.
fn with_leading_taps(conv: &Conv2d, kernel: Vec<f32>) -> Vec<f32> {
    let [above, left] = conv.extra_padding;
    if [above, left] == [0, 0] {
        return kernel;
    }
    let [rows, columns] = conv.kernel;
    let width = columns + left;
    let mut wider = Vec::with_capacity(kernel.len() / (rows * columns) * (rows + above) * width);
    for window in kernel.chunks_exact(rows * columns) {
        wider.resize(wider.len() + above * width, 0.0);
        for row in window.chunks_exact(columns) {
            wider.resize(wider.len() + left, 0.0);
            wider.extend_from_slice(row);
        }
    }
    wider
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
