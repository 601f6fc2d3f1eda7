//! Layer norm: each pixel's channels brought to mean 0 and variance 1, scaled and shifted.
//!
//! Contract: `y = (x − mean) / √(variance + eps) · scale + shift` over the channels of each pixel, the
//! variance biased, as PyTorch's. Each value is read three times, from cache after the first. Sums run
//! block by block in a vector's lanes, then across them; error at most `2⁻²³ · (channels / lanes + 8)` of the
//! largest |x| over the deviation. Lanes that fill the last block up become 0.

mod gradient;

use std::ops::Range;

pub use gradient::layer_norm_gradient;

use crate::buffer::Buffer;
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut, assert_same, one_isa};
use crate::shared::{in_parallel, part, parts};
use crate::simd::Simd;

/// Norm of each pixel's channels.
///
/// # Panics
/// If the shapes differ or there are not as many scales and shifts as channels.
pub fn layer_norm(x: Map<'_>, [scale, shift]: [&[f32]; 2], eps: f32, output: &mut MapMut<'_>) {
    let isa = one_isa([x.isa(), output.isa()]);
    let (shape, blocks) = (x.shape(), x.blocks());
    assert_same(shape, output.shape());
    let filled = |values: &[f32]| {
        assert_eq!(values.len(), shape.channels, "one value a channel");
        padded(isa, values)
    };
    let (scale, shift) = (filled(scale), filled(shift));
    let counts = padded(isa, &vec![1.0; shape.channels]);
    let cuts = parts(shape.pixels(), 64);
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(shape.batch * cuts, |task| {
        let image = task / cuts;
        isa.run(Pixels {
            from: Picture {
                x: x.block(image, 0),
                blocks,
                plane,
                channels: shape.channels as f32,
                counts: &counts,
                eps,
            },
            // SAFETY: pixels of a picture are written by the one task whose part they are in.
            to: unsafe { shared.at(image * image_stride) },
            affine: [&scale, &shift],
            pixels: part(shape.pixels(), cuts, task % cuts),
        });
    });
}

/// Values with zeros up to a whole block.
pub(crate) fn padded(isa: Isa, values: &[f32]) -> Buffer {
    let mut padded = Buffer::zeros(values.len().next_multiple_of(isa.lanes()));
    padded[..values.len()].copy_from_slice(values);
    padded
}

/// Pixels worked on together: as many sums in flight.
const STRIP: usize = 8;

/// One picture that is read.
#[derive(Clone, Copy)]
struct Picture<'a> {
    x: *const f32,
    blocks: usize,
    plane: usize,
    channels: f32,
    /// 1 for each channel, 0 for what fills the last block up.
    counts: &'a [f32],
    eps: f32,
}

impl Picture<'_> {
    /// For `count` pixels from `first` on the means of their channels, and one over the deviations.
    ///
    /// # Safety
    /// As for [`Simd`]; the picture has `count` pixels from `first` on, at most [`STRIP`].
    #[inline(always)]
    unsafe fn statistics<S: Simd>(&self, first: usize, count: usize) -> [[S::V; STRIP]; 2] {
        // SAFETY: every block of the picture has the pixels; there is a count for each of its lanes.
        unsafe {
            let at = |block: usize, m: usize| block * self.plane + (first + m) * S::LANES;
            let mut sums = [S::zero(); STRIP];
            for block in 0..self.blocks {
                let counts = S::load(self.counts.as_ptr().add(block * S::LANES));
                for (m, sum) in sums.iter_mut().enumerate().take(count) {
                    *sum = S::mul_add(S::load(self.x.add(at(block, m))), counts, *sum);
                }
            }
            let mut means = [S::zero(); STRIP];
            for (mean, sum) in means.iter_mut().zip(sums).take(count) {
                *mean = S::splat(total::<S>(sum) / self.channels);
            }
            sums = [S::zero(); STRIP];
            for block in 0..self.blocks {
                let counts = S::load(self.counts.as_ptr().add(block * S::LANES));
                for (m, sum) in sums.iter_mut().enumerate().take(count) {
                    let apart = S::sub(S::load(self.x.add(at(block, m))), means[m]);
                    let apart = S::mul(apart, counts);
                    *sum = S::mul_add(apart, apart, *sum);
                }
            }
            let mut inverse = [S::zero(); STRIP];
            for (inverse, sum) in inverse.iter_mut().zip(sums).take(count) {
                let variance = total::<S>(sum) / self.channels;
                *inverse = S::splat(1.0 / (variance + self.eps).sqrt());
            }
            [means, inverse]
        }
    }
}

/// Some pixels of one picture.
struct Pixels<'a> {
    from: Picture<'a>,
    to: *mut f32,
    affine: [&'a [f32]; 2],
    pixels: Range<usize>,
}

impl Kernel for Pixels<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: both maps have the pixels in every block; scale and shift are filled up to whole blocks.
        unsafe {
            let [scale, shift] = self.affine.map(<[f32]>::as_ptr);
            for first in self.pixels.clone().step_by(STRIP) {
                let count = STRIP.min(self.pixels.end - first);
                let [means, inverse] = self.from.statistics::<S>(first, count);
                for block in 0..self.from.blocks {
                    let scale = S::load(scale.add(block * S::LANES));
                    let shift = S::load(shift.add(block * S::LANES));
                    for m in 0..count {
                        let at = block * self.from.plane + (first + m) * S::LANES;
                        let apart = S::sub(S::load(self.from.x.add(at)), means[m]);
                        let y = S::mul_add(S::mul(apart, inverse[m]), scale, shift);
                        S::store(self.to.add(at), y);
                    }
                }
            }
        }
    }
}

/// The sum of all lanes, halves first.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn total<S: Simd>(x: S::V) -> f32 {
    // SAFETY: a vector has no more lanes than the array that it is stored to.
    unsafe {
        let mut lanes = [0.0; 16];
        S::store(lanes.as_mut_ptr(), x);
        let mut half = S::LANES / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
            half /= 2;
        }
        lanes[0]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layout::{blocked, to_planar};
    use crate::map::MapShape;
    use crate::reference;
    use crate::threads::Threads;

    proptest! {
        #![proptest_config(segmenta_properties::cases(64))]

        #[test]
        fn any_shape(
            batch in 1_usize..3,
            channels in 2_usize..70,
            [height, width] in [1_usize..15, 1_usize..15],
            offset in prop::sample::select(vec![0.0_f32, 5.0]),
        ) {
            let shape = MapShape::new(batch, channels, height, width);
            let value = |i: usize| (i as u32).wrapping_mul(0x9E37_79B9) as f32 / u32::MAX as f32 + offset;
            let x: Vec<f32> = (0..batch * shape.planar_len()).map(value).collect();
            let affine = [1.5, -0.25].map(|at: f32| -> Vec<f32> {
                (0..channels).map(|c| at + c as f32 * 0.01).collect()
            });
            let pixels = shape.pixels();
            let channel = |i: usize| i / pixels % channels;
            let expected = reference::normalise(
                &x,
                |i| i / pixels / channels * pixels + i % pixels,
                1e-6,
                |i| [affine[0][channel(i)], affine[1][channel(i)]],
            );
            for isa in Isa::available() {
                let source = blocked(isa, shape, &x);
                let run = |threads: usize| {
                    let mut output = Buffer::zeros(shape.blocked_len(isa));
                    output.fill(f32::NAN);
                    let to = &mut MapMut::whole(isa, shape, &mut output);
                    let from = Map::whole(isa, shape, &source);
                    Threads::new(threads).unwrap().run(|| {
                        layer_norm(from, [&affine[0], &affine[1]], 1e-6, to);
                    });
                    let mut got = vec![0.0; x.len()];
                    to_planar(Map::whole(isa, shape, &output), &mut got);
                    (got, output.iter().all(|x| x.is_finite()))
                };
                let (got, finite) = run(1);
                prop_assert!(finite && got == run(3).0, "{isa}");
                reference::assert_close(&isa.to_string(), &got, &expected, reference::SHARE);
            }
        }
    }
}
