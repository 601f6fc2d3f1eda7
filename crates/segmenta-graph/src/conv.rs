//! What a convolution is: extents, in PyTorch's words.

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
    /// Zeros below and right beyond `padding`: what an even stride leaves over in TensorFlow's SAME.
    pub extra_padding: [usize; 2],
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
            extra_padding: [0; 2],
            groups: 1,
            bias: false,
        }
    }

    /// A window of that height and width, padded so that stride 1 keeps the size (odd sides), without
    /// bias.
    pub fn window(kernel: [usize; 2], out_channels: usize) -> Self {
        Self {
            kernel,
            padding: kernel.map(|side| side / 2),
            ..Self::square(1, out_channels)
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

    /// The same, padded by TensorFlow's rule SAME for inputs of `side`×`side` pixels: as many outputs
    /// as `⌈side / stride⌉`, an odd zero below and right. Other inputs get the same zeros.
    ///
    /// ```
    /// use segmenta_graph::Conv2d;
    /// let conv = Conv2d::square(3, 8).stride(2).same_for(224);
    /// assert_eq!((conv.padding, conv.extra_padding), ([0, 0], [1, 1]));
    /// ```
    #[must_use]
    pub fn same_for(self, side: usize) -> Self {
        let zeros = [0, 1].map(|axis| {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            let last = (side.div_ceil(self.stride[axis]) - 1) * self.stride[axis];
            (last + reach).saturating_sub(side)
        });
        Self {
            padding: zeros.map(|z| z / 2),
            extra_padding: zeros.map(|z| z % 2),
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

/// A 2-D transposed convolution, as PyTorch's `ConvTranspose2d`. The parameters are its kernel
/// `[in, out / groups, height, width]` and, with `bias`, its bias `[out]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvTranspose2d {
    /// Channels that come out.
    pub out_channels: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Output pixels from one input pixel to the next, down and right.
    pub stride: [usize; 2],
    /// Output pixels cut off above and below, left and right.
    pub padding: [usize; 2],
    /// Output pixels added below and right.
    pub output_padding: [usize; 2],
    /// Spread of the window's taps down and right.
    pub dilation: [usize; 2],
    /// Groups that the channels are split into.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl ConvTranspose2d {
    /// A `side`×`side` window whose steps are as large as itself, without bias: pixels become tiles.
    pub fn tiles(side: usize, out_channels: usize) -> Self {
        Self {
            out_channels,
            kernel: [side; 2],
            stride: [side; 2],
            padding: [0; 2],
            output_padding: [0; 2],
            dilation: [1; 2],
            groups: 1,
            bias: false,
        }
    }

    /// A window of twice the step, padded so that a map becomes `factor` times as large (`factor` is
    /// even), without bias: what can interpolate linearly, as FCN's do.
    pub fn upsample(factor: usize, out_channels: usize) -> Self {
        Self {
            kernel: [2 * factor; 2],
            padding: [factor / 2; 2],
            ..Self::tiles(factor, out_channels)
        }
    }

    /// The same with a bias.
    #[must_use]
    pub fn with_bias(self) -> Self {
        Self { bias: true, ..self }
    }
}
