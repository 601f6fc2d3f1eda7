//! Values, whole channels and whole pictures dropped at random: dropout and stochastic depth.
//!
//! Contract: one pass over memory. Whether a value is dropped depends on the seed and on its place
//! (picture, channel, pixel), not on layout, threads or instruction set; so the same call with the gradient
//! of the output is the gradient, and nothing is kept between the two.

use rayon::prelude::*;

use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::map::{Map, MapMut, assert_same, one_isa};
use crate::pointwise::{With, each_block, scale_each};
use crate::shared::in_parallel;

/// A value between 0 and 1 that the seed and the index decide (splitmix64, Steele, Lea and Flood 2014).
fn uniform(seed: u64, index: u64) -> f32 {
    let mut z = seed.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1_u64 << 24) as f32
}

/// What is left of a map of which a share `p` is dropped.
fn kept(p: f32) -> f32 {
    assert!((0.0..=1.0).contains(&p), "a probability of {p}");
    if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 }
}

/// What the value, or picture, of this index is multiplied by.
fn factor(p: f32, scale: f32, seed: u64, index: u64) -> f32 {
    if uniform(seed, index) >= p {
        scale
    } else {
        0.0
    }
}

/// What [`dropout`] multiplies each of `count` values by, in the order N×C×H×W; or [`drop_channels`] each of
/// `count` channels, N×C; or [`drop_pictures`] each of `count` pictures. For engines that multiply on another device.
///
/// # Panics
/// If `p` is no probability.
pub fn drop_factors(p: f32, seed: u64, count: usize) -> Vec<f32> {
    let scale = kept(p);
    let of = |index| factor(p, scale, seed, index as u64);
    (0..count).into_par_iter().map(of).collect()
}

/// Each value is 0 with probability `p`, or else divided by `1 − p` (PyTorch's `Dropout` in training).
///
/// # Panics
/// If the shapes differ, or `p` is no probability.
pub fn dropout(x: Map<'_>, p: f32, seed: u64, output: &mut MapMut<'_>) {
    let lanes = one_isa([x.isa(), output.isa()]).lanes();
    let (shape, blocks) = (x.shape(), x.blocks());
    assert_same(shape, output.shape());
    let scale = kept(p);
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(shape.batch * blocks, |task| {
        let (image, block) = (task / blocks, task % blocks);
        let from = x.block_slice(image, block);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let to = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        let first = (image * shape.channels + block * lanes) * shape.pixels();
        for (pixel, (to, from)) in to
            .chunks_exact_mut(lanes)
            .zip(from.chunks_exact(lanes))
            .enumerate()
        {
            for (lane, (to, from)) in to.iter_mut().zip(from).enumerate() {
                let index = first + lane * shape.pixels() + pixel;
                let keeps = uniform(seed, index as u64) >= p;
                *to = if keeps { from * scale } else { 0.0 };
            }
        }
    });
}

/// Each channel of each picture is 0 with probability `p`, or else divided by `1 − p` (PyTorch's `Dropout2d` in
/// training).
///
/// # Panics
/// If the shapes differ, or `p` is no probability.
pub fn drop_channels(x: Map<'_>, p: f32, seed: u64, output: &mut MapMut<'_>) {
    let (shape, blocks, lanes) = (x.shape(), x.blocks(), x.isa().lanes());
    let factors = drop_factors(p, seed, shape.batch * shape.channels);
    let mut filled = Buffer::zeros(shape.batch * blocks * lanes);
    let pictures = filled.chunks_exact_mut(blocks * lanes);
    for (to, factors) in pictures.zip(factors.chunks_exact(shape.channels)) {
        to[..shape.channels].copy_from_slice(factors);
    }
    each_block(x, output, Activation::None, |image, block| {
        With::Scale(filled[(image * blocks + block) * lanes..].as_ptr())
    });
}

/// Each picture's whole map is 0 with probability `p`, or else divided by `1 − p` (stochastic depth, Huang
/// et al. 2016, in training).
///
/// # Panics
/// If the shapes differ, or `p` is no probability.
pub fn drop_pictures(x: Map<'_>, p: f32, seed: u64, output: &mut MapMut<'_>) {
    let scale = kept(p);
    scale_each(x, output, |image| factor(p, scale, seed, image as u64));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};
    use crate::map::MapShape;

    fn run(
        isa: Isa,
        shape: MapShape,
        x: &[f32],
        work: impl Fn(Map<'_>, &mut MapMut<'_>),
    ) -> Vec<f32> {
        let x = blocked(isa, shape, x);
        let mut y = Buffer::zeros(shape.blocked_len(isa));
        work(
            Map::whole(isa, shape, &x),
            &mut MapMut::whole(isa, shape, &mut y),
        );
        let mut planar = vec![0.0; shape.batch * shape.planar_len()];
        to_planar(Map::whole(isa, shape, &y), &mut planar);
        planar
    }

    #[test]
    fn the_share_asked_for_is_dropped_the_same_everywhere() {
        let shape = MapShape::new(3, 21, 17, 23);
        let ones = vec![1.0; shape.batch * shape.planar_len()];
        let of = |isa, seed| run(isa, shape, &ones, |x, y| dropout(x, 0.25, seed, y));
        let first = of(Isa::fastest(), 7);
        let dropped = first.iter().filter(|&&v| v == 0.0).count() as f64 / first.len() as f64;
        assert!((dropped - 0.25).abs() < 0.01, "{dropped}");
        let kept = |v: &f32| *v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6;
        assert!(first.iter().all(kept));
        for isa in Isa::available() {
            assert_eq!(of(isa, 7), first, "{isa}");
        }
        assert_ne!(of(Isa::fastest(), 8), first);
    }

    #[test]
    fn factors_are_those_of_the_kernels() {
        let shape = MapShape::new(9, 19, 3, 5);
        let ones = vec![1.0; shape.batch * shape.planar_len()];
        for isa in Isa::available() {
            let values = run(isa, shape, &ones, |x, y| dropout(x, 0.3, 5, y));
            assert_eq!(values, drop_factors(0.3, 5, ones.len()), "{isa}");
            let channels = run(isa, shape, &ones, |x, y| drop_channels(x, 0.3, 5, y));
            let of_channels = drop_factors(0.3, 5, shape.batch * shape.channels);
            for (channel, factor) in channels.chunks_exact(shape.pixels()).zip(of_channels) {
                assert!(channel.iter().all(|&value| value == factor), "{isa}");
            }
            let pictures = run(isa, shape, &ones, |x, y| drop_pictures(x, 0.3, 5, y));
            let first: Vec<f32> = pictures
                .chunks_exact(shape.planar_len())
                .map(|p| p[0])
                .collect();
            assert_eq!(first, drop_factors(0.3, 5, shape.batch), "{isa}");
        }
    }

    #[test]
    fn pictures_are_dropped_whole() {
        let shape = MapShape::new(200, 5, 2, 2);
        let ones = vec![1.0; shape.batch * shape.planar_len()];
        let y = run(Isa::fastest(), shape, &ones, |x, y| {
            drop_pictures(x, 0.5, 3, y);
        });
        let pictures: Vec<_> = y.chunks_exact(shape.planar_len()).collect();
        assert!(
            pictures
                .iter()
                .all(|p| p.iter().all(|v| *v == p[0] && [0.0, 2.0].contains(v)))
        );
        let dropped = pictures.iter().filter(|p| p[0] == 0.0).count();
        assert!((60..140).contains(&dropped), "{dropped}");
    }

    #[test]
    fn nothing_and_everything() {
        let shape = MapShape::new(1, 3, 4, 5);
        let x: Vec<f32> = (0..60).map(|i| i as f32).collect();
        let isa = Isa::fastest();
        assert_eq!(run(isa, shape, &x, |x, y| dropout(x, 0.0, 1, y)), x);
        assert_eq!(
            run(isa, shape, &x, |x, y| dropout(x, 1.0, 1, y)),
            vec![0.0; 60]
        );
    }
}
