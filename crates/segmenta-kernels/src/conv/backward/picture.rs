//! Weight gradient of the first layer, which reads a planar picture: a tile's rows are taps of planes
//! instead of channels of a block.
//!
//! The picture is copied into zero-padded planes as `planar.rs` does. Few weights and many pixels: the
//! sum is cut by rows of pixels alone, into parts whose number depends on the shape alone.

use std::ops::Range;

use super::reduce::{Pixels, Place, WIDEST, add_pixels, store_rows, widths, with_tile};
use super::unpack::{BlockRows, Unpack};
use crate::conv::{ConvSpec, planar};
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapShape};
use crate::shared::{Shared, in_parallel, part};
use crate::simd::Simd;

/// Parts of the sum, enough to keep many threads busy.
const PARTS: usize = 32;
/// Pixels of a row that stay in the first cache while all taps and output channels pass by.
const PIXELS: usize = 128;

/// How a weight gradient goes on pictures of one shape.
#[derive(Debug)]
pub(crate) struct Plan {
    isa: Isa,
    spec: ConvSpec,
    input: MapShape,
    output: MapShape,
    /// Offsets of the taps of all channels from a window's corner, in padded planes.
    steps: Vec<usize>,
    /// Vectors and first block of the tiles.
    panels: Vec<[usize; 2]>,
    blocks: Vec<BlockRows>,
    parts: usize,
}

impl Plan {
    pub(crate) fn new(isa: Isa, spec: &ConvSpec, input: MapShape, output: MapShape) -> Self {
        let lanes = isa.lanes();
        let [height, width] = planar::padded(spec, input);
        let taps = spec.taps();
        let steps: Vec<usize> = (0..spec.in_channels)
            .flat_map(|c| taps.iter().map(move |&[y, x]| (c, y as usize, x as usize)))
            .map(|(c, y, x)| (c * height + y) * width + x)
            .collect();
        let rows = |block: usize| BlockRows {
            offset: block * steps.len() * lanes,
            first: vec![0; lanes.min(spec.out_channels - block * lanes)],
        };
        let count = spec.out_channels.div_ceil(lanes);
        let mut block = 0;
        let panel = |vectors: usize| {
            block += vectors;
            [vectors, block - vectors]
        };
        Self {
            isa,
            spec: *spec,
            input,
            output,
            panels: widths(count, WIDEST).into_iter().map(panel).collect(),
            blocks: (0..count).map(rows).collect(),
            steps,
            parts: PARTS.min((output.batch * output.height).div_ceil(2)),
        }
    }

    fn part_len(&self) -> usize {
        self.blocks.len() * self.steps.len() * self.isa.lanes()
    }

    pub(crate) fn scratch_len(&self) -> usize {
        planar::scratch_len(&self.spec, self.input) + self.parts * self.part_len()
    }

    /// `gradient[o][c][tap] = Σ dy[o] · x[c]` over the pixels of all pictures.
    pub(crate) fn run(&self, x: &[f32], dy: Map<'_>, gradient: &mut [f32], scratch: &mut [f32]) {
        let planes = planar::scratch_len(&self.spec, self.input);
        let (planes, packed) = scratch.split_at_mut(planes);
        planar::pad(&self.spec, x, self.input, planes);
        let (planes, part_len) = (&*planes, self.part_len());
        let shared = Shared::new(&mut packed[..self.parts * part_len]);
        in_parallel(self.parts, |index| {
            self.isa.run(Rows {
                plan: self,
                planes,
                dy,
                rows: part(self.output.batch * self.output.height, self.parts, index),
                // SAFETY: a part is written by the one task that has its number.
                packed: unsafe { shared.at(index * part_len) },
            });
        });
        let unpack = Unpack {
            isa: self.isa,
            parts: self.parts,
            part_len,
            packed,
            blocks: &self.blocks,
            row_len: self.steps.len(),
        };
        unpack.run(gradient);
    }
}

/// Some rows of all pictures.
struct Rows<'a> {
    plan: &'a Plan,
    planes: &'a [f32],
    dy: Map<'a>,
    rows: Range<usize>,
    packed: *mut f32,
}

/// Pixels of one row for one panel.
struct Segment {
    corner: *const f32,
    gradient: *const f32,
    count: usize,
    block: usize,
    continues: bool,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: rows and columns are those of the output, and `planes` are the padded planes of all
        // pictures: the window fits.
        unsafe {
            let Plan {
                spec,
                input,
                output,
                ..
            } = self.plan;
            let [height, width] = planar::padded(spec, *input);
            let cuts = output.width.div_ceil(PIXELS);
            for row in self.rows.clone() {
                let (image, y) = (row / output.height, row % output.height);
                let picture = self
                    .planes
                    .as_ptr()
                    .add(image * input.channels * height * width);
                for cut in 0..cuts {
                    let columns = part(output.width, cuts, cut);
                    for &[vectors, block] in &self.plan.panels {
                        let corner = y * spec.stride[0] * width + columns.start * spec.stride[1];
                        let pixel = (y * output.width + columns.start) * S::LANES;
                        let segment = Segment {
                            corner: picture.add(corner),
                            gradient: self.dy.block(image, block).add(pixel),
                            count: columns.len(),
                            block,
                            continues: row > self.rows.start || cut > 0,
                        };
                        with_tile!(S, vectors, self.steps(&segment));
                    }
                }
            }
        }
    }
}

impl Rows<'_> {
    /// # Safety
    /// As for [`Simd`]; the segment lies in a row of the output and its corner in the padded planes.
    #[inline(always)]
    unsafe fn steps<S: Simd, const R: usize, const V: usize>(&self, segment: &Segment) {
        // SAFETY: `first` is below the number of steps; a step from the corner stays in the padded planes for
        // each of the segment's pixels.
        unsafe {
            let steps = &self.plan.steps;
            for first in (0..steps.len()).step_by(R) {
                let rows = R.min(steps.len() - first);
                // Rows that do not exist are the last one again.
                let mut values = [segment.corner; R];
                for (r, value) in values.iter_mut().enumerate() {
                    let step = *steps.get_unchecked(first + r.min(rows - 1));
                    *value = segment.corner.add(step);
                }
                let mut sums = [[S::zero(); V]; R];
                let pixels = Pixels {
                    values,
                    step: self.plan.spec.stride[1],
                    gradient: segment.gradient,
                    plane: self.dy.plane(),
                    count: segment.count,
                };
                add_pixels::<S, R, V>(&mut sums, &pixels);
                let block = steps.len() * S::LANES;
                let to = Place {
                    at: self.packed.add(segment.block * block + first * S::LANES),
                    row: S::LANES,
                    vector: block,
                    rows,
                    continues: segment.continues,
                };
                store_rows::<S, R, V>(&sums, &to);
            }
        }
    }
}
