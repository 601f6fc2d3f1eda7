//! Two-dimensional convolution: what it is, and which file does it.

mod blocked;
mod depthwise;
mod panel;
mod planar;
mod tile;
mod transposed;

pub use transposed::{TransposedConvolution, TransposedSpec};

use crate::activation::Activation;
use crate::isa::Isa;
use crate::map::{Map, MapMut, MapShape};

/// A convolution's extents; the meaning is PyTorch's `Conv2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Channels that come in.
    pub in_channels: usize,
    /// Channels that come out.
    pub out_channels: usize,
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps down and right.
    pub stride: [usize; 2],
    /// Zeros above and below, left and right.
    pub padding: [usize; 2],
    /// Spread of the taps down and right.
    pub dilation: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
}

/// A convolution's numbers: kernel `[out, in / groups, height, width]` and bias `[out]`.
#[derive(Clone, Copy, Debug)]
pub struct Kernel2d<'a> {
    /// Row-major kernel.
    pub weights: &'a [f32],
    /// Bias; empty for none.
    pub bias: &'a [f32],
}

impl ConvSpec {
    /// Values of the kernel.
    pub fn weights_len(&self) -> usize {
        self.out_channels * (self.in_channels / self.groups) * self.kernel[0] * self.kernel[1]
    }

    /// The shape that comes out, if the window fits.
    pub fn output(&self, input: MapShape) -> Option<MapShape> {
        let side = |size: usize, axis: usize| {
            let reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1;
            let room = (size + 2 * self.padding[axis]).checked_sub(reach)?;
            Some(room / self.stride[axis] + 1)
        };
        let (height, width) = (side(input.height, 0)?, side(input.width, 1)?);
        Some(MapShape::new(input.batch, self.out_channels, height, width))
    }

    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels && self.groups == self.out_channels
    }

    /// The taps of the window as offsets down and right from the output pixel's corner.
    fn taps(&self) -> Vec<[isize; 2]> {
        let [kh, kw] = self.kernel;
        let tap = |i: usize| {
            let y = i / kw * self.dilation[0];
            let x = i % kw * self.dilation[1];
            [y as isize, x as isize]
        };
        (0..kh * kw).map(tap).collect()
    }
}

/// A convolution with its weights packed for one instruction set, bias and non-linearity included.
#[derive(Debug)]
pub struct Convolution {
    spec: ConvSpec,
    isa: Isa,
    activation: Activation,
    packed: Packed,
}

#[derive(Debug)]
enum Packed {
    Blocked(blocked::Packed),
    Depthwise(depthwise::Packed),
    Planar(planar::Packed),
}

impl Convolution {
    /// Packs a convolution that reads a blocked map.
    ///
    /// # Panics
    /// If the slices do not have the lengths that `spec` asks for, or channels do not divide into
    /// groups.
    pub fn new(isa: Isa, spec: ConvSpec, kernel: Kernel2d<'_>, activation: Activation) -> Self {
        check(&spec, &kernel);
        let packed = if spec.is_depthwise() {
            Packed::Depthwise(depthwise::Packed::new(isa, &spec, &kernel))
        } else {
            Packed::Blocked(blocked::Packed::new(isa, &spec, &kernel))
        };
        Self {
            spec,
            isa,
            activation,
            packed,
        }
    }

    /// Whether [`Convolution::on_picture`] has a kernel for it.
    pub fn supports_picture(spec: &ConvSpec) -> bool {
        planar::supports(spec)
    }

    /// Packs a convolution that reads a planar picture, if there is a kernel for it (few channels,
    /// one group, stride 1 or 2 to the right): the first layer of a network.
    ///
    /// # Panics
    /// As [`Convolution::new`].
    pub fn on_picture(
        isa: Isa,
        spec: ConvSpec,
        kernel: Kernel2d<'_>,
        activation: Activation,
    ) -> Option<Self> {
        check(&spec, &kernel);
        planar::supports(&spec).then(|| Self {
            spec,
            isa,
            activation,
            packed: Packed::Planar(planar::Packed::new(isa, &spec, &kernel)),
        })
    }

    /// What it is.
    pub fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// Bytes of packed weights.
    pub fn weight_bytes(&self) -> usize {
        let values = match &self.packed {
            Packed::Blocked(p) => p.len(),
            Packed::Depthwise(p) => p.len(),
            Packed::Planar(p) => p.len(),
        };
        values * size_of::<f32>()
    }

    /// The algorithm, in a word.
    pub fn algorithm(&self) -> &'static str {
        match &self.packed {
            Packed::Blocked(p) if p.is_dense() => "gemm",
            Packed::Blocked(_) => "window gemm",
            Packed::Depthwise(_) => "depthwise",
            Packed::Planar(_) => "planar",
        }
    }

    /// `output = activation(convolution(input) + bias + residual)`, all blocked.
    ///
    /// # Panics
    /// If shapes do not fit, or it was packed [`Convolution::on_picture`].
    pub fn run(&self, input: Map<'_>, mut output: MapMut<'_>, residual: Option<Map<'_>>) {
        assert_eq!(self.spec.in_channels, input.shape().channels, "channels in");
        self.check_output(input.shape(), &output, residual);
        match &self.packed {
            Packed::Blocked(p) => p.run(&self.spec, input, &mut output, residual, self.activation),
            Packed::Depthwise(p) => {
                p.run(&self.spec, input, &mut output, residual, self.activation);
            }
            Packed::Planar(_) => panic!("packed for a planar picture, given a blocked map"),
        }
    }

    /// Values of scratch memory that [`Convolution::run_on_picture`] needs.
    pub fn scratch_len(&self, input: MapShape) -> usize {
        match &self.packed {
            Packed::Planar(_) => planar::scratch_len(&self.spec, input),
            _ => 0,
        }
    }

    /// `output = activation(convolution(input) + bias)` for a planar `input`, N×C×H×W.
    ///
    /// # Panics
    /// If shapes do not fit, or it was packed for blocked maps.
    pub fn run_on_picture(
        &self,
        input: &[f32],
        shape: MapShape,
        scratch: &mut [f32],
        mut output: MapMut<'_>,
    ) {
        assert_eq!(
            input.len(),
            shape.batch * shape.planar_len(),
            "a picture of {shape:?}"
        );
        self.check_output(shape, &output, None);
        match &self.packed {
            Packed::Planar(p) => {
                p.run(
                    &self.spec,
                    input,
                    shape,
                    scratch,
                    &mut output,
                    self.activation,
                );
            }
            _ => panic!("packed for a blocked map, given a planar picture"),
        }
    }

    fn check_output(&self, input: MapShape, output: &MapMut<'_>, residual: Option<Map<'_>>) {
        assert_eq!(
            Some(output.shape()),
            self.spec.output(input),
            "output of {:?}",
            self.spec
        );
        assert_eq!(self.isa, output.isa(), "packed for another instruction set");
        if let Some(residual) = residual {
            crate::map::assert_same(residual.shape(), output.shape());
        }
    }
}

fn check(spec: &ConvSpec, kernel: &Kernel2d<'_>) {
    let divides = |channels: usize| channels.is_multiple_of(spec.groups);
    assert!(
        divides(spec.in_channels) && divides(spec.out_channels),
        "channels do not divide into groups: {spec:?}"
    );
    assert_eq!(
        kernel.weights.len(),
        spec.weights_len(),
        "kernel of {spec:?}"
    );
    assert!(
        [0, spec.out_channels].contains(&kernel.bias.len()),
        "bias of {spec:?}"
    );
}

#[cfg(test)]
mod tests;
