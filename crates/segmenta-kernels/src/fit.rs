//! Maps of another size without scaling: cut off, or filled up with zeros, below and right.
//!
//! Contract: reads the pixels that stay, writes every value of the output, lanes without a channel
//! included. Exact.

use crate::map::{Map, MapMut, MapShape, one_isa};
use crate::shared::{Shared, in_parallel};

/// Copies the top left of `input` to the top left of `output`; what is beyond becomes zero.
///
/// # Panics
/// If batch or channels differ.
pub fn fit(input: Map<'_>, output: &mut MapMut<'_>) {
    let (from, to) = (input.shape(), output.shape());
    assert_eq!(
        (from.batch, from.channels),
        (to.batch, to.channels),
        "channels of another size"
    );
    let lanes = one_isa([input.isa(), output.isa()]).lanes();
    let blocks = input.blocks();
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(to.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let to_rows = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        let mut rows = input
            .block_slice(image, block)
            .chunks_exact(from.width * lanes);
        let kept = from.width.min(to.width) * lanes;
        for to_row in to_rows.chunks_exact_mut(to.width * lanes) {
            let row = rows.next().map_or(&[][..], |row| &row[..kept]);
            let (to, beyond) = to_row.split_at_mut(row.len());
            to.copy_from_slice(row);
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
    let pixels = to.pixels();
    let shared = Shared::new(planar);
    in_parallel(shape.batch * shape.channels, |index| {
        let (image, channel) = (index / shape.channels, index % shape.channels);
        // SAFETY: a channel of a picture is written by the one task that has its index.
        let to = unsafe { std::slice::from_raw_parts_mut(shared.at(index * pixels), pixels) };
        let from = input.block_slice(image, channel / lanes);
        let mut rows = from.chunks_exact(shape.width * lanes);
        for to in to.chunks_exact_mut(width) {
            let row = rows.next().unwrap_or_default();
            let mut values = row.iter().skip(channel % lanes).step_by(lanes);
            to.fill_with(|| values.next().copied().unwrap_or(0.0));
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
    }
}
