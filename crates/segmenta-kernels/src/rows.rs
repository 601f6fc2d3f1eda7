//! Maps as rows of pixels: joined, cut, exchanged with channels, made of a parameter.
//!
//! Contract: pixels are counted row by row, and only their number matters, not the height and width that they lie in.
//! `join` writes the pixels of two maps one after the other; `part` reads a run of them, and `part_gradient` writes such
//! a run into zeros; `transpose` writes channel `c` of pixel `p` to channel `p` of pixel `c`; `table` writes
//! `[pixels][channels]` to each picture. Lanes that fill the last block up hold what the source holds there, or 0.

use crate::map::{Map, MapMut, one_isa};
use crate::shared::in_parallel;

/// Writes blocks of pictures, each by one task: `write` hears of picture and block and is given its values.
fn each_block(output: &mut MapMut<'_>, write: impl Fn(usize, usize, &mut [f32]) + Send + Sync) {
    let (batch, blocks) = (output.shape().batch, output.blocks());
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let to = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        write(image, block, to);
    });
}

/// The pixels of `first`, then those of `second`.
///
/// # Panics
/// If channels or batches differ, or the output has another number of pixels.
pub fn join(first: Map<'_>, second: Map<'_>, output: &mut MapMut<'_>) {
    let lanes = one_isa([first.isa(), second.isa(), output.isa()]).lanes();
    let [a, b, to] = [first.shape(), second.shape(), output.shape()];
    assert_eq!([a.channels, b.channels], [to.channels; 2], "channels");
    assert_eq!([a.batch, b.batch], [to.batch; 2], "one batch");
    assert_eq!(a.pixels() + b.pixels(), to.pixels(), "pixels of both");
    each_block(output, |image, block, to| {
        let (before, behind) = to.split_at_mut(a.pixels() * lanes);
        before.copy_from_slice(first.block_slice(image, block));
        behind.copy_from_slice(second.block_slice(image, block));
    });
}

/// The pixels of `x` from `first` on, as many as the output has.
///
/// # Panics
/// If channels or batches differ, or `x` has not so many pixels.
pub fn part(x: Map<'_>, first: usize, output: &mut MapMut<'_>) {
    let lanes = one_isa([x.isa(), output.isa()]).lanes();
    let (from, to) = (x.shape(), output.shape());
    assert_eq!([from.channels, from.batch], [to.channels, to.batch]);
    assert!(first + to.pixels() <= from.pixels(), "pixels of the row");
    each_block(output, |image, block, to| {
        let len = to.len();
        to.copy_from_slice(&x.block_slice(image, block)[first * lanes..][..len]);
    });
}

/// The gradient of what [`part`] read: `dy` from pixel `first` on, zeros elsewhere.
///
/// # Panics
/// As [`part`], with the roles exchanged.
pub fn part_gradient(dy: Map<'_>, first: usize, output: &mut MapMut<'_>) {
    let lanes = one_isa([dy.isa(), output.isa()]).lanes();
    let (from, to) = (dy.shape(), output.shape());
    assert_eq!([from.channels, from.batch], [to.channels, to.batch]);
    assert!(first + from.pixels() <= to.pixels(), "pixels of the row");
    each_block(output, |image, block, to| {
        let from = dy.block_slice(image, block);
        to.fill(0.0);
        to[first * lanes..][..from.len()].copy_from_slice(from);
    });
}

/// Channels and pixels exchanged.
///
/// # Panics
/// If the output has not as many channels as `x` has pixels, and as many pixels as that has channels.
pub fn transpose(x: Map<'_>, output: &mut MapMut<'_>) {
    let lanes = one_isa([x.isa(), output.isa()]).lanes();
    let (from, to) = (x.shape(), output.shape());
    assert_eq!(
        [from.pixels(), from.channels],
        [to.channels, to.pixels()],
        "exchanged"
    );
    assert_eq!(from.batch, to.batch, "one batch");
    each_block(output, |image, block, to| {
        for (channel, pixel) in to.chunks_exact_mut(lanes).enumerate() {
            let source = x.block_slice(image, channel / lanes);
            for (lane, value) in pixel.iter_mut().enumerate() {
                let at = (block * lanes + lane) * lanes + channel % lanes;
                *value = source.get(at).copied().unwrap_or(0.0);
            }
        }
    });
}

/// `[pixels][channels]` as each picture's map.
///
/// # Panics
/// If there are not as many values.
pub fn table(values: &[f32], output: &mut MapMut<'_>) {
    let (shape, lanes) = (output.shape(), output.isa().lanes());
    assert_eq!(values.len(), shape.planar_len(), "a value a place");
    each_block(output, |_, block, to| {
        for (pixel, row) in to
            .chunks_exact_mut(lanes)
            .zip(values.chunks_exact(shape.channels))
        {
            let row = &row[block * lanes..];
            let (known, filler) = pixel.split_at_mut(lanes.min(row.len()));
            known.copy_from_slice(&row[..known.len()]);
            filler.fill(0.0);
        }
    });
}

/// The gradient of what [`table`] was given: the sum over the pictures, in their order and in f64.
///
/// # Panics
/// If there is not room for as many values.
pub fn table_gradient(dy: Map<'_>, values: &mut [f32]) {
    let (shape, lanes) = (dy.shape(), dy.isa().lanes());
    assert_eq!(values.len(), shape.planar_len(), "a value a place");
    for (index, value) in values.iter_mut().enumerate() {
        let (pixel, channel) = (index / shape.channels, index % shape.channels);
        let of = |image| {
            let block = dy.block_slice(image, channel / lanes);
            f64::from(block[pixel * lanes + channel % lanes])
        };
        *value = (0..shape.batch).map(of).sum::<f64>() as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};
    use crate::map::MapShape;

    fn made(isa: Isa, shape: MapShape, work: impl FnOnce(&mut MapMut<'_>)) -> Vec<f32> {
        let mut buffer = Buffer::zeros(shape.blocked_len(isa));
        buffer.fill(f32::NAN);
        work(&mut MapMut::whole(isa, shape, &mut buffer));
        assert!(buffer.iter().all(|value| value.is_finite()), "{isa}");
        let mut planar = vec![0.0; shape.batch_len()];
        to_planar(Map::whole(isa, shape, &buffer), &mut planar);
        planar
    }

    fn numbers(len: usize) -> Vec<f32> {
        (0..len).map(|i| (i % 1009) as f32 - 400.0).collect()
    }

    #[test]
    fn rows_are_joined_and_cut_again() {
        for (channels, isa) in [5, 16, 37]
            .into_iter()
            .flat_map(|c| Isa::available().into_iter().map(move |isa| (c, isa)))
        {
            let (a, b) = (
                MapShape::new(2, channels, 3, 4),
                MapShape::new(2, channels, 1, 7),
            );
            let row = MapShape::new(2, channels, 1, 19);
            let [x, y] = [a, b].map(|shape| numbers(shape.batch_len()));
            let y: Vec<f32> = y.iter().map(|v| v + 0.5).collect();
            let (of_x, of_y) = (blocked(isa, a, &x), blocked(isa, b, &y));
            let maps = (Map::whole(isa, a, &of_x), Map::whole(isa, b, &of_y));
            let joined = made(isa, row, |to| join(maps.0, maps.1, to));
            let pieces = joined.chunks_exact(19).zip(x.chunks_exact(12));
            for ((row, x), y) in pieces.zip(y.chunks_exact(7)) {
                assert_eq!((&row[..12], &row[12..]), (x, y), "{isa}");
            }
            let whole = blocked(isa, row, &joined);
            let whole = Map::whole(isa, row, &whole);
            assert_eq!(made(isa, a, |to| part(whole, 0, to)), x, "{isa}");
            assert_eq!(made(isa, b, |to| part(whole, 12, to)), y, "{isa}");
            let spread = made(isa, row, |to| part_gradient(maps.1, 12, to));
            for (row, y) in spread.chunks_exact(19).zip(y.chunks_exact(7)) {
                assert!(
                    row[..12].iter().all(|&v| v == 0.0) && row[12..] == *y,
                    "{isa}"
                );
            }
        }
    }

    #[test]
    fn channels_and_pixels_are_exchanged() {
        for isa in Isa::available() {
            let (from, to) = (MapShape::new(2, 21, 1, 35), MapShape::new(2, 35, 1, 21));
            let x = numbers(from.batch_len());
            let source = blocked(isa, from, &x);
            let got = made(isa, to, |to| transpose(Map::whole(isa, from, &source), to));
            for (index, value) in got.into_iter().enumerate() {
                let (image, place) = (index / 735, index % 735);
                let (channel, pixel) = (place / 21, place % 21);
                assert_eq!(value, x[image * 735 + pixel * 35 + channel], "{isa}");
            }
        }
    }

    #[test]
    fn a_table_is_each_pictures_map_and_sums_their_gradients() {
        for isa in Isa::available() {
            let shape = MapShape::new(3, 21, 2, 5);
            let values = numbers(210);
            let got = made(isa, shape, |to| table(&values, to));
            for (index, value) in got.iter().enumerate() {
                let place = index % 210;
                assert_eq!(*value, values[place % 10 * 21 + place / 10], "{isa}");
            }
            let dy = blocked(isa, shape, &got);
            let mut sums = vec![f32::NAN; 210];
            table_gradient(Map::whole(isa, shape, &dy), &mut sums);
            let thrice: Vec<f32> = values.iter().map(|v| 3.0 * v).collect();
            assert_eq!(sums, thrice, "{isa}");
        }
    }
}
