//! Squares of pixels as channels of one pixel, and back.
//!
//! Contract: channel `(x · side + y) · C + c` of a pixel is channel `c` of the pixel in row `y` and column `x` of its
//! square, `C` being the channels of the map. What is written may be smaller than all that is read, which cuts it off, or
//! larger: zeros are there, also where a square hangs over the map's edge. Each is the other's gradient. Exact; lanes that
//! fill the last block up become 0.

use crate::map::{Map, MapMut, one_isa};
use crate::shared::in_parallel;

/// Writes squares of `side`×`side` pixels of `input` as single pixels.
///
/// # Panics
/// If batch or channels do not fit.
pub fn space_to_depth(input: Map<'_>, side: usize, output: &mut MapMut<'_>) {
    let (from, to) = (input.shape(), output.shape());
    let expected = (from.batch, from.channels * side * side);
    assert_eq!((to.batch, to.channels), expected, "squares of {side}");
    gather(input, output, |channel| {
        let (group, channel) = (channel / from.channels, channel % from.channels);
        let (x, y) = (group / side, group % side);
        let place = move |row: usize, column: usize| {
            let (row, column) = (row * side + y, column * side + x);
            (row < from.height && column < from.width).then_some(row * from.width + column)
        };
        (channel, place)
    });
}

/// Writes each pixel of `input` as a square of `side`×`side` pixels.
///
/// # Panics
/// If batch or channels do not fit.
pub fn depth_to_space(input: Map<'_>, side: usize, output: &mut MapMut<'_>) {
    let (from, to) = (input.shape(), output.shape());
    let expected = (from.batch, from.channels);
    let squares = to.channels * side * side;
    assert_eq!((to.batch, squares), expected, "squares of {side}");
    let lanes = one_isa([input.isa(), output.isa()]).lanes();
    let blocks = output.blocks();
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(to.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let own = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        own.fill(0.0);
        let channels = lanes.min(to.channels - block * lanes);
        for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
            let first = (x * side + y) * to.channels + block * lanes;
            for (row, own) in own.chunks_exact_mut(to.width * lanes).enumerate() {
                if row % side != y || row / side >= from.height {
                    continue;
                }
                let columns = (x..to.width).step_by(side).zip(0..from.width);
                for (column, from_column) in columns {
                    let pixel = row / side * from.width + from_column;
                    let own = &mut own[column * lanes..][..channels];
                    read(input, image, first, pixel, own);
                }
            }
        }
    });
}

/// Writes each channel of each pixel from a channel and, where it has one, a pixel of `input`.
fn gather<P: Fn(usize, usize) -> Option<usize>>(
    input: Map<'_>,
    output: &mut MapMut<'_>,
    source: impl Fn(usize) -> (usize, P) + Send + Sync,
) {
    let lanes = one_isa([input.isa(), output.isa()]).lanes();
    let (shape, blocks) = (output.shape(), output.blocks());
    let (from, image_stride, plane) = (input.shape(), output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(shape.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let to = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        to.fill(0.0);
        // Runs of channels that come from one pixel.
        let (first, end) = (block * lanes, shape.channels.min((block + 1) * lanes));
        let mut channel = first;
        while channel < end {
            let (own, place) = source(channel);
            let run = (end - channel).min(from.channels - own);
            for (pixel, to) in to.chunks_exact_mut(lanes).enumerate() {
                if let Some(pixel) = place(pixel / shape.width, pixel % shape.width) {
                    let to = &mut to[channel - first..][..run];
                    read(input, image, own, pixel, to);
                }
            }
            channel += run;
        }
    });
}

/// Reads as many channels of a pixel as `to` is long, from `first` on.
fn read(map: Map<'_>, image: usize, first: usize, pixel: usize, to: &mut [f32]) {
    let lanes = map.isa().lanes();
    if first.is_multiple_of(lanes) {
        let block = map.block_slice(image, first / lanes);
        to.copy_from_slice(&block[pixel * lanes..][..to.len()]);
        return;
    }
    for (channel, to) in (first..).zip(to) {
        *to = map.block_slice(image, channel / lanes)[pixel * lanes + channel % lanes];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::buffer::Buffer;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};
    use crate::map::MapShape;

    proptest! {
        #![proptest_config(segmenta_properties::cases(96))]

        #[test]
        fn squares_become_pixels_and_pixels_squares(
            batch in 1_usize..3,
            channels in 1_usize..36,
            [height, width] in [1_usize..8, 1_usize..8],
            [back_height, back_width] in [1_usize..8, 1_usize..8],
            side in 1_usize..4,
        ) {
            let shape = MapShape::new(batch, channels, height, width);
            let [rows, columns] = [height, width].map(|n| n.div_ceil(side));
            let deep = MapShape::new(batch, channels * side * side, rows, columns);
            let back = MapShape::new(batch, channels, back_height, back_width);
            let input: Vec<f32> = (0..shape.batch_len()).map(|i| i as f32 + 1.0).collect();
            let at = |image: usize, c: usize, y: usize, x: usize| {
                let inside = y < height && x < width;
                let index = ((image * channels + c) * height + y) * width + x;
                if inside { input[index] } else { 0.0 }
            };
            let mut expected = vec![0.0; deep.batch_len()];
            for (i, value) in expected.iter_mut().enumerate() {
                let (plane, pixel) = (i / deep.pixels(), i % deep.pixels());
                let (image, channel) = (plane / deep.channels, plane % deep.channels);
                let (group, c) = (channel / channels, channel % channels);
                let (y, x) = (pixel / columns * side + group % side, pixel % columns * side + group / side);
                *value = at(image, c, y, x);
            }
            let expected_back: Vec<f32> = (0..back.batch_len())
                .map(|i| {
                    let (plane, pixel) = (i / back.pixels(), i % back.pixels());
                    let (y, x) = (pixel / back_width, pixel % back_width);
                    at(plane / channels, plane % channels, y, x)
                })
                .collect();
            for isa in Isa::available() {
                let map = blocked(isa, shape, &input);
                let mut buffer = Buffer::zeros(deep.blocked_len(isa));
                buffer.fill(f32::NAN);
                let to = &mut MapMut::whole(isa, deep, &mut buffer);
                space_to_depth(Map::whole(isa, shape, &map), side, to);
                let mut planar = vec![f32::NAN; expected.len()];
                to_planar(Map::whole(isa, deep, &buffer), &mut planar);
                prop_assert_eq!(&planar, &expected, "{}", isa);
                let mut again = Buffer::zeros(back.blocked_len(isa));
                again.fill(f32::NAN);
                let to = &mut MapMut::whole(isa, back, &mut again);
                depth_to_space(Map::whole(isa, deep, &buffer), side, to);
                prop_assert!(again.iter().all(|value| value.is_finite()), "{isa}");
                let mut planar = vec![f32::NAN; expected_back.len()];
                to_planar(Map::whole(isa, back, &again), &mut planar);
                prop_assert_eq!(&planar, &expected_back, "{}", isa);
            }
        }
    }
}
