//! From planar (NCHW) to blocked layout and back.

use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut, MapShape};
use crate::shared::{Shared, in_parallel, part, tasks};
use crate::simd::Simd;

/// Writes a planar batch, `[batch][channels][height][width]`, as a blocked map; channels that fill
/// the last block up are zero.
///
/// # Panics
/// If the slice does not have the length of the map's shape.
pub fn to_blocked(planar: &[f32], output: &mut MapMut<'_>) {
    let (isa, shape, blocks) = (output.isa(), output.shape(), output.blocks());
    assert_eq!(planar.len(), shape.batch_len(), "a batch of {shape:?}");
    let (lanes, pixels) = (isa.lanes(), shape.pixels());
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    let cuts = runs(shape.batch * blocks, pixels);
    in_parallel(shape.batch * blocks * cuts, |index| {
        let (index, run) = (index / cuts, part(pixels, cuts, index % cuts));
        let (image, block) = (index / blocks, index % blocks);
        let channels = (shape.channels - block * lanes).min(lanes);
        let first = (image * shape.channels + block * lanes) * pixels + run.start;
        let start = image * image_stride + block * plane + run.start * lanes;
        if channels < lanes {
            // SAFETY: a run of a block of a picture is written by the one task that has its index.
            unsafe { shared.at(start).write_bytes(0, run.len() * lanes) };
        }
        let rows = &planar[first..][..(channels - 1) * pixels + run.len()];
        isa.run(Turn {
            from: rows.as_ptr(),
            from_row: pixels,
            // SAFETY: as above.
            to: unsafe { shared.at(start) },
            to_row: lanes,
            extents: [channels, run.len()],
        });
    });
}

/// Writes a blocked map as a planar batch, `[batch][channels][height][width]`.
///
/// # Panics
/// If the slice does not have the length of the map's shape.
pub fn to_planar(input: Map<'_>, planar: &mut [f32]) {
    let (isa, shape) = (input.isa(), input.shape());
    assert_eq!(planar.len(), shape.batch_len(), "a batch of {shape:?}");
    let (lanes, pixels) = (isa.lanes(), shape.pixels());
    let blocks = shape.channels.div_ceil(lanes);
    let shared = Shared::new(planar);
    let cuts = runs(shape.batch * blocks, pixels);
    in_parallel(shape.batch * blocks * cuts, |index| {
        let (index, run) = (index / cuts, part(pixels, cuts, index % cuts));
        let (image, block) = (index / blocks, index % blocks);
        let channels = (shape.channels - block * lanes).min(lanes);
        let first = (image * shape.channels + block * lanes) * pixels + run.start;
        let from = &input.block_slice(image, block)[run.start * lanes..run.end * lanes];
        // SAFETY: a run of some channels of a picture is written by the one task that has its index.
        unsafe { planes(isa, from, channels, shared.at(first), pixels) };
    });
}

/// Writes pixels of a block as `channels` planes, `plane` values apart.
///
/// # Safety
/// There is room for as many pixels in each plane, which no other thread reads or writes.
pub(crate) unsafe fn planes(isa: Isa, block: &[f32], channels: usize, to: *mut f32, plane: usize) {
    isa.run(Turn {
        from: block.as_ptr(),
        from_row: isa.lanes(),
        to,
        to_row: plane,
        extents: [block.len() / isa.lanes(), channels],
    });
}

/// Into how many runs `pixels` of each of so many blocks are cut.
fn runs(blocks: usize, pixels: usize) -> usize {
    const LEAST: usize = 2048;
    tasks(blocks, 1, pixels.div_ceil(LEAST))
}

/// A transpose: rows and columns that are read, `from_row` and `to_row` values apart. Whoever makes one vouches for the
/// values behind both pointers.
pub(crate) struct Turn {
    pub(crate) from: *const f32,
    pub(crate) from_row: usize,
    pub(crate) to: *mut f32,
    pub(crate) to_row: usize,
    pub(crate) extents: [usize; 2],
}

impl Kernel for Turn {
    type Output = ();

    /// Square by square, so that both sides stay in the first cache.
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: rows and columns are those of the extents.
        unsafe {
            let [rows, columns] = self.extents;
            for row in (0..rows).step_by(S::LANES) {
                for column in (0..columns).step_by(S::LANES) {
                    let from = self.from.add(row * self.from_row + column);
                    let to = self.to.add(column * self.to_row + row);
                    let [rows, columns] = [rows - row, columns - column].map(|n| n.min(S::LANES));
                    if rows == S::LANES && columns == S::LANES {
                        S::transpose(from, self.from_row, to, self.to_row);
                        continue;
                    }
                    for column in 0..columns {
                        for row in 0..rows {
                            *to.add(column * self.to_row + row) =
                                *from.add(row * self.from_row + column);
                        }
                    }
                }
            }
        }
    }
}

/// A planar batch as a new buffer in blocked layout: for tests and benches.
///
/// # Panics
/// As [`to_blocked`].
pub fn blocked(isa: Isa, shape: MapShape, planar: &[f32]) -> crate::buffer::Buffer {
    let mut buffer = crate::buffer::Buffer::zeros(shape.blocked_len(isa));
    to_blocked(planar, &mut MapMut::whole(isa, shape, &mut buffer));
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;

    #[test]
    fn each_value_finds_its_place_and_back() {
        for shape in [
            MapShape::new(2, 21, 7, 33),
            MapShape::new(1, 3, 1, 1),
            MapShape::new(1, 32, 16, 16),
            MapShape::new(2, 17, 61, 70),
        ] {
            let planar: Vec<f32> = (0..shape.batch_len()).map(|i| i as f32 + 1.0).collect();
            for isa in Isa::available() {
                let lanes = isa.lanes();
                let mut buffer = Buffer::from_slice(&vec![-1.0; shape.blocked_len(isa)]);
                to_blocked(&planar, &mut MapMut::whole(isa, shape, &mut buffer));
                let blocks = shape.channels.div_ceil(lanes);
                for (at, &value) in buffer.iter().enumerate() {
                    let (pixel, lane) = (at / lanes % shape.pixels(), at % lanes);
                    let block = at / lanes / shape.pixels();
                    let (image, channel) = (block / blocks, block % blocks * lanes + lane);
                    let index = (image * shape.channels + channel) * shape.pixels() + pixel;
                    let is_there = channel < shape.channels;
                    let expected = if is_there { planar[index] } else { 0.0 };
                    assert_eq!(value, expected, "{isa} {shape:?} at {at}");
                }
                let mut back = vec![-1.0; planar.len()];
                to_planar(Map::whole(isa, shape, &buffer), &mut back);
                assert_eq!(back, planar, "{isa} {shape:?}");
            }
        }
    }
}
