//! Gradients of a group norm.
//!
//! With `x̂ = (x − mean) / deviation` and `g = dy · scale`, both over a group's channels and pixels:
//! `dx = (g − mean(g) − x̂ · mean(g · x̂)) / deviation`; the scale's gradient is `Σ dy · x̂` and the shift's `Σ dy`.
//! Contract: statistics are computed from `x` again; then two passes for the sums, as in the forward pass, and
//! one for `dx`. What follows the sums is done in f64. Lanes that fill the last block up become 0.

use super::{Measured, Sum, sums};
use crate::buffer::Buffer;
use crate::isa::Kernel;
use crate::map::{Map, MapMut, assert_same, one_isa};
use crate::shared::in_parallel;
use crate::simd::Simd;

/// The gradients of [`group_norm`](super::group_norm) without a non-linearity, for `dy`, that of its output: the
/// input's in `dx`, scale's and shift's returned.
///
/// # Panics
/// If the shapes differ, the channels do not divide into the groups, or there are not as many scales as
/// channels.
pub fn group_norm_gradient(
    x: Map<'_>,
    dy: Map<'_>,
    groups: usize,
    scale: Option<&[f32]>,
    eps: f32,
    dx: &mut MapMut<'_>,
) -> [Vec<f32>; 2] {
    let isa = one_isa([x.isa(), dy.isa(), dx.isa()]);
    let (shape, blocks) = (x.shape(), x.blocks());
    assert_same(shape, dy.shape());
    assert_same(shape, dx.shape());
    if let Some(scale) = scale {
        assert_eq!(scale.len(), shape.channels, "one scale a channel");
    }
    let measured = Measured::new(x, groups, eps);
    let width = measured.width;
    let sums_of_dy = sums(dy, &Buffer::zeros(shape.batch * width), Sum::Apart);
    let products = sums(x, &measured.centres, Sum::Times(dy));

    let scale_of = |channel: usize| scale.map_or(1.0, |scale| f64::from(scale[channel]));
    let count = (measured.each * shape.pixels()) as f64;
    let mut own = [(); 2].map(|()| vec![0.0_f64; shape.channels]);
    // What `dy`, `x` less the centre, and 1 are multiplied by.
    let mut factors = [(); 3].map(|()| Buffer::zeros(shape.batch * width));
    for image in 0..shape.batch {
        for first in (0..shape.channels).step_by(measured.each) {
            let [mean, inverse] = measured.of_group(image, first);
            let moved = mean - f64::from(measured.centres[image * width + first]);
            let mut means = [0.0; 2];
            for channel in first..first + measured.each {
                let at = image * width + channel;
                let sum = f64::from(sums_of_dy[at]);
                let product = (f64::from(products[at]) - moved * sum) * inverse;
                own[0][channel] += product;
                own[1][channel] += sum;
                means[0] += scale_of(channel) * sum / count;
                means[1] += scale_of(channel) * product / count;
            }
            let slope = -inverse * inverse * means[1];
            for channel in first..first + measured.each {
                let at = image * width + channel;
                factors[0][at] = (scale_of(channel) * inverse) as f32;
                factors[1][at] = slope as f32;
                factors[2][at] = (-inverse * means[0] - slope * moved) as f32;
            }
        }
    }
    let (image_stride, plane) = (dx.image_stride(), dx.plane());
    let shared = dx.shared();
    in_parallel(shape.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        let at = index * isa.lanes();
        isa.run(Write {
            maps: [x, dy].map(|map| map.block(image, block)),
            centre: &measured.centres[at..],
            factors: factors.each_ref().map(|factors| &factors[at..]),
            vectors: shape.pixels(),
            // SAFETY: a block of a picture is written by the one task that has its index.
            to: unsafe { shared.at(image * image_stride + block * plane) },
        });
    });
    own.map(|own| own.into_iter().map(|sum| sum as f32).collect())
}

/// One block of one picture.
struct Write<'a> {
    maps: [*const f32; 2],
    centre: &'a [f32],
    factors: [&'a [f32]; 3],
    vectors: usize,
    to: *mut f32,
}

impl Kernel for Write<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the maps and `to` have so many vectors in the block; centre and factors have one.
        unsafe {
            let [x, dy] = self.maps;
            let centre = S::load(self.centre.as_ptr());
            let of = |which: usize| S::load(self.factors[which].as_ptr());
            let [steep, slope, constant] = [of(0), of(1), of(2)];
            for i in 0..self.vectors {
                let at = i * S::LANES;
                let apart = S::sub(S::load(x.add(at)), centre);
                let rest = S::mul_add(apart, slope, constant);
                S::store(
                    self.to.add(at),
                    S::mul_add(S::load(dy.add(at)), steep, rest),
                );
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
            [groups, each] in [1_usize..9, 1_usize..9],
            [height, width] in [2_usize..30, 1_usize..30],
            with_scale in any::<bool>(),
        ) {
            let channels = groups * each;
            let shape = MapShape::new(batch, channels, height, width);
            let hash = |i: usize, by: u32| (i as u32).wrapping_mul(by) as f32 / u32::MAX as f32;
            let len = batch * shape.planar_len();
            let x: Vec<f32> = (0..len).map(|i| hash(i, 0x9E37_79B9) + 3.0).collect();
            let dy: Vec<f32> = (0..len).map(|i| hash(i, 0x85EB_CA6B) - 0.5).collect();
            let slope = if with_scale { 0.01 } else { 0.0 };
            let scale: Vec<f32> = (0..channels).map(|c| 1.0 + c as f32 * slope).collect();
            let channel = |i: usize| i / shape.pixels() % channels;
            let expected = reference::backward::normalise(
                &x,
                |i| i / shape.planar_len() * groups + channel(i) / each,
                1e-5,
                channel,
                &scale,
                &dy,
            );
            for isa in Isa::available() {
                let (x, dy) = (blocked(isa, shape, &x), blocked(isa, shape, &dy));
                let run = |threads: usize| {
                    let mut dx = Buffer::zeros(shape.blocked_len(isa));
                    dx.fill(f32::NAN);
                    let mut own = None;
                    Threads::new(threads).unwrap().run(|| {
                        let [x, dy] = [&x, &dy].map(|data| Map::whole(isa, shape, data));
                        let dx = &mut MapMut::whole(isa, shape, &mut dx);
                        let scale = with_scale.then_some(&scale[..]);
                        own = Some(group_norm_gradient(x, dy, groups, scale, 1e-5, dx));
                    });
                    let mut got = vec![0.0; len];
                    to_planar(Map::whole(isa, shape, &dx), &mut got);
                    (got, own.unwrap(), dx.iter().all(|x| x.is_finite()))
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
