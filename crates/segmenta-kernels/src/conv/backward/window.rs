//! Weight gradient of a convolution of blocked maps, any window: for each tap a product of two maps
//! over their pixels.
//!
//! The output's pixels are taken in chunks that stay in the first cache while all taps, input channels
//! and output channels pass by. Tasks are cut by channels; where those are few, also by pixels, into
//! parts whose number depends on the shape alone and which are added in their order. A convolution in
//! groups multiplies the blocks that its groups touch.

use std::ops::Range;

use super::reduce::{Pixels, Place, WIDEST, add_pixels, add_rows, store_rows, widths, with_tile};
use super::unpack::{BlockRows, Unpack};
use crate::conv::ConvSpec;
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapShape};
use crate::shared::{Shared, in_parallel, part};
use crate::simd::Simd;

/// Pixels of a chunk: three vectors and sixteen values each are 32 KiB.
const PIXELS: usize = 256;
/// Tiles, or parts of their sums, that are enough to keep many threads busy.
const PIECES: usize = 32;
/// Chunks that make a part worth its own sum.
const PART_CHUNKS: usize = 4;

/// How a weight gradient goes on maps of one shape.
#[derive(Debug)]
pub(crate) struct Plan {
    isa: Isa,
    spec: ConvSpec,
    /// Height and width of the maps as the loops see them: a 1×1 convolution has one long row.
    input: [usize; 2],
    output: [usize; 2],
    panels: Vec<Panel>,
    blocks: Vec<BlockRows>,
    /// Rows and columns of a chunk.
    chunk: [usize; 2],
    chunks: usize,
    parts: usize,
    part_len: usize,
}

/// Blocks of output channels that one tile covers, and the blocks of input channels that they read.
#[derive(Clone, Debug)]
struct Panel {
    vectors: usize,
    block: usize,
    ins: Range<usize>,
    offset: usize,
}

impl Plan {
    pub(crate) fn new(isa: Isa, spec: &ConvSpec, input: MapShape, output: MapShape) -> Self {
        let lanes = isa.lanes();
        let taps = spec.kernel[0] * spec.kernel[1];
        let dense = taps == 1 && spec.stride == [1, 1] && spec.padding == [0, 0];
        let (ins, outs) = (
            spec.in_channels / spec.groups,
            spec.out_channels / spec.groups,
        );
        // A tile that spans groups multiplies what lies between them, too.
        let widest = if spec.groups == 1 {
            WIDEST
        } else {
            (outs / lanes).clamp(1, WIDEST)
        };
        let (mut panels, mut blocks) = (Vec::new(), Vec::new());
        let (mut block, mut offset) = (0, 0);
        for vectors in widths(spec.out_channels.div_ceil(lanes), widest) {
            let channels = block * lanes..((block + vectors) * lanes).min(spec.out_channels);
            let groups = channels.start / outs..(channels.end - 1) / outs + 1;
            let read = groups.start * ins / lanes..(groups.end * ins).div_ceil(lanes);
            let block_len = read.len() * lanes * taps * lanes;
            for v in 0..vectors {
                let first = (block + v) * lanes;
                let channels = first..(first + lanes).min(spec.out_channels);
                let row = |channel: usize| (channel / outs * ins - read.start * lanes) * taps;
                blocks.push(BlockRows {
                    offset: offset + v * block_len,
                    first: channels.map(row).collect(),
                });
            }
            panels.push(Panel {
                vectors,
                block,
                ins: read,
                offset,
            });
            block += vectors;
            offset += vectors * block_len;
        }

        let flat = |shape: MapShape| {
            if dense {
                [1, shape.pixels()]
            } else {
                [shape.height, shape.width]
            }
        };
        let size = flat(output);
        let columns = size[1].div_ceil(size[1].div_ceil(PIXELS));
        let rows = (PIXELS / columns).clamp(1, size[0]);
        let chunks = output.batch * size[0].div_ceil(rows) * size[1].div_ceil(columns);
        let tiles: usize = panels.iter().map(|panel| panel.ins.len()).sum();
        let parts = PIECES.div_ceil(tiles).min(chunks.div_ceil(PART_CHUNKS));
        Self {
            isa,
            spec: *spec,
            input: flat(input),
            output: size,
            panels,
            blocks,
            chunk: [rows, columns],
            chunks,
            parts,
            part_len: offset,
        }
    }

    pub(crate) fn scratch_len(&self) -> usize {
        self.parts * self.part_len
    }

    /// Cuts of the input's and of the output's channels: enough tasks, the least to read.
    fn cuts(&self) -> [usize; 2] {
        let wanted = (4 * rayon::current_num_threads()).div_ceil(self.parts);
        let most_ins = self.panels.iter().map(|p| p.ins.len()).max().unwrap_or(1);
        let outs = self.panels.len();
        let cuts = (1..=most_ins.min(wanted)).map(|ins| [ins, wanted.div_ceil(ins).min(outs)]);
        let [in_blocks, out_blocks] =
            [self.spec.in_channels, self.spec.out_channels].map(|c| c.div_ceil(self.isa.lanes()));
        let cost = |&[ins, outs]: &[usize; 2]| {
            let missing = wanted.saturating_sub(ins * outs);
            (missing, ins * out_blocks + outs * in_blocks)
        };
        cuts.min_by_key(cost).unwrap_or([1, 1])
    }

    /// `gradient[o][c][tap] = Σ dy[o] · x[c]` over the pixels of all pictures.
    pub(crate) fn run(&self, x: Map<'_>, dy: Map<'_>, gradient: &mut [f32], scratch: &mut [f32]) {
        let [in_cuts, out_cuts] = self.cuts();
        let shared = Shared::new(&mut scratch[..self.scratch_len()]);
        in_parallel(self.parts * in_cuts * out_cuts, |task| {
            let (index, rest) = (task / (in_cuts * out_cuts), task % (in_cuts * out_cuts));
            self.isa.run(Task {
                plan: self,
                x,
                dy,
                // SAFETY: channels of a part are written by the one task whose cuts they are in.
                packed: unsafe { shared.at(index * self.part_len) },
                chunks: part(self.chunks, self.parts, index),
                panels: part(self.panels.len(), out_cuts, rest / in_cuts),
                in_cut: [rest % in_cuts, in_cuts],
            });
        });
        let taps = self.spec.kernel[0] * self.spec.kernel[1];
        let unpack = Unpack {
            isa: self.isa,
            parts: self.parts,
            part_len: self.part_len,
            packed: scratch,
            blocks: &self.blocks,
            row_len: self.spec.in_channels / self.spec.groups * taps,
        };
        unpack.run(gradient);
    }

    /// Picture, rows and columns of a chunk.
    fn chunk(&self, index: usize) -> (usize, [Range<usize>; 2]) {
        let [rows, columns] = self.chunk;
        let across = self.output[1].div_ceil(columns);
        let down = self.output[0].div_ceil(rows);
        let (rest, column) = (index / across, index % across * columns);
        let (image, row) = (rest / down, rest % down * rows);
        let rows = row..(row + rows).min(self.output[0]);
        (
            image,
            [rows, column..(column + columns).min(self.output[1])],
        )
    }

    /// Of the output rows (axis 0) or columns of `wanted`, those where a tap lies on the map.
    fn inside(&self, axis: usize, tap: usize, wanted: &Range<usize>) -> Range<usize> {
        let (stride, padding) = (self.spec.stride[axis], self.spec.padding[axis]);
        let tap = tap * self.spec.dilation[axis];
        let first = padding.saturating_sub(tap).div_ceil(stride);
        let end = (self.input[axis] + padding).saturating_sub(tap);
        wanted.start.max(first)..wanted.end.min(end.div_ceil(stride))
    }
}

/// Some chunks of pixels, some panels, one cut of their input channels.
struct Task<'a> {
    plan: &'a Plan,
    x: Map<'a>,
    dy: Map<'a>,
    packed: *mut f32,
    chunks: Range<usize>,
    panels: Range<usize>,
    /// Which cut, of how many.
    in_cut: [usize; 2],
}

/// What one tile sums over.
struct Window<'a> {
    image: usize,
    chunk: &'a [Range<usize>; 2],
    panel: &'a Panel,
    in_block: usize,
    tap: usize,
    continues: bool,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: chunks, panels and cuts are the plan's, and the maps have the plan's shapes.
        unsafe {
            let taps = self.plan.spec.kernel[0] * self.plan.spec.kernel[1];
            for index in self.chunks.clone() {
                let (image, chunk) = self.plan.chunk(index);
                for panel in &self.plan.panels[self.panels.clone()] {
                    let cut = part(panel.ins.len(), self.in_cut[1], self.in_cut[0]);
                    for in_block in panel.ins.start + cut.start..panel.ins.start + cut.end {
                        for tap in 0..taps {
                            let window = Window {
                                image,
                                chunk: &chunk,
                                panel,
                                in_block,
                                tap,
                                continues: index > self.chunks.start,
                            };
                            with_tile!(S, panel.vectors, self.rows(&window));
                        }
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    /// # Safety
    /// As for [`Simd`]; the window is one of the plan's, `V` its panel's width.
    #[inline(always)]
    unsafe fn rows<S: Simd, const R: usize, const V: usize>(&self, window: &Window<'_>) {
        // SAFETY: `R` divides the lanes, so every row is one of the block's channels.
        unsafe {
            for first in (0..S::LANES).step_by(R) {
                self.tile::<S, R, V>(window, first);
            }
        }
    }

    /// The tile of channels `first` to `first + R` of the input's block.
    ///
    /// # Safety
    /// As for [`Simd`]; the window is one of the plan's, `V` its panel's width, `first + R` at most the
    /// lanes.
    #[inline(always)]
    unsafe fn tile<S: Simd, const R: usize, const V: usize>(
        &self,
        window: &Window<'_>,
        first: usize,
    ) {
        // SAFETY: `Plan::inside` leaves only rows and columns where the tap lies on the map; the sums' place
        // is inside the part of the scratch memory that is this task's.
        unsafe {
            let (plan, spec) = (self.plan, &self.plan.spec);
            let tap = [window.tap / spec.kernel[1], window.tap % spec.kernel[1]];
            let rows = plan.inside(0, tap[0], &window.chunk[0]);
            let columns = plan.inside(1, tap[1], &window.chunk[1]);
            let panel = window.panel;
            let mut sums = [[S::zero(); V]; R];
            if !rows.is_empty() && !columns.is_empty() {
                let at = |axis: usize, first: usize| {
                    first * spec.stride[axis] + tap[axis] * spec.dilation[axis] - spec.padding[axis]
                };
                let pixel = at(0, rows.start) * plan.input[1] + at(1, columns.start);
                let from = self.x.block(window.image, window.in_block);
                let from = from.add(pixel * S::LANES + first);
                let mut values = [from; R];
                for (r, value) in values.iter_mut().enumerate() {
                    *value = from.add(r);
                }
                let pixel = rows.start * plan.output[1] + columns.start;
                let pixels = Pixels {
                    values,
                    step: spec.stride[1] * S::LANES,
                    gradient: self
                        .dy
                        .block(window.image, panel.block)
                        .add(pixel * S::LANES),
                    plane: self.dy.plane(),
                    count: columns.len(),
                };
                if rows.len() == 1 {
                    add_pixels::<S, R, V>(&mut sums, &pixels);
                } else {
                    let distances = [spec.stride[0] * plan.input[1], plan.output[1]];
                    let distances = distances.map(|pixels| pixels * S::LANES);
                    add_rows::<S, R, V>(&mut sums, &pixels, rows.len(), distances);
                }
            }

            let taps = spec.kernel[0] * spec.kernel[1];
            let channel = (window.in_block - panel.ins.start) * S::LANES + first;
            let offset = panel.offset + (channel * taps + window.tap) * S::LANES;
            let to = Place {
                at: self.packed.add(offset),
                row: taps * S::LANES,
                vector: panel.ins.len() * S::LANES * taps * S::LANES,
                rows: R,
                continues: window.continues,
            };
            store_rows::<S, R, V>(&sums, &to);
        }
    }
}
