//! The register tile: `PIXELS` output pixels by `VECTORS` vectors of output channels, which stay in
//! registers while the reduction runs.
//!
//! Contract: for each step of the reduction it reads one value a pixel (broadcast) and one row of
//! the weight panel, both in the order they lie in memory, and at the end reads bias, residual and
//! (when it continues a sum) the output, and writes the output. Pixels beyond [`Store::count`] are
//! computed and thrown away.

use std::mem::MaybeUninit;

use crate::activation::{Activation, clamp};
use crate::simd::Simd;

/// What happens to a finished tile.
#[derive(Clone, Copy)]
pub(crate) struct Store {
    /// First pixel, first block of the panel.
    pub(crate) out: *mut f32,
    /// Values from one block of output channels to the next.
    pub(crate) out_plane: usize,
    /// Pixels that exist.
    pub(crate) count: usize,
    /// Whether the output already holds part of the sum.
    pub(crate) continues: bool,
    /// Set on the last part of the sum.
    pub(crate) finish: Option<Finish>,
}

/// What the last part of a sum adds and applies.
#[derive(Clone, Copy)]
pub(crate) struct Finish {
    /// Bias of the panel's first channel.
    pub(crate) bias: *const f32,
    /// Same place as `out` in a map to add; null for none.
    pub(crate) residual: *const f32,
    /// Values from one block of the residual to the next.
    pub(crate) residual_plane: usize,
    pub(crate) activation: Activation,
}

pub(crate) type Sums<V, const PIXELS: usize, const VECTORS: usize> = [[V; VECTORS]; PIXELS];

/// Weights that will be needed after the ones in use, brought nearer a few lines at a time.
pub(crate) struct Ahead {
    from: *const f32,
    lines: usize,
}

impl Ahead {
    /// `len` values from `from` on.
    #[inline(always)]
    pub(crate) fn new(from: *const f32, len: usize) -> Self {
        let lines = len / LINE;
        Self { from, lines }
    }

    /// As many lines as a sixteenth of what one block of the reduction reads: sixteen tiles fetch
    /// a whole panel.
    #[inline(always)]
    pub(crate) unsafe fn fetch<S: Simd, const VECTORS: usize>(&mut self) {
        let lines = (VECTORS * S::LANES).div_ceil(LINE);
        if self.lines >= lines {
            for line in 0..lines {
                S::prefetch(self.from.add(line * LINE));
            }
            self.from = self.from.add(lines * LINE);
            self.lines -= lines;
        }
    }
}

/// Values in a cache line.
const LINE: usize = 16;

/// One block of input channels: `LANES` steps of the reduction. `pixel(m)` is where pixel `m` has
/// them; `weights` is moved on.
#[inline(always)]
pub(crate) unsafe fn reduce_block<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    sums: &mut Sums<S::V, PIXELS, VECTORS>,
    pixels: [*const f32; PIXELS],
    weights: &mut *const f32,
) {
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

/// One step of the reduction: value `k` of each pixel times one row of weights.
#[inline(always)]
pub(crate) unsafe fn reduce_step<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    sums: &mut Sums<S::V, PIXELS, VECTORS>,
    pixels: [*const f32; PIXELS],
    k: usize,
    weights: *const f32,
) {
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

/// Writes a tile out.
///
/// The sums leave their registers through a buffer on the stack: an array that is read in a loop
/// with branches is one that the optimiser keeps in memory during the reduction, too.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd, const PIXELS: usize, const VECTORS: usize>(
    sums: &Sums<S::V, PIXELS, VECTORS>,
    to: &Store,
) {
    let mut buffer = MaybeUninit::<Tile>::uninit();
    let tile = buffer.as_mut_ptr().cast::<f32>();
    for m in 0..PIXELS {
        for v in 0..VECTORS {
            S::store(tile.add((v * PIXELS + m) * S::LANES), sums[m][v]);
        }
    }
    for v in 0..VECTORS {
        let column = tile.add(v * PIXELS * S::LANES);
        store_column::<S>(column, to, v, to.count.min(PIXELS));
    }
}

/// Room for the largest tile: 28 vectors of 16 values.
const TILE: usize = 28 * 16;

#[repr(align(64))]
struct Tile {
    _values: [f32; TILE],
}

/// Writes one vector of output channels of `count` pixels.
#[inline(always)]
unsafe fn store_column<S: Simd>(sums: *const f32, to: &Store, v: usize, count: usize) {
    let out = to.out.add(v * to.out_plane);
    let Some(finish) = to.finish else {
        for m in 0..count {
            let (at, sum) = (out.add(m * S::LANES), S::load(sums.add(m * S::LANES)));
            let sum = if to.continues {
                S::add(sum, S::load(at))
            } else {
                sum
            };
            S::store(at, sum);
        }
        return;
    };
    let bounds = finish.activation.bounds();
    let [low, high] = bounds.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
    let (low, high) = (S::splat(low), S::splat(high));
    let bias = S::load(finish.bias.add(v * S::LANES));
    let residual = finish.residual.wrapping_add(v * finish.residual_plane);
    for m in 0..count {
        let at = out.add(m * S::LANES);
        let mut sum = S::add(S::load(sums.add(m * S::LANES)), bias);
        if to.continues {
            sum = S::add(sum, S::load(at));
        }
        if !finish.residual.is_null() {
            sum = S::add(sum, S::load(residual.add(m * S::LANES)));
        }
        S::store(at, clamp::<S>(sum, low, high));
    }
    if bounds.is_none() {
        finish.activation.in_place::<S>(out, count);
    }
}
