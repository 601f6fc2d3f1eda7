//! Three-by-three convolutions with stride 1 in fewer multiplications, at any dilation.
//!
//! The map is divided into tiles (`tiles.rs`); each tile's inputs are transformed (`filter.rs`,
//! `transform.rs`), multiplied by transformed weights (`weights.rs`) as one matrix product for
//! each of the filter's products, and transformed back. Two ways through the memory:
//!
//! - few channels: a task takes some tiles through all three steps, and what is between them stays
//!   in its second-level cache;
//! - many channels: the steps run one after the other over all tiles, so that each transformed
//!   weight is read once.
//!
//! F(4, 3) errs by up to 5·10⁻⁵ of the outputs' root mean square where direct summation errs by
//! 1·10⁻⁵; F(6, 3), which only large dilations use, by up to 1·10⁻⁴.

mod filter;
mod gradient;
mod pass;
mod tiles;
mod transform;
mod weights;

use std::ops::{Range, RangeInclusive};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use self::filter::FilterKind;
pub(super) use self::gradient::GradientPlan;
use self::pass::Pass;
use self::tiles::{TileClass, classes};
use self::weights::{Form, Transformed};
use super::ConvSpec;
use super::gemm::Epilogue;
use super::panel::Panels;
use crate::activation::Activation;
use crate::isa::Isa;
use crate::map::{Map, MapMut, MapShape};
use crate::shared::{Shared, in_parallel};

/// What a task's transformed tiles may take of the second-level cache, in values: at best, and at
/// most before the steps run one after the other.
const CACHE: Range<usize> = 112 << 10..224 << 10;
/// Tiles of a task that goes through all three steps.
const TASK_TILES: RangeInclusive<usize> = 24..=96;
/// What all tiles together may take of memory when each step runs over all of them, in values.
const SCRATCH: usize = 32 << 20;

pub(super) fn supports(spec: &ConvSpec) -> bool {
    spec.kernel == [3, 3] && spec.stride == [1, 1] && spec.groups == 1
}

/// Transformed weights that a plan holds, so that the next plan finds them.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Vec<Weak<Transformed>>>);

impl Cache {
    /// Those of `form`: found, or made where `make` says so.
    ///
    /// Made without the lock: a thread that waits for the others of its pool takes up what else there is to do, which
    /// may be the plan of another size for these weights.
    fn get(&self, isa: Isa, direct: &Panels, form: &Form, make: bool) -> Option<Arc<Transformed>> {
        if let Some(found) = self.find(form) {
            return Some(found);
        }
        if !make {
            return None;
        }
        let new = Arc::new(Transformed::new(isa, direct, form));
        // Another thread may have made them meanwhile; its are as good.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = find(&mut known, form) {
            return Some(found);
        }
        known.push(Arc::downgrade(&new));
        Some(new)
    }

    fn find(&self, form: &Form) -> Option<Arc<Transformed>> {
        find(
            &mut self.0.lock().unwrap_or_else(PoisonError::into_inner),
            form,
        )
    }

    /// Values of all transformed weights that some plan holds.
    pub(super) fn len(&self) -> usize {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = known.iter().filter_map(Weak::upgrade);
        held.map(|weights| weights.weights.len()).sum()
    }
}

/// The weights of a form that some plan holds; those that none holds any more are forgotten.
fn find(known: &mut Vec<Weak<Transformed>>, form: &Form) -> Option<Arc<Transformed>> {
    known.retain(|weights| weights.strong_count() > 0);
    let mut held = known.iter().filter_map(Weak::upgrade);
    held.find(|weights| weights.filters == form.filters)
}

/// How one class of tiles goes.
#[derive(Debug)]
struct ClassPlan {
    tiles: TileClass,
    form: Form,
    /// Transformed weights; none where each run makes them anew, in scratch memory.
    weights: Option<Arc<Transformed>>,
    /// Tiles that are in scratch memory at a time, for each task or for all of them together.
    chunk: usize,
    /// Whether a task takes its tiles through all three steps.
    by_task: bool,
    /// Blocks of input and of output channels.
    blocks: [usize; 2],
}

/// How a convolution goes on one shape of input.
#[derive(Debug)]
pub(super) struct Plan {
    classes: Vec<ClassPlan>,
    threads: usize,
    pub(super) scratch_len: usize,
}

/// Multiply-adds that reading one transformed weight costs, and transforming one value: what they
/// were measured to take beside a multiply-add of the register tile.
const WEIGHT_COST: f64 = 30.0;
const TRANSFORM_COST: f64 = 16.0;

/// Whether tiles are estimated to cost less than the direct way.
pub(super) fn pays(spec: &ConvSpec, isa: Isa, input: MapShape, output: MapShape) -> bool {
    let [ins, outs] = [spec.in_channels, spec.out_channels]
        .map(|channels| channels.next_multiple_of(isa.lanes()) as f64);
    let cost = |class: &TileClass| {
        let products = class.products() as f64;
        // Whole register tiles.
        let tiles = class.tiles().next_multiple_of(6) as f64;
        let multiply = (tiles + WEIGHT_COST) * ins * outs;
        products * (multiply + tiles * (ins + outs) * TRANSFORM_COST)
    };
    let tiles: f64 = classes(spec, output).iter().map(cost).sum();

    // Taps outside the map cost nothing.
    let taps = |axis: usize, inputs: usize, outputs: usize| {
        let map = spec.padding[axis]..spec.padding[axis] + inputs;
        let at = |tap: usize| tap * spec.dilation[axis]..tap * spec.dilation[axis] + outputs;
        let inside = |tap| {
            map.end
                .min(at(tap).end)
                .saturating_sub(map.start.max(at(tap).start))
        };
        (0..3).map(inside).sum::<usize>()
    };
    let taps = taps(0, input.height, output.height) * taps(1, input.width, output.width);
    let direct = ((taps * output.batch) as f64 + 9.0 * WEIGHT_COST) * ins * outs;
    tiles < direct
}

impl Plan {
    pub(super) fn new(
        isa: Isa,
        spec: &ConvSpec,
        direct: &Panels,
        cache: &Cache,
        keep: bool,
        output: MapShape,
        threads: usize,
    ) -> Self {
        let blocks =
            [spec.in_channels, spec.out_channels].map(|channels| channels.div_ceil(isa.lanes()));
        let classes: Vec<ClassPlan> = classes(spec, output)
            .into_iter()
            .map(|tiles| {
                let products = tiles.products();
                let a_tile = products * (blocks[0] + blocks[1]) * isa.lanes();
                let by_task = a_tile * TASK_TILES.start() <= CACHE.end;
                let count = tiles.tiles();
                let chunk = if by_task {
                    // As many tasks for each thread, of whole register tiles.
                    let chunk =
                        (CACHE.start / a_tile).clamp(*TASK_TILES.start(), *TASK_TILES.end());
                    let tasks = count.div_ceil(chunk).next_multiple_of(threads);
                    count.div_ceil(tasks).next_multiple_of(6)
                } else {
                    let chunks = count.div_ceil((SCRATCH / a_tile).max(48));
                    count.div_ceil(chunks)
                };
                let form = Form::new(direct, tiles.filters);
                ClassPlan {
                    weights: cache.get(isa, direct, &form, keep),
                    form,
                    tiles,
                    chunk,
                    by_task,
                    blocks,
                }
            })
            .collect();
        let scratch = |class: &ClassPlan| {
            let slots = if class.by_task { threads } else { 1 };
            class.own_weights_len() + slots * class.slot_len(isa.lanes())
        };
        Self {
            scratch_len: classes.iter().map(scratch).max().unwrap_or(0),
            classes,
            threads,
        }
    }

    /// The filters, in a word.
    pub(super) fn label(&self) -> &'static str {
        let all = |kind| {
            self.classes
                .iter()
                .all(|class| class.tiles.filters == [kind; 2])
        };
        if all(FilterKind::Four) {
            "winograd 4"
        } else if all(FilterKind::Six) {
            "winograd 6"
        } else {
            "winograd mixed"
        }
    }

    /// Values of transformed weights that the plan holds.
    pub(super) fn weights_len(&self) -> usize {
        let held = |class: &ClassPlan| class.weights.as_ref().map_or(0, |w| w.weights.len());
        self.classes.iter().map(held).sum()
    }

    /// # Panics
    /// If there are more threads than it was planned for, or the scratch memory is too short.
    pub(super) fn run(
        &self,
        spec: &ConvSpec,
        input: Map<'_>,
        output: &mut MapMut<'_>,
        residual: Option<Map<'_>>,
        direct: &Panels,
        activation: Activation,
        scratch: &mut [f32],
    ) {
        assert!(
            rayon::current_num_threads() <= self.threads,
            "planned for fewer threads"
        );
        assert!(
            scratch.len() >= self.scratch_len,
            "scratch memory is too short"
        );
        let isa = input.isa();
        let epilogue = Epilogue {
            bias: direct.bias.as_ptr(),
            residual: residual.map_or(std::ptr::null(), |map| map.block(0, 0)),
            residual_plane: residual.map_or(0, |map| map.plane()),
            residual_stride: residual.map_or(0, |map| map.image_stride()),
            activation,
        };
        let (width, plane) = (output.shape().width, output.plane());
        let image_stride = output.image_stride();
        let shared = output.shared();
        for class in &self.classes {
            let (own, slots) = scratch.split_at_mut(class.own_weights_len());
            let weights = match &class.weights {
                Some(kept) => kept.weights.as_ptr(),
                None => {
                    class.form.transform(isa, direct, own);
                    own.as_ptr()
                }
            };
            let pass = Pass {
                class,
                weights,
                dilation: spec.dilation,
                input,
                output: shared,
                width,
                plane,
                image_stride,
                epilogue,
                scratch: Shared::new(slots),
            };
            let count = class.tiles.tiles();
            if class.by_task {
                in_parallel(count.div_ceil(class.chunk), |task| {
                    let first = task * class.chunk;
                    let tiles = first..(first + class.chunk).min(count);
                    let slot = rayon::current_thread_index().unwrap_or(0);
                    pass.all_steps(isa, slot, tiles);
                });
            } else {
                for first in (0..count).step_by(class.chunk) {
                    pass.step_by_step(isa, first..(first + class.chunk).min(count));
                }
            }
        }
    }
}

impl ClassPlan {
    /// Values from one tile to the next product: an odd number of vectors from one block to the
    /// next, so that blocks do not fall on the same sets of a cache.
    fn plane(&self, lanes: usize) -> usize {
        (self.chunk | 1) * lanes
    }

    /// Values from one product to the next, of inputs (0) and of outputs (1).
    fn stride(&self, side: usize, lanes: usize) -> usize {
        self.blocks[side] * self.plane(lanes) + 4 * lanes
    }

    /// Values in scratch memory of weights that each run transforms.
    fn own_weights_len(&self) -> usize {
        if self.weights.is_some() {
            0
        } else {
            self.form.len()
        }
    }

    /// Values in scratch memory of one chunk.
    fn slot_len(&self, lanes: usize) -> usize {
        let products = self.tiles.products();
        products * (self.stride(0, lanes) + self.stride(1, lanes))
    }
}
