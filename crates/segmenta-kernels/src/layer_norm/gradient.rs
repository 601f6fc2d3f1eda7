//! Gradients of a layer norm.
//!
//! With `x̂ = (x − mean) / deviation` and `g = dy · scale`, both over the channels of a pixel:
//! `dx = (g − mean(g) − x̂ · mean(g · x̂)) / deviation`; the scale's gradient is `Σ dy · x̂` and the shift's `Σ dy`
//! over all pixels. Contract: statistics are computed from `x` again, as the forward pass does. Sums over
//! pixels run in f32 over a task's, whose number depends on nothing, then in f64 over the tasks in their order.
//! Lanes that fill the last block up become 0.

use std::ops::Range;

use super::{Picture, STRIP, padded, total};
use crate::buffer::Buffer;
use crate::isa::Kernel;
use crate::map::{Map, MapMut, assert_same, one_isa};
use crate::shared::{Shared, in_parallel};
use crate::simd::Simd;

/// Pixels of a task.
const TASK: usize = 128;

/// The gradients of [`layer_norm`](super::layer_norm) for `dy`, that of its output: the input's in `dx`, scale's
/// and shift's in `own`.
///
/// # Panics
/// If the shapes differ or there are not as many scales, or room for gradients, as channels.
pub fn layer_norm_gradient(
    x: Map<'_>,
    dy: Map<'_>,
    scale: &[f32],
    eps: f32,
    dx: &mut MapMut<'_>,
    own: [&mut [f32]; 2],
) {
    let isa = one_isa([x.isa(), dy.isa(), dx.isa()]);
    let (shape, blocks) = (x.shape(), x.blocks());
    assert_same(shape, dy.shape());
    assert_same(shape, dx.shape());
    for len in [scale.len(), own[0].len(), own[1].len()] {
        assert_eq!(len, shape.channels, "one value a channel");
    }
    let scale = padded(isa, scale);
    let counts = padded(isa, &vec![1.0; shape.channels]);
    let (tasks, width) = (shape.pixels().div_ceil(TASK), scale.len());
    let mut sums = Buffer::zeros(shape.batch * tasks * 2 * width);
    let sums_of = Shared::new(&mut sums);
    let (image_stride, plane) = (dx.image_stride(), dx.plane());
    let shared = dx.shared();
    in_parallel(shape.batch * tasks, |task| {
        let (image, first) = (task / tasks, task % tasks * TASK);
        isa.run(Pixels {
            from: Picture {
                x: x.block(image, 0),
                blocks,
                plane,
                channels: shape.channels as f32,
                counts: &counts,
                eps,
            },
            dy: dy.block(image, 0),
            scale: &scale,
            // SAFETY: pixels of a picture are written by the one task that has them.
            dx: unsafe { shared.at(image * image_stride) },
            // SAFETY: each task has sums of its own, zeros so far.
            sums: unsafe {
                std::slice::from_raw_parts_mut(sums_of.at(task * 2 * width), 2 * width)
            },
            pixels: first..(first + TASK).min(shape.pixels()),
        });
    });
    for (which, own) in own.into_iter().enumerate() {
        for (channel, to) in own.iter_mut().enumerate() {
            let of_tasks = sums[which * width + channel..].iter().step_by(2 * width);
            *to = of_tasks.map(|&sum| f64::from(sum)).sum::<f64>() as f32;
        }
    }
}

/// Some pixels of one picture.
struct Pixels<'a> {
    from: Picture<'a>,
    dy: *const f32,
    scale: &'a [f32],
    dx: *mut f32,
    /// For each channel `Σ dy · x̂`, then `Σ dy`.
    sums: &'a mut [f32],
    pixels: Range<usize>,
}

impl Kernel for Pixels<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the three maps have the pixels in every block; scale, counts and sums are filled up to whole
        // blocks.
        unsafe {
            let Picture {
                x,
                blocks,
                plane,
                channels,
                counts,
                ..
            } = self.from;
            let (of_scale, of_shift) = self.sums.split_at_mut(self.scale.len());
            for first in self.pixels.clone().step_by(STRIP) {
                let count = STRIP.min(self.pixels.end - first);
                let [means, inverse] = self.from.statistics::<S>(first, count);
                let standard = |at: usize, m: usize| {
                    let apart = S::sub(S::load(x.add(at)), means[m]);
                    S::mul(apart, inverse[m])
                };
                let mut sums = [[S::zero(); 2]; STRIP];
                for block in 0..blocks {
                    let lane = block * S::LANES;
                    let scale = S::load(self.scale.as_ptr().add(lane));
                    let mut own = [
                        S::load(of_scale.as_ptr().add(lane)),
                        S::load(of_shift.as_ptr().add(lane)),
                    ];
                    for (m, [sum, product]) in sums.iter_mut().enumerate().take(count) {
                        let at = block * plane + (first + m) * S::LANES;
                        let (dy, x) = (S::load(self.dy.add(at)), standard(at, m));
                        own = [S::mul_add(dy, x, own[0]), S::add(dy, own[1])];
                        let g = S::mul(dy, scale);
                        *sum = S::add(g, *sum);
                        *product = S::mul_add(g, x, *product);
                    }
                    S::store(of_scale.as_mut_ptr().add(lane), own[0]);
                    S::store(of_shift.as_mut_ptr().add(lane), own[1]);
                }
                for sums in sums.iter_mut().take(count) {
                    *sums = sums.map(|sum| S::splat(total::<S>(sum) / channels));
                }
                for block in 0..blocks {
                    let lane = block * S::LANES;
                    let scale = S::load(self.scale.as_ptr().add(lane));
                    let counts = S::load(counts.as_ptr().add(lane));
                    for m in 0..count {
                        let at = block * plane + (first + m) * S::LANES;
                        let g = S::mul(S::load(self.dy.add(at)), scale);
                        let along = S::mul_add(standard(at, m), sums[m][1], sums[m][0]);
                        let dx = S::mul(S::sub(g, along), S::mul(inverse[m], counts));
                        S::store(self.dx.add(at), dx);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};
    use crate::map::MapShape;
    use crate::reference;
    use crate::threads::Threads;

    proptest! {
        #![proptest_config(segmenta_properties::cases(48))]

        #[test]
        fn any_shape(
            batch in 1_usize..3,
            channels in 3_usize..70,
            [height, width] in [1_usize..20, 1_usize..20],
            offset in prop::sample::select(vec![0.0_f32, 5.0]),
        ) {
            let shape = MapShape::new(batch, channels, height, width);
            let hash = |i: usize, by: u32| (i as u32).wrapping_mul(by) as f32 / u32::MAX as f32;
            let len = batch * shape.planar_len();
            let x: Vec<f32> = (0..len).map(|i| hash(i, 0x9E37_79B9) + offset).collect();
            let dy: Vec<f32> = (0..len).map(|i| hash(i, 0x85EB_CA6B) - 0.5).collect();
            let scale: Vec<f32> = (0..channels).map(|c| 1.5 + c as f32 * 0.01).collect();
            let pixels = shape.pixels();
            let expected = reference::backward::normalise(
                &x,
                |i| i / pixels / channels * pixels + i % pixels,
                1e-6,
                |i| i / pixels % channels,
                &scale,
                &dy,
            );
            for isa in Isa::available() {
                let (x, dy) = (blocked(isa, shape, &x), blocked(isa, shape, &dy));
                let run = |threads: usize| {
                    let mut dx = Buffer::zeros(shape.blocked_len(isa));
                    dx.fill(f32::NAN);
                    let mut own = [vec![f32::NAN; channels], vec![f32::NAN; channels]];
                    Threads::new(threads).unwrap().run(|| {
                        let [x, dy] = [&x, &dy].map(|data| Map::whole(isa, shape, data));
                        let dx = &mut MapMut::whole(isa, shape, &mut dx);
                        let own = own.each_mut().map(|own| &mut own[..]);
                        layer_norm_gradient(x, dy, &scale, 1e-6, dx, own);
                    });
                    let mut got = vec![0.0; len];
                    to_planar(Map::whole(isa, shape, &dx), &mut got);
                    (got, own, dx.iter().all(|x| x.is_finite()))
                };
                let (dx, own, finite) = run(1);
                let (others, their_own, _) = run(3);
                prop_assert!(finite && dx == others && own == their_own, "{isa}");
                reference::assert_close(&format!("{isa}, dx"), &dx, &expected.input, reference::SHARE);
                reference::assert_close(&format!("{isa}, scale"), &own[0], &expected.scale, reference::SHARE);
                reference::assert_close(&format!("{isa}, shift"), &own[1], &expected.shift, reference::SHARE);
            }
        }
    }
}
