//! Gradients: the two sums that all pixels share in one pass, the input's gradient in a second. The
//! non-linearity's derivative is computed from the input again, so that nothing but the input is kept.

use std::ops::Range;

use super::{BatchNorm, Cuts, Statistics, padded};
use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::derivative::{Derivative, with_derivative};
use crate::isa::Kernel;
use crate::map::{Map, MapMut, assert_same, one_isa};
use crate::shared::Shared;
use crate::simd::Simd;

/// Pixels whose sums are f32.
const STRIP: usize = 256;

/// Gradients of a batch norm's numbers, one a channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchNormGradients {
    /// Of the scale.
    pub scale: Vec<f32>,
    /// Of the shift.
    pub shift: Vec<f32>,
}

impl BatchNorm<'_> {
    /// The gradients for `dy`, the gradient of the output, after the non-linearity: the input's in `dx`,
    /// those of scale and shift returned. Statistics that were not measured ([`Statistics::fixed`])
    /// do not depend on the input.
    ///
    /// # Panics
    /// If shapes differ, or there are not as many values as channels.
    pub fn gradients(
        &self,
        x: Map<'_>,
        dy: Map<'_>,
        statistics: &Statistics,
        dx: &mut MapMut<'_>,
    ) -> BatchNormGradients {
        let (isa, shape) = (one_isa([x.isa(), dy.isa(), dx.isa()]), x.shape());
        assert_same(shape, dy.shape());
        assert_same(shape, dx.shape());
        let pad = |values: &[f32]| padded(isa, values, shape.channels);
        let [scale, shift, mean, inverse] = [
            self.scale,
            self.shift,
            &statistics.mean,
            &statistics.inverse_std,
        ]
        .map(pad);
        let measured = statistics.count > 0;
        let share = if measured {
            1.0 / statistics.count as f64
        } else {
            0.0
        };
        let (lanes, cuts) = (isa.lanes(), Cuts::new(isa, shape));
        let (image_stride, plane) = (dx.image_stride(), dx.plane());
        let output = dx.shared();

        let parts = cuts.parts();
        let mut sums = Buffer::zeros(cuts.blocks * parts * 2 * lanes);
        let sums = Shared::new(&mut sums);
        // For each block the sums, then what pixels subtract: a constant and a multiple of x − mean.
        let mut totals = [(); 4].map(|()| Buffer::zeros(cuts.blocks * lanes));
        let [of_scale, of_shift, constant, slope] = &mut totals;
        let [of_scale, of_shift, constant, slope] =
            [of_scale, of_shift, constant, slope].map(|b| Shared::new(b));
        let task = |block: usize, index: usize| {
            let (image, pixels) = cuts.part(index);
            let at = block * lanes;
            Pixels {
                x: x.block(image, block),
                dy: dy.block(image, block),
                pixels,
                mean: mean[at..].as_ptr(),
                inverse: inverse[at..].as_ptr(),
                scale: scale[at..].as_ptr(),
                shift: shift[at..].as_ptr(),
                activation: self.activation,
            }
        };
        cuts.run(
            |block, index| {
                isa.run(Sum {
                    pixels: task(block, index),
                    // SAFETY: one task has this block and part.
                    to: unsafe { sums.at((block * parts + index) * 2 * lanes) },
                });
            },
            |block| {
                for lane in 0..lanes {
                    let at = block * lanes + lane;
                    let total = |which: usize| -> f64 {
                        let of_part = |index| {
                            let at = ((block * parts + index) * 2 + which) * lanes + lane;
                            // SAFETY: the parts of this block are done.
                            f64::from(unsafe { *sums.at(at) })
                        };
                        (0..parts).map(of_part).sum()
                    };
                    let inverse = f64::from(inverse[at]);
                    let (shift, scale) = (total(0), total(1) * inverse);
                    let factor = f64::from(scale_at(self.scale, at)) * inverse * share;
                    // SAFETY: one task has this block.
                    unsafe {
                        *of_shift.at(at) = shift as f32;
                        *of_scale.at(at) = scale as f32;
                        *constant.at(at) = (factor * shift) as f32;
                        *slope.at(at) = (factor * scale * inverse) as f32;
                    }
                }
            },
            |block, index| {
                let (image, _) = cuts.part(index);
                let at = block * lanes;
                // SAFETY: the block's sums are done; pixels of a block are written by the one task that
                // has the part.
                let (to, constant, slope) = unsafe {
                    let to = output.at(image * image_stride + block * plane);
                    (to, constant.at(at), slope.at(at))
                };
                isa.run(Write {
                    pixels: task(block, index),
                    to,
                    constant,
                    slope,
                });
            },
        );
        let [scale, shift, ..] = totals.map(|values| values[..shape.channels].to_vec());
        BatchNormGradients { scale, shift }
    }
}

/// The scale of a channel; 1 for one that is none.
fn scale_at(scale: &[f32], channel: usize) -> f32 {
    scale.get(channel).copied().unwrap_or(1.0)
}

/// Some pixels of one block of one picture, and the block's numbers.
struct Pixels {
    x: *const f32,
    dy: *const f32,
    pixels: Range<usize>,
    mean: *const f32,
    inverse: *const f32,
    scale: *const f32,
    shift: *const f32,
    activation: Activation,
}

impl Pixels {
    /// Mean, scale of `x − mean`, shift.
    ///
    /// # Safety
    /// As for [`Simd`]; the pointers are as the fields say.
    #[inline(always)]
    unsafe fn numbers<S: Simd>(&self) -> [S::V; 3] {
        // SAFETY: each of the four points to a block's vector.
        unsafe {
            let slope = S::mul(S::load(self.scale), S::load(self.inverse));
            [S::load(self.mean), slope, S::load(self.shift)]
        }
    }

    /// `x − mean` of a pixel, and the gradient before the non-linearity.
    ///
    /// # Safety
    /// As for [`Simd`]; `pixel` is among the pixels.
    #[inline(always)]
    unsafe fn at<S: Simd, D: Derivative>(&self, numbers: [S::V; 3], pixel: usize) -> [S::V; 2] {
        // SAFETY: both maps have the pixel in the block that is pointed to.
        unsafe {
            let [mean, slope, shift] = numbers;
            let x = S::sub(S::load(self.x.add(pixel * S::LANES)), mean);
            let z = S::mul_add(x, slope, shift);
            [x, D::times::<S>(z, S::load(self.dy.add(pixel * S::LANES)))]
        }
    }
}

/// Sums the gradients, and their products with `x − mean`.
struct Sum {
    pixels: Pixels,
    to: *mut f32,
}

impl Kernel for Sum {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: what the caller vouches for is passed on.
        unsafe {
            with_derivative!(self.pixels.activation, D => self.each::<S, D>());
        }
    }
}

impl Sum {
    /// # Safety
    /// As for [`Simd`]; `to` has room for two vectors.
    #[inline(always)]
    unsafe fn each<S: Simd, D: Derivative>(&self) {
        // SAFETY: only pixels of the part are read; `to` has two vectors.
        unsafe {
            // Sums that need not wait for each other.
            const TOGETHER: usize = 4;
            let numbers = self.pixels.numbers::<S>();
            let (mut totals, pixels) = ([S::zero(); 2], self.pixels.pixels.clone());
            for start in pixels.clone().step_by(STRIP) {
                let end = (start + STRIP).min(pixels.end);
                let mut sums = [[S::zero(); 2]; TOGETHER];
                let mut pixel = start;
                while pixel + TOGETHER <= end {
                    for (i, [sum, product]) in sums.iter_mut().enumerate() {
                        let [x, dz] = self.pixels.at::<S, D>(numbers, pixel + i);
                        *sum = S::add(*sum, dz);
                        *product = S::mul_add(dz, x, *product);
                    }
                    pixel += TOGETHER;
                }
                while pixel < end {
                    let [x, dz] = self.pixels.at::<S, D>(numbers, pixel);
                    sums[0] = [S::add(sums[0][0], dz), S::mul_add(dz, x, sums[0][1])];
                    pixel += 1;
                }
                for [sum, product] in sums {
                    totals = [S::add(totals[0], sum), S::add(totals[1], product)];
                }
            }
            S::store(self.to, totals[0]);
            S::store(self.to.add(S::LANES), totals[1]);
        }
    }
}

/// Writes the input's gradient.
struct Write {
    pixels: Pixels,
    to: *mut f32,
    constant: *const f32,
    slope: *const f32,
}

impl Kernel for Write {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: what the caller vouches for is passed on.
        unsafe {
            with_derivative!(self.pixels.activation, D => self.each::<S, D>());
        }
    }
}

impl Write {
    /// # Safety
    /// As for [`Simd`]; `to` is the block of the same picture in a map of the same shape.
    #[inline(always)]
    unsafe fn each<S: Simd, D: Derivative>(&self) {
        // SAFETY: only pixels of the part are read and written; `constant` and `slope` point to a vector each.
        unsafe {
            let numbers = self.pixels.numbers::<S>();
            let constant = S::sub(S::zero(), S::load(self.constant));
            let slope = S::sub(S::zero(), S::load(self.slope));
            for pixel in self.pixels.pixels.clone() {
                let [x, dz] = self.pixels.at::<S, D>(numbers, pixel);
                let dx = S::mul_add(dz, numbers[1], S::mul_add(x, slope, constant));
                S::store(self.to.add(pixel * S::LANES), dx);
            }
        }
    }
}
