//! The register tile of weight gradients: `ROWS` values of a pixel of the input by `VECTORS` vectors
//! of a pixel of the gradient, which stay in registers while the pixels pass by.
//!
//! Contract: for each pixel it reads `ROWS` values (broadcast) and `VECTORS` vectors; at the end it
//! writes, or adds to, `ROWS · VECTORS` vectors. The sum runs over the pixels in their order.

use std::mem::MaybeUninit;

use crate::conv::tile::Sums;
use crate::simd::Simd;

/// Cuts `blocks` of output channels into widths of tiles, the widest first: three vectors leave the
/// tile the most products a load, and four are two twos, since a single one has the fewest.
pub(crate) fn widths(blocks: usize, widest: usize) -> Vec<usize> {
    if widest < 3 {
        let mut widths = vec![widest; blocks / widest];
        widths.extend((!blocks.is_multiple_of(widest)).then_some(blocks % widest));
        return widths;
    }
    match (blocks / 3, blocks % 3) {
        (threes, 0) => vec![3; threes],
        (0, rest) => vec![rest],
        (threes, 1) => [vec![3; threes - 1], vec![2; 2]].concat(),
        (threes, _) => [vec![3; threes], vec![2]].concat(),
    }
}

/// The widest tile, in vectors.
pub(crate) const WIDEST: usize = 3;

/// Enters `$work::<S, ROWS, VECTORS>` with the tile that fits the registers: sums, one vector for
/// each of the gradient's, one broadcast value. `ROWS` divides the lanes.
macro_rules! with_tile {
    ($simd:ident, $vectors:expr, $self:ident . $work:ident ( $($argument:expr),* )) => {
        match ($simd::REGISTERS, $vectors) {
            (32, 3) => $self.$work::<$simd, 8, 3>($($argument),*),
            (32, 2) => $self.$work::<$simd, 8, 2>($($argument),*),
            (32, _) => $self.$work::<$simd, 16, 1>($($argument),*),
            (_, 3) => $self.$work::<$simd, 4, 3>($($argument),*),
            (_, 2) => $self.$work::<$simd, 4, 2>($($argument),*),
            (_, _) => $self.$work::<$simd, 8, 1>($($argument),*),
        }
    };
}
pub(crate) use with_tile;

/// Pixels in a row, of the input and of the gradient.
#[derive(Clone, Copy)]
pub(crate) struct Pixels<const ROWS: usize> {
    /// The first pixel's value of each row of the tile.
    pub(crate) values: [*const f32; ROWS],
    /// Values of the input from one pixel to the next.
    pub(crate) step: usize,
    /// The gradient's first pixel; the next ones follow.
    pub(crate) gradient: *const f32,
    /// Values from one vector of the gradient to the next.
    pub(crate) plane: usize,
    pub(crate) count: usize,
}

/// Adds the products of all pixels. Offsets are running ones, since a multiplication a pixel would cost
/// as much as a load.
///
/// # Safety
/// As for [`Simd`]; the pointers reach that far.
#[inline(always)]
pub(crate) unsafe fn add_pixels<S: Simd, const ROWS: usize, const VECTORS: usize>(
    sums: &mut Sums<S::V, ROWS, VECTORS>,
    pixels: &Pixels<ROWS>,
) {
    // SAFETY: offsets are those of pixels below `count`.
    unsafe {
        let (mut offset, mut gradient) = (0, pixels.gradient);
        for _ in 0..pixels.count / 2 {
            add_pixel::<S, ROWS, VECTORS>(sums, pixels, offset, gradient);
            offset += pixels.step;
            add_pixel::<S, ROWS, VECTORS>(sums, pixels, offset, gradient.add(S::LANES));
            offset += pixels.step;
            gradient = gradient.wrapping_add(2 * S::LANES);
        }
        if pixels.count % 2 == 1 {
            add_pixel::<S, ROWS, VECTORS>(sums, pixels, offset, gradient);
        }
    }
}

/// Adds the products of several rows of pixels, each so many values of the input and of the gradient
/// after the one before. One pixel at a time: a rest after a loop inside a loop is a branch too many for
/// the optimiser to keep the sums in registers.
///
/// # Safety
/// As for [`add_pixels`].
#[inline(always)]
pub(crate) unsafe fn add_rows<S: Simd, const ROWS: usize, const VECTORS: usize>(
    sums: &mut Sums<S::V, ROWS, VECTORS>,
    pixels: &Pixels<ROWS>,
    rows: usize,
    distances: [usize; 2],
) {
    // SAFETY: offsets are those of pixels below `count` in rows below `rows`.
    unsafe {
        let (mut row, mut gradients) = (0, pixels.gradient);
        for _ in 0..rows {
            let (mut offset, mut gradient) = (row, gradients);
            for _ in 0..pixels.count {
                add_pixel::<S, ROWS, VECTORS>(sums, pixels, offset, gradient);
                offset += pixels.step;
                gradient = gradient.wrapping_add(S::LANES);
            }
            row += distances[0];
            gradients = gradients.wrapping_add(distances[1]);
        }
    }
}

/// Adds the products of one pixel: so many values after the first, and at `gradient`.
///
/// # Safety
/// As for [`Simd`]; a vector can be read at `gradient` and at each plane after it, and a value of each row
/// `offset` on.
#[inline(always)]
unsafe fn add_pixel<S: Simd, const ROWS: usize, const VECTORS: usize>(
    sums: &mut Sums<S::V, ROWS, VECTORS>,
    pixels: &Pixels<ROWS>,
    offset: usize,
    gradient: *const f32,
) {
    // SAFETY: what the caller vouches for is read.
    unsafe {
        let mut vectors = [S::zero(); VECTORS];
        for (v, vector) in vectors.iter_mut().enumerate() {
            *vector = S::load(gradient.add(v * pixels.plane));
        }
        for r in 0..ROWS {
            let x = S::broadcast(pixels.values[r].add(offset));
            for v in 0..VECTORS {
                sums[r][v] = S::mul_add(x, vectors[v], sums[r][v]);
            }
        }
    }
}

/// Where a tile of a weight gradient goes.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) at: *mut f32,
    /// Values from one row to the next.
    pub(crate) row: usize,
    /// Values from one vector to the next.
    pub(crate) vector: usize,
    /// Rows that exist.
    pub(crate) rows: usize,
    /// Whether it already holds part of the sum.
    pub(crate) continues: bool,
}

/// Room for the largest tile: 24 vectors of 16 values.
#[repr(align(64))]
struct Tile {
    _values: [f32; 24 * 16],
}

/// Writes a tile out, by way of the stack for the reason that [`crate::conv::tile::store`] has.
///
/// # Safety
/// As for [`Simd`]; the place holds the rows that exist.
#[inline(always)]
pub(crate) unsafe fn store_rows<S: Simd, const ROWS: usize, const VECTORS: usize>(
    sums: &Sums<S::V, ROWS, VECTORS>,
    to: &Place,
) {
    // SAFETY: the tile has room for the widest; of the place, the rows that exist are read and written.
    unsafe {
        let mut tile = MaybeUninit::<Tile>::uninit();
        let tile = tile.as_mut_ptr().cast::<f32>();
        for r in 0..ROWS {
            for v in 0..VECTORS {
                S::store(tile.add((r * VECTORS + v) * S::LANES), sums[r][v]);
            }
        }
        for r in 0..ROWS.min(to.rows) {
            for v in 0..VECTORS {
                let at = to.at.add(r * to.row + v * to.vector);
                let mut sum = S::load(tile.add((r * VECTORS + v) * S::LANES));
                if to.continues {
                    sum = S::add(sum, S::load(at));
                }
                S::store(at, sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_cover_every_block_once() {
        for blocks in 1..50 {
            for widest in 1..=WIDEST {
                let widths = widths(blocks, widest);
                assert_eq!(widths.iter().sum::<usize>(), blocks);
                assert!(widths.iter().all(|w| (1..=widest).contains(w)));
            }
        }
        assert_eq!(widths(4, 3), [2, 2]);
        assert_eq!(widths(8, 3), [3, 3, 2]);
    }
}
