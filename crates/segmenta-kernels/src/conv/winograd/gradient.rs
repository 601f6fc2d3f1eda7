//! Weight gradients by tiles: `Gᵀ (Σ Aᵀ dy A ⊙ B x Bᵀ) G`, the sum running over tiles.
//!
//! Each product's sum is a matrix product of transformed inputs and transformed gradients. All input
//! channels' sums at once would take four times the weights, so channels go in groups; of a group the
//! tiles go in chunks: long enough that adding to the sums costs little, short enough to stay in the
//! caches. What a group and a chunk are depends on the shape alone, so the order of summation does.

use std::ops::Range;

use super::filter::FilterKind;
use super::tiles::{TileClass, classes};
use super::transform::{Products, Tiles};
use crate::conv::ConvSpec;
use crate::conv::backward::reduce::{
    Pixels, Place, WIDEST, add_pixels, store_rows, widths, with_tile,
};
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapShape};
use crate::shared::{Shared, in_parallel, part, tasks};
use crate::simd::Simd;

/// Values of the sums of a group of channels.
const SUMS: usize = 8 << 20;
/// Values of a chunk's transformed tiles, where the sums do not ask for more.
const TILES: usize = 1 << 20;

/// How a weight gradient goes on maps of one shape.
#[derive(Debug)]
pub(in crate::conv) struct GradientPlan {
    isa: Isa,
    spec: ConvSpec,
    classes: Vec<ClassPlan>,
    /// Vectors and first block of the tiles of output channels.
    panels: Vec<[usize; 2]>,
}

/// How one class of tiles goes.
#[derive(Debug)]
struct ClassPlan {
    tiles: TileClass,
    /// Blocks of input and of output channels.
    blocks: [usize; 2],
    /// Blocks of input channels that are summed at a time.
    group: usize,
    /// Tiles that are in scratch memory at a time.
    chunk: usize,
}

impl GradientPlan {
    pub(in crate::conv) fn new(isa: Isa, spec: &ConvSpec, output: MapShape) -> Self {
        let lanes = isa.lanes();
        let blocks = [spec.in_channels, spec.out_channels].map(|c| c.div_ceil(lanes));
        let plan = |tiles: TileClass| {
            let products = tiles.products();
            let most = SUMS / (products * blocks[1] * lanes * lanes);
            let group = blocks[0].div_ceil(blocks[0].div_ceil(most.max(1)));
            let [ins, outs] = [group * lanes, blocks[1] * lanes];
            let least = 2 * ins * outs / (ins + outs);
            let chunk = least.max(TILES / (products * (ins + outs)));
            let count = tiles.tiles();
            ClassPlan {
                chunk: count.div_ceil(count.div_ceil(chunk)),
                tiles,
                blocks,
                group,
            }
        };
        let mut block = 0;
        let panel = |vectors: usize| {
            block += vectors;
            [vectors, block - vectors]
        };
        Self {
            isa,
            spec: *spec,
            classes: classes(spec, output).into_iter().map(plan).collect(),
            panels: widths(blocks[1], WIDEST).into_iter().map(panel).collect(),
        }
    }

    pub(in crate::conv) fn scratch_len(&self) -> usize {
        let lens = self.classes.iter().map(|c| c.scratch_len(self.isa.lanes()));
        lens.max().unwrap_or(0)
    }

    /// `gradient[o][c][tap] = Σ dy[o] · x[c]` over the pixels of all pictures.
    pub(in crate::conv) fn run(
        &self,
        x: Map<'_>,
        dy: Map<'_>,
        gradient: &mut [f32],
        scratch: &mut [f32],
    ) {
        let scratch = Shared::new(&mut scratch[..self.scratch_len()]);
        let gradient = Shared::new(gradient);
        for (index, class) in self.classes.iter().enumerate() {
            let count = class.tiles.tiles();
            for start in (0..class.blocks[0]).step_by(class.group) {
                let group = start..(start + class.group).min(class.blocks[0]);
                for first in (0..count).step_by(class.chunk) {
                    let pass = Pass {
                        plan: self,
                        class,
                        x,
                        dy,
                        group: group.clone(),
                        chunk: first..(first + class.chunk).min(count),
                        scratch,
                    };
                    pass.read();
                    pass.multiply();
                }
                self.finish(class, &group, index > 0, scratch, gradient);
            }
        }
    }

    /// The sums of a group of channels as weight gradients.
    fn finish(
        &self,
        class: &ClassPlan,
        group: &Range<usize>,
        continues: bool,
        scratch: Shared<'_>,
        gradient: Shared<'_>,
    ) {
        let cuts = tasks(class.blocks[1], 1, group.len());
        let lanes = self.isa.lanes();
        in_parallel(class.blocks[1] * cuts, |task| {
            let blocks = part(group.len(), cuts, task % cuts);
            let channels = blocks.start * lanes..blocks.end * lanes;
            let first = group.start * lanes;
            let there = self.spec.in_channels - first;
            self.isa.run(Finish {
                class,
                sums: class.sums(lanes, scratch),
                block: task / cuts,
                outs: self.spec.out_channels,
                channels: channels.start.min(there)..channels.end.min(there),
                first,
                row_len: self.spec.in_channels * TAPS,
                gradient,
                continues,
            });
        });
    }
}

impl ClassPlan {
    /// Values from one block of transformed tiles to the next: an odd number of vectors, so that
    /// blocks do not fall on the same sets of a cache.
    fn plane(&self, lanes: usize) -> usize {
        (self.chunk | 1) * lanes
    }

    /// Values from one product to the next: of the inputs, the gradients, the sums.
    fn strides(&self, lanes: usize) -> [usize; 3] {
        let vectors = [
            self.group * (self.chunk | 1),
            self.blocks[1] * (self.chunk | 1),
            self.blocks[1] * self.group * lanes,
        ];
        vectors.map(|vectors| (vectors + 4) * lanes)
    }

    fn scratch_len(&self, lanes: usize) -> usize {
        self.tiles.products() * self.strides(lanes).iter().sum::<usize>()
    }

    /// Transformed inputs (0) or gradients (1).
    fn tiles(&self, side: usize, lanes: usize, scratch: Shared<'_>) -> Products {
        let strides = self.strides(lanes);
        let before = self.tiles.products() * strides[..side].iter().sum::<usize>();
        Products {
            // SAFETY: inside the scratch memory, whose length was checked; who writes, writes
            // blocks, tiles and products of its own.
            start: unsafe { scratch.at(before) },
            stride: strides[side],
            plane: self.plane(lanes),
        }
    }

    /// Sums: rows of one vector, an input channel of the group each, for each block of outputs.
    fn sums(&self, lanes: usize, scratch: Shared<'_>) -> Products {
        let strides = self.strides(lanes);
        Products {
            // SAFETY: as in `tiles`.
            start: unsafe { scratch.at(self.tiles.products() * (strides[0] + strides[1])) },
            stride: strides[2],
            plane: self.group * lanes * lanes,
        }
    }
}

/// One chunk of tiles for one group of input channels.
struct Pass<'a> {
    plan: &'a GradientPlan,
    class: &'a ClassPlan,
    x: Map<'a>,
    dy: Map<'a>,
    group: Range<usize>,
    chunk: Range<usize>,
    scratch: Shared<'a>,
}

impl Pass<'_> {
    /// Transforms the group's inputs and all gradients.
    fn read(&self) {
        let blocks = self.group.len() + self.class.blocks[1];
        let cuts = tasks(blocks, 1, self.chunk.len().div_ceil(16));
        in_parallel(blocks * cuts, |task| {
            let tiles = part(self.chunk.len(), cuts, task % cuts);
            self.plan.isa.run(Read {
                pass: self,
                block: task / cuts,
                tiles: self.chunk.start + tiles.start..self.chunk.start + tiles.end,
            });
        });
    }

    /// Adds the chunk's products to the sums.
    fn multiply(&self) {
        let products = self.class.tiles.products();
        let cuts = tasks(products, 1, self.group.len());
        in_parallel(products * cuts, |task| {
            self.plan.isa.run(Multiply {
                pass: self,
                product: task / cuts,
                ins: part(self.group.len(), cuts, task % cuts),
            });
        });
    }
}

/// Some tiles of one block: of the group's inputs, then of the gradients.
struct Read<'a> {
    pass: &'a Pass<'a>,
    block: usize,
    tiles: Range<usize>,
}

impl Kernel for Read<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: blocks and tiles are the pass's, which its scratch memory has room for; the maps have the
        // shapes that `WeightGradient::run` checked.
        unsafe {
            let (pass, class) = (self.pass, self.pass.class);
            let inputs = pass.group.len();
            let side = usize::from(self.block >= inputs);
            let mut to = class.tiles(side, S::LANES, pass.scratch);
            to.start = to
                .start
                .add((self.tiles.start - pass.chunk.start) * S::LANES);
            let block = if side == 0 {
                // The group's first block lies first.
                to.start = to.start.wrapping_sub(pass.group.start * to.plane);
                pass.group.start + self.block
            } else {
                self.block - inputs
            };
            let tiles = Tiles {
                class: &class.tiles,
                dilation: pass.plan.spec.dilation,
                block,
                tiles: self.tiles.clone(),
            };
            let four = [FilterKind::Four; 2];
            // The filter that speed asks for is a constant.
            match (side, class.tiles.filters == four) {
                (0, true) => tiles.read::<S>(four, pass.x, to),
                (0, false) => tiles.read::<S>(class.tiles.filters, pass.x, to),
                (_, true) => tiles.read_gradient::<S>(four, pass.dy, to),
                (_, false) => tiles.read_gradient::<S>(class.tiles.filters, pass.dy, to),
            }
        }
    }
}

/// One product for some of the group's blocks.
struct Multiply<'a> {
    pass: &'a Pass<'a>,
    product: usize,
    ins: Range<usize>,
}

impl Kernel for Multiply<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: panels and blocks are the plan's.
        unsafe {
            for &[vectors, block] in &self.pass.plan.panels {
                for in_block in self.ins.clone() {
                    with_tile!(S, vectors, self.rows(block, in_block));
                }
            }
        }
    }
}

impl Multiply<'_> {
    /// # Safety
    /// As for [`Kernel::run`]; `V` vectors from `block` on are a panel of the plan, `in_block` is one of the
    /// group's.
    #[inline(always)]
    unsafe fn rows<S: Simd, const R: usize, const V: usize>(&self, block: usize, in_block: usize) {
        // SAFETY: `R` divides the lanes; all tiles of the chunk were transformed, and sums of a product and a
        // block are this task's.
        unsafe {
            let (pass, class) = (self.pass, self.pass.class);
            let [x, dy] = [0, 1].map(|side| class.tiles(side, S::LANES, pass.scratch));
            let sums_at = class.sums(S::LANES, pass.scratch);
            let gradient = dy.start.add(self.product * dy.stride + block * dy.plane);
            for first in (0..S::LANES).step_by(R) {
                let from = x
                    .start
                    .add(self.product * x.stride + in_block * x.plane + first);
                let mut values = [from.cast_const(); R];
                for (r, value) in values.iter_mut().enumerate() {
                    *value = from.add(r);
                }
                let mut sums = [[S::zero(); V]; R];
                let pixels = Pixels {
                    values,
                    step: S::LANES,
                    gradient: gradient.cast_const(),
                    plane: dy.plane,
                    count: pass.chunk.len(),
                };
                add_pixels::<S, R, V>(&mut sums, &pixels);
                let row = (in_block * S::LANES + first) * S::LANES;
                let at = self.product * sums_at.stride + block * sums_at.plane + row;
                let to = Place {
                    at: sums_at.start.add(at),
                    row: S::LANES,
                    vector: sums_at.plane,
                    rows: R,
                    continues: pass.chunk.start > 0,
                };
                store_rows::<S, R, V>(&sums, &to);
            }
        }
    }
}

/// Taps of a window.
const TAPS: usize = 9;
/// Channels whose gradients are turned into rows together.
const CHANNELS: usize = 14;

/// `Gᵀ s G` for one block of output channels and some input channels, written as rows of PyTorch's.
struct Finish<'a> {
    class: &'a ClassPlan,
    sums: Products,
    block: usize,
    /// Output channels.
    outs: usize,
    /// Channels of the group.
    channels: Range<usize>,
    /// The group's first channel.
    first: usize,
    row_len: usize,
    gradient: Shared<'a>,
    continues: bool,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: channels are those that the kernel has, and a row of the gradient is written by the one task
        // that has its block and channels.
        unsafe {
            let mut rows = [0.0_f32; CHANNELS * TAPS * 16];
            for start in self.channels.clone().step_by(CHANNELS) {
                let count = CHANNELS.min(self.channels.end - start);
                for channel in 0..count {
                    let to = rows.as_mut_ptr().add(channel * TAPS * S::LANES);
                    if self.class.tiles.filters == [FilterKind::Four; 2] {
                        self.taps::<S>([FilterKind::Four; 2], start + channel, to);
                    } else {
                        self.taps::<S>(self.class.tiles.filters, start + channel, to);
                    }
                }
                let lanes = S::LANES.min(self.outs - self.block * S::LANES);
                for lane in 0..lanes {
                    let row = (self.block * S::LANES + lane) * self.row_len;
                    let to = self.gradient.at(row + (self.first + start) * TAPS);
                    for i in 0..count * TAPS {
                        let value = *rows.get_unchecked(i * S::LANES + lane);
                        let to = to.add(i);
                        *to = if self.continues { *to + value } else { value };
                    }
                }
            }
        }
    }
}

impl Finish<'_> {
    /// The nine taps of one input channel, a vector each.
    ///
    /// # Safety
    /// As for [`Kernel::run`]; `channel` is one of the group's, `to` has room for nine vectors.
    #[inline(always)]
    unsafe fn taps<S: Simd>(&self, filters: [FilterKind; 2], channel: usize, to: *mut f32) {
        // SAFETY: the sums have a vector for each of the filters' products.
        unsafe {
            let [down, right] = filters;
            let from = self.block * self.sums.plane + channel * S::LANES;
            let from = self.sums.start.add(from);
            let mut taps = [[S::zero(); 3]; 3];
            for (c, across) in right.weights().iter().enumerate() {
                let mut column = [S::zero(); 3];
                for (r, along) in down.weights().iter().enumerate() {
                    let product = r * right.products() + c;
                    let sum = S::load(from.add(product * self.sums.stride));
                    for (tap, &factor) in column.iter_mut().zip(along) {
                        *tap = S::mul_add(sum, S::splat(factor as f32), *tap);
                    }
                }
                for (row, &sum) in taps.iter_mut().zip(&column) {
                    for (tap, &factor) in row.iter_mut().zip(across) {
                        *tap = S::mul_add(sum, S::splat(factor as f32), *tap);
                    }
                }
            }
            for (i, &tap) in taps.iter().flatten().enumerate() {
                S::store(to.add(i * S::LANES), tap);
            }
        }
    }
}
