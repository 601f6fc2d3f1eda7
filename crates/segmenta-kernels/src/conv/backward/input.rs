//! The gradient of a convolution's input: a convolution of its output's gradient with the kernel
//! transposed and turned; where it strides, a transposed one.

use crate::activation::Activation;
use crate::conv::{
    ConvPlan, ConvSpec, Convolution, Kernel2d, TransposedConvolution, TransposedSpec, WeightMemory,
};
use crate::isa::Isa;
use crate::map::{Map, MapMut, MapShape};

/// How the gradient of a convolution's input is computed for inputs of one shape. It holds a packed
/// kernel, which each run writes anew.
#[derive(Debug)]
pub struct InputGradient {
    input: MapShape,
    weights_len: usize,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Convolution(Box<Convolution>, ConvPlan),
    Transposed(TransposedConvolution),
}

impl InputGradient {
    /// For a convolution of blocked maps, run by up to `threads` threads.
    ///
    /// # Panics
    /// If the window does not fit the input, or channels differ or do not divide into groups.
    pub fn new(isa: Isa, spec: ConvSpec, input: MapShape, threads: usize) -> Self {
        let output = super::output(&spec, input);
        let zeros = vec![0.0; spec.weights_len()];
        let kernel = Kernel2d {
            weights: &zeros,
            bias: &[],
        };
        let reach = [0, 1].map(|axis| spec.dilation[axis] * (spec.kernel[axis] - 1));
        let padded = [0, 1].map(|axis| reach[axis].checked_sub(spec.padding[axis]));
        let way = if let (&[Some(down), Some(right)], [1, 1]) = (&padded, spec.stride) {
            let turned = ConvSpec {
                in_channels: spec.out_channels,
                out_channels: spec.in_channels,
                padding: [down, right],
                ..spec
            };
            let conv = Convolution::new(isa, turned, kernel, Activation::None);
            let plan = conv.plan(output, threads, WeightMemory::Brief);
            Way::Convolution(Box::new(conv), plan)
        } else {
            let rest = |axis: usize, size: usize, windows: usize| {
                let covered = (windows - 1) * spec.stride[axis] + reach[axis] + 1;
                size + 2 * spec.padding[axis] - covered
            };
            let transposed = TransposedSpec {
                in_channels: spec.out_channels,
                out_channels: spec.in_channels,
                kernel: spec.kernel,
                stride: spec.stride,
                padding: spec.padding,
                output_padding: [
                    rest(0, input.height, output.height),
                    rest(1, input.width, output.width),
                ],
                dilation: spec.dilation,
                groups: spec.groups,
            };
            let conv = TransposedConvolution::new(isa, transposed, kernel, Activation::None);
            Way::Transposed(conv)
        };
        Self {
            input,
            weights_len: zeros.len(),
            way,
        }
    }

    /// The algorithm, in a word.
    pub fn algorithm(&self) -> &'static str {
        match &self.way {
            Way::Convolution(_, plan) => plan.algorithm(),
            Way::Transposed(conv) => conv.algorithm(),
        }
    }

    /// Values of scratch memory that a run needs.
    pub fn scratch_len(&self) -> usize {
        match &self.way {
            Way::Convolution(_, plan) => plan.scratch_len(),
            Way::Transposed(_) => 0,
        }
    }

    /// Whether a run can add what other readers of the input gave it.
    pub fn adds(&self) -> bool {
        matches!(self.way, Way::Convolution(..))
    }

    /// `dx[c] = Σ dy[o] · weights[o, c, tap]` over output channels and taps, where `dy` is the gradient
    /// of the convolution's output, before its non-linearity; plus `others`, what other readers of the
    /// input gave it.
    ///
    /// # Panics
    /// If shapes do not fit, the scratch memory is too short, there are more threads than were
    /// planned for, or there are `others` where it cannot add ([`InputGradient::adds`]).
    pub fn run(
        &mut self,
        dy: Map<'_>,
        weights: &[f32],
        others: Option<Map<'_>>,
        dx: MapMut<'_>,
        scratch: &mut [f32],
    ) {
        assert_eq!(weights.len(), self.weights_len, "kernel");
        assert_eq!(dx.shape(), self.input, "gradient of the input");
        match &mut self.way {
            Way::Convolution(conv, plan) => {
                conv.repack_for_gradient(weights);
                conv.run(plan, dy, dx, others, scratch);
            }
            Way::Transposed(conv) => {
                assert!(others.is_none(), "a strided gradient cannot add");
                conv.repack(Kernel2d { weights, bias: &[] });
                conv.run(dy, dx);
            }
        }
    }
}
