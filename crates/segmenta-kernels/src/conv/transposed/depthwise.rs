//! Every channel by itself, as bilinear upsampling with learnt weights does: a block of channels
//! is one vector, a pixel a few multiply-adds; bound by memory.

use std::ops::Range;

use super::TransposedSpec;
use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::conv::Kernel2d;
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut};
use crate::shared::{in_parallel, part, parts};
use crate::simd::Simd;

/// Weights as `[block][tap][lanes]`, bias as `[block][lanes]`.
#[derive(Debug)]
pub(crate) struct Packed {
    weights: Buffer,
    bias: Buffer,
}

impl Packed {
    pub(crate) fn new(isa: Isa, spec: &TransposedSpec, kernel: &Kernel2d<'_>) -> Self {
        let lanes = isa.lanes();
        let blocks = spec.out_channels.div_ceil(lanes);
        let taps = spec.kernel[0] * spec.kernel[1];
        let mut weights = Buffer::zeros(blocks * taps * lanes);
        for (channel, values) in kernel.weights.chunks_exact(taps).enumerate() {
            for (tap, &value) in values.iter().enumerate() {
                weights[(channel / lanes * taps + tap) * lanes + channel % lanes] = value;
            }
        }
        let mut bias = Buffer::zeros(blocks * lanes);
        bias[..kernel.bias.len()].copy_from_slice(kernel.bias);
        Self { weights, bias }
    }

    pub(crate) fn len(&self) -> usize {
        self.weights.len() + self.bias.len()
    }

    pub(crate) fn run(
        &self,
        spec: &TransposedSpec,
        input: Map<'_>,
        output: &mut MapMut<'_>,
        activation: Activation,
    ) {
        let isa = input.isa();
        let (shape, blocks) = (output.shape(), output.blocks());
        let taps = |axis: usize| -> Vec<_> {
            (0..spec.stride[axis])
                .map(|phase| spec.taps(axis, phase))
                .collect()
        };
        let (ys, xs) = (&taps(0), &taps(1));
        let lanes = isa.lanes();
        let taps = spec.kernel[0] * spec.kernel[1];
        let cuts = parts(shape.height, 8);
        let (plane, image_stride) = (output.plane(), output.image_stride());
        let shared = output.shared();
        in_parallel(shape.batch * blocks * cuts, |task| {
            let (image, block) = (task / cuts / blocks, task / cuts % blocks);
            isa.run(Rows {
                input: input.block(image, block),
                size: [input.shape().height, input.shape().width],
                weights: &self.weights[block * taps * lanes..][..taps * lanes],
                kernel_width: spec.kernel[1],
                bias: &self.bias[block * lanes..][..lanes],
                taps: [ys, xs],
                rows: part(shape.height, cuts, task % cuts),
                width: shape.width,
                // SAFETY: rows of a block are written by the one task whose part they are in.
                output: unsafe { shared.at(image * image_stride + block * plane) },
                activation,
            });
        });
    }
}

/// Some rows of one block of one picture, every channel by itself.
struct Rows<'a> {
    input: *const f32,
    size: [usize; 2],
    weights: &'a [f32],
    kernel_width: usize,
    bias: &'a [f32],
    /// For each side and phase: see [`TransposedSpec::taps`].
    taps: [&'a [Vec<(usize, isize)>]; 2],
    rows: Range<usize>,
    width: usize,
    output: *mut f32,
    activation: Activation,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: pixels of the input are compared with its size before they are read; `number` and `phase`
        // count the output's columns, and rows of a block are written by the one task that has them.
        unsafe {
            let [height, width] = self.size;
            let [ys, xs] = self.taps;
            let bias = S::load(self.bias.as_ptr());
            for row in self.rows.clone() {
                let out = self.output.add(row * self.width * S::LANES);
                let (first, ys) = ((row / ys.len()) as isize, &ys[row % ys.len()]);
                let (mut number, mut phase) = (0, 0);
                for column in 0..self.width {
                    let mut sum = bias;
                    for &(ky, dy) in ys {
                        let y = (first + dy) as usize;
                        if y >= height {
                            continue;
                        }
                        for &(kx, dx) in xs.get_unchecked(phase) {
                            let x = (number + dx) as usize;
                            if x < width {
                                let weight = (ky * self.kernel_width + kx) * S::LANES;
                                let weight = S::load(self.weights.as_ptr().add(weight));
                                let pixel = S::load(self.input.add((y * width + x) * S::LANES));
                                sum = S::mul_add(pixel, weight, sum);
                            }
                        }
                    }
                    S::store(out.add(column * S::LANES), sum);
                    phase += 1;
                    if phase == xs.len() {
                        (number, phase) = (number + 1, 0);
                    }
                }
                if self.activation != Activation::None {
                    self.activation.in_place::<S>(out, self.width);
                }
            }
        }
    }
}
