//! The kinds of node. Few, and as high-level as the field talks.

use crate::graph::Node;

/// A pointwise non-linearity, each as PyTorch defines it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)` (MobileNetV2).
    Relu6,
    /// `x · relu6(x + 3) / 6` (MobileNetV3).
    Hardswish,
    /// `relu6(x + 3) / 6` (MobileNetV3's squeeze-and-excitation).
    Hardsigmoid,
    /// `1 / (1 + e^−x)`.
    Sigmoid,
}

/// A 2-D convolution (cross-correlation, as PyTorch's `Conv2d`). The parameters are its kernel
/// `[out, in / groups, height, width]` and, with `bias`, its bias `[out]`.
///
/// ```
/// use segmenta_graph::Conv2d;
/// let depthwise = Conv2d::square(3, 96).stride(2).depthwise(96);
/// assert_eq!((depthwise.padding, depthwise.groups), ([1, 1], 96));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// Channels that come out.
    pub out_channels: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps down and right.
    pub stride: [usize; 2],
    /// Zeros added above and below, left and right.
    pub padding: [usize; 2],
    /// Spread of the window's taps down and right.
    pub dilation: [usize; 2],
    /// Groups that the channels are split into.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl Conv2d {
    /// A `side`×`side` window, padded so that stride 1 keeps the size (odd `side`), without bias.
    pub fn square(side: usize, out_channels: usize) -> Self {
        Self {
            out_channels,
            kernel: [side; 2],
            stride: [1; 2],
            padding: [side / 2; 2],
            dilation: [1; 2],
            groups: 1,
            bias: false,
        }
    }

    /// A 1×1 convolution without bias.
    pub fn pointwise(out_channels: usize) -> Self {
        Self::square(1, out_channels)
    }

    /// The same with another stride.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Self {
            stride: [stride; 2],
            ..self
        }
    }

    /// The same with another dilation, padded so that stride 1 still keeps the size.
    #[must_use]
    pub fn dilation(self, dilation: usize) -> Self {
        Self {
            dilation: [dilation; 2],
            padding: self.kernel.map(|k| k / 2 * dilation),
            ..self
        }
    }

    /// The same in groups.
    #[must_use]
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// The same with one group a channel, of which there are `channels`.
    #[must_use]
    pub fn depthwise(self, channels: usize) -> Self {
        self.groups(channels)
    }

    /// The same with a bias.
    #[must_use]
    pub fn with_bias(self) -> Self {
        Self { bias: true, ..self }
    }
}

/// A maximum over a moving window; padding never wins (it counts as −∞), as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MaxPool2d {
    /// Side of the window.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Padding on every edge.
    pub padding: usize,
}

/// What a node computes from its inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The network's input.
    Input,
    /// Convolution.
    Conv2d(Conv2d),
    /// Batch norm over channels: parameters scale, shift, running mean, running variance, counter.
    BatchNorm {
        /// Added to the variance before the root.
        eps: f32,
    },
    /// Pointwise non-linearity.
    Activation(Activation),
    /// Sum of two maps of one shape.
    Add,
    /// Product of a map and a map of the same shape or of 1×1 pixels.
    Mul,
    /// Maps side by side along the channels, in the order of the inputs.
    Concat,
    /// Maximum over a window.
    MaxPool2d(MaxPool2d),
    /// Mean over all pixels: a 1×1 map.
    GlobalAvgPool,
    /// Bilinear resize to the height and width of another node, whose values are not read.
    ResizeLike {
        /// The node whose size is taken.
        like: Node,
        /// PyTorch's `align_corners`.
        align_corners: bool,
    },
    /// Dropout; nothing in inference.
    Dropout {
        /// Probability that a value is dropped in training.
        p: f32,
    },
}

impl Op {
    /// The kind in one word, for messages and tables.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Conv2d(c) if c.groups > 1 && c.groups == c.out_channels => {
                "depthwise convolution"
            }
            Self::Conv2d(_) => "convolution",
            Self::BatchNorm { .. } => "batch norm",
            Self::Activation(a) => match a {
                Activation::Relu => "relu",
                Activation::Relu6 => "relu6",
                Activation::Hardswish => "hardswish",
                Activation::Hardsigmoid => "hardsigmoid",
                Activation::Sigmoid => "sigmoid",
            },
            Self::Add => "add",
            Self::Mul => "multiply",
            Self::Concat => "concat",
            Self::MaxPool2d(_) => "max pool",
            Self::GlobalAvgPool => "global average pool",
            Self::ResizeLike { .. } => "bilinear resize",
            Self::Dropout { .. } => "dropout",
        }
    }
}
