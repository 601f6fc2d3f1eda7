//! Runs the steps of a plan in its arena.

use std::time::Instant;

use segmenta_graph::Filter;
use segmenta_kernels as kernels;
use segmenta_kernels::{Arena, ArenaViews, ConvPlan, Convolution, Isa, Map, MapMut, PoolWindow};

use crate::finite::all_finite;
use crate::plan::Plan;
use crate::program::{Program, Step, Value, Work};

/// Runs all steps; `timed` hears of each with the seconds that it took.
pub(crate) fn execute(
    program: &Program,
    plan: &Plan,
    isa: Isa,
    arena: &mut Arena,
    input: &[f32],
    results: &mut [&mut [f32]],
    mut timed: impl FnMut(usize, f64),
) {
    for (index, step) in program.steps.iter().enumerate() {
        if plan.skips(step) {
            continue;
        }
        let start = Instant::now();
        let run = Run {
            plan,
            isa,
            input,
            step,
        };
        run.step(index, arena, results);
        timed(index, start.elapsed().as_secs_f64());
    }
}

/// Runs the steps up to the first whose output has a NaN or an infinity, and gives its index.
pub(crate) fn first_non_finite(
    program: &Program,
    plan: &Plan,
    isa: Isa,
    arena: &mut Arena,
    input: &[f32],
    results: &mut [&mut [f32]],
) -> Option<usize> {
    (0..program.steps.len()).find(|&index| {
        let step = &program.steps[index];
        if plan.skips(step) {
            return false;
        }
        let run = Run {
            plan,
            isa,
            input,
            step,
        };
        run.step(index, arena, results);
        match (step.output, &step.work) {
            // Moves values only, into another layout.
            (_, Work::Unblock) => false,
            (Some(value), _) => {
                let [output] = arena.views([plan.place(value)], []).reads;
                let stride = plan.image_stride(value);
                let image = plan.shape(value).image_len(isa);
                // In a concatenation other maps lie between one picture's and the next's.
                output
                    .chunks(stride)
                    .any(|values| !all_finite(&values[..image]))
            }
            (
                None,
                Work::Emit { output }
                | Work::EmitFitted { output }
                | Work::EmitResized { output, .. },
            ) => !all_finite(results[*output]),
            (None, work) => unreachable!("{} writes nothing", work.label()),
        }
    })
}

/// One step being run.
struct Run<'a> {
    plan: &'a Plan,
    isa: Isa,
    input: &'a [f32],
    step: &'a Step,
}

impl Run<'_> {
    fn step(&self, index: usize, arena: &mut Arena, results: &mut [&mut [f32]]) {
        match &self.step.work {
            Work::Conv(conv) => {
                let plan = self.convolution(index);
                let scratch = self.plan.scratch[index].clone();
                let (x, output) = (self.step.inputs[0], self.output());
                let writes = [self.plan.place(output), scratch];
                if let Some(&sum) = self.step.inputs.get(1) {
                    let reads = [self.plan.place(x), self.plan.place(sum)];
                    let ArenaViews { reads, writes } = arena.views(reads, writes);
                    let [to, scratch] = writes;
                    let (x, sum) = (self.map(x, reads[0]), self.map(sum, reads[1]));
                    conv.run(plan, x, self.map_mut(output, to), Some(sum), scratch);
                } else {
                    let ArenaViews { reads, writes } = arena.views([self.plan.place(x)], writes);
                    let [to, scratch] = writes;
                    let x = self.map(x, reads[0]);
                    conv.run(plan, x, self.map_mut(output, to), None, scratch);
                }
            }
            Work::ScaledConv(conv) => self.scaled(conv, self.convolution(index), arena),
            Work::ConvOnPicture(conv) => {
                let value = self.output();
                let scratch = self.plan.scratch[index].clone();
                let views = arena.views([], [self.plan.place(value), scratch]);
                let [to, scratch] = views.writes;
                let to = self.map_mut(value, to);
                conv.run_on_picture(self.convolution(index), self.input, to, scratch);
            }
            Work::Block => {
                let value = self.output();
                let [to] = arena.views([], [self.plan.place(value)]).writes;
                kernels::to_blocked(self.input, &mut self.map_mut(value, to));
            }
            Work::Transposed(conv) => self.unary(arena, |x, to| conv.run(x, to)),
            &Work::MaxPool(window) => self.max_pool(window, arena),
            Work::MaxUnpool => {
                let [x, indices] = [0, 1].map(|i| self.step.inputs[i]);
                let output = self.output();
                let reads = [self.plan.place(x), self.plan.place(indices)];
                let views = arena.views(reads, [self.plan.place(output)]);
                let [to] = views.writes;
                let indices = kernels::as_indices(views.reads[1]);
                let x = self.map(x, views.reads[0]);
                kernels::max_unpool(x, indices, &mut self.map_mut(output, to));
            }
            &Work::AvgPool {
                window,
                count_include_pad,
            } => self.unary(arena, |x, mut to| {
                kernels::avg_pool(x, window, count_include_pad, &mut to);
            }),
            Work::AdaptiveAvgPool => {
                self.unary(arena, |x, mut to| kernels::adaptive_avg_pool(x, &mut to));
            }
            Work::GlobalAvgPool => {
                self.unary(arena, |x, mut to| kernels::global_avg_pool(x, &mut to));
            }
            Work::GlobalMaxPool => self.unary(arena, |x, mut to| {
                let shape = x.shape();
                let all = [shape.height, shape.width];
                let window = PoolWindow {
                    kernel: all,
                    stride: all,
                    ..PoolWindow::square(1)
                };
                kernels::max_pool(x, window, &mut to);
            }),
            Work::GroupNorm {
                groups,
                eps,
                affine,
                activation,
            } => self.unary(arena, |x, mut to| {
                let affine = affine
                    .as_ref()
                    .map(|[scale, shift]| [&scale[..], &shift[..]]);
                kernels::group_norm(x, *groups, affine, *eps, &mut to, *activation);
            }),
            Work::LayerNorm { eps, affine } => self.unary(arena, |x, mut to| {
                let [scale, shift] = affine;
                kernels::layer_norm(x, [scale, shift], *eps, &mut to);
            }),
            &Work::Softmax { parts, log } => self.unary(arena, |x, mut to| {
                if parts == x.shape().channels && !log {
                    kernels::softmax(x, &mut to);
                } else {
                    kernels::softmax_between(x, parts, log, &mut to);
                }
            }),
            &Work::Attention { heads } => self.attend(index, arena, |maps, mut to, scratch| {
                kernels::attention(maps, heads, &mut to, scratch);
            }),
            Work::PositionAttention => self.attend(index, arena, |maps, mut to, scratch| {
                kernels::position_attention(maps, &mut to, scratch);
            }),
            Work::Tokens(embeddings) => self.unary(arena, |x, mut to| {
                kernels::tokens(x, embeddings, &mut to);
            }),
            Work::Patches => self.unary(arena, |x, mut to| kernels::patches(x, &mut to)),
            &Work::Slice { first } => {
                self.unary(arena, |x, mut to| kernels::extract(x, first, &mut to));
            }
            &Work::Add(act) => {
                self.binary(arena, |a, b, mut to| kernels::add(a, b, &mut to, act));
            }
            &Work::Mul(act) => {
                self.binary(arena, |a, b, mut to| kernels::mul(a, b, &mut to, act));
            }
            &Work::Apply(act) => {
                self.unary(arena, |x, mut to| kernels::apply(x, &mut to, act));
            }
            Work::Affine {
                scale,
                shift,
                activation,
            } => self.unary(arena, |x, mut to| {
                kernels::affine(x, scale, shift, &mut to, *activation);
            }),
            Work::Copy => {
                let value = self.output();
                let (place, shape) = self.plan.whole(value);
                let ArenaViews {
                    reads: [from],
                    writes: [to],
                } = arena.views([self.plan.place(self.step.inputs[0])], [place]);
                let mut to = MapMut::whole(self.isa, shape, to);
                kernels::copy(self.map(self.step.inputs[0], from), &mut to, value.first);
            }
            &Work::Resize(filter) => self.unary(arena, |x, mut to| match filter {
                Filter::Nearest => kernels::resize_nearest(x, &mut to),
                Filter::Bilinear { align_corners } => {
                    kernels::resize_bilinear(x, &mut to, align_corners);
                }
            }),
            Work::Fit => self.unary(arena, |x, mut to| kernels::fit(x, &mut to)),
            Work::Unblock => {
                let place = self.plan.place(self.output());
                let views = arena.views([self.plan.place(self.step.inputs[0])], [place]);
                let from = self.map(self.step.inputs[0], views.reads[0]);
                let [to] = views.writes;
                kernels::to_planar(from, to);
            }
            &Work::Emit { output } => {
                let views = arena.views::<1, 0>([self.plan.place(self.step.inputs[0])], []);
                let from = self.map(self.step.inputs[0], views.reads[0]);
                kernels::to_planar(from, results[output]);
            }
            &Work::EmitFitted { output } => {
                let views = arena.views::<1, 0>([self.plan.place(self.step.inputs[0])], []);
                let from = self.map(self.step.inputs[0], views.reads[0]);
                let to = self.plan.results[output];
                kernels::fit_to_planar(from, [to.height, to.width], results[output]);
            }
            &Work::EmitResized {
                output,
                align_corners,
            } => {
                let value = self.step.inputs[0];
                let views = arena.views::<1, 0>([self.plan.place(value)], []);
                let to = self.plan.results[output];
                kernels::resize_bilinear_planar(
                    self.isa,
                    views.reads[0],
                    self.plan.shape(value),
                    results[output],
                    [to.height, to.width],
                    align_corners,
                );
            }
        }
    }

    fn scaled(&self, conv: &Convolution, plan: &ConvPlan, arena: &mut Arena) {
        let output = self.output();
        let writes = [self.plan.place(output)];
        if let &[x, scale, sum] = &self.step.inputs[..] {
            let reads = [x, scale, sum];
            let views = arena.views(reads.map(|value| self.plan.place(value)), writes);
            let [to] = views.writes;
            let [x, scale, sum] = [0, 1, 2].map(|i| self.map(reads[i], views.reads[i]));
            conv.run_scaled(plan, x, scale, self.map_mut(output, to), Some(sum));
        } else {
            let reads = [0, 1].map(|i| self.step.inputs[i]);
            let views = arena.views(reads.map(|value| self.plan.place(value)), writes);
            let [to] = views.writes;
            let [x, scale] = [0, 1].map(|i| self.map(reads[i], views.reads[i]));
            conv.run_scaled(plan, x, scale, self.map_mut(output, to), None);
        }
    }

    fn max_pool(&self, window: PoolWindow, arena: &mut Arena) {
        let Some(indices) = self.step.indices else {
            return self.unary(arena, |x, mut to| kernels::max_pool(x, window, &mut to));
        };
        let (x, output) = (self.step.inputs[0], self.output());
        let writes = [self.plan.place(output), self.plan.place(indices)];
        let views = arena.views([self.plan.place(x)], writes);
        let [to, indices] = views.writes;
        let indices = kernels::as_indices_mut(indices);
        let (x, mut to) = (self.map(x, views.reads[0]), self.map_mut(output, to));
        kernels::max_pool_with_indices(x, window, &mut to, indices);
    }

    fn convolution(&self, index: usize) -> &ConvPlan {
        self.plan.convolutions[index]
            .as_ref()
            .expect("planned with its step")
    }

    fn output(&self) -> Value {
        self.step.output.expect("a step that writes a buffer")
    }

    fn unary(&self, arena: &mut Arena, work: impl FnOnce(Map<'_>, MapMut<'_>)) {
        let (x, output) = (self.step.inputs[0], self.output());
        let views = arena.views([self.plan.place(x)], [self.plan.place(output)]);
        let [to] = views.writes;
        work(self.map(x, views.reads[0]), self.map_mut(output, to));
    }

    fn binary(&self, arena: &mut Arena, work: impl FnOnce(Map<'_>, Map<'_>, MapMut<'_>)) {
        let (a, b, output) = (self.step.inputs[0], self.step.inputs[1], self.output());
        let reads = [self.plan.place(a), self.plan.place(b)];
        let views = arena.views(reads, [self.plan.place(output)]);
        let [to] = views.writes;
        let (x, y) = (self.map(a, views.reads[0]), self.map(b, views.reads[1]));
        work(x, y, self.map_mut(output, to));
    }

    /// Queries, keys and values into the output, with scratch memory.
    fn attend(
        &self,
        index: usize,
        arena: &mut Arena,
        work: impl FnOnce([Map<'_>; 3], MapMut<'_>, &mut [f32]),
    ) {
        let inputs = [0, 1, 2].map(|i| self.step.inputs[i]);
        let output = self.output();
        let writes = [self.plan.place(output), self.plan.scratch[index].clone()];
        let views = arena.views(inputs.map(|value| self.plan.place(value)), writes);
        let [to, scratch] = views.writes;
        let maps = [0, 1, 2].map(|i| self.map(inputs[i], views.reads[i]));
        work(maps, self.map_mut(output, to), scratch);
    }

    fn map<'m>(&self, value: Value, data: &'m [f32]) -> Map<'m> {
        let stride = self.plan.image_stride(value);
        Map::new(self.isa, self.plan.shape(value), data, stride)
    }

    fn map_mut<'m>(&self, value: Value, data: &'m mut [f32]) -> MapMut<'m> {
        let stride = self.plan.image_stride(value);
        MapMut::new(self.isa, self.plan.shape(value), data, stride)
    }
}
