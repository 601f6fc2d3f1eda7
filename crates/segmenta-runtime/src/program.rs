//! A compiled network: steps over values, for any input size.

use segmenta_graph::Node;
use segmenta_kernels::{Activation, Convolution, PoolSpec};

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
    /// Convolution of the network's input as it came.
    ConvOnPicture(Box<Convolution>),
    /// The network's input in blocked layout.
    Block,
    MaxPool(PoolSpec),
    GlobalAvgPool,
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
    Resize {
        align_corners: bool,
    },
    /// A map in planar layout.
    Unblock,
    /// Result number `output` is the operand as it is.
    Emit {
        output: usize,
    },
    /// Result number `output` is the planar operand, resized to the network's input.
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
    /// Its convolution, if it is one.
    pub(crate) fn convolution(&self) -> Option<&Convolution> {
        match self {
            Self::Conv(conv) | Self::ConvOnPicture(conv) => Some(conv),
            _ => None,
        }
    }

    /// The kind of step, for profiles.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Conv(_) | Self::ConvOnPicture(_) => "convolution",
            Self::Block => "to blocks",
            Self::MaxPool(_) => "max pool",
            Self::GlobalAvgPool => "average pool",
            Self::Add(_) => "add",
            Self::Mul(_) => "multiply",
            Self::Apply(_) => "activation",
            Self::Affine { .. } => "batch norm",
            Self::Copy => "copy",
            Self::Resize { .. } | Self::EmitResized { .. } => "resize",
            Self::Unblock | Self::Emit { .. } => "to planes",
        }
    }
}
