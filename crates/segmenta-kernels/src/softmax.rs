//! Softmax over channels: `e^(x − max) / Σ e^(x − max)` at each pixel.
//!
//! Contract: reads each value once from memory, writes it once; between, `channels` × 16 vectors are
//! held beside. Sums run in the order of the channels (planar), or in a tree over the lanes of a
//! block after the blocks (blocked). Relative error at most `2⁻²⁴ · (channels + 16)` beside that of
//! the difference `x − max`, for which see [`crate::exp`]. A pixel with a NaN or ∞, or with −∞ alone,
//! becomes NaN in all channels, as in PyTorch. Lanes that fill the last block up become 0.

use std::ops::Range;

use crate::exp::exp;
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut, MapShape, assert_same, one_isa};
use crate::shared::{Shared, in_parallel, part, parts};
use crate::simd::Simd;

/// Vectors (planar) or pixels (blocked) worked on together.
const STRIP: usize = 16;

/// Softmax over the channels of a blocked map.
///
/// # Panics
/// If the shapes differ.
pub fn softmax(input: Map<'_>, output: &mut MapMut<'_>) {
    let isa = one_isa([input.isa(), output.isa()]);
    let (shape, blocks) = (input.shape(), input.blocks());
    assert_same(shape, output.shape());
    let last = shape.channels - (blocks - 1) * isa.lanes();
    let mut filler = [0.0; STRIP];
    filler[last..].fill(f32::NEG_INFINITY);
    let cuts = parts(shape.pixels(), 8 * STRIP);
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(shape.batch * cuts, |task| {
        let image = task / cuts;
        isa.run(Blocked {
            input: input.block(image, 0),
            // SAFETY: pixels of a picture are written by the one task whose part they are in.
            output: unsafe { shared.at(image * image_stride) },
            blocks,
            plane,
            filler: &filler,
            pixels: part(shape.pixels(), cuts, task % cuts),
        });
    });
}

/// Some pixels of one picture.
struct Blocked<'a> {
    input: *const f32,
    output: *mut f32,
    blocks: usize,
    plane: usize,
    /// Added to the last block: −∞ where there is no channel.
    filler: &'a [f32; STRIP],
    pixels: Range<usize>,
}

impl Kernel for Blocked<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: both maps have the pixels in every block; the strip held beside has room for each block's.
        unsafe {
            let mut held = vec![0.0; self.blocks * STRIP * S::LANES];
            let held = held.as_mut_ptr();
            for first in self.pixels.clone().step_by(STRIP) {
                let count = STRIP.min(self.pixels.end - first);
                let held_at = |block: usize, m: usize| held.add((block * STRIP + m) * S::LANES);
                let mut largest = [S::splat(f32::NEG_INFINITY); STRIP];
                for block in 0..self.blocks {
                    let from = self.input.add(block * self.plane + first * S::LANES);
                    let filler = if block + 1 == self.blocks {
                        S::load(self.filler.as_ptr())
                    } else {
                        S::zero()
                    };
                    for (m, largest) in largest.iter_mut().enumerate().take(count) {
                        let x = S::add(S::load(from.add(m * S::LANES)), filler);
                        *largest = S::max(*largest, x);
                        S::store(held_at(block, m), x);
                    }
                }
                for largest in largest.iter_mut().take(count) {
                    *largest = S::splat(across::<S>(*largest, |a, b| if a > b { a } else { b }));
                }
                let mut sums = [S::zero(); STRIP];
                for block in 0..self.blocks {
                    for m in 0..count {
                        let x = exp::<S>(S::sub(S::load(held_at(block, m)), largest[m]));
                        sums[m] = S::add(sums[m], x);
                        S::store(held_at(block, m), x);
                    }
                }
                for sum in sums.iter_mut().take(count) {
                    *sum = S::splat(1.0 / across::<S>(*sum, |a, b| a + b));
                }
                for block in 0..self.blocks {
                    let to = self.output.add(block * self.plane + first * S::LANES);
                    for (m, &share) in sums.iter().enumerate().take(count) {
                        let x = S::mul(S::load(held_at(block, m)), share);
                        S::store(to.add(m * S::LANES), x);
                    }
                }
            }
        }
    }
}

/// All lanes of a vector as one value, halves first.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn across<S: Simd>(x: S::V, f: impl Fn(f32, f32) -> f32) -> f32 {
    // SAFETY: a vector has no more lanes than the array that it is stored to.
    unsafe {
        let mut lanes = [0.0; STRIP];
        S::store(lanes.as_mut_ptr(), x);
        let mut half = S::LANES / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] = f(lanes[i], lanes[i + half]);
            }
            half /= 2;
        }
        lanes[0]
    }
}

/// Softmax over the channels of a planar batch, `[batch][channels][height][width]`.
///
/// # Panics
/// If the slices do not have the length of the shape.
pub fn softmax_planar(isa: Isa, input: &[f32], shape: MapShape, output: &mut [f32]) {
    let len = shape.batch_len();
    assert_eq!(input.len(), len, "a batch of {shape:?}");
    assert_eq!(output.len(), len, "a batch of {shape:?}");
    let cuts = parts(shape.pixels(), 2 * STRIP * isa.lanes());
    let shared = Shared::new(output);
    in_parallel(shape.batch * cuts, |task| {
        let (image, pixels) = (task / cuts, part(shape.pixels(), cuts, task % cuts));
        isa.run(Planar {
            input: &input[image * shape.planar_len()..][..shape.planar_len()],
            // SAFETY: pixels of a picture are written by the one task whose part they are in.
            output: unsafe { shared.at(image * shape.planar_len()) },
            channels: shape.channels,
            plane: shape.pixels(),
            pixels,
        });
    });
}

/// Some pixels of one picture.
struct Planar<'a> {
    input: &'a [f32],
    output: *mut f32,
    channels: usize,
    plane: usize,
    pixels: Range<usize>,
}

impl Kernel for Planar<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the strip held beside has whole vectors for every channel; the output has the pixels that
        // the input's slice, as long, was asked for before.
        unsafe {
            let strip = STRIP * S::LANES;
            // A strip of each channel; what lies beyond the pixels is computed and thrown away.
            let mut held = vec![0.0; self.channels * strip];
            for first in self.pixels.clone().step_by(strip) {
                let count = strip.min(self.pixels.end - first);
                let vectors = count.div_ceil(S::LANES);
                let mut largest = [S::splat(f32::NEG_INFINITY); STRIP];
                for (channel, held) in held.chunks_exact_mut(strip).enumerate() {
                    let from = &self.input[channel * self.plane + first..][..count];
                    held[..count].copy_from_slice(from);
                    for (v, largest) in largest.iter_mut().enumerate().take(vectors) {
                        *largest = S::max(*largest, S::load(held.as_ptr().add(v * S::LANES)));
                    }
                }
                let mut sums = [S::zero(); STRIP];
                for held in held.chunks_exact_mut(strip) {
                    for v in 0..vectors {
                        let at = held.as_mut_ptr().add(v * S::LANES);
                        let x = exp::<S>(S::sub(S::load(at), largest[v]));
                        sums[v] = S::add(sums[v], x);
                        S::store(at, x);
                    }
                }
                for sum in sums.iter_mut().take(vectors) {
                    *sum = S::div(S::splat(1.0), *sum);
                }
                for (channel, held) in held.chunks_exact_mut(strip).enumerate() {
                    for (v, &share) in sums.iter().enumerate().take(vectors) {
                        let at = held.as_mut_ptr().add(v * S::LANES);
                        S::store(at, S::mul(S::load(at), share));
                    }
                    let to = self.output.add(channel * self.plane + first);
                    to.copy_from_nonoverlapping(held.as_ptr(), count);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::buffer::Buffer;
    use crate::layout::{blocked, to_planar};
    use crate::reference;
    use crate::threads::Threads;

    /// The blocked and the planar kernel's results.
    fn run(isa: Isa, threads: usize, input: &[f32], shape: MapShape) -> [Vec<f32>; 2] {
        let source = blocked(isa, shape, input);
        let mut output = Buffer::zeros(shape.blocked_len(isa));
        output.fill(f32::NAN);
        let mut planar = vec![f32::NAN; input.len()];
        Threads::new(threads).unwrap().run(|| {
            let mut output = MapMut::whole(isa, shape, &mut output);
            softmax(Map::whole(isa, shape, &source), &mut output);
            softmax_planar(isa, input, shape, &mut planar);
        });
        let mut unblocked = vec![0.0; input.len()];
        to_planar(Map::whole(isa, shape, &output), &mut unblocked);
        [unblocked, planar]
    }

    fn values(len: usize, scale: f32) -> Vec<f32> {
        let unit = |i: usize| (i as u32).wrapping_mul(0x9E37_79B9) as f32 / u32::MAX as f32;
        (0..len).map(|i| (unit(i) - 0.5) * scale).collect()
    }

    proptest! {
        #![proptest_config(segmenta_properties::cases(96))]

        #[test]
        fn any_shape(
            batch in 1_usize..3,
            channels in 1_usize..70,
            size in [1_usize..30, 1_usize..30],
            scale in prop::sample::select(vec![1.0_f32, 30.0, 1000.0]),
            threads in 1_usize..4,
        ) {
            let shape = MapShape::new(batch, channels, size[0], size[1]);
            let input = values(batch * shape.planar_len(), scale);
            let expected = reference::softmax(&input, shape);
            // What the difference to the maximum is rounded by is that much of the result.
            let bound = f32::EPSILON / 2.0 * (channels as f32 + 16.0 + scale);
            for isa in Isa::available() {
                let one = run(isa, 1, &input, shape);
                prop_assert!(one == run(isa, threads, &input, shape), "{isa}, {threads} threads");
                for (layout, got) in ["blocked", "planar"].into_iter().zip(one) {
                    for (i, (g, e)) in got.iter().zip(&expected).enumerate() {
                        let close = (g - e).abs() <= bound * e + f32::MIN_POSITIVE;
                        prop_assert!(close, "{isa}, {layout}, value {i}: {g}, expected {e}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_ordinary_number() {
        let shape = MapShape::new(1, 3, 1, 5);
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let input = [
            [nan, inf, -inf, -inf, 3e38],
            [1.0, 1.0, -inf, 0.0, -3e38],
            [0.0, 0.0, -inf, 0.0, 0.0],
        ]
        .concat();
        for isa in Isa::available() {
            for got in run(isa, 1, &input, shape) {
                let pixel = |i: usize| [got[i], got[i + 5], got[i + 10]];
                for i in 0..3 {
                    assert!(pixel(i).iter().all(|x| x.is_nan()), "{isa}, {:?}", pixel(i));
                }
                assert_eq!(pixel(3), [0.0, 0.5, 0.5], "{isa}");
                assert_eq!(pixel(4), [1.0, 0.0, 0.0], "{isa}");
            }
        }
    }
}
