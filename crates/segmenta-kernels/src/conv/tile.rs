//! The register tile: `PIXELS` output pixels by `VECTORS` vectors of output channels, which stay in
//! registers while the reduction runs.
//!
//! Contract: [`start`] reads bias and residual, or (when it continues a sum) the output; each step of
//! the reduction reads one value a pixel (broadcast) and one row of the weight panel, both in the
//! order they lie in memory; [`store`] writes the output. Pixels beyond [`Place::count`] are
//! computed and thrown away.

use std::mem::MaybeUninit;

use crate::activation::{Activation, clamp};
use crate::simd::Simd;

/// Where a tile's sums come from and where they go.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// First pixel, first block of the panel.
    pub(crate) out: *mut f32,
    /// Values from one block of output channels to the next.
    pub(crate) out_plane: usize,
    /// Pixels that exist, at least one; may be more than the tile has.
    pub(crate) count: usize,
    /// Whether the output already holds part of the sum.
    pub(crate) continues: bool,
    /// Bias of the panel's first channel; null for none.
    pub(crate) bias: *const f32,
    /// Same place as `out` in a map to add; null for none.
    pub(crate) residual: *const f32,
    /// Values from one block of the residual to the next.
    pub(crate) residual_plane: usize,
    /// What is applied to the sum: nothing unless this is its last part.
    pub(crate) activation: Activation,
}

pub(crate) type Sums<V, const PIXELS: usize, const VECTORS: usize> = [[V; VECTORS]; PIXELS];

/// Weights that will be needed after the ones in use, brought nearer a few lines at a time.
pub(crate) struct Ahead {
    from: *const f32,
    lines: usize,
    /// Sixteenths of what one block of the reduction reads, for each block.
    share: usize,
}

/// Tiles in which a panel is fetched if there are so many, so that they do not ask for more at once than they have
/// room for.
const FETCHED_IN: usize = 16;

impl Ahead {
    /// What `blocks` blocks of the reduction read from `from` on in a panel of `vectors`, to be there after `tiles`
    /// tiles.
    #[inline(always)]
    pub(crate) fn new<S: Simd>(from: *const f32, [blocks, vectors, tiles]: [usize; 3]) -> Self {
        Self {
            from,
            lines: blocks * S::LANES * vectors * S::LANES / LINE,
            share: FETCHED_IN.div_ceil(tiles.clamp(1, FETCHED_IN)),
        }
    }

    /// The same, unless there are so many tiles that the first one's waiting is nothing.
    #[inline(always)]
    pub(crate) fn for_few<S: Simd>(from: *const f32, extents: [usize; 3]) -> Self {
        let mut ahead = Self::new::<S>(from, extents);
        if extents[2] >= FETCHED_IN {
            ahead.lines = 0;
        }
        ahead
    }

    /// The share of one block of the reduction in one tile.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    pub(crate) unsafe fn fetch<S: Simd, const VECTORS: usize>(&mut self) {
        // SAFETY: prefetching reads nothing, so that the address may lie behind the weights, as it does where a
        // narrower panel is the last one.
        unsafe {
            let lines = (VECTORS * S::LANES).div_ceil(LINE);
            for _ in 0..self.share {
                if self.lines >= lines {
                    for line in 0..lines {
                        S::prefetch(self.from.wrapping_add(line * LINE));
                    }
                    self.from = self.from.wrapping_add(lines * LINE);
                    self.lines -= lines;
                }
            }
        }
    }
}

/// Values in a cache line.
const LINE: usize = 16;

/// One block of input channels: `LANES` steps of the reduction. `pixel(m)` is where pixel `m` has
/// them; `weights` is moved on.
///
/// # Safety
/// As for [`Simd`]; each pixel points to a block's values, `weights` to a block's rows.
#[inline(always)]
pub(crate) unsafe fn reduce_block<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    sums: &mut Sums<S::V, PIXELS, VECTORS>,
    pixels: [*const f32; PIXELS],
    weights: &mut *const f32,
) {
    // SAFETY: `k` stays below the lanes, rows follow each other.
    unsafe {
        let row = VECTORS * S::LANES;
        let mut k = 0;
        while k < S::LANES {
            // Written out: a loop here is one too many for the optimiser to keep the sums in registers.
            reduce_step::<S, PIXELS, VECTORS>(sums, pixels, k, *weights);
            reduce_step::<S, PIXELS, VECTORS>(sums, pixels, k + 1, weights.add(row));
            reduce_step::<S, PIXELS, VECTORS>(sums, pixels, k + 2, weights.add(2 * row));
            reduce_step::<S, PIXELS, VECTORS>(sums, pixels, k + 3, weights.add(3 * row));
            *weights = weights.add(4 * row);
            k += 4;
        }
    }
}

/// One step of the reduction: value `k` of each pixel times one row of weights.
///
/// # Safety
/// As for [`Simd`]; each pixel has a value `k`, `weights` points to a row.
#[inline(always)]
pub(crate) unsafe fn reduce_step<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    sums: &mut Sums<S::V, PIXELS, VECTORS>,
    pixels: [*const f32; PIXELS],
    k: usize,
    weights: *const f32,
) {
    // SAFETY: what the caller vouches for is read.
    unsafe {
        let mut row = [S::zero(); VECTORS];
        for (v, row) in row.iter_mut().enumerate() {
            *row = S::load(weights.add(v * S::LANES));
        }
        for m in 0..PIXELS {
            let x = S::broadcast(pixels[m].add(k));
            for v in 0..VECTORS {
                sums[m][v] = S::mul_add(x, row[v], sums[m][v]);
            }
        }
    }
}

/// The sums that the reduction goes on from. A sum begins with bias and residual, so that its end
/// has nothing to wait for.
///
/// # Safety
/// As for [`Simd`]; the place has `count` pixels, at least one, in each of its vectors' planes.
#[inline(always)]
pub(crate) unsafe fn start<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    place: &Place,
) -> Sums<S::V, PIXELS, VECTORS> {
    // SAFETY: no pixel beyond the last one that exists is read.
    unsafe {
        let mut sums = [[S::zero(); VECTORS]; PIXELS];
        // Pixels that do not exist read the last one.
        let at = |m: usize| m.min(place.count - 1) * S::LANES;
        if place.continues {
            for m in 0..PIXELS {
                for v in 0..VECTORS {
                    sums[m][v] = S::load(place.out.add(v * place.out_plane + at(m)));
                }
            }
            return sums;
        }
        if !place.bias.is_null() {
            for v in 0..VECTORS {
                let bias = S::load(place.bias.add(v * S::LANES));
                for m in 0..PIXELS {
                    sums[m][v] = bias;
                }
            }
        }
        if !place.residual.is_null() {
            for m in 0..PIXELS {
                for v in 0..VECTORS {
                    let residual = place.residual.add(v * place.residual_plane + at(m));
                    sums[m][v] = S::add(sums[m][v], S::load(residual));
                }
            }
        }
        sums
    }
}

/// Writes a tile out.
///
/// Every vector of a whole tile leaves its register by an instruction of its own: an array that is
/// read in a loop is one that the optimiser keeps in memory during the reduction, too.
///
/// # Safety
/// As for [`start`].
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    sums: &Sums<S::V, PIXELS, VECTORS>,
    place: &Place,
) {
    // SAFETY: a whole tile is written where all its pixels exist, else by way of a tile on the stack that has
    // room for the largest, of which only what was written is copied.
    unsafe {
        let bounds = place.activation.bounds();
        let [low, high] = bounds.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        let (low, high) = (S::splat(low), S::splat(high));
        let count = place.count.min(PIXELS);
        if count == PIXELS {
            for v in 0..VECTORS {
                let out = place.out.add(v * place.out_plane);
                for m in 0..PIXELS {
                    S::store(out.add(m * S::LANES), clamp::<S>(sums[m][v], low, high));
                }
            }
        } else {
            let mut buffer = MaybeUninit::<Tile>::uninit();
            let tile = buffer.as_mut_ptr().cast::<f32>();
            for v in 0..VECTORS {
                for m in 0..PIXELS {
                    let at = tile.add((v * PIXELS + m) * S::LANES);
                    S::store(at, clamp::<S>(sums[m][v], low, high));
                }
            }
            for v in 0..VECTORS {
                let (from, to) = (tile.add(v * PIXELS * S::LANES), v * place.out_plane);
                std::ptr::copy_nonoverlapping(from, place.out.add(to), count * S::LANES);
            }
        }
        if bounds.is_none() {
            for v in 0..VECTORS {
                let out = place.out.add(v * place.out_plane);
                place.activation.in_place::<S>(out, count);
            }
        }
    }
}

/// Room for the largest tile: 28 vectors of 16 values.
const TILE: usize = 28 * 16;

#[repr(align(64))]
struct Tile {
    _values: [f32; TILE],
}
