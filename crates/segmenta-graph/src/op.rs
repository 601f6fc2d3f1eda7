//! The kinds of node. Few, and as high-level as the field talks.

use crate::conv::{Conv2d, ConvTranspose2d};
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
    /// `x / (1 + e^−x)`, also called swish (EfficientNet).
    Silu,
    /// `x · Φ(x)`, with the normal distribution's Φ by the error function (transformers).
    Gelu,
    /// The hyperbolic tangent.
    Tanh,
}

/// A square window that pools as it moves, as PyTorch's.
///
/// ```
/// use segmenta_graph::Pool2d;
/// let halves = Pool2d::square(2);
/// let resnet = Pool2d::square(3).stride(2).padding(1);
/// assert_eq!((halves.stride, resnet.padding), (2, 1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// Side of the window.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Padding on every edge; at most half the window.
    pub padding: usize,
    /// Whether the last window may hang over the edge.
    pub ceil_mode: bool,
}

impl Pool2d {
    /// A `side`×`side` window whose steps are as large as itself.
    pub fn square(side: usize) -> Self {
        Self {
            kernel: side,
            stride: side,
            padding: 0,
            ceil_mode: false,
        }
    }

    /// The same with another step.
    #[must_use]
    pub fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The same with padding.
    #[must_use]
    pub fn padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// The same with a last window that may hang over the edge.
    #[must_use]
    pub fn ceil_mode(self) -> Self {
        Self {
            ceil_mode: true,
            ..self
        }
    }
}

/// What a batch norm has beside its parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNorm {
    /// Added to the variance before the root.
    pub eps: f32,
    /// How much of a running statistic a training step replaces.
    pub momentum: f32,
}

impl Default for BatchNorm {
    /// PyTorch's, and that of the networks that do not say otherwise.
    fn default() -> Self {
        Self {
            eps: 1e-5,
            momentum: 0.1,
        }
    }
}

/// How pixels are found between pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// The one above and to the left (PyTorch's `nearest`).
    Nearest,
    /// Linear in both directions.
    Bilinear {
        /// PyTorch's `align_corners`: whether the corners' centres stay where they are.
        align_corners: bool,
    },
    /// Cubic in both directions (PyTorch's `bicubic`, neither with aligned corners nor antialiased).
    Bicubic,
}

impl Filter {
    /// PyTorch's `bilinear`.
    pub const BILINEAR: Self = Self::Bilinear {
        align_corners: false,
    };
    /// PyTorch's `bilinear` with aligned corners.
    pub const ALIGNED: Self = Self::Bilinear {
        align_corners: true,
    };
}

/// What a node computes from its inputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// The network's input.
    Input,
    /// Convolution.
    Conv2d(Conv2d),
    /// Transposed convolution.
    ConvTranspose2d(ConvTranspose2d),
    /// Each pixel's channels times a matrix `[out, in]`, and a bias `[out]` if it has one: PyTorch's `Linear`.
    Linear {
        /// Channels that come out.
        out_channels: usize,
        /// Whether there is a bias.
        bias: bool,
    },
    /// Batch norm over channels: parameters scale, shift, running mean, running variance, counter.
    BatchNorm(BatchNorm),
    /// Norm of each picture's groups of channels, over their pixels too (Wu and He 2018,
    /// arXiv:1803.08494); parameters scale and shift, `[channels]`, or none.
    GroupNorm {
        /// Groups that the channels are split into; as many as channels for an instance norm.
        groups: usize,
        /// Added to the variance before the root.
        eps: f32,
    },
    /// Norm of each pixel's channels (Ba et al. 2016, arXiv:1607.06450); parameters scale and shift,
    /// `[channels]`.
    LayerNorm {
        /// Added to the variance before the root.
        eps: f32,
    },
    /// Pointwise non-linearity.
    Activation(Activation),
    /// Softmax at each pixel between `parts` runs of equally many channels: the values that stand at one
    /// place of their runs add up to 1. With as many parts as channels, PyTorch's `Softmax(dim=1)`.
    Softmax {
        /// Runs of channels.
        parts: usize,
        /// Whether the result's logarithm is given.
        log: bool,
    },
    /// Every pixel of the first input, the queries, takes the mean of the third input's pixels, the
    /// values, weighted by the softmax of `q · k / √d` over the pixels of the second, the keys; `heads` times,
    /// each on its own `d` channels (Vaswani et al. 2017, arXiv:1706.03762).
    Attention {
        /// Runs of channels that attend by themselves.
        heads: usize,
    },
    /// As [`Op::Attention`], with a fourth input that hides keys (Cheng et al. 2022, arXiv:2112.01527): its channel
    /// `q` belongs to query `q`, its pixels to the last keys, and where it is below zero the query does not see the
    /// key. Queries beyond its channels and keys before its pixels are seen as ever; a query that would see nothing
    /// sees everything. The mask is a decision: no gradient goes back through it.
    MaskedAttention {
        /// Runs of channels that attend by themselves.
        heads: usize,
    },
    /// Deformable attention (Zhu et al. 2021, arXiv:2010.04159). The first input holds the pixels of several maps in one
    /// row; the maps themselves come last, and only their sizes are read. Each pixel takes of each map `points` values a
    /// head, weighed by a softmax over all maps' points of the third input, `[heads][maps][points]` channels. A point is
    /// the pixel's own place, as a share of its map, in pixels of the other map, plus an offset across and down there,
    /// of the second input: `[heads][maps][points][2]` channels. Between pixels values are interpolated linearly;
    /// outside the map they are 0.
    DeformableAttention {
        /// Runs of channels that attend by themselves.
        heads: usize,
        /// Points of each map, head and pixel.
        points: usize,
    },
    /// The first input's last pixels, as many as the second has, turned by their places in that map, whose values are
    /// not read: pairs of channels `i` and `i + d/2` of each head's `d` by `2π · theta^(−4j/d)` times the pixel's
    /// centre, in −1 to 1, of its row for the first `d/4` pairs and of its column for the others (DINOv3's form of Su et
    /// al. 2021, arXiv:2104.09864).
    Rotary {
        /// Runs of channels that are turned by themselves.
        heads: usize,
        /// How much slower each pair turns than the one before.
        theta: f32,
    },
    /// Waves that say where the pixels of a map are, whose values are not read: DETR's sine positions (Carion et al.
    /// 2020, arXiv:2005.12872), normalised, a half of the channels of rows, a half of columns.
    SinePositions {
        /// The node whose size is taken.
        like: Node,
    },
    /// What SMP's MA-Net does in its middle (after Fan et al. 2020): as [`Op::Attention`] with one head,
    /// without `√d`, the softmax over all pairs of a query and a key together, and the result, `[pixel][channel]`,
    /// taken for `[channel][pixel]`.
    PositionAttention,
    /// A map's pixels in one row, after a class token, each with the embedding of its position added
    /// (Dosovitskiy et al. 2020, arXiv:2010.11929): `C`×1×(1 + H·W). Parameters the token, `[1, 1, C]`, and
    /// the embeddings, `[1, 1 + rows · columns, C]`; for a map of another size they are resized as timm
    /// does, bicubic and antialiased.
    Tokens {
        /// Rows and columns of the map that the embeddings are for.
        grid: [usize; 2],
    },
    /// The row of [`Op::Tokens`] as a map again, of the height and width of another node, whose values are
    /// not read; the class token is left out.
    Patches {
        /// The node whose size is taken.
        like: Node,
    },
    /// A parameter as a map, the same for each picture: an entry `[.., pixels, channels]`, whose pixels fill the
    /// rows of a fixed size. With one pixel, a factor for each channel.
    Table,
    /// The pixels of the first input, then those of the second, in one row.
    Join,
    /// A run of the first input's pixels as a map of the height and width of another node. It begins `first` pixels
    /// behind as many as the other inputs, whose values are not read, have together.
    Part {
        /// Pixels before it, beside those of the other inputs.
        first: usize,
        /// The node whose size is taken, if not that of a row of so many pixels.
        like: Option<Node>,
    },
    /// A row of pixels whose number is fixed, with pixels and channels exchanged.
    Transpose,
    /// Each pixel's channels times a matrix that a row of pixels is: the output's channel `n` is the sum of the first
    /// input's channels, each times the same channel of the second input's pixel `n`.
    Product,
    /// A map parted into windows of `side`×`side` pixels (Liu et al. 2021, arXiv:2103.14030): window by window, row
    /// by row within each, so that a row of the result holds a row of windows. The map is filled up with zeros below
    /// and right to whole windows, and then rolled up and to the left.
    Windows {
        /// Rows and columns of a window.
        side: usize,
        /// Rows and columns that the map is rolled by.
        shift: usize,
    },
    /// The inverse of [`Op::Windows`]: rolled back, and cut off to the height and width of another node, whose values
    /// are not read.
    FromWindows {
        /// Rows and columns of a window.
        side: usize,
        /// Rows and columns that the map was rolled by.
        shift: usize,
        /// The node whose size is taken.
        like: Node,
    },
    /// As [`Op::Attention`], by itself within each run of `rows · columns` pixels of a row, as [`Op::Windows`] lays
    /// them out, with a bias for each head and each distance between a query and a key (Liu et al. 2021). The fourth
    /// input holds the biases, `heads`×(2 · rows − 1)×(2 · columns − 1): at row `rows − 1 + y` and column
    /// `columns − 1 + x` for a query that is `y` rows below its key and `x` columns to the right of it. With a fifth
    /// input, `heads`×1×3, each run begins with a class token, as in BEiT (Bao et al. 2021, arXiv:2106.08254): it holds
    /// the biases of the token as a query, as a key, and for itself.
    WindowAttention {
        /// Runs of channels that attend by themselves.
        heads: usize,
        /// Rows and columns that the map was rolled by: of the last windows each way, what was beside each other only
        /// by that attends with 100 less.
        shift: usize,
    },
    /// Squares of `side`×`side` pixels as single pixels: channel `(x · side + y) · C + c` is channel `c` of the pixel in
    /// row `y` and column `x` of the square, of `C` channels in all; zeros where a square hangs over the edge.
    SpaceToDepth {
        /// Rows and columns of a square.
        side: usize,
    },
    /// The inverse of [`Op::SpaceToDepth`], cut off or filled up with zeros to the height and width of another node,
    /// whose values are not read.
    DepthToSpace {
        /// Rows and columns of a square.
        side: usize,
        /// The node whose size is taken.
        like: Node,
    },
    /// Every value times a number.
    Scale {
        /// The number.
        by: f32,
    },
    /// Some of a map's channels.
    Slice {
        /// The first of them.
        first: usize,
        /// How many.
        channels: usize,
    },
    /// Sum of two maps of one shape.
    Add,
    /// Product of a map and a map of the same shape, of 1×1 pixels or of one channel.
    Mul,
    /// Maps side by side along the channels, in the order of the inputs.
    Concat,
    /// Maximum over a window; padding never wins (it counts as −∞).
    MaxPool2d(Pool2d),
    /// The first input's values where the second input, a [`Op::MaxPool2d`], found its maxima; zero
    /// elsewhere. As large as what was pooled.
    MaxUnpool2d,
    /// Mean over a window.
    AvgPool2d {
        /// The window.
        window: Pool2d,
        /// Whether padding counts as zeros, or not at all.
        count_include_pad: bool,
    },
    /// Means over a grid of windows that cover the map (PyTorch's `AdaptiveAvgPool2d`).
    AdaptiveAvgPool2d {
        /// Rows and columns of the grid.
        size: [usize; 2],
    },
    /// Mean over all pixels: a 1×1 map.
    GlobalAvgPool,
    /// Maximum over all pixels: a 1×1 map.
    GlobalMaxPool,
    /// Resize to the height and width of another node, whose values are not read.
    ResizeLike {
        /// The node whose size is taken.
        like: Node,
        /// How.
        filter: Filter,
    },
    /// Resize to a fixed height and width.
    ResizeTo {
        /// Rows and columns.
        size: [usize; 2],
        /// How.
        filter: Filter,
    },
    /// Every side `factor` times as long.
    Upsample {
        /// How many times.
        factor: usize,
        /// How.
        filter: Filter,
    },
    /// Cut off, or filled up with zeros, below and right, to the height and width of another node,
    /// whose values are not read.
    FitLike {
        /// The node whose size is taken.
        like: Node,
    },
    /// A row of zeros above a map of odd height, a column to the left of one of odd width. Before a window of
    /// stride 2 with one zero below and right ([`Conv2d::extra_padding`](crate::Conv2d)), it makes TensorFlow's
    /// padding SAME of maps of any size.
    PadToEven,
    /// Dropout; nothing in inference.
    Dropout {
        /// Probability that a value is dropped in training.
        p: f32,
    },
    /// Dropout of whole channels (PyTorch's `Dropout2d`); nothing in inference.
    Dropout2d {
        /// Probability that a channel is dropped in training.
        p: f32,
    },
    /// Stochastic depth (Huang et al. 2016, arXiv:1603.09382), also called drop connect: a picture's
    /// whole map is dropped, or else divided by 1 − p; nothing in inference.
    StochasticDepth {
        /// Probability that a map is dropped in training.
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
            Self::ConvTranspose2d(_) => "transposed convolution",
            Self::Linear { .. } => "linear",
            Self::BatchNorm(_) => "batch norm",
            Self::Activation(a) => match a {
                Activation::Relu => "relu",
                Activation::Relu6 => "relu6",
                Activation::Hardswish => "hardswish",
                Activation::Hardsigmoid => "hardsigmoid",
                Activation::Sigmoid => "sigmoid",
                Activation::Silu => "silu",
                Activation::Gelu => "gelu",
                Activation::Tanh => "tanh",
            },
            Self::GroupNorm { .. } => "group norm",
            Self::LayerNorm { .. } => "layer norm",
            Self::Softmax { log: false, .. } => "softmax",
            Self::Softmax { log: true, .. } => "log softmax",
            Self::Attention { .. } => "attention",
            Self::MaskedAttention { .. } => "masked attention",
            Self::DeformableAttention { .. } => "deformable attention",
            Self::Rotary { .. } => "rotary positions",
            Self::SinePositions { .. } => "sine positions",
            Self::PositionAttention => "position attention",
            Self::Tokens { .. } => "tokens",
            Self::Patches { .. } => "patches",
            Self::Table => "table",
            Self::Join => "join",
            Self::Part { .. } => "part",
            Self::Transpose => "transpose",
            Self::Product => "product",
            Self::Windows { .. } => "windows",
            Self::FromWindows { .. } => "from windows",
            Self::WindowAttention { .. } => "window attention",
            Self::SpaceToDepth { .. } => "space to depth",
            Self::DepthToSpace { .. } => "depth to space",
            Self::Scale { .. } => "scale",
            Self::Slice { .. } => "slice",
            Self::Add => "add",
            Self::Mul => "multiply",
            Self::Concat => "concat",
            Self::MaxPool2d(_) => "max pool",
            Self::MaxUnpool2d => "max unpool",
            Self::AvgPool2d { .. } => "average pool",
            Self::AdaptiveAvgPool2d { .. } => "adaptive average pool",
            Self::GlobalAvgPool => "global average pool",
            Self::GlobalMaxPool => "global max pool",
            Self::ResizeLike { filter, .. }
            | Self::ResizeTo { filter, .. }
            | Self::Upsample { filter, .. } => match filter {
                Filter::Nearest => "nearest resize",
                Filter::Bilinear { .. } => "bilinear resize",
                Filter::Bicubic => "bicubic resize",
            },
            Self::FitLike { .. } => "fit",
            Self::PadToEven => "pad to even sides",
            Self::Dropout { .. } => "dropout",
            Self::Dropout2d { .. } => "channel dropout",
            Self::StochasticDepth { .. } => "stochastic depth",
        }
    }

    /// Whether it changes nothing in inference.
    pub fn is_training_only(&self) -> bool {
        matches!(
            self,
            Self::Dropout { .. } | Self::Dropout2d { .. } | Self::StochasticDepth { .. }
        )
    }
}
