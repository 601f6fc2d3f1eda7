//! Weight gradient where every channel is by itself: a block of channels is one vector, a tap one sum
//! of products of two maps.
//!
//! Bound by the first cache: the taps of a row share the gradient's pixels. Sums are cut by pictures and
//! rows into parts whose number depends on the shape alone.

use std::ops::Range;

use super::unpack::{BlockRows, Unpack};
use crate::conv::ConvSpec;
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapShape};
use crate::shared::{Shared, in_parallel, part};
use crate::simd::Simd;

/// Parts of blocks that are enough to keep many threads busy.
const PIECES: usize = 32;
/// Pixels that stay in the first cache while the rows of the window pass by.
const PIXELS: usize = 192;

/// How a weight gradient goes on maps of one shape.
#[derive(Debug)]
pub(crate) struct Plan {
    isa: Isa,
    spec: ConvSpec,
    /// Height and width.
    input: [usize; 2],
    output: [usize; 2],
    batch: usize,
    blocks: Vec<BlockRows>,
    /// Parts of the rows of a picture.
    cuts: usize,
    /// For each column of the window, the output columns where it lies on the map.
    columns: Vec<Range<usize>>,
}

impl Plan {
    pub(crate) fn new(isa: Isa, spec: &ConvSpec, input: MapShape, output: MapShape) -> Self {
        let lanes = isa.lanes();
        let taps = spec.kernel[0] * spec.kernel[1];
        let blocks = spec.out_channels.div_ceil(lanes);
        let rows = |block: usize| BlockRows {
            offset: block * taps * lanes,
            first: vec![0; lanes.min(spec.out_channels - block * lanes)],
        };
        let columns = |kx: usize| {
            let (stride, padding) = (spec.stride[1], spec.padding[1]);
            let tap = kx * spec.dilation[1];
            let first = padding.saturating_sub(tap).div_ceil(stride);
            let end = (input.width + padding)
                .saturating_sub(tap)
                .div_ceil(stride)
                .min(output.width);
            first.min(end)..end
        };
        Self {
            isa,
            spec: *spec,
            input: [input.height, input.width],
            output: [output.height, output.width],
            batch: output.batch,
            blocks: (0..blocks).map(rows).collect(),
            cuts: PIECES
                .div_ceil(blocks * output.batch)
                .min(output.height.div_ceil(4)),
            columns: (0..spec.kernel[1]).map(columns).collect(),
        }
    }

    fn part_len(&self) -> usize {
        self.blocks.len() * self.spec.kernel[0] * self.spec.kernel[1] * self.isa.lanes()
    }

    pub(crate) fn scratch_len(&self) -> usize {
        self.batch * self.cuts * self.part_len()
    }

    /// `gradient[c][tap] = Σ dy[c] · x[c]` over the pixels of all pictures.
    pub(crate) fn run(&self, x: Map<'_>, dy: Map<'_>, gradient: &mut [f32], scratch: &mut [f32]) {
        let (blocks, part_len) = (self.blocks.len(), self.part_len());
        let shared = Shared::new(&mut scratch[..self.scratch_len()]);
        in_parallel(self.batch * self.cuts * blocks, |task| {
            let (index, block) = (task / blocks, task % blocks);
            let (image, cut) = (index / self.cuts, index % self.cuts);
            let offset = index * part_len + self.blocks[block].offset;
            self.isa.run(Rows {
                plan: self,
                x: x.block(image, block),
                dy: dy.block(image, block),
                rows: part(self.output[0], self.cuts, cut),
                // SAFETY: a block of a part is written by the one task that has their numbers.
                sums: unsafe { shared.at(offset) },
            });
        });
        let unpack = Unpack {
            isa: self.isa,
            parts: self.batch * self.cuts,
            part_len,
            packed: scratch,
            blocks: &self.blocks,
            row_len: self.spec.kernel[0] * self.spec.kernel[1],
        };
        unpack.run(gradient);
    }
}

/// Some rows of one block of one picture.
struct Rows<'a> {
    plan: &'a Plan,
    x: *const f32,
    dy: *const f32,
    rows: Range<usize>,
    sums: *mut f32,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `sums` has a vector a tap; rows and taps are the plan's, and the maps have the plan's
        // shapes.
        unsafe {
            let [kh, kw] = self.plan.spec.kernel;
            for tap in 0..kh * kw {
                S::store(self.sums.add(tap * S::LANES), S::zero());
            }
            let height = (PIXELS / self.plan.output[1]).max(1);
            let mut start = self.rows.start;
            while start < self.rows.end {
                let rows = start..(start + height).min(self.rows.end);
                for ky in 0..kh {
                    match kw {
                        3 => self.taps::<S, 3, 4>(rows.clone(), ky, 0),
                        5 => self.taps::<S, 5, 2>(rows.clone(), ky, 0),
                        _ => {
                            for kx in 0..kw {
                                self.taps::<S, 1, 4>(rows.clone(), ky, kx);
                            }
                        }
                    }
                }
                start = rows.end;
            }
        }
    }
}

impl Rows<'_> {
    /// Adds to the taps `first` to `first + K` of row `ky` of the window. `U` pixels have sums of
    /// their own, so that one multiply-add need not wait for the one before.
    ///
    /// # Safety
    /// As for [`Simd`]; `rows` are rows of the output, `first + K` no more than the window's columns.
    #[inline(always)]
    unsafe fn taps<S: Simd, const K: usize, const U: usize>(
        &self,
        rows: Range<usize>,
        ky: usize,
        first: usize,
    ) {
        // SAFETY: rows outside the input are left out, and a column is read only in the range where its tap
        // lies on the map; pointers that lie before it until then are made without being read.
        unsafe {
            let (plan, spec) = (self.plan, &self.plan.spec);
            let [height, width] = plan.input;
            let columns = &plan.columns[first..first + K];
            let start = columns.iter().map(|c| c.start).max().unwrap_or(0);
            let end = columns.iter().map(|c| c.end).min().unwrap_or(0);
            let shared = start..end.max(start);
            let step = spec.stride[1] * S::LANES;
            let mut sums = [[S::zero(); U]; K];
            // Pixels where not all of the taps lie on the map.
            let mut edges = [S::zero(); K];
            for row in rows {
                let y = row * spec.stride[0] + ky * spec.dilation[0];
                let y = y.wrapping_sub(spec.padding[0]);
                if y >= height {
                    continue;
                }
                let dy = self.dy.add(row * plan.output[1] * S::LANES);
                // Where output column 0 reads; may lie before the map.
                let corner = self.x.add(y * width * S::LANES);
                let mut taps = [corner; K];
                for (k, tap) in taps.iter_mut().enumerate() {
                    let column =
                        ((first + k) * spec.dilation[1]) as isize - spec.padding[1] as isize;
                    *tap = corner.wrapping_offset(column * S::LANES as isize);
                }
                for k in 0..K {
                    let mut edge = |columns: Range<usize>| {
                        for column in columns {
                            let x = S::load(taps[k].wrapping_add(column * step));
                            let dy = S::load(dy.add(column * S::LANES));
                            edges[k] = S::mul_add(x, dy, edges[k]);
                        }
                    };
                    if shared.is_empty() {
                        edge(columns[k].clone());
                    } else {
                        edge(columns[k].start..shared.start);
                        edge(shared.end..columns[k].end);
                    }
                }
                let mut column = shared.start;
                while column + U <= shared.end {
                    for u in 0..U {
                        let dy = S::load(dy.add((column + u) * S::LANES));
                        for k in 0..K {
                            let x = S::load(taps[k].wrapping_add((column + u) * step));
                            sums[k][u] = S::mul_add(x, dy, sums[k][u]);
                        }
                    }
                    column += U;
                }
                while column < shared.end {
                    let dy = S::load(dy.add(column * S::LANES));
                    for k in 0..K {
                        let x = S::load(taps[k].wrapping_add(column * step));
                        sums[k][0] = S::mul_add(x, dy, sums[k][0]);
                    }
                    column += 1;
                }
            }
            for k in 0..K {
                let to = self.sums.add((ky * spec.kernel[1] + first + k) * S::LANES);
                let mut sum = S::add(S::load(to), edges[k]);
                for u in 0..U {
                    sum = S::add(sum, sums[k][u]);
                }
                S::store(to, sum);
            }
        }
    }
}
