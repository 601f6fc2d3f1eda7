//! The product in tiles: two tiles of pixels by two groups of channels.
//!
//! Contract: a row of a tile is what one step of the reduction reads for one pixel, so that a tile's pixels lie at one
//! distance. Where windows move by one pixel a tile runs across the ends of rows, through the shared halo; what it
//! computes there goes nowhere. Else, and where that wastes more, tiles lie in rows. A last tile is moved back onto
//! pixels that another has, which then go nowhere, so that nothing is read that is not of the map.
//!
//! The epilogue of a block of sums runs in slices between the steps of the next one: tiles that are stored are waited
//! for, and vectors compute meanwhile.

use std::mem::MaybeUninit;

use super::epilogue::{Finish, NOWHERE, Sums};
use super::task::Task;
use super::weights::{PANEL, Panel};
use crate::low::element::Element;
use crate::low::engine::TileKernel;
use crate::low::product::ROW;
use crate::low::tile::{ROWS, TileShape, Tiles};

/// Room for the sums of two tiles of pixels by a panel.
#[repr(align(64))]
struct Room {
    _sums: [u8; 2 * ROWS * PANEL * ROW],
}

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

    /// The sums of a block, from `from` on, of which the first `done` are stored.
    fn sums<'a>(&'a self, block: &Block<'a>, count: usize) -> Sums<'a> {
        let start = block.tile * self.rows + block.done;
        let end = start + count;
        Sums {
            from: block
                .sums
                .wrapping_add(block.done * block.panel.groups * ROW),
            first: block.panel.first,
            groups: block.panel.groups,
            outs: &self.outs[start..end],
            residuals: self.residuals.get(start..end).unwrap_or(&[]),
        }
    }
}

/// Sums that wait for their epilogue.
struct Block<'a> {
    panel: &'a Panel,
    /// The first of its tiles.
    tile: usize,
    sums: *const u8,
    pixels: usize,
    done: usize,
}

impl TileKernel for Task<'_> {
    #[inline(always)]
    unsafe fn run<T: Tiles>(self) {
        // SAFETY: whoever made the task vouches for its pointers; blocks have a room of their own in turn.
        unsafe {
            let grid = Grid::new(&self);
            let runs = self.steps[0].runs;
            debug_assert!(self.steps.iter().all(|step| step.runs == runs));
            let mut rooms = [const { MaybeUninit::<Room>::uninit() }; 2];
            let rooms = rooms.each_mut().map(|room| room.as_mut_ptr().cast::<u8>());
            let mut pending: Option<Block<'_>> = None;
            let mut turn = 0;
            T::configure(TileShape {
                pixels: grid.rows,
                runs,
            });
            for panel in &self.weights.panels[self.panels.clone()] {
                for tile in (0..grid.ins.len()).step_by(2) {
                    let ins = &grid.ins[tile..grid.ins.len().min(tile + 2)];
                    for first in (0..panel.groups).step_by(2) {
                        let place = Place {
                            task: &self,
                            grid: &grid,
                            panel,
                            ins,
                            first,
                            sums: rooms[turn],
                        };
                        match (ins.len(), (panel.groups - first).min(2)) {
                            (2, 2) => place.block::<T, 2, 2>(&mut pending),
                            (2, _) => place.block::<T, 2, 1>(&mut pending),
                            (_, 2) => place.block::<T, 1, 2>(&mut pending),
                            _ => place.block::<T, 1, 1>(&mut pending),
                        }
                    }
                    if let Some(block) = pending.take() {
                        self.finish(&grid, block, usize::MAX);
                    }
                    pending = Some(Block {
                        panel,
                        tile,
                        sums: rooms[turn],
                        pixels: ins.len() * grid.rows,
                        done: 0,
                    });
                    turn = 1 - turn;
                }
            }
            if let Some(block) = pending {
                self.finish(&grid, block, usize::MAX);
            }
            T::release();
        }
    }
}

impl Task<'_> {
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

/// A block of sums: where it comes from and where it goes.
struct Place<'a, 'b> {
    task: &'a Task<'b>,
    grid: &'a Grid,
    panel: &'a Panel,
    /// One or two tiles of pixels.
    ins: &'a [usize],
    /// The first group of the panel.
    first: usize,
    sums: *mut u8,
}

impl<'a> Place<'a, '_> {
    /// # Safety
    /// As for [`TileKernel::run`]; the constants are tiles of pixels and groups.
    #[inline(always)]
    unsafe fn block<T: Tiles, const TILES: usize, const GROUPS: usize>(
        &self,
        pending: &mut Option<Block<'a>>,
    ) {
        // SAFETY: tiles read windows that there are, and rows of weights of their panel; the sums' room is large
        // enough for both tiles and all groups.
        unsafe {
            let task = self.task;
            let is_bf16 = task.convolution.elements.input == Element::Bf16;
            let row = self.panel.groups * ROW;
            let distance = task.layout.pixel() * task.convolution.spec.stride[1];
            let mut weights = task.weights.of(self.panel).as_ptr().add(self.first * ROW);
            let pixels = self.grid.rows;
            let slice = (TILES * pixels).div_ceil(task.steps.len());
            T::zero::<0>();
            T::zero::<1>();
            T::zero::<2>();
            T::zero::<3>();
            for step in task.steps {
                let from = task.input.add(step.bytes);
                T::load::<4>(from.add(self.ins[0]), distance);
                T::load::<6>(weights, row);
                add::<T, 0, 4, 6>(is_bf16);
                if GROUPS == 2 {
                    T::load::<7>(weights.add(ROW), row);
                    add::<T, 1, 4, 7>(is_bf16);
                }
                if TILES == 2 {
                    T::load::<5>(from.add(self.ins[1]), distance);
                    add::<T, 2, 5, 6>(is_bf16);
                    if GROUPS == 2 {
                        add::<T, 3, 5, 7>(is_bf16);
                    }
                }
                weights = weights.add(step.runs * row);
                if let Some(block) = pending.take() {
                    *pending = task.finish(self.grid, block, slice);
                }
            }
            let to = self.sums.add(self.first * ROW);
            T::store::<0>(to, row);
            if GROUPS == 2 {
                T::store::<1>(to.add(ROW), row);
            }
            if TILES == 2 {
                let to = to.add(pixels * row);
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
unsafe fn add<T: Tiles, const SUMS: usize, const PIXELS: usize, const WEIGHTS: usize>(
    is_bf16: bool,
) {
    // SAFETY: the caller vouches for the tiles.
    unsafe {
        if is_bf16 {
            T::add_bf16::<SUMS, PIXELS, WEIGHTS>();
        } else {
            T::add_bytes::<SUMS, PIXELS, WEIGHTS>();
        }
    }
}
