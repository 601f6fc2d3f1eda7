//! One class of tiles of one run: its three steps, by tasks that each go through all of them or one after
//! the other over all tiles.

use std::ops::Range;

use super::ClassPlan;
use super::filter::FilterKind;
use super::transform::{Output, Products, Tiles};
use crate::conv::gemm::{Epilogue, Product, Target};
use crate::isa::{Isa, Kernel};
use crate::map::Map;
use crate::shared::{Shared, in_parallel, part, tasks};
use crate::simd::Simd;

/// One class of tiles of one run.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) class: &'a ClassPlan,
    pub(super) weights: *const f32,
    pub(super) dilation: [usize; 2],
    pub(super) input: Map<'a>,
    pub(super) output: Shared<'a>,
    pub(super) width: usize,
    pub(super) plane: usize,
    pub(super) image_stride: usize,
    pub(super) epilogue: Epilogue,
    pub(super) scratch: Shared<'a>,
}

// SAFETY: its raw pointers, to weights, bias and residual, are only read.
unsafe impl Send for Pass<'_> {}
// SAFETY: as above; what is written goes through `Shared`, each task to its own part.
unsafe impl Sync for Pass<'_> {}

/// One step for some tiles, blocks and products of a pass.
enum Work {
    Read {
        blocks: Range<usize>,
    },
    Multiply {
        products: Range<usize>,
        panels: Range<usize>,
    },
    Write {
        blocks: Range<usize>,
    },
}

impl Pass<'_> {
    /// All steps for some tiles, in the scratch memory of a thread.
    pub(super) fn all_steps(&self, isa: Isa, slot: usize, tiles: Range<usize>) {
        let class = self.class;
        for work in [
            Work::Read {
                blocks: 0..class.blocks[0],
            },
            Work::Multiply {
                products: 0..class.tiles.products(),
                panels: 0..class.form.panels.len(),
            },
            Work::Write {
                blocks: 0..class.blocks[1],
            },
        ] {
            isa.run(Task {
                pass: *self,
                work,
                slot,
                tiles: tiles.clone(),
                first: tiles.start,
            });
        }
    }

    /// Each step on all threads.
    pub(super) fn step_by_step(&self, isa: Isa, chunk: Range<usize>) {
        let class = self.class;
        let transforms = |blocks: usize, work: &(dyn Fn(Range<usize>) -> Work + Sync)| {
            let cuts = tasks(blocks, 1, chunk.len().div_ceil(16));
            in_parallel(blocks * cuts, |task| {
                let block = task / cuts;
                let tiles = part(chunk.len(), cuts, task % cuts);
                let tiles = chunk.start + tiles.start..chunk.start + tiles.end;
                isa.run(Task {
                    pass: *self,
                    work: work(block..block + 1),
                    slot: 0,
                    tiles,
                    first: chunk.start,
                });
            });
        };
        transforms(class.blocks[0], &|blocks| Work::Read { blocks });
        let (products, panels) = (class.tiles.products(), class.form.panels.len());
        let cuts = tasks(products, 2, panels).min(panels);
        in_parallel(products * cuts, |task| {
            let product = task / cuts;
            let work = Work::Multiply {
                products: product..product + 1,
                panels: part(panels, cuts, task % cuts),
            };
            isa.run(Task {
                pass: *self,
                work,
                slot: 0,
                tiles: chunk.clone(),
                first: chunk.start,
            });
        });
        transforms(class.blocks[1], &|blocks| Work::Write { blocks });
    }
}

struct Task<'a> {
    pass: Pass<'a>,
    work: Work,
    /// Part of the scratch memory.
    slot: usize,
    tiles: Range<usize>,
    /// The tile that lies first in the scratch memory.
    first: usize,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `Plan::run` checked the scratch memory and the threads; tiles, blocks and products are the
        // class's, and each slot is one thread's.
        unsafe {
            let (pass, class) = (&self.pass, self.pass.class);
            let products = class.tiles.products();
            let slot = self.slot * class.slot_len(S::LANES);
            let at = (self.tiles.start - self.first) * S::LANES;
            let side = |side: usize| Products {
                start: pass
                    .scratch
                    .at(slot + side * products * class.stride(0, S::LANES) + at),
                stride: class.stride(side, S::LANES),
                plane: class.plane(S::LANES),
            };
            let (inputs, outputs) = (side(0), side(1));
            match &self.work {
                Work::Read { blocks } => {
                    for block in blocks.clone() {
                        let tiles = self.tiles_of(block);
                        // The two that speed asks for are constants.
                        match class.tiles.filters {
                            [FilterKind::Four, FilterKind::Four] => {
                                tiles.read::<S>([FilterKind::Four; 2], pass.input, inputs);
                            }
                            [FilterKind::Six, FilterKind::Six] => {
                                tiles.read::<S>([FilterKind::Six; 2], pass.input, inputs);
                            }
                            other => tiles.read::<S>(other, pass.input, inputs),
                        }
                    }
                }
                Work::Multiply { products, panels } => {
                    for product in products.clone() {
                        let form = &class.form;
                        Product {
                            input: inputs.start.add(product * inputs.stride),
                            plane: inputs.plane,
                            stride: 0,
                            images: 0..1,
                            blocks: class.blocks[0],
                            weights: pass.weights.add(product * form.stride),
                            panels: &form.panels[panels.clone()],
                            pixels: 0..self.tiles.len(),
                            target: Target {
                                out: outputs.start.add(product * outputs.stride),
                                plane: outputs.plane,
                                stride: 0,
                                epilogue: None,
                            },
                            scale: std::ptr::null(),
                        }
                        .run::<S>();
                    }
                }
                Work::Write { blocks } => {
                    for block in blocks.clone() {
                        let tiles = self.tiles_of(block);
                        let to = Output {
                            start: pass.output.at(0),
                            width: pass.width,
                            plane: pass.plane,
                            image_stride: pass.image_stride,
                            epilogue: pass.epilogue,
                        };
                        match class.tiles.filters {
                            [FilterKind::Four, FilterKind::Four] => {
                                tiles.write::<S>([FilterKind::Four; 2], outputs, &to);
                            }
                            [FilterKind::Six, FilterKind::Six] => {
                                tiles.write::<S>([FilterKind::Six; 2], outputs, &to);
                            }
                            other => tiles.write::<S>(other, outputs, &to),
                        }
                    }
                }
            }
        }
    }
}

impl Task<'_> {
    fn tiles_of(&self, block: usize) -> Tiles<'_> {
        Tiles {
            class: &self.pass.class.tiles,
            dilation: self.pass.dilation,
            block,
            tiles: self.tiles.clone(),
        }
    }
}
