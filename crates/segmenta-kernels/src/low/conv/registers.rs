//! The product in registers: some pixels by the groups of a panel, whose sums stay in registers while the reduction
//! runs.
//!
//! Contract: each step reads four bytes a pixel (broadcast) and one row of weights a group; sums leave for a buffer in
//! the first cache, from which the epilogue takes them. Where a panel's weights outgrow that cache, the reduction is
//! cut, and several tiles use a part of the weights before the next; their sums wait in the buffer. The order of a sum
//! is the order of the steps, whatever is cut.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::epilogue::{Finish, Sums};
use super::task::{Offset, Pixels, Task};
use super::weights::{PANEL, Panel};
use crate::low::engine::ProductKernel;
use crate::low::product::{Product, ROW, STEP};

/// Bytes of weights that are used by all tiles of a batch before the next.
const PART: usize = 16 << 10;
/// Tiles of a batch.
const TILES: usize = 8;

/// Room for the sums of a batch: 12 pixels by a panel are the most that a tile has.
#[repr(align(64))]
struct Room {
    _sums: [u8; TILES * 12 * PANEL * ROW],
}

/// Pixels by groups of a tile, side by side with the extents that are constants.
macro_rules! tile {
    ($product:ident, $pixels:expr, $groups:expr, $arguments:tt; $($p:literal x $g:literal),*) => {
        match ($pixels, $groups) {
            $(($p, $g) => tile::<$product, $p, $g> $arguments,)*
            (pixels, groups) => unreachable!("a tile of {pixels} by {groups}"),
        }
    };
}

impl ProductKernel for Task<'_> {
    #[inline(always)]
    unsafe fn run<P: Product>(self) {
        let pixels = self.pixels();
        for panel in &self.weights.panels[self.panels.clone()] {
            // SAFETY: whoever made the task vouches for its pointers.
            unsafe { self.panel::<P>(&pixels, panel) };
        }
    }
}

impl Task<'_> {
    /// # Safety
    /// As for [`ProductKernel::run`].
    #[inline(always)]
    unsafe fn panel<P: Product>(&self, pixels: &Pixels, panel: &Panel) {
        // SAFETY: a batch's sums fit the room; a tile reads pixels that there are, the last one again where it has
        // more than are left.
        unsafe {
            let mut room = MaybeUninit::<Room>::uninit();
            let room = room.as_mut_ptr().cast::<u8>();
            let weights = self.weights.of(panel);
            let wide = panel.groups.min(P::GROUPS);
            let height = P::PIXELS[wide - 1];
            let row = panel.groups * ROW;
            let parts = Parts::new(self.steps, row);
            let count = pixels.ins.len();
            let mut first = 0;
            while first < count {
                let batch = (count - first).min(TILES * height);
                for part in &parts.0 {
                    for start in (0..batch).step_by(height) {
                        let ins = &pixels.ins[first + start..first + batch];
                        let mut group = 0;
                        while group < panel.groups {
                            let groups = wide.min(panel.groups - group);
                            let place = Place {
                                input: self.input,
                                ins,
                                steps: &self.steps[part.steps.clone()],
                                weights: weights.as_ptr().add(part.runs * row + group * ROW),
                                row,
                                sums: room.add(start * row + group * ROW),
                                continues: part.steps.start > 0,
                            };
                            tile!(P, height, groups, (&place); 6 x 4, 8 x 3, 12 x 2, 14 x 1, 12 x 1, 6 x 1, 4 x 1, 2 x 1);
                            group += groups;
                        }
                    }
                }
                let sums = Sums {
                    from: room,
                    first: panel.first,
                    groups: panel.groups,
                    pitch: panel.groups,
                    outs: &pixels.outs[first..first + batch],
                    residuals: pixels.residuals.get(first..first + batch).unwrap_or(&[]),
                };
                self.convolution.engine.vectors(Finish {
                    epilogue: &self.convolution.epilogue,
                    sums,
                    target: &self.target,
                    residual: self.residual.as_ref(),
                    whole: P::WHOLE,
                });
                first += batch;
            }
        }
    }
}

/// A part of the reduction.
struct Part {
    steps: Range<usize>,
    /// Runs before it.
    runs: usize,
}

struct Parts(Vec<Part>);

impl Parts {
    /// Cuts steps where their weights outgrow the cache.
    fn new(steps: &[Offset], row: usize) -> Self {
        let total: usize = steps.iter().map(|step| step.runs * row).sum();
        let limit = total.div_ceil(total.div_ceil(PART));
        let (mut parts, mut start, mut runs, mut before) = (Vec::new(), 0, 0, 0);
        for (index, step) in steps.iter().enumerate() {
            runs += step.runs;
            if (runs - before) * row >= limit || index + 1 == steps.len() {
                parts.push(Part {
                    steps: start..index + 1,
                    runs: before,
                });
                (start, before) = (index + 1, runs);
            }
        }
        Self(parts)
    }
}

/// What a tile reads and writes.
struct Place<'a> {
    input: *const u8,
    /// Where the windows of its pixels begin: at least one.
    ins: &'a [usize],
    steps: &'a [Offset],
    weights: *const u8,
    /// Bytes from one run's weights to the next, and from one pixel's sums to the next.
    row: usize,
    sums: *mut u8,
    continues: bool,
}

/// # Safety
/// The processor has the instructions; the place's pointers reach as far as its steps say, and there is room for the
/// sums of `PIXELS` pixels.
#[inline(always)]
unsafe fn tile<P: Product, const PIXELS: usize, const GROUPS: usize>(place: &Place<'_>) {
    // SAFETY: what the caller vouches for is read and written.
    unsafe {
        let last = place.ins.len() - 1;
        let mut pixels = [place.input; PIXELS];
        for (m, pixel) in pixels.iter_mut().enumerate() {
            *pixel = place.input.add(*place.ins.get_unchecked(m.min(last)));
        }
        // A constant where a tile is as wide as its panel.
        let row = if P::GROUPS == PANEL {
            GROUPS * ROW
        } else {
            place.row
        };
        let mut sums = [[P::zero(); GROUPS]; PIXELS];
        if place.continues {
            for m in 0..PIXELS {
                for g in 0..GROUPS {
                    sums[m][g] = P::load(place.sums.add(m * row + g * ROW));
                }
            }
        }
        let mut weights = place.weights;
        for step in place.steps {
            let mut at = step.bytes;
            let end = at + step.runs * STEP;
            while at < end {
                let mut rows = [P::row(weights); GROUPS];
                for g in 1..GROUPS {
                    rows[g] = P::row(weights.add(g * ROW));
                }
                for m in 0..PIXELS {
                    let pixel = P::pixel(pixels[m].add(at));
                    for g in 0..GROUPS {
                        sums[m][g] = P::add(sums[m][g], pixel, rows[g]);
                    }
                }
                weights = weights.add(row);
                at += STEP;
            }
        }
        for m in 0..PIXELS {
            for g in 0..GROUPS {
                P::store(place.sums.add(m * row + g * ROW), sums[m][g]);
            }
        }
    }
}
