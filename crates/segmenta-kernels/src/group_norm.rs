//! Group norm: groups of channels of each picture brought to mean 0 and variance 1 over all their pixels,
//! scaled and shifted.
//!
//! Contract: `y = activation((x − mean) / √(variance + eps) · scale + shift)`, the variance biased, as
//! PyTorch's. Three passes over memory: means, squares about them, the result. Sums run pixel by pixel in
//! the lanes, strips of pixels in f64; what follows the variance is done in f64 too.

mod gradient;

pub use gradient::group_norm_gradient;

use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::isa::Kernel;
use crate::map::{Map, MapMut};
use crate::pointwise::{With, each_block};
use crate::shared::{Shared, in_parallel};
use crate::simd::Simd;

/// Norm of `groups` groups of channels, each picture by itself; `affine` is a scale and a shift a channel, or
/// none.
///
/// # Panics
/// If the shapes differ, the channels do not divide into the groups, or there are not as many scales and
/// shifts as channels.
pub fn group_norm(
    x: Map<'_>,
    groups: usize,
    affine: Option<[&[f32]; 2]>,
    eps: f32,
    output: &mut MapMut<'_>,
    activation: Activation,
) {
    let (shape, lanes) = (x.shape(), x.isa().lanes());
    for values in affine.iter().flatten() {
        assert_eq!(values.len(), shape.channels, "one value a channel");
    }
    let measured = Measured::new(x, groups, eps);
    let width = measured.width;
    let mut scales = Buffer::zeros(shape.batch * width);
    let mut shifts = Buffer::zeros(shape.batch * width);
    for image in 0..shape.batch {
        for channel in 0..shape.channels {
            let [mean, inverse] = measured.of_group(image, channel);
            let [scale, shift] = affine.map_or([1.0, 0.0], |a| a.map(|v| f64::from(v[channel])));
            let at = image * width + channel;
            scales[at] = (scale * inverse) as f32;
            shifts[at] = (shift - mean * scale * inverse) as f32;
        }
    }
    each_block(x, output, activation, |image, block| {
        let at = image * width + block * lanes;
        With::Affine(scales[at..].as_ptr(), shifts[at..].as_ptr())
    });
}

/// Mean of each group of each picture, and one over its deviation.
struct Measured {
    groups: usize,
    /// Channels of a group.
    each: usize,
    /// Channels of a picture, filled up to whole blocks.
    width: usize,
    /// For each channel of each picture its group's mean as it is in f32.
    centres: Buffer,
    groups_of_pictures: Vec<[f64; 2]>,
}

impl Measured {
    fn new(x: Map<'_>, groups: usize, eps: f32) -> Self {
        let shape = x.shape();
        assert!(shape.channels.is_multiple_of(groups), "channels in groups");
        let width = x.blocks() * x.isa().lanes();
        let each = shape.channels / groups;
        let count = (each * shape.pixels()) as f64;
        let group_means = |sums: &[f32]| -> Vec<f64> {
            let images = sums.chunks_exact(width);
            images
                .flat_map(|image| {
                    let channels = image[..shape.channels].chunks_exact(each);
                    channels.map(|group| group.iter().map(|&s| f64::from(s)).sum::<f64>() / count)
                })
                .collect()
        };
        let mut centres = Buffer::zeros(shape.batch * width);
        let means = group_means(&sums(x, &centres, Sum::Apart));
        for (image, values) in centres.chunks_exact_mut(width).enumerate() {
            for (channel, value) in values.iter_mut().enumerate().take(shape.channels) {
                *value = means[image * groups + channel / each] as f32;
            }
        }
        // About the centre as it was rounded; the variance is about the mean itself.
        let squares = group_means(&sums(x, &centres, Sum::Squares));
        let of_group = |(mean, square): (f64, f64)| {
            let moved = mean - f64::from(mean as f32);
            let variance = (square - moved * moved).max(0.0);
            [mean, 1.0 / (variance + f64::from(eps)).sqrt()]
        };
        Self {
            groups,
            each,
            width,
            centres,
            groups_of_pictures: means.into_iter().zip(squares).map(of_group).collect(),
        }
    }

    /// Mean, and one over the deviation, of the group that a channel is in.
    fn of_group(&self, image: usize, channel: usize) -> [f64; 2] {
        self.groups_of_pictures[image * self.groups + channel / self.each]
    }
}

/// What is summed over the pixels of a channel.
#[derive(Clone, Copy)]
enum Sum<'a> {
    /// `x − centre`.
    Apart,
    /// Its square.
    Squares,
    /// It times another map.
    Times(Map<'a>),
}

/// A sum for each channel of each picture.
fn sums(x: Map<'_>, centres: &[f32], what: Sum<'_>) -> Buffer {
    let (isa, shape, blocks) = (x.isa(), x.shape(), x.blocks());
    let mut sums = Buffer::zeros(centres.len());
    let shared = Shared::new(&mut sums);
    in_parallel(shape.batch * blocks, |index| {
        let (at, image, block) = (index * isa.lanes(), index / blocks, index % blocks);
        let from = x.block(image, block);
        isa.run(Block {
            from,
            // Not read where it is not asked for.
            other: match what {
                Sum::Times(other) => other.block(image, block),
                _ => from,
            },
            vectors: shape.pixels(),
            centre: &centres[at..],
            what,
            // SAFETY: a block of a picture is summed by the one task that has its index.
            to: unsafe { shared.at(at) },
        });
    });
    sums
}

/// One block of one picture.
struct Block<'a> {
    from: *const f32,
    other: *const f32,
    vectors: usize,
    centre: &'a [f32],
    what: Sum<'a>,
    to: *mut f32,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: both maps have so many vectors in the block; centre and sums have a vector.
        unsafe {
            // Vectors that are summed before they are added to what came before, in f64.
            const STRIP: usize = 256;
            // Sums that need not wait for each other.
            const TOGETHER: usize = 4;
            let centre = S::load(self.centre.as_ptr());
            let mut all = [0.0_f64; 16];
            for start in (0..self.vectors).step_by(STRIP) {
                let end = (start + STRIP).min(self.vectors);
                let mut sums = [S::zero(); TOGETHER];
                for i in start..end {
                    let apart = S::sub(S::load(self.from.add(i * S::LANES)), centre);
                    let sum = &mut sums[i % TOGETHER];
                    *sum = match self.what {
                        Sum::Apart => S::add(*sum, apart),
                        Sum::Squares => S::mul_add(apart, apart, *sum),
                        Sum::Times(_) => {
                            S::mul_add(apart, S::load(self.other.add(i * S::LANES)), *sum)
                        }
                    };
                }
                let sum = S::add(S::add(sums[0], sums[1]), S::add(sums[2], sums[3]));
                let mut lanes = [0.0_f32; 16];
                S::store(lanes.as_mut_ptr(), sum);
                for (all, lane) in all.iter_mut().zip(lanes) {
                    *all += f64::from(lane);
                }
            }
            for (lane, all) in all.into_iter().enumerate().take(S::LANES) {
                *self.to.add(lane) = all as f32;
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
        #![proptest_config(segmenta_properties::cases(64))]

        #[test]
        fn any_shape(
            batch in 1_usize..3,
            [groups, each] in [1_usize..9, 1_usize..9],
            [height, width] in [2_usize..30, 1_usize..30],
            with_affine in any::<bool>(),
        ) {
            let channels = groups * each;
            let shape = MapShape::new(batch, channels, height, width);
            let value = |i: usize| (i as u32).wrapping_mul(0x9E37_79B9) as f32 / u32::MAX as f32 + 3.0;
            let x: Vec<f32> = (0..batch * shape.planar_len()).map(value).collect();
            let [scale, shift] = [1.5, -0.25].map(|at: f32| -> Vec<f32> {
                (0..channels).map(|c| at + c as f32 * 0.01).collect()
            });
            let affine = with_affine.then_some([&scale[..], &shift[..]]);
            let channel = |i: usize| i / shape.pixels() % channels;
            let mut expected = reference::normalise(
                &x,
                |i| i / shape.planar_len() * groups + channel(i) / each,
                1e-5,
                |i| affine.map_or([1.0, 0.0], |a| a.map(|v| v[channel(i)])),
            );
            expected.iter_mut().for_each(|e| *e = e.map(|y| y.max(0.0)));
            for isa in Isa::available() {
                let source = blocked(isa, shape, &x);
                let run = |threads: usize| {
                    let mut output = Buffer::zeros(shape.blocked_len(isa));
                    let to = &mut MapMut::whole(isa, shape, &mut output);
                    let from = Map::whole(isa, shape, &source);
                    Threads::new(threads).unwrap().run(|| {
                        group_norm(from, groups, affine, 1e-5, to, Activation::Relu);
                    });
                    let mut got = vec![0.0; x.len()];
                    to_planar(Map::whole(isa, shape, &output), &mut got);
                    got
                };
                let got = run(1);
                prop_assert!(got == run(3), "{isa}");
                reference::assert_close(&isa.to_string(), &got, &expected, reference::SHARE);
            }
        }
    }
}
