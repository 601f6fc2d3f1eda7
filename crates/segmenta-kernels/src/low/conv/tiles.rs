//! The product in tiles: two tiles of pixels by two groups of channels.
//!
//! Contract: a row of a tile is what one step of the reduction reads for one pixel, so that a tile's pixels lie at one
//! distance. Where windows move by one pixel a tile runs across the ends of rows, through the shared halo; what it
//! computes there goes nowhere. Else, and where that wastes more, tiles lie in rows. A last tile is moved back onto
//! pixels that another has, which then go nowhere, so that nothing is read that is not of the map.
//!
//! The epilogue of a block of sums runs in slices between the steps of the next one: tiles that are stored are waited
//! for, and vectors compute meanwhile. Where a strip's weights outgrow their share of the second cache, the reduction is
//! cut: all blocks of the task take a part of it before the next, and their sums wait in memory.

use std::ops::Range;

use super::epilogue::{Finish, NOWHERE, Sums};
use super::task::{Offset, Task};
use super::weights::{PANEL, Panel};
use crate::buffer::Buffer;
use crate::low::element::Element;
use crate::low::engine::TileKernel;
use crate::low::product::ROW;
use crate::low::tile::{ROWS, TileShape, Tiles};

/// Bytes of the sums of two tiles of pixels by a panel.
const ROOM: usize = 2 * ROWS * PANEL * ROW;
/// Into how many slices an epilogue is cut.
const SLICES: usize = 8;

/// What a tile of `pixels` rows takes, in cycles of the processor that was measured: nearly proportional, but for a
/// least time.
fn cycles(pixels: usize) -> usize {
    if pixels == ROWS {
        16
    } else {
        (pixels + 2).max(12)
    }
}

/// Tiles of pixels of one task.
struct Grid {
    /// Pixels of a tile.
    rows: usize,
    /// Bytes from the input's picture to each tile's first window.
    ins: Vec<usize>,
    /// Where the pixels go, `rows` a tile.
    outs: Vec<usize>,
    residuals: Vec<usize>,
}

impl Grid {
    fn new(task: &Task<'_>) -> Self {
        let (spec, shape) = (&task.convolution.spec, task.output);
        let (width, pitch) = (shape.width, task.layout.pitch());
        // Pixels a row when tiles lie in rows.
        let in_rows = |rows: usize| shape.height * width.div_ceil(rows) * cycles(rows);
        let least = width.min(8);
        let best = (least..=width.min(ROWS))
            .rev()
            .min_by_key(|&rows| in_rows(rows));
        let best = best.expect("a row of pixels");
        let run = (shape.height - 1) * pitch + width;
        let flat_rows = run.min(ROWS);
        let flat = run.div_ceil(flat_rows) * cycles(flat_rows);
        // A window that is smaller than its padding gives rows that are longer than the input's.
        let has_rows = width <= pitch && spec.stride == [1, 1];
        if has_rows && flat <= in_rows(best) {
            Self::across(task, flat_rows, pitch)
        } else {
            Self::in_rows(task, best)
        }
    }

    fn of(rows: usize) -> Self {
        Self {
            rows,
            ins: Vec::new(),
            outs: Vec::new(),
            residuals: Vec::new(),
        }
    }

    /// Adds a tile that begins at a pixel; `place` says which pixel each row is, if it is one of this tile's.
    fn push(
        &mut self,
        task: &Task<'_>,
        window: usize,
        place: impl Fn(usize) -> Option<[usize; 2]>,
    ) {
        self.ins.push(window);
        for row in 0..self.rows {
            let at = place(row);
            let out = at.map_or(NOWHERE, |at| task.target.at(task.output.width, at));
            self.outs.push(out);
            if let Some(residual) = &task.residual {
                let at = at.unwrap_or([0, 0]);
                self.residuals.push(residual.layout.at(at[0], at[1]));
            }
        }
    }

    /// Tiles that run across the ends of rows.
    fn across(task: &Task<'_>, rows: usize, pitch: usize) -> Self {
        let width = task.output.width;
        let mut grid = Self::of(rows);
        let place = |pixel: usize| pixel / width * pitch + pixel % width;
        let (start, end) = (place(task.pixels.start), place(task.pixels.end - 1) + 1);
        let (pixel, origin) = (task.layout.pixel(), task.window([0, 0]));
        let mut next = start;
        while next < end {
            let first = next.min(end.max(rows) - rows);
            grid.push(task, origin + first * pixel, |row| {
                let at = first + row;
                let is_new = (next..end).contains(&at) && at % pitch < width;
                is_new.then_some([at / pitch, at % pitch])
            });
            next = first + rows;
        }
        grid
    }

    /// Tiles in rows.
    fn in_rows(task: &Task<'_>, rows: usize) -> Self {
        let width = task.output.width;
        let mut grid = Self::of(rows);
        let mut next = task.pixels.start;
        while next < task.pixels.end {
            let (row, column) = (next / width, next % width);
            let end = width.min(column + task.pixels.end - next);
            let first = column.min(width - rows);
            grid.push(task, task.window([row, first]), |m| {
                let is_new = (column..end).contains(&(first + m));
                is_new.then_some([row, first + m])
            });
            next += (first + rows).min(end) - column;
        }
        grid
    }

    /// The sums of a block, from `done` on.
    fn sums<'a>(&'a self, block: &Block<'a>, count: usize) -> Sums<'a> {
        let start = block.tile * self.rows + block.done;
        let end = start + count;
        Sums {
            from: block
                .sums
                .wrapping_add(block.done * block.panel.groups * ROW),
            first: block.panel.first,
            groups: block.panel.groups,
            pitch: block.panel.groups,
            outs: &self.outs[start..end],
            residuals: self.residuals.get(start..end).unwrap_or(&[]),
        }
    }
}

/// Sums that wait for their epilogue.
#[derive(Clone, Copy)]
struct Block<'a> {
    panel: &'a Panel,
    /// The first of its tiles.
    tile: usize,
    sums: *mut u8,
    pixels: usize,
    done: usize,
}

impl TileKernel for Task<'_> {
    #[inline(always)]
    unsafe fn run<T: Tiles>(self) {
        // SAFETY: what the caller vouches for is passed on.
        unsafe {
            if self.convolution.elements.input == Element::Bf16 {
                self.product::<T, true>();
            } else {
                self.product::<T, false>();
            }
        }
    }
}

impl Task<'_> {
    /// # Safety
    /// As for [`TileKernel::run`].
    #[inline(always)]
    unsafe fn product<T: Tiles, const BF16: bool>(&self) {
        // SAFETY: whoever made the task vouches for its pointers; blocks have a room of their own in turn, or each for
        // itself where sums wait.
        unsafe {
            let grid = Grid::new(self);
            let runs = self.steps[0].runs;
            debug_assert!(self.steps.iter().all(|step| step.runs == runs));
            let panels = &self.weights.panels[self.panels.clone()];
            let parts = self.weights.parts();
            let blocks = grid.ins.len().div_ceil(2);
            let rooms = if parts.len() > 1 {
                panels.len() * blocks
            } else {
                2
            };
            let mut sums = Buffer::zeros(rooms * ROOM / size_of::<f32>());
            let sums = sums.as_mut_ptr().cast::<u8>();
            let mut pending: Option<Block<'_>> = None;
            let mut turn = 0;
            T::configure(TileShape {
                pixels: grid.rows,
                runs,
            });
            for (index, steps) in parts.iter().enumerate() {
                let ends = index + 1 == parts.len();
                for panel in panels {
                    for tile in (0..grid.ins.len()).step_by(2) {
                        let ins = &grid.ins[tile..grid.ins.len().min(tile + 2)];
                        let block = Block {
                            panel,
                            tile,
                            sums: sums.add(turn * ROOM),
                            pixels: ins.len() * grid.rows,
                            done: 0,
                        };
                        self.block::<T, BF16>(&grid, &block, steps, index > 0, &mut pending);
                        debug_assert!(pending.is_none(), "an epilogue that was not done");
                        pending = ends.then_some(block);
                        turn = (turn + 1) % rooms;
                    }
                }
            }
            if let Some(block) = pending {
                self.finish(&grid, block, usize::MAX);
            }
            T::release();
        }
    }

    /// The sums of a block over a part of the reduction, and meanwhile the epilogue of the one that waits.
    ///
    /// # Safety
    /// As for [`TileKernel::run`]; the block's room is large enough for its tiles and groups.
    #[inline(always)]
    unsafe fn block<'a, T: Tiles, const BF16: bool>(
        &self,
        grid: &'a Grid,
        block: &Block<'a>,
        steps: &Range<usize>,
        continues: bool,
        pending: &mut Option<Block<'a>>,
    ) {
        // SAFETY: tiles read windows that there are, and rows of weights of their strip; sums stay in the block's room.
        unsafe {
            let ins = &grid.ins[block.tile..grid.ins.len().min(block.tile + 2)];
            let row = block.panel.groups * ROW;
            let strips = block.panel.groups.div_ceil(2);
            let pixels = grid.rows;
            let distance = self.layout.pixel() * self.convolution.spec.stride[1];
            // A slice of the pending epilogue after each run of steps, all of it by the last.
            let run = steps.len().div_ceil(SLICES.div_ceil(strips));
            let slices = strips * steps.len().div_ceil(run);
            let slice = pending.map_or(0, |block| block.pixels.div_ceil(slices));
            for (before, groups, weights) in self.weights.strips(block.panel) {
                let wide = groups * ROW;
                let step_bytes = self.steps[0].runs * wide;
                let place = Place {
                    input: self.input,
                    ins,
                    distance,
                    sums: block.sums.add(before * ROW),
                    sums_row: row,
                    sums_tile: pixels * row,
                };
                macro_rules! tiles {
                    ($name:ident $arguments:tt) => {
                        match (ins.len(), groups) {
                            (2, 2) => place.$name::<T, BF16, 2, 2> $arguments,
                            (2, _) => place.$name::<T, BF16, 2, 1> $arguments,
                            (_, 2) => place.$name::<T, BF16, 1, 2> $arguments,
                            _ => place.$name::<T, BF16, 1, 1> $arguments,
                        }
                    };
                }
                if continues {
                    tiles!(load());
                } else {
                    T::zero::<0>();
                    T::zero::<1>();
                    T::zero::<2>();
                    T::zero::<3>();
                }
                let mut weights = weights.add(steps.start * step_bytes);
                for some in self.steps[steps.clone()].chunks(run) {
                    tiles!(add(some, weights));
                    weights = weights.add(some.len() * step_bytes);
                    if let Some(block) = pending.take() {
                        *pending = self.finish(grid, block, slice);
                    }
                }
                tiles!(store());
            }
        }
    }

    /// The epilogue of the next pixels of a block, at most `count`; what is left of the block.
    fn finish<'a>(&self, grid: &'a Grid, mut block: Block<'a>, count: usize) -> Option<Block<'a>> {
        let count = count.min(block.pixels - block.done);
        self.convolution.engine.vectors(Finish {
            epilogue: &self.convolution.epilogue,
            sums: grid.sums(&block, count),
            target: &self.target,
            residual: self.residual.as_ref(),
            whole: self.convolution.elements.input != Element::Bf16,
        });
        block.done += count;
        (block.done < block.pixels).then_some(block)
    }
}

/// What a block of at most two by two tiles reads and writes.
struct Place<'a> {
    input: *const u8,
    /// Bytes from the input's picture to the first window of one or two tiles of pixels.
    ins: &'a [usize],
    /// Bytes from one pixel's window to the next.
    distance: usize,
    sums: *mut u8,
    /// Bytes from one pixel's sums to the next, and from one tile's.
    sums_row: usize,
    sums_tile: usize,
}

/// # Safety
/// As for [`Tiles`]: there are sums for so many tiles and groups, windows and weights for the steps.
impl Place<'_> {
    /// Adds the products of some steps, of which `weights` has the first one's.
    #[inline(always)]
    unsafe fn add<T: Tiles, const BF16: bool, const TILES: usize, const GROUPS: usize>(
        &self,
        steps: &[Offset],
        mut weights: *const u8,
    ) {
        // SAFETY: as above.
        unsafe {
            let first = self.input.add(self.ins[0]);
            let second = self.input.add(self.ins[TILES - 1]);
            let row = GROUPS * ROW;
            let step_bytes = steps[0].runs * row;
            for step in steps {
                T::load::<4>(first.add(step.bytes), self.distance);
                T::load::<6>(weights, row);
                add::<T, BF16, 0, 4, 6>();
                if GROUPS == 2 {
                    T::load::<7>(weights.add(ROW), row);
                    add::<T, BF16, 1, 4, 7>();
                }
                if TILES == 2 {
                    T::load::<5>(second.add(step.bytes), self.distance);
                    add::<T, BF16, 2, 5, 6>();
                    if GROUPS == 2 {
                        add::<T, BF16, 3, 5, 7>();
                    }
                }
                weights = weights.add(step_bytes);
            }
        }
    }

    #[inline(always)]
    unsafe fn load<T: Tiles, const BF16: bool, const TILES: usize, const GROUPS: usize>(&self) {
        // SAFETY: as above.
        unsafe {
            let (from, row) = (self.sums, self.sums_row);
            T::load::<0>(from, row);
            if GROUPS == 2 {
                T::load::<1>(from.add(ROW), row);
            }
            if TILES == 2 {
                let from = from.add(self.sums_tile);
                T::load::<2>(from, row);
                if GROUPS == 2 {
                    T::load::<3>(from.add(ROW), row);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store<T: Tiles, const BF16: bool, const TILES: usize, const GROUPS: usize>(&self) {
        // SAFETY: as above.
        unsafe {
            let (to, row) = (self.sums, self.sums_row);
            T::store::<0>(to, row);
            if GROUPS == 2 {
                T::store::<1>(to.add(ROW), row);
            }
            if TILES == 2 {
                let to = to.add(self.sums_tile);
                T::store::<2>(to, row);
                if GROUPS == 2 {
                    T::store::<3>(to.add(ROW), row);
                }
            }
        }
    }
}

/// # Safety
/// As for [`Tiles`].
#[inline(always)]
unsafe fn add<
    T: Tiles,
    const BF16: bool,
    const SUMS: usize,
    const PIXELS: usize,
    const WEIGHTS: usize,
>() {
    // SAFETY: the caller vouches for the tiles.
    unsafe {
        if BF16 {
            T::add_bf16::<SUMS, PIXELS, WEIGHTS>();
        } else {
            T::add_bytes::<SUMS, PIXELS, WEIGHTS>();
        }
    }
}
