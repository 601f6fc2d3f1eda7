//! Gradients of maps added and scaled.
//!
//! A sum's gradient is that of each term, so all there is to do is to add up what several readers of one
//! map give it. Contract of [`scale_gradient`]: sums of 64 pixels, then of those; each in its order.

use crate::isa::Kernel;
use crate::map::{Map, MapMut, MapShape, assert_same};
use crate::shared::in_parallel;
use crate::simd::Simd;

/// `total += dy`: the gradient of a map that one more reader has.
///
/// # Panics
/// If the shapes differ.
pub fn accumulate(dy: Map<'_>, total: &mut MapMut<'_>) {
    let (isa, shape, blocks) = (dy.isa(), dy.shape(), dy.blocks());
    assert_same(shape, total.shape());
    assert_eq!(isa, total.isa(), "maps of two instruction sets");
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
        for i in 0..self.vectors {
            let (from, to) = (self.from.add(i * S::LANES), self.to.add(i * S::LANES));
            S::store(to, S::add(S::load(to), S::load(from)));
        }
    }
}

/// The gradient of the scales in `y = x · scale`, one a channel and picture: `Σ dy · x` over the
/// pixels. (That of `x` is [`mul`](crate::mul) of `dy` by the scales.)
///
/// # Panics
/// If `x` and `dy` differ in shape, or `gradient` is not 1×1 pixels of as many channels.
pub fn scale_gradient(x: Map<'_>, dy: Map<'_>, gradient: &mut MapMut<'_>) {
    let (isa, shape, blocks) = (x.isa(), x.shape(), x.blocks());
    assert_same(shape, dy.shape());
    let one_pixel = MapShape::new(shape.batch, shape.channels, 1, 1);
    assert_same(one_pixel, gradient.shape());
    assert_eq!(
        [isa; 2],
        [dy.isa(), gradient.isa()],
        "maps of one instruction set"
    );
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
                sums[0] = S::mul_add(S::load(self.x.add(at)), S::load(self.dy.add(at)), sums[0]);
                first += 1;
            }
            let pairs = [S::add(sums[0], sums[1]), S::add(sums[2], sums[3])];
            total = S::add(total, S::add(pairs[0], pairs[1]));
        }
        S::store(self.to, total);
    }
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
        #![proptest_config(ProptestConfig::with_cases(48))]

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
    }
}
