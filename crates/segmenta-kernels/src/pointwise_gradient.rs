//! Gradients of maps added and scaled.
//!
//! A sum's gradient is that of each term, so all there is to do is to add up what several readers of one
//! map give it. Contract of [`scale_gradient`]: sums of 64 pixels, then of those; each in its order.

use crate::isa::Kernel;
use crate::map::{Map, MapMut, MapShape, assert_same, one_isa};
use crate::shared::in_parallel;
use crate::simd::Simd;

/// `total += dy`: the gradient of a map that one more reader has.
///
/// # Panics
/// If the shapes differ.
pub fn accumulate(dy: Map<'_>, total: &mut MapMut<'_>) {
    let isa = one_isa([dy.isa(), total.isa()]);
    let (shape, blocks) = (dy.shape(), dy.blocks());
    assert_same(shape, total.shape());
    let (image_stride, plane) = (total.image_stride(), total.plane());
    let shared = total.shared();
    in_parallel(shape.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        isa.run(Add {
            from: dy.block(image, block),
            // SAFETY: a block of a picture is written by the one task that has its index.
            to: unsafe { shared.at(image * image_stride + block * plane) },
            vectors: shape.pixels(),
        });
    });
}

struct Add {
    from: *const f32,
    to: *mut f32,
    vectors: usize,
}

impl Kernel for Add {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: both blocks have so many vectors.
        unsafe {
            for i in 0..self.vectors {
                let (from, to) = (self.from.add(i * S::LANES), self.to.add(i * S::LANES));
                S::store(to, S::add(S::load(to), S::load(from)));
            }
        }
    }
}

/// The gradient of the scales in `y = x · scale`, one a channel and picture: `Σ dy · x` over the
/// pixels. (That of `x` is [`mul`](crate::mul) of `dy` by the scales.)
///
/// # Panics
/// If `x` and `dy` differ in shape, or `gradient` is not 1×1 pixels of as many channels.
pub fn scale_gradient(x: Map<'_>, dy: Map<'_>, gradient: &mut MapMut<'_>) {
    let isa = one_isa([x.isa(), dy.isa(), gradient.isa()]);
    let (shape, blocks) = (x.shape(), x.blocks());
    assert_same(shape, dy.shape());
    let one_pixel = MapShape::new(shape.batch, shape.channels, 1, 1);
    assert_same(one_pixel, gradient.shape());
    let (image_stride, plane) = (gradient.image_stride(), gradient.plane());
    let shared = gradient.shared();
    in_parallel(shape.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        isa.run(Dot {
            x: x.block(image, block),
            dy: dy.block(image, block),
            // SAFETY: a block of a picture is written by the one task that has its index.
            to: unsafe { shared.at(image * image_stride + block * plane) },
            vectors: shape.pixels(),
        });
    });
}

struct Dot {
    x: *const f32,
    dy: *const f32,
    to: *mut f32,
    vectors: usize,
}

impl Kernel for Dot {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: both blocks have so many vectors; `to` has one.
        unsafe {
            const STRIP: usize = 64;
            const TOGETHER: usize = 4;
            let mut total = S::zero();
            let mut first = 0;
            while first < self.vectors {
                let end = (first + STRIP).min(self.vectors);
                let mut sums = [S::zero(); TOGETHER];
                while first + TOGETHER <= end {
                    for (i, sum) in sums.iter_mut().enumerate() {
                        let at = (first + i) * S::LANES;
                        *sum = S::mul_add(S::load(self.x.add(at)), S::load(self.dy.add(at)), *sum);
                    }
                    first += TOGETHER;
                }
                while first < end {
                    let at = first * S::LANES;
                    sums[0] =
                        S::mul_add(S::load(self.x.add(at)), S::load(self.dy.add(at)), sums[0]);
                    first += 1;
                }
                let pairs = [S::add(sums[0], sums[1]), S::add(sums[2], sums[3])];
                total = S::add(total, S::add(pairs[0], pairs[1]));
            }
            S::store(self.to, total);
        }
    }
}

/// The gradient of the gate in `y = x · gate`, one a pixel and picture: `Σ dy · x` over the channels, in
/// their order. Lanes without a channel become 0.
///
/// # Panics
/// If `x` and `dy` differ in shape, or `gradient` is not one channel of as many pixels.
pub fn gate_gradient(x: Map<'_>, dy: Map<'_>, gradient: &mut MapMut<'_>) {
    /// Pixels of a task.
    const TASK: usize = 256;
    let isa = one_isa([x.isa(), dy.isa(), gradient.isa()]);
    let (shape, blocks) = (x.shape(), x.blocks());
    assert_same(shape, dy.shape());
    let one_channel = MapShape {
        channels: 1,
        ..shape
    };
    assert_same(one_channel, gradient.shape());
    let (lanes, pixels) = (isa.lanes(), shape.pixels());
    let (image_stride, tasks) = (gradient.image_stride(), pixels.div_ceil(TASK));
    let shared = gradient.shared();
    in_parallel(shape.batch * tasks, |task| {
        let (image, first) = (task / tasks, task % tasks * TASK);
        let count = TASK.min(pixels - first);
        // SAFETY: pixels of a picture are written by the one task that has them.
        let to = unsafe {
            let start = shared.at(image * image_stride + first * lanes);
            std::slice::from_raw_parts_mut(start, count * lanes)
        };
        to.fill(0.0);
        for block in 0..blocks {
            let channels = lanes.min(shape.channels - block * lanes);
            let [x, dy] = [x, dy].map(|map| &map.block_slice(image, block)[first * lanes..]);
            let pairs = x.chunks_exact(lanes).zip(dy.chunks_exact(lanes));
            for (to, (x, dy)) in to.chunks_exact_mut(lanes).zip(pairs) {
                let products = x.iter().zip(dy).take(channels);
                to[0] += products.map(|(x, dy)| x * dy).sum::<f32>();
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::buffer::Buffer;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};
    use crate::threads::Threads;

    proptest! {
        #![proptest_config(segmenta_properties::cases(48))]

        #[test]
        fn scales_and_sums(
            batch in 1_usize..3, channels in 1_usize..36, height in 1_usize..20, width in 1_usize..20,
        ) {
            let shape = MapShape::new(batch, channels, height, width);
            let one = MapShape::new(batch, channels, 1, 1);
            let len = batch * shape.planar_len();
            // Eighths: exact in any order.
            let x: Vec<f32> = (0..len).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
            let dy: Vec<f32> = (0..len).map(|i| (i % 13) as f32 / 8.0 - 0.5).collect();
            let planes = x.chunks_exact(shape.pixels()).zip(dy.chunks_exact(shape.pixels()));
            let expected: Vec<f32> = planes
                .map(|(x, dy)| x.iter().zip(dy).map(|(x, dy)| x * dy).sum())
                .collect();
            let sum: Vec<f32> = x.iter().zip(&dy).map(|(x, dy)| x + dy).collect();
            for isa in Isa::available() {
                let (mut x, dy) = (blocked(isa, shape, &x), blocked(isa, shape, &dy));
                let mut gradient = Buffer::zeros(one.blocked_len(isa));
                gradient.fill(f32::NAN);
                Threads::new(2).unwrap().run(|| {
                    let dy = Map::whole(isa, shape, &dy);
                    let to = &mut MapMut::whole(isa, one, &mut gradient);
                    scale_gradient(Map::whole(isa, shape, &x), dy, to);
                    accumulate(dy, &mut MapMut::whole(isa, shape, &mut x));
                });
                let mut got = vec![0.0; batch * channels];
                to_planar(Map::whole(isa, one, &gradient), &mut got);
                prop_assert_eq!(&got, &expected, "{}", isa);
                let mut got = vec![0.0; len];
                to_planar(Map::whole(isa, shape, &x), &mut got);
                prop_assert_eq!(&got, &sum, "{}", isa);
            }
        }

        #[test]
        fn gates(
            batch in 1_usize..3, channels in 1_usize..36, height in 1_usize..20, width in 1_usize..20,
        ) {
            let shape = MapShape::new(batch, channels, height, width);
            let one = MapShape { channels: 1, ..shape };
            let len = batch * shape.planar_len();
            let x: Vec<f32> = (0..len).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect();
            let dy: Vec<f32> = (0..len).map(|i| (i % 13) as f32 / 8.0 - 0.5).collect();
            let at = |image: usize, channel: usize, pixel: usize| {
                (image * channels + channel) * shape.pixels() + pixel
            };
            let expected: Vec<f32> = (0..batch * shape.pixels())
                .map(|i| {
                    let (image, pixel) = (i / shape.pixels(), i % shape.pixels());
                    let product = |c| x[at(image, c, pixel)] * dy[at(image, c, pixel)];
                    (0..channels).map(product).sum()
                })
                .collect();
            for isa in Isa::available() {
                let (mut x, dy) = (blocked(isa, shape, &x), blocked(isa, shape, &dy));
                // What fills the last block up must not be counted.
                let lanes = isa.lanes();
                if channels % lanes > 0 {
                    let last = shape.image_len(isa) - 1;
                    x[last] = 1e9;
                }
                let mut gradient = Buffer::zeros(one.blocked_len(isa));
                gradient.fill(f32::NAN);
                let to = &mut MapMut::whole(isa, one, &mut gradient);
                gate_gradient(Map::whole(isa, shape, &x), Map::whole(isa, shape, &dy), to);
                let mut got = vec![0.0; expected.len()];
                to_planar(Map::whole(isa, one, &gradient), &mut got);
                prop_assert_eq!(&got, &expected, "{}", isa);
                prop_assert!(gradient.iter().all(|g| g.is_finite()));
            }
        }
    }
}
