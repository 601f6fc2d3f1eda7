//! Transposed convolution of blocked maps (PyTorch's `ConvTranspose2d`), by phases.
//!
//! With stride `s`, the outputs that are equal modulo `s` on both sides are an ordinary convolution
//! with stride 1 of the input and every tap that reaches them, so `s × s` of those make the whole,
//! and no zero is multiplied: `phases.rs`, and `depthwise.rs` for channels by themselves.
//!
//! Contract: reads the input once a tap and panel of output channels, writes every output pixel,
//! lanes without a channel included. Error: that of a sum in f32, in the order of taps, then channels.

mod depthwise;
mod phases;

use super::spec::{LONGEST, check_extents, kernel_len, reach};
use super::{ConvSpec, Kernel2d};
use crate::activation::Activation;
use crate::isa::Isa;
use crate::map::{Map, MapMut, MapShape, one_isa};

/// A transposed convolution's extents; the meaning is PyTorch's `ConvTranspose2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransposedSpec {
    /// Channels that come in.
    pub in_channels: usize,
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
    /// Spread of the taps down and right.
    pub dilation: [usize; 2],
    /// Groups of channels.
    pub groups: usize,
}

impl TransposedSpec {
    /// Values of the kernel, `[in, out / groups, height, width]`.
    ///
    /// # Panics
    /// If there are no groups, or it is more than a `usize` holds.
    pub fn weights_len(&self) -> usize {
        kernel_len(
            self.in_channels,
            self.out_channels / self.groups,
            self.kernel,
        )
        .unwrap_or_else(|| panic!("more weights than memory has places: {self:?}"))
    }

    /// The shape that comes out, if there is one: every extent is at least 1 and the padding leaves something.
    pub fn output(&self, input: MapShape) -> Option<MapShape> {
        let side = |size: usize, axis: usize| {
            let reach = reach(self.kernel[axis], self.dilation[axis])?;
            let steps = size.checked_sub(1)?.checked_mul(self.stride[axis])?;
            let more = reach.checked_add(self.output_padding[axis])?;
            let whole = steps.checked_add(more).filter(|&whole| whole <= LONGEST)?;
            let side = whole.checked_sub(self.padding[axis].checked_mul(2)?)?;
            (self.stride[axis] > 0 && side > 0).then_some(side)
        };
        let (height, width) = (side(input.height, 0)?, side(input.width, 1)?);
        Some(MapShape::new(input.batch, self.out_channels, height, width))
    }

    /// The convolution whose input gradient this is. Run on this one's output gradient, with the same
    /// kernel, it is this one's input gradient; and the weight gradient of the two is one, with the
    /// output gradient as input and the input as output gradient.
    pub fn adjoint(&self) -> ConvSpec {
        ConvSpec {
            in_channels: self.out_channels,
            out_channels: self.in_channels,
            kernel: self.kernel,
            stride: self.stride,
            padding: self.padding,
            dilation: self.dilation,
            groups: self.groups,
        }
    }

    fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels && self.groups == self.out_channels
    }

    /// The taps of one side that reach the outputs `phase + t · stride`, each with the input that
    /// it reads, counted from `t`.
    fn taps(&self, axis: usize, phase: usize) -> Vec<(usize, isize)> {
        let stride = self.stride[axis] as isize;
        let from = |tap: usize| {
            let distance = phase + self.padding[axis];
            let distance = distance as isize - (tap * self.dilation[axis]) as isize;
            (distance % stride == 0).then_some((tap, distance / stride))
        };
        (0..self.kernel[axis]).filter_map(from).collect()
    }
}

/// A transposed convolution with its weights packed for one instruction set, bias and
/// non-linearity included.
#[derive(Debug)]
pub struct TransposedConvolution {
    spec: TransposedSpec,
    isa: Isa,
    activation: Activation,
    packed: Packed,
}

#[derive(Debug)]
enum Packed {
    Phases(phases::Packed),
    Depthwise(depthwise::Packed),
}

impl TransposedConvolution {
    /// Packs a transposed convolution; the kernel is `[in, out / groups, height, width]`.
    ///
    /// # Panics
    /// If an extent is 0, channels do not divide into groups, or the slices do not have the lengths that `spec`
    /// asks for.
    pub fn new(
        isa: Isa,
        spec: TransposedSpec,
        kernel: Kernel2d<'_>,
        activation: Activation,
    ) -> Self {
        check(&spec, &kernel);
        let packed = if spec.is_depthwise() {
            Packed::Depthwise(depthwise::Packed::new(isa, &spec, &kernel))
        } else {
            Packed::Phases(phases::Packed::new(isa, &spec, &kernel))
        };
        Self {
            spec,
            isa,
            activation,
            packed,
        }
    }

    /// Packs other weights in place of those that it has, on all threads.
    ///
    /// # Panics
    /// If the slices do not have the lengths of its extents.
    pub fn repack(&mut self, kernel: Kernel2d<'_>) {
        check(&self.spec, &kernel);
        match &mut self.packed {
            Packed::Phases(p) => p.repack(self.isa, &self.spec, &kernel),
            Packed::Depthwise(p) => *p = depthwise::Packed::new(self.isa, &self.spec, &kernel),
        }
    }

    /// What it is.
    pub fn spec(&self) -> &TransposedSpec {
        &self.spec
    }

    /// Bytes of packed weights.
    pub fn weight_bytes(&self) -> usize {
        let values = match &self.packed {
            Packed::Phases(p) => p.len(),
            Packed::Depthwise(p) => p.len(),
        };
        values * size_of::<f32>()
    }

    /// The algorithm, in a word.
    pub fn algorithm(&self) -> &'static str {
        match &self.packed {
            Packed::Phases(_) => "phases",
            Packed::Depthwise(_) => "depthwise phases",
        }
    }

    /// `output = activation(transposed convolution(input) + bias)`, both blocked.
    ///
    /// # Panics
    /// If shapes do not fit, or a map is laid out for another instruction set.
    pub fn run(&self, input: Map<'_>, mut output: MapMut<'_>) {
        assert_eq!(self.spec.in_channels, input.shape().channels, "channels in");
        assert_eq!(
            Some(output.shape()),
            self.spec.output(input.shape()),
            "output of {:?}",
            self.spec
        );
        one_isa([self.isa, input.isa(), output.isa()]);
        match &self.packed {
            Packed::Phases(p) => p.run(&self.spec, input, &mut output, self.activation),
            Packed::Depthwise(p) => p.run(&self.spec, input, &mut output, self.activation),
        }
    }
}

fn check(spec: &TransposedSpec, kernel: &Kernel2d<'_>) {
    check_extents(
        [spec.in_channels, spec.out_channels, spec.groups],
        [spec.kernel, spec.stride, spec.dilation],
        spec,
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
