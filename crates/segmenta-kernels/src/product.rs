//! Products of a map with a matrix that is computed, too: mask logits of queries, scores of classes.
//!
//! Contract: `product` writes `y[n, p] = Σ_k row[k, n] · x[k, p]`, where `row` is a row of `n` pixels with the channels
//! of `x`; `product_gradient` writes `dx[k, p] = Σ_n row[k, n] · dy[n, p]`, `product_row_gradient` writes
//! `drow[k, n] = Σ_p dy[n, p] · x[k, p]`; each picture of a batch by itself. Sums over channels and pixels run in their
//! order: relative error at most `2⁻²⁴ · (terms + 1)` of the sums of absolute values. Scratch memory of
//! [`product_scratch`] values holds the matrix with channels and pixels exchanged. Lanes that fill the last block up
//! become finite numbers where the inputs' are.

use std::ops::Range;

use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut, MapShape, assert_same, one_isa};
use crate::shared::{Shared, in_parallel, part, parts};
use crate::simd::Simd;

/// Pixels worked on together.
const TILE: usize = 6;
/// Blocks of what comes out beside them.
const VECTORS: usize = 2;

/// Values of scratch memory that [`product`] needs for a row of this shape.
pub fn product_scratch(isa: Isa, row: MapShape) -> usize {
    row.batch * packed(isa, row)
}

/// Values of one picture's matrix, `[blocks of pixels][channels][lanes]`.
fn packed(isa: Isa, row: MapShape) -> usize {
    row.pixels().next_multiple_of(isa.lanes()) * row.channels
}

/// The channels of `x` times the pixels of `row`.
///
/// # Panics
/// If the shapes do not fit, or the scratch memory is too small.
pub fn product(x: Map<'_>, row: Map<'_>, output: &mut MapMut<'_>, scratch: &mut [f32]) {
    let isa = one_isa([x.isa(), row.isa(), output.isa()]);
    let (lanes, of_row) = (isa.lanes(), row.shape());
    check(x.shape(), of_row, output.shape());
    let each = packed(isa, of_row);
    let shared = Shared::new(&mut scratch[..of_row.batch * each]);
    in_parallel(of_row.batch, |image| {
        // SAFETY: a picture's matrix is packed by the one task that has its index.
        let to = unsafe { std::slice::from_raw_parts_mut(shared.at(image * each), each) };
        for (at, value) in to.iter_mut().enumerate() {
            let (pixel, channel) = (
                at / lanes / of_row.channels * lanes + at % lanes,
                at / lanes % of_row.channels,
            );
            *value = if pixel < of_row.pixels() {
                row.block_slice(image, channel / lanes)[pixel * lanes + channel % lanes]
            } else {
                0.0
            };
        }
    });
    let scratch = &*scratch;
    multiply(x, output, |image| &scratch[image * each..][..each]);
}

/// The gradient of the map that [`product`] read.
///
/// # Panics
/// If the shapes do not fit.
pub fn product_gradient(row: Map<'_>, dy: Map<'_>, dx: &mut MapMut<'_>) {
    let isa = one_isa([row.isa(), dy.isa(), dx.isa()]);
    check(dx.shape(), row.shape(), dy.shape());
    // A row lies as `[blocks of channels][pixels][lanes]`, which is the matrix that is wanted.
    let len = row.shape().image_len(isa);
    multiply(dy, dx, |image| {
        let start = row.block(image, 0);
        // SAFETY: blocks of one picture lie behind each other; `Map` was checked to hold them all.
        unsafe { std::slice::from_raw_parts(start, len) }
    });
}

/// The gradient of the row that [`product`] read.
///
/// # Panics
/// If the shapes do not fit.
pub fn product_row_gradient(x: Map<'_>, dy: Map<'_>, drow: &mut MapMut<'_>) {
    let isa = one_isa([x.isa(), dy.isa(), drow.isa()]);
    check(x.shape(), drow.shape(), dy.shape());
    let (shape, blocks) = (x.shape(), x.blocks());
    let (image_stride, plane) = (drow.image_stride(), drow.plane());
    let tiles = drow.shape().pixels().div_ceil(TILE);
    let rows = drow.shape().pixels();
    let shared = drow.shared();
    in_parallel(shape.batch * blocks * tiles, |task| {
        let (image, block, tile) = (
            task / tiles / blocks,
            task / tiles % blocks,
            task % tiles * TILE,
        );
        isa.run(Reduce {
            x: x.block(image, block),
            dy: dy.block(image, 0),
            dy_plane: dy.plane(),
            pixels: shape.pixels(),
            rows: tile..rows.min(tile + TILE),
            // SAFETY: a tile's pixels of a block are written by the one task that has them.
            to: unsafe { shared.at(image * image_stride + block * plane) },
        });
    });
}

/// What [`product`] asks of shapes: the map, the row, what comes out.
fn check(x: MapShape, row: MapShape, output: MapShape) {
    assert_eq!(row.channels, x.channels, "channels of map and matrix");
    assert_eq!(row.batch, x.batch, "one batch");
    let expected = MapShape {
        channels: row.pixels(),
        ..x
    };
    assert_same(expected, output);
}

/// Each pixel of `x` times a picture's matrix, `[blocks of the output][channels of x][lanes]`.
fn multiply<'m>(
    x: Map<'_>,
    output: &mut MapMut<'_>,
    matrix: impl Fn(usize) -> &'m [f32] + Send + Sync,
) {
    let isa = x.isa();
    let (shape, to) = (x.shape(), output.shape());
    let needed = to.blocks(isa) * shape.channels * isa.lanes();
    let cuts = parts(shape.pixels().div_ceil(TILE), 4);
    let (image_stride, plane, blocks) = (output.image_stride(), output.plane(), output.blocks());
    let shared = output.shared();
    in_parallel(shape.batch * cuts, |task| {
        let image = task / cuts;
        let tiles = part(shape.pixels().div_ceil(TILE), cuts, task % cuts);
        let matrix = matrix(image);
        assert!(matrix.len() >= needed, "a matrix of the extents");
        isa.run(Multiply {
            x: x.block(image, 0),
            plane,
            channels: shape.channels,
            matrix,
            blocks,
            pixels: tiles.start * TILE..shape.pixels().min(tiles.end * TILE),
            // SAFETY: pixels of a picture are written by the one task whose part they are in.
            to: unsafe { shared.at(image * image_stride) },
        });
    });
}

/// Some pixels of one picture.
struct Multiply<'a> {
    x: *const f32,
    /// Of both maps: they have the same pixels.
    plane: usize,
    channels: usize,
    matrix: &'a [f32],
    blocks: usize,
    pixels: Range<usize>,
    to: *mut f32,
}

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: both maps have the pixels in every block, `multiply` found the matrix to be as long as channels and
        // blocks ask for.
        unsafe {
            for block in (0..self.blocks).step_by(VECTORS) {
                if block + VECTORS <= self.blocks {
                    self.block::<S, VECTORS>(block);
                } else {
                    self.block::<S, 1>(block);
                }
            }
        }
    }
}

impl Multiply<'_> {
    /// `N` blocks of what comes out, from `block` on.
    ///
    /// # Safety
    /// As for [`Kernel::run`]; there are `N` blocks from `block` on.
    #[inline(always)]
    unsafe fn block<S: Simd, const N: usize>(&self, block: usize) {
        // SAFETY: a tile that hangs over computes the last pixel once more and does not write it; what is read and
        // written is inside the extents that the caller vouches for.
        unsafe {
            let each = self.channels * S::LANES;
            for first in self.pixels.clone().step_by(TILE) {
                let count = TILE.min(self.pixels.end - first);
                let mut sums = [[S::zero(); N]; TILE];
                for channel in 0..self.channels {
                    let from = channel / S::LANES * self.plane + channel % S::LANES;
                    let mut vectors = [S::zero(); N];
                    for (v, vector) in vectors.iter_mut().enumerate() {
                        let at = (block + v) * each + channel * S::LANES;
                        *vector = S::load(self.matrix.as_ptr().add(at));
                    }
                    for (m, sums) in sums.iter_mut().enumerate() {
                        let pixel = first + m.min(count - 1);
                        let x = S::broadcast(self.x.add(from + pixel * S::LANES));
                        for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                            *sum = S::mul_add(x, vector, *sum);
                        }
                    }
                }
                for (m, sums) in sums.iter().enumerate().take(count) {
                    for (v, &sum) in sums.iter().enumerate() {
                        let at = (block + v) * self.plane + (first + m) * S::LANES;
                        S::store(self.to.add(at), sum);
                    }
                }
            }
        }
    }
}

/// Some pixels of a row's gradient, of one block of channels.
struct Reduce {
    x: *const f32,
    dy: *const f32,
    dy_plane: usize,
    pixels: usize,
    rows: Range<usize>,
    to: *mut f32,
}

impl Kernel for Reduce {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the block of `x` and every block of `dy` have the pixels, `dy` has a channel for each row.
        unsafe {
            let mut sums = [S::zero(); TILE];
            let mut from = [self.dy; TILE];
            for (m, from) in from.iter_mut().enumerate() {
                let row = (self.rows.start + m).min(self.rows.end - 1);
                *from = self.dy.add(row / S::LANES * self.dy_plane + row % S::LANES);
            }
            for pixel in 0..self.pixels {
                let x = S::load(self.x.add(pixel * S::LANES));
                for (sum, from) in sums.iter_mut().zip(from) {
                    *sum = S::mul_add(S::broadcast(from.add(pixel * S::LANES)), x, *sum);
                }
            }
            for (row, &sum) in self.rows.zip(&sums) {
                S::store(self.to.add(row * S::LANES), sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::buffer::Buffer;
    use crate::layout::{blocked, to_planar};
    use crate::reference::{self, Measured, SHARE, assert_close};
    use crate::threads::Threads;

    fn values(len: usize, seed: u32) -> Vec<f32> {
        let unit = |i: usize| (i as u32 ^ seed).wrapping_mul(0x9E37_79B9) as f32 / u32::MAX as f32;
        (0..len).map(|i| unit(i) * 2.0 - 1.0).collect()
    }

    fn made(
        isa: Isa,
        threads: usize,
        shape: MapShape,
        work: impl FnOnce(&mut MapMut<'_>) + Send,
    ) -> Vec<f32> {
        let mut buffer = Buffer::zeros(shape.blocked_len(isa));
        buffer.fill(f32::NAN);
        Threads::new(threads)
            .unwrap()
            .run(|| work(&mut MapMut::whole(isa, shape, &mut buffer)));
        assert!(buffer.iter().all(|value| value.is_finite()), "{isa}");
        let mut planar = vec![0.0; shape.batch_len()];
        to_planar(Map::whole(isa, shape, &buffer), &mut planar);
        planar
    }

    proptest! {
        #![proptest_config(segmenta_properties::cases(48))]

        #[test]
        fn products_and_their_gradients(
            batch in 1_usize..3,
            channels in 1_usize..40,
            rows in 1_usize..40,
            size in [1_usize..9, 1_usize..9],
        ) {
            let of_x = MapShape::new(batch, channels, size[0], size[1]);
            let of_row = MapShape::new(batch, channels, 1, rows);
            let of_y = MapShape { channels: rows, ..of_x };
            let [x, row, dy] = [(of_x, 1), (of_row, 77), (of_y, 5)]
                .map(|(shape, seed)| values(shape.batch_len(), seed));
            let mut expected: [Vec<Measured>; 3] = [vec![], vec![], vec![]];
            for image in 0..batch {
                let of = |map: &[f32]| {
                    let len = map.len() / batch;
                    map[image * len..][..len].to_vec()
                };
                let [x, row, dy] = [&x, &row, &dy].map(|map| of(map));
                expected[0].extend(reference::product(&x, &row, channels));
                let [dx, drow] = reference::backward::product(&x, &row, channels, &dy);
                expected[1].extend(dx);
                expected[2].extend(drow);
            }
            for isa in Isa::available() {
                let [x, row, dy] = [(of_x, &x), (of_row, &row), (of_y, &dy)]
                    .map(|(shape, map)| (shape, blocked(isa, shape, map)));
                let [x, row, dy] = [&x, &row, &dy].map(|(shape, map)| Map::whole(isa, *shape, map));
                let run = |threads: usize| {
                    let mut scratch = vec![f32::NAN; product_scratch(isa, of_row)];
                    [
                        made(isa, threads, of_y, |to| product(x, row, to, &mut scratch)),
                        made(isa, threads, of_x, |to| product_gradient(row, dy, to)),
                        made(isa, threads, of_row, |to| product_row_gradient(x, dy, to)),
                    ]
                };
                let got = run(1);
                prop_assert!(got == run(3), "{isa}");
                for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    assert_close(&format!("{isa}, {i}"), got, expected, SHARE);
                }
            }
        }
    }
}
