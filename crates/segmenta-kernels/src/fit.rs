//! Maps of another size without scaling: cut off, or filled up with zeros, below and right, or above and left.
//!
//! Contract: reads the pixels that stay, writes every value of the output, lanes without a channel
//! included. Exact.

use crate::layout::planes;
use crate::map::{Map, MapMut, MapShape, one_isa};
use crate::shared::{Shared, in_parallel};

/// Which corner of a map stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Corner {
    TopLeft,
    BottomRight,
}

/// Copies the top left of `input` to the top left of `output`; what is beyond becomes zero.
///
/// # Panics
/// If batch or channels differ.
pub fn fit(input: Map<'_>, output: &mut MapMut<'_>) {
    fit_at(Corner::TopLeft, input, output);
}

/// Copies the bottom right of `input` to the bottom right of `output`; what is above and to the left of it becomes
/// zero.
///
/// # Panics
/// If batch or channels differ.
pub fn fit_below(input: Map<'_>, output: &mut MapMut<'_>) {
    fit_at(Corner::BottomRight, input, output);
}

fn fit_at(corner: Corner, input: Map<'_>, output: &mut MapMut<'_>) {
    let (from, to) = (input.shape(), output.shape());
    assert_eq!(
        (from.batch, from.channels),
        (to.batch, to.channels),
        "channels of another size"
    );
    let lanes = one_isa([input.isa(), output.isa()]).lanes();
    let blocks = input.blocks();
    let (image_stride, plane) = (output.image_stride(), output.plane());
    // The first row and column that is read, and the first that is written.
    let first = |from: usize, to: usize| match corner {
        Corner::TopLeft => (0, 0),
        Corner::BottomRight => (from.saturating_sub(to), to.saturating_sub(from)),
    };
    let (from_row, to_row) = first(from.height, to.height);
    let (from_column, to_column) = first(from.width, to.width);
    let kept = from.width.min(to.width) * lanes;
    let shared = output.shared();
    in_parallel(to.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let to_rows = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        let mut rows = input
            .block_slice(image, block)
            .chunks_exact(from.width * lanes)
            .skip(from_row);
        for (y, row_to) in to_rows.chunks_exact_mut(to.width * lanes).enumerate() {
            let row = if y < to_row { None } else { rows.next() };
            let Some(row) = row else {
                row_to.fill(0.0);
                continue;
            };
            let (before, rest) = row_to.split_at_mut(to_column * lanes);
            let (middle, beyond) = rest.split_at_mut(kept);
            before.fill(0.0);
            middle.copy_from_slice(&row[from_column * lanes..][..kept]);
            beyond.fill(0.0);
        }
    });
}

/// The same, written as a planar batch of `height`×`width` pixels:
/// `[batch][channels][height][width]`.
///
/// # Panics
/// If the slice does not have that length.
pub fn fit_to_planar(input: Map<'_>, [height, width]: [usize; 2], planar: &mut [f32]) {
    let (shape, lanes) = (input.shape(), input.isa().lanes());
    let to = MapShape {
        height,
        width,
        ..shape
    };
    assert_eq!(planar.len(), to.batch_len(), "a batch of {to:?}");
    let (isa, pixels) = (input.isa(), to.pixels());
    let blocks = shape.channels.div_ceil(lanes);
    let shared = Shared::new(planar);
    in_parallel(shape.batch * blocks * height, |index| {
        let (index, row) = (index / height, index % height);
        let (image, block) = (index / blocks, index % blocks);
        let channels = (shape.channels - block * lanes).min(lanes);
        let first = (image * shape.channels + block * lanes) * pixels + row * width;
        let kept = if row < shape.height {
            width.min(shape.width)
        } else {
            0
        };
        // SAFETY: a row of some channels of a picture is written by the one task that has its index.
        unsafe {
            if kept > 0 {
                let from = &input.block_slice(image, block)[row * shape.width * lanes..];
                planes(
                    isa,
                    &from[..kept * lanes],
                    channels,
                    shared.at(first),
                    pixels,
                );
            }
            for channel in 0..channels {
                let rest = shared.at(first + channel * pixels + kept);
                rest.write_bytes(0, width - kept);
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

    proptest! {
        #![proptest_config(segmenta_properties::cases(256))]

        #[test]
        fn both_keep_the_top_left_and_fill_up(
            batch in 1_usize..3,
            channels in 1_usize..36,
            size in [1_usize..9, 1_usize..9],
            [height, width] in [1_usize..9, 1_usize..9],
        ) {
            let from = MapShape::new(batch, channels, size[0], size[1]);
            let to = MapShape::new(batch, channels, height, width);
            let input: Vec<f32> = (0..batch * from.planar_len()).map(|i| i as f32).collect();
            let mut expected = vec![0.0; batch * to.planar_len()];
            for (i, value) in expected.iter_mut().enumerate() {
                let (plane, y, x) = (i / to.pixels(), i % to.pixels() / width, i % width);
                if y < from.height && x < from.width {
                    *value = input[(plane * from.height + y) * from.width + x];
                }
            }
            for isa in Isa::available() {
                let map = blocked(isa, from, &input);
                let map = Map::whole(isa, from, &map);
                let mut planar = vec![f32::NAN; expected.len()];
                fit_to_planar(map, [height, width], &mut planar);
                prop_assert_eq!(&planar, &expected, "{}", isa);
                let mut output = Buffer::zeros(to.blocked_len(isa));
                fit(map, &mut MapMut::whole(isa, to, &mut output));
                planar.fill(f32::NAN);
                to_planar(Map::whole(isa, to, &output), &mut planar);
                prop_assert_eq!(&planar, &expected, "{}", isa);
            }
        }

        #[test]
        fn the_bottom_right_stays_where_it_is(
            batch in 1_usize..3,
            channels in 1_usize..36,
            size in [1_usize..9, 1_usize..9],
            [height, width] in [1_usize..9, 1_usize..9],
        ) {
            let from = MapShape::new(batch, channels, size[0], size[1]);
            let to = MapShape::new(batch, channels, height, width);
            let input: Vec<f32> = (0..batch * from.planar_len()).map(|i| i as f32).collect();
            let mut expected = vec![0.0; batch * to.planar_len()];
            for (i, value) in expected.iter_mut().enumerate() {
                let (plane, y, x) = (i / to.pixels(), i % to.pixels() / width, i % width);
                // Counted from the corner that stays.
                let (up, left) = (height - 1 - y, width - 1 - x);
                if up < from.height && left < from.width {
                    let (y, x) = (from.height - 1 - up, from.width - 1 - left);
                    *value = input[(plane * from.height + y) * from.width + x];
                }
            }
            for isa in Isa::available() {
                let map = blocked(isa, from, &input);
                let mut output = Buffer::zeros(to.blocked_len(isa));
                output.fill(f32::NAN);
                fit_below(Map::whole(isa, from, &map), &mut MapMut::whole(isa, to, &mut output));
                let mut planar = vec![f32::NAN; expected.len()];
                to_planar(Map::whole(isa, to, &output), &mut planar);
                prop_assert_eq!(&planar, &expected, "{}", isa);
            }
        }
    }
}
