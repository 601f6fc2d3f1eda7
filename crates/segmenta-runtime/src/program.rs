//! A compiled network: steps over values, for any input size.

use segmenta_graph::{Filter, Node};
use segmenta_kernels::{Activation, Convolution, Embeddings, PoolWindow, TransposedConvolution};

/// Memory that a plan gives a place. A value is a run of its channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferId(pub(crate) usize);

/// How a buffer's numbers lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[batch][channels / L][height][width][L]`.
    Blocked,
    /// `[batch][channels][height][width]`.
    Planar,
}

/// A buffer: as many channels, of the height and width of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BufferSpec {
    pub(crate) channels: usize,
    pub(crate) size_of: Node,
    pub(crate) layout: Layout,
}

/// Channels of a buffer, from `first` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) buffer: BufferId,
    pub(crate) first: usize,
    pub(crate) channels: usize,
}

/// What a step computes. Operands are [`Step::inputs`] in order.
#[derive(Debug)]
pub(crate) enum Work {
    /// Convolution of a map; a second operand is added before the non-linearity.
    Conv(Box<Convolution>),
    /// Convolution of the first operand times the second, a factor a channel; a third is added as above.
    ScaledConv(Box<Convolution>),
    /// Convolution of the network's input as it came.
    ConvOnPicture(Box<Convolution>),
    Transposed(Box<TransposedConvolution>),
    /// The network's input in blocked layout.
    Block,
    /// Maxima, and where they were found if [`Step::indices`] has a place for it.
    MaxPool(PoolWindow),
    /// The first operand's values where the indices in the second say.
    MaxUnpool,
    AvgPool {
        window: PoolWindow,
        count_include_pad: bool,
    },
    /// Means over a grid of as many windows as the output has pixels.
    AdaptiveAvgPool,
    GlobalAvgPool,
    GlobalMaxPool,
    GroupNorm {
        groups: usize,
        eps: f32,
        affine: Option<[Vec<f32>; 2]>,
        activation: Activation,
    },
    LayerNorm {
        eps: f32,
        affine: [Vec<f32>; 2],
    },
    Softmax {
        parts: usize,
        log: bool,
    },
    /// Queries, keys and values.
    Attention {
        heads: usize,
    },
    /// Queries, keys and values.
    PositionAttention,
    /// A map's pixels in one row after a class token.
    Tokens(Box<Embeddings>),
    /// All tokens but the first as a map.
    Patches,
    /// Channels of the operand, from `first` on, as a map of their own.
    Slice {
        first: usize,
    },
    Add(Activation),
    Mul(Activation),
    Apply(Activation),
    Affine {
        scale: Vec<f32>,
        shift: Vec<f32>,
        activation: Activation,
    },
    /// Copies channels into the output's buffer, at the output's first channel.
    Copy,
    Resize(Filter),
    /// The operand cut off or filled up with zeros, as large as the output.
    Fit,
    /// A map in planar layout.
    Unblock,
    /// Result number `output` is the operand as it is.
    Emit {
        output: usize,
    },
    /// Result number `output` is the operand, cut off or filled up with zeros.
    EmitFitted {
        output: usize,
    },
    /// Result number `output` is the planar operand, resized to the result's size.
    EmitResized {
        output: usize,
        align_corners: bool,
    },
}

/// One step.
#[derive(Debug)]
pub(crate) struct Step {
    /// Name of the graph's node that it ends with.
    pub(crate) name: String,
    pub(crate) work: Work,
    pub(crate) inputs: Vec<Value>,
    /// None for steps that write a result.
    pub(crate) output: Option<Value>,
    /// Where a max pool that is undone later leaves its indices.
    pub(crate) indices: Option<Value>,
    /// Whether its rounding decides where such a pool finds its maxima: a value that goes back to
    /// another pixel is an error without bound, so it is computed as precisely as can be.
    pub(crate) precise: bool,
}

impl Step {
    /// All values that it reads or writes.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        self.inputs.iter().chain(&self.output).chain(&self.indices)
    }
}

/// A compiled network.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) buffers: Vec<BufferSpec>,
    pub(crate) steps: Vec<Step>,
    /// The nodes whose values are the results, in the order asked for.
    pub(crate) results: Vec<Node>,
}

impl Work {
    /// Bytes of its weights, in all forms.
    pub(crate) fn weight_bytes(&self) -> usize {
        match self {
            Self::Conv(conv) | Self::ScaledConv(conv) | Self::ConvOnPicture(conv) => {
                conv.weight_bytes()
            }
            Self::Transposed(conv) => conv.weight_bytes(),
            Self::Affine { scale, shift, .. } => size_of_val(&scale[..]) + size_of_val(&shift[..]),
            Self::LayerNorm { affine, .. }
            | Self::GroupNorm {
                affine: Some(affine),
                ..
            } => affine.iter().map(|values| size_of_val(&values[..])).sum(),
            Self::Tokens(embeddings) => embeddings.bytes(),
            // Without weights. Listed, so that the compiler asks where a new kind belongs.
            Self::GroupNorm { affine: None, .. }
            | Self::Block
            | Self::MaxPool(_)
            | Self::MaxUnpool
            | Self::AvgPool { .. }
            | Self::AdaptiveAvgPool
            | Self::GlobalAvgPool
            | Self::GlobalMaxPool
            | Self::Softmax { .. }
            | Self::Attention { .. }
            | Self::PositionAttention
            | Self::Patches
            | Self::Slice { .. }
            | Self::Add(_)
            | Self::Mul(_)
            | Self::Apply(_)
            | Self::Copy
            | Self::Resize(_)
            | Self::Fit
            | Self::Unblock
            | Self::Emit { .. }
            | Self::EmitFitted { .. }
            | Self::EmitResized { .. } => 0,
        }
    }

    /// Its convolution, if it is one.
    pub(crate) fn convolution(&self) -> Option<&Convolution> {
        match self {
            Self::Conv(conv) | Self::ScaledConv(conv) | Self::ConvOnPicture(conv) => Some(conv),
            Self::Transposed(_)
            | Self::Block
            | Self::MaxPool(_)
            | Self::MaxUnpool
            | Self::AvgPool { .. }
            | Self::AdaptiveAvgPool
            | Self::GlobalAvgPool
            | Self::GlobalMaxPool
            | Self::GroupNorm { .. }
            | Self::LayerNorm { .. }
            | Self::Softmax { .. }
            | Self::Attention { .. }
            | Self::PositionAttention
            | Self::Tokens(_)
            | Self::Patches
            | Self::Slice { .. }
            | Self::Add(_)
            | Self::Mul(_)
            | Self::Apply(_)
            | Self::Affine { .. }
            | Self::Copy
            | Self::Resize(_)
            | Self::Fit
            | Self::Unblock
            | Self::Emit { .. }
            | Self::EmitFitted { .. }
            | Self::EmitResized { .. } => None,
        }
    }

    /// The kind of step, for profiles.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Conv(_) | Self::ScaledConv(_) | Self::ConvOnPicture(_) => "convolution",
            Self::Transposed(conv) => conv.algorithm(),
            Self::Block => "to blocks",
            Self::MaxPool(_) | Self::GlobalMaxPool => "max pool",
            Self::MaxUnpool => "max unpool",
            Self::AvgPool { .. } | Self::AdaptiveAvgPool | Self::GlobalAvgPool => "average pool",
            Self::GroupNorm { .. } => "group norm",
            Self::LayerNorm { .. } => "layer norm",
            Self::Softmax { .. } => "softmax",
            Self::Attention { .. } | Self::PositionAttention => "attention",
            Self::Tokens(_) => "tokens",
            Self::Patches => "patches",
            Self::Slice { .. } => "slice",
            Self::Add(_) => "add",
            Self::Mul(_) => "multiply",
            Self::Apply(_) => "activation",
            Self::Affine { .. } => "batch norm",
            Self::Copy => "copy",
            Self::Resize(_) | Self::EmitResized { .. } => "resize",
            Self::Fit => "fit",
            Self::Unblock | Self::Emit { .. } | Self::EmitFitted { .. } => "to planes",
        }
    }
}
