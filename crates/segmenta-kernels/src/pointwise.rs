//! Maps added, multiplied, scaled: one pass over memory each, split by blocks of channels.

use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut, MapShape, assert_same, one_isa};
use crate::shared::in_parallel;
use crate::simd::Simd;

/// What is done to the vectors of one block.
#[derive(Clone, Copy)]
pub(crate) enum With {
    Nothing,
    Add(*const f32),
    Mul(*const f32),
    /// The first lane of each vector, for all lanes.
    Gate(*const f32),
    /// One vector for all pixels.
    Scale(*const f32),
    /// One number for all.
    Times(f32),
    /// `x · scale + shift`, one vector each for all pixels.
    Affine(*const f32, *const f32),
}

struct Block {
    from: *const f32,
    to: *mut f32,
    with: With,
    vectors: usize,
    activation: Activation,
}

impl Kernel for Block {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: both blocks, and the other map's, have so many vectors; scales and shifts have one.
        unsafe {
            // Small enough to stay in the L1 cache between the operation and the activation.
            const STRIP: usize = 64;
            for start in (0..self.vectors).step_by(STRIP) {
                let strip = STRIP.min(self.vectors - start);
                let at = |i: usize| (start + i) * S::LANES;
                let (from, to) = (self.from, self.to);
                macro_rules! each {
                    (|$x:ident, $i:ident| $result:expr) => {
                        for $i in 0..strip {
                            let $x = S::load(from.add(at($i)));
                            S::store(to.add(at($i)), $result);
                        }
                    };
                }
                match self.with {
                    With::Nothing => each!(|x, i| x),
                    With::Add(other) => each!(|x, i| S::add(x, S::load(other.add(at(i))))),
                    With::Mul(other) => each!(|x, i| S::mul(x, S::load(other.add(at(i))))),
                    With::Gate(gate) => each!(|x, i| S::mul(x, S::splat(*gate.add(at(i))))),
                    With::Scale(scale) => {
                        let scale = S::load(scale);
                        each!(|x, i| S::mul(x, scale));
                    }
                    With::Times(number) => {
                        let number = S::splat(number);
                        each!(|x, i| S::mul(x, number));
                    }
                    With::Affine(scale, shift) => {
                        let (scale, shift) = (S::load(scale), S::load(shift));
                        each!(|x, i| S::mul_add(x, scale, shift));
                    }
                }
                if self.activation != Activation::None {
                    self.activation.in_place::<S>(to.add(at(0)), strip);
                }
            }
        }
    }
}

/// Runs `with` on every block of `x`. Pointers, so that `x` and `output` may be the same memory.
pub(crate) fn each_block(
    x: Map<'_>,
    output: &mut MapMut<'_>,
    activation: Activation,
    with: impl Fn(usize, usize) -> With + Sync,
) {
    let isa = one_isa([x.isa(), output.isa()]);
    let (shape, blocks) = (x.shape(), x.blocks());
    assert_same(shape, output.shape());
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(shape.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        isa.run(Block {
            from: x.block(image, block),
            // SAFETY: a block of a picture is written by the one task that has its index.
            to: unsafe { shared.at(image * image_stride + block * plane) },
            with: with(image, block),
            vectors: shape.pixels(),
            activation,
        });
    });
}

/// `output = activation(a + b)`.
///
/// # Panics
/// If the shapes differ.
pub fn add(a: Map<'_>, b: Map<'_>, output: &mut MapMut<'_>, activation: Activation) {
    one_isa([a.isa(), b.isa()]);
    assert_same(a.shape(), b.shape());
    each_block(a, output, activation, |image, block| {
        With::Add(b.block(image, block))
    });
}

/// `output = activation(x · by)`; `by` has the shape of `x`, one pixel a channel, or one channel.
///
/// # Panics
/// If the shapes do not fit.
pub fn mul(x: Map<'_>, by: Map<'_>, output: &mut MapMut<'_>, activation: Activation) {
    let (shape, other) = (x.shape(), by.shape());
    let one_pixel = other.pixels() == 1 && shape.pixels() != 1;
    let one_channel = other.channels == 1 && shape.channels != 1;
    let expected = match (one_pixel, one_channel) {
        (true, _) => MapShape {
            height: 1,
            width: 1,
            ..shape
        },
        (false, true) => MapShape {
            channels: 1,
            ..shape
        },
        (false, false) => shape,
    };
    one_isa([x.isa(), by.isa()]);
    assert_same(expected, other);
    each_block(x, output, activation, |image, block| {
        if one_pixel {
            With::Scale(by.block(image, block))
        } else if one_channel {
            With::Gate(by.block(image, 0))
        } else {
            With::Mul(by.block(image, block))
        }
    });
}

/// `output = x · factor(picture)`.
pub(crate) fn scale_each(
    x: Map<'_>,
    output: &mut MapMut<'_>,
    factor: impl Fn(usize) -> f32 + Sync,
) {
    each_block(x, output, Activation::None, |image, _| {
        With::Times(factor(image))
    });
}

/// `output = x · by`.
///
/// # Panics
/// If the shapes differ.
pub fn scale(x: Map<'_>, by: f32, output: &mut MapMut<'_>) {
    scale_each(x, output, |_| by);
}

/// `output = activation(x)`.
///
/// # Panics
/// If the shapes differ.
pub fn apply(x: Map<'_>, output: &mut MapMut<'_>, activation: Activation) {
    each_block(x, output, activation, |_, _| With::Nothing);
}

/// `output = activation(x · scale + shift)`, a scale and a shift a channel: a batch norm in
/// evaluation mode that could not be folded into a convolution.
///
/// # Panics
/// If there are not as many scales and shifts as channels, or the shapes differ.
pub fn affine(
    x: Map<'_>,
    scale: &[f32],
    shift: &[f32],
    output: &mut MapMut<'_>,
    activation: Activation,
) {
    let padded = |values: &[f32], isa: Isa| {
        assert_eq!(values.len(), x.shape().channels, "one value a channel");
        let mut padded = Buffer::zeros(values.len().next_multiple_of(isa.lanes()));
        padded[..values.len()].copy_from_slice(values);
        padded
    };
    let (scale, shift) = (padded(scale, x.isa()), padded(shift, x.isa()));
    let lanes = x.isa().lanes();
    each_block(x, output, activation, |_, block| {
        let at = block * lanes;
        With::Affine(scale[at..].as_ptr(), shift[at..].as_ptr())
    });
}

/// That one map is a run of another one's channels from `first` on.
#[track_caller]
fn assert_run_of_channels(part: MapShape, first: usize, whole: MapShape) {
    assert_eq!(
        (part.batch, part.height, part.width),
        (whole.batch, whole.height, whole.width),
        "maps side by side"
    );
    assert!(
        first <= whole.channels && part.channels <= whole.channels - first,
        "channels side by side: {} from {first} on of {}",
        part.channels,
        whole.channels
    );
}

/// Copies channels between maps whose channels lie anywhere: `x` becomes the channels from `first`
/// on of `output`. Lanes that fill the last block of `output` up become zero with its last channel.
///
/// # Panics
/// If sizes differ or the channels do not fit.
pub fn copy(x: Map<'_>, output: &mut MapMut<'_>, first: usize) {
    let lanes = one_isa([x.isa(), output.isa()]).lanes();
    let (from, to) = (x.shape(), output.shape());
    assert_run_of_channels(from, first, to);
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(from.batch * from.channels, |index| {
        let (image, channel) = (index / from.channels, index % from.channels);
        let target = first + channel;
        let source = x.block_slice(image, channel / lanes);
        let start = image * image_stride + target / lanes * plane + target % lanes;
        for (pixel, &value) in source
            .iter()
            .skip(channel % lanes)
            .step_by(lanes)
            .enumerate()
        {
            // SAFETY: a channel of a picture is written by the one task that has its index, and
            // the map's extents were checked when its view was made.
            unsafe { *shared.at(start + pixel * lanes) = value }
        }
        if target + 1 == to.channels {
            for lane in 1..lanes - target % lanes {
                for pixel in 0..from.pixels() {
                    // SAFETY: lanes beyond the last channel belong to the task of that channel.
                    unsafe { *shared.at(start + pixel * lanes + lane) = 0.0 }
                }
            }
        }
    });
}

/// The same, with zeros in all other channels of `output`: what [`extract`] gives back to where it took it from.
///
/// # Panics
/// As [`copy`].
pub fn place(x: Map<'_>, output: &mut MapMut<'_>, first: usize) {
    one_isa([x.isa(), output.isa()]);
    assert_run_of_channels(x.shape(), first, output.shape());
    let (batch, blocks) = (output.shape().batch, output.blocks());
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(batch * blocks, |index| {
        let at = index / blocks * image_stride + index % blocks * plane;
        // SAFETY: a block of a picture is written by the one task that has its index.
        unsafe { std::slice::from_raw_parts_mut(shared.at(at), plane) }.fill(0.0);
    });
    copy(x, output, first);
}

/// The other way round: `output` becomes the channels from `first` on of `x`. Lanes that fill its last
/// block up become zero.
///
/// # Panics
/// If sizes differ or `x` does not have the channels.
pub fn extract(x: Map<'_>, first: usize, output: &mut MapMut<'_>) {
    let lanes = one_isa([x.isa(), output.isa()]).lanes();
    let (from, to) = (x.shape(), output.shape());
    assert_run_of_channels(to, first, from);
    let blocks = to.channels.div_ceil(lanes);
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(to.batch * blocks, |task| {
        let (image, block) = (task / blocks, task % blocks);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let output = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        for lane in 0..lanes {
            let channel = block * lanes + lane;
            let values = output[lane..].iter_mut().step_by(lanes);
            if channel < to.channels {
                let source = x.block_slice(image, (first + channel) / lanes);
                let source = source.iter().skip((first + channel) % lanes).step_by(lanes);
                values.zip(source).for_each(|(to, from)| *to = *from);
            } else {
                values.for_each(|to| *to = 0.0);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layout::{blocked, to_planar};

    proptest! {
        #![proptest_config(segmenta_properties::cases(256))]

        #[test]
        fn channels_go_into_a_map_and_come_out_again(
            [before, channels, after] in [0_usize..20, 1_usize..36, 0_usize..20],
            [height, width] in [1_usize..9, 1_usize..9],
        ) {
            let part = MapShape::new(2, channels, height, width);
            let whole = MapShape { channels: before + channels + after, ..part };
            let x: Vec<f32> = (0..2 * part.planar_len()).map(|i| i as f32).collect();
            for isa in Isa::available() {
                let part_of = blocked(isa, part, &x);
                let mut all = Buffer::zeros(whole.blocked_len(isa));
                copy(
                    Map::whole(isa, part, &part_of),
                    &mut MapMut::whole(isa, whole, &mut all),
                    before,
                );
                let mut back = Buffer::zeros(part.blocked_len(isa));
                back.fill(f32::NAN);
                extract(
                    Map::whole(isa, whole, &all),
                    before,
                    &mut MapMut::whole(isa, part, &mut back),
                );
                prop_assert_eq!(&back[..], &part_of[..], "{}", isa);
            }
        }

        #[test]
        fn products_of_all_three_shapes(
            channels in 1_usize..36,
            [height, width] in [1_usize..12, 1_usize..12],
            kind in 0..3,
        ) {
            let shape = MapShape::new(2, channels, height, width);
            let by = match kind {
                0 => shape,
                1 => MapShape::new(2, channels, 1, 1),
                _ => MapShape::new(2, 1, height, width),
            };
            let count = |shape: MapShape| (0..2 * shape.planar_len()).map(|i| i as f32);
            let x: Vec<f32> = count(shape).collect();
            let factors: Vec<f32> = count(by).map(|i| 0.5 * i - 3.0).collect();
            let expected: Vec<f32> = x
                .iter()
                .enumerate()
                .map(|(i, x)| {
                    let (plane, pixel) = (i / shape.pixels(), i % shape.pixels());
                    let at = match kind {
                        0 => i,
                        1 => plane,
                        _ => plane / channels * shape.pixels() + pixel,
                    };
                    (x * factors[at]).max(0.0)
                })
                .collect();
            for isa in Isa::available() {
                let (a, b) = (blocked(isa, shape, &x), blocked(isa, by, &factors));
                let mut output = Buffer::zeros(shape.blocked_len(isa));
                let (a, b) = (Map::whole(isa, shape, &a), Map::whole(isa, by, &b));
                let to = &mut MapMut::whole(isa, shape, &mut output);
                mul(a, b, to, Activation::Relu);
                let mut got = vec![0.0; expected.len()];
                to_planar(Map::whole(isa, shape, &output), &mut got);
                prop_assert_eq!(&got, &expected, "{}", isa);
            }
        }
    }
}
