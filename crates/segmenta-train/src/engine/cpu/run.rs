//! Runs instructions.

use std::time::Instant;

use segmenta_graph::{Filter, Shape};
use segmenta_kernels::{
    self as kernels, Activation, Arena, ArenaViews, BatchNorm, Isa, Kernel2d, Map, MapMut,
    Statistics, WeightGradient,
};
use segmenta_runtime::lower::{has_leading_taps, with_leading_taps, without_leading_taps};

use super::layers::{ConvLayer, Layers, NormLayer, TransposedLayer};
use super::program::{Instruction, Program, Value, Work};
use crate::engine::drop_seed;
use crate::optim::Slice;

/// What an instruction works on beside the arena.
pub(super) struct Surroundings<'a> {
    pub(super) isa: Isa,
    pub(super) parameters: &'a [Slice],
    /// The network's input, N×C×H×W.
    pub(super) input: &'a [f32],
    pub(super) result_shapes: &'a [Shape],
    /// What decides which values are dropped in this step.
    pub(super) seed: u64,
}

/// What the two passes read or write of their own.
pub(super) enum Pass<'a> {
    /// Writes results, N×C×H×W.
    Forward { results: &'a mut [Vec<f32>] },
    /// Reads the gradients of results, N×C×H×W; writes those of parameters, where there is room.
    Backward {
        results: &'a [&'a [f32]],
        gradients: &'a mut [Option<Slice>],
    },
}

/// An instruction that wrote a NaN or an infinity.
pub(super) struct NotFinite {
    pub(super) node: usize,
    pub(super) value: f32,
}

/// Runs the instructions of a pass; `timed` hears of each with the seconds it took.
pub(super) fn run(
    program: &Program,
    layers: &mut Layers,
    arena: &mut Arena,
    around: &Surroundings<'_>,
    mut pass: Pass<'_>,
    check: bool,
    mut timed: impl FnMut(&Instruction, f64),
) -> Result<(), NotFinite> {
    let (instructions, first) = match pass {
        Pass::Forward { .. } => (&program.forward, 0),
        Pass::Backward { .. } => (&program.backward, program.forward.len()),
    };
    for (index, instruction) in instructions.iter().enumerate() {
        let start = Instant::now();
        let mut run = Run {
            program,
            layers,
            arena,
            around,
            instruction,
            index: first + index,
        };
        run.work(&mut pass);
        if check {
            run.check(&pass)?;
        }
        timed(instruction, start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// One instruction being run.
struct Run<'a> {
    program: &'a Program,
    layers: &'a mut Layers,
    arena: &'a mut Arena,
    around: &'a Surroundings<'a>,
    instruction: &'a Instruction,
    index: usize,
}

/// What reads and writes look like to a kernel.
struct Views<'m, const R: usize, const W: usize> {
    reads: [Map<'m>; R],
    writes: [MapMut<'m>; W],
    scratch: &'m mut [f32],
}

impl Run<'_> {
    fn work(&mut self, pass: &mut Pass<'_>) {
        match (self.instruction.work, pass) {
            (Work::Emit(output), Pass::Forward { results }) => {
                let views = self.views::<1, 0>();
                kernels::to_planar(views.reads[0], &mut results[output]);
            }
            (
                Work::EmitResized {
                    output,
                    align_corners,
                },
                Pass::Forward { results },
            ) => {
                let (isa, to) = (self.around.isa, self.around.result_shapes[output]);
                let Views {
                    reads: [x],
                    scratch,
                    ..
                } = self.views::<1, 0>();
                kernels::to_planar(x, scratch);
                let size = [to.height, to.width];
                let result = &mut results[output];
                kernels::resize_bilinear_planar(
                    isa,
                    scratch,
                    x.shape(),
                    result,
                    size,
                    align_corners,
                );
            }
            (Work::Take(output), Pass::Backward { results, .. }) => {
                let [mut to] = self.views::<0, 1>().writes;
                kernels::to_blocked(results[output], &mut to);
            }
            (
                Work::TakeResized {
                    output,
                    align_corners,
                },
                Pass::Backward { results, .. },
            ) => {
                let (isa, from) = (self.around.isa, self.around.result_shapes[output]);
                let Views {
                    writes: [mut to],
                    scratch,
                    ..
                } = self.views::<0, 1>();
                let (shape, size) = (to.shape(), [from.height, from.width]);
                kernels::resize_bilinear_planar_gradient(
                    isa,
                    results[output],
                    size,
                    scratch,
                    shape,
                    align_corners,
                );
                kernels::to_blocked(scratch, &mut to);
            }
            (Work::ConvWeights(layer), Pass::Backward { gradients, .. }) => {
                self.with_conv(layer, |run, conv| {
                    let Views {
                        reads: [x, dy],
                        scratch,
                        ..
                    } = run.views::<2, 0>();
                    conv_weights(conv, gradients, |way, to| way.run(x, dy, to, scratch));
                });
            }
            (Work::ConvWeightsOnPicture(layer), Pass::Backward { gradients, .. }) => {
                let x = self.around.input;
                self.with_conv(layer, |run, conv| {
                    let Views {
                        reads: [dy],
                        scratch,
                        ..
                    } = run.views::<1, 0>();
                    conv_weights(conv, gradients, |way, to| {
                        way.run_on_picture(x, dy, to, scratch);
                    });
                });
            }
            (Work::ConvBias(layer), Pass::Backward { gradients, .. }) => {
                let bias = self.layers.convs[layer].bias;
                let [dy] = self.views::<1, 0>().reads;
                bias_gradient(bias, gradients, dy);
            }
            (Work::TransposedBias(layer), Pass::Backward { gradients, .. }) => {
                let bias = self.layers.transposed[layer].bias;
                let [dy] = self.views::<1, 0>().reads;
                bias_gradient(bias, gradients, dy);
            }
            (Work::TransposedWeights(layer), Pass::Backward { gradients, .. }) => {
                self.with_transposed(layer, |run, conv| {
                    let Views {
                        reads: [x, dy],
                        scratch,
                        ..
                    } = run.views::<2, 0>();
                    let to = &mut gradients[conv.kernel];
                    if let (Some(way), Some(to)) = (&conv.weight_gradient, to) {
                        way.run(dy, x, to.get_mut(), scratch);
                    }
                });
            }
            (Work::NormGradient(layer), Pass::Backward { gradients, .. }) => {
                self.norm_gradient(layer, gradients);
            }
            _ => self.on_maps(),
        }
    }

    /// Instructions that work on maps and weights alone.
    fn on_maps(&mut self) {
        match self.instruction.work {
            Work::Block => {
                let input = self.around.input;
                let [mut to] = self.views::<0, 1>().writes;
                kernels::to_blocked(input, &mut to);
            }
            Work::Conv(layer) => self.with_conv(layer, |run, conv| {
                run.pack(conv);
                let Views {
                    reads: [x],
                    writes: [to],
                    scratch,
                } = run.views::<1, 1>();
                conv.forward.run(&conv.plan, x, to, None, scratch);
            }),
            Work::ConvOnPicture(layer) => {
                let input = self.around.input;
                self.with_conv(layer, |run, conv| {
                    run.pack(conv);
                    let Views {
                        writes: [to],
                        scratch,
                        ..
                    } = run.views::<0, 1>();
                    conv.forward.run_on_picture(&conv.plan, input, to, scratch);
                });
            }
            Work::Transposed(layer) => {
                let parameters = self.around.parameters;
                self.with_transposed(layer, |run, conv| {
                    conv.forward.repack(Kernel2d {
                        weights: parameters[conv.kernel].get(),
                        bias: conv.bias.map_or(&[], |bias| parameters[bias].get()),
                    });
                    let Views {
                        reads: [x],
                        writes: [to],
                        ..
                    } = run.views::<1, 1>();
                    conv.forward.run(x, to);
                });
            }
            Work::Norm(layer) => self.norm(layer),
            Work::Renorm(layer) => self.normalise(layer),
            Work::Apply(activation) => self.unary(|x, to| kernels::apply(x, to, activation)),
            Work::Add(activation) => self.binary(|a, b, to| kernels::add(a, b, to, activation)),
            Work::Mul => self.binary(|x, by, to| kernels::mul(x, by, to, Activation::None)),
            Work::Copy => self.copy(),
            Work::MaxPool(window) => match self.instruction.writes.len() {
                1 => self.unary(|x, to| kernels::max_pool(x, window, to)),
                _ => self.max_pool(window),
            },
            Work::MaxUnpool => self.with_indices(|x, indices, to| {
                kernels::max_unpool(x, indices, to);
            }),
            Work::AvgPool {
                window,
                count_include_pad,
            } => self.unary(|x, to| kernels::avg_pool(x, window, count_include_pad, to)),
            Work::AdaptiveAvgPool => self.unary(kernels::adaptive_avg_pool),
            Work::GlobalAvgPool => self.unary(kernels::global_avg_pool),
            Work::Resize(filter) => self.unary(|x, to| match filter {
                Filter::Nearest => kernels::resize_nearest(x, to),
                Filter::Bilinear { align_corners } => {
                    kernels::resize_bilinear(x, to, align_corners);
                }
            }),
            Work::Fit => self.unary(kernels::fit),
            Work::Dropout { p, node } => {
                let seed = drop_seed(self.around.seed, node);
                self.unary(|x, to| kernels::dropout(x, p, seed, to));
            }
            Work::DropPictures { p, node } => {
                let seed = drop_seed(self.around.seed, node);
                self.unary(|x, to| kernels::drop_pictures(x, p, seed, to));
            }
            Work::ConvInput(layer) => self.conv_input(layer),
            Work::TransposedInput(layer) => self.transposed_input(layer),
            Work::ApplyGradient(activation) => self.binary(|x, dy, to| {
                kernels::activation_gradient(x, dy, to, activation);
            }),
            Work::ScaleGradient => self.binary(kernels::scale_gradient),
            Work::GateGradient => self.binary(kernels::gate_gradient),
            Work::MaxPoolGradient => self.with_indices(|dy, indices, to| {
                kernels::max_pool_gradient(dy, indices, to);
            }),
            Work::MaxUnpoolGradient => self.with_indices(|dy, indices, to| {
                kernels::max_unpool_gradient(dy, indices, to);
            }),
            Work::AvgPoolGradient {
                window,
                count_include_pad,
            } => self.unary(|dy, to| kernels::avg_pool_gradient(dy, window, count_include_pad, to)),
            Work::AdaptiveAvgPoolGradient => self.unary(kernels::adaptive_avg_pool_gradient),
            Work::ResizeGradient(filter) => self.unary(|dy, to| match filter {
                Filter::Nearest => kernels::resize_nearest_gradient(dy, to),
                Filter::Bilinear { align_corners } => {
                    kernels::resize_bilinear_gradient(dy, to, align_corners);
                }
            }),
            Work::Accumulate => self.unary(kernels::accumulate),
            Work::Extract { first } => self.unary(|x, to| kernels::extract(x, first, to)),
            other => unreachable!("{other:?} belongs to the other pass"),
        }
    }

    fn norm(&mut self, layer: usize) {
        let parameters = self.around.parameters;
        let norm = &mut self.layers.norms[layer];
        if norm.frozen {
            let running = [norm.mean, norm.variance].map(|at| parameters[at].get());
            norm.statistics = Statistics::fixed(running[0], running[1], norm.epsilon);
            return self.normalise(layer);
        }
        let numbers = numbers(norm, parameters);
        let mut measured = Statistics::default();
        self.unary(|x, to| measured = numbers.train(x, to));
        self.layers.norms[layer].statistics = measured;
    }

    /// A norm by statistics that are known.
    fn normalise(&mut self, layer: usize) {
        let norm = &self.layers.norms[layer];
        let numbers = numbers(norm, self.around.parameters);
        let known = &norm.statistics;
        let scales = numbers.scale.iter().zip(&known.inverse_std);
        let scale: Vec<f32> = scales.map(|(scale, inverse)| scale * inverse).collect();
        let means = scale.iter().zip(&known.mean);
        let shifts = numbers.shift.iter().zip(means);
        let shift: Vec<f32> = shifts
            .map(|(shift, (scale, mean))| shift - scale * mean)
            .collect();
        self.unary(|x, to| kernels::affine(x, &scale, &shift, to, numbers.activation));
    }

    fn norm_gradient(&mut self, layer: usize, gradients: &mut [Option<Slice>]) {
        let norm = &mut self.layers.norms[layer];
        let numbers = numbers(norm, self.around.parameters);
        let statistics = std::mem::take(&mut norm.statistics);
        let [scale, shift] = [norm.scale, norm.shift];
        let mut own = None;
        self.binary(|x, dy, dx| own = Some(numbers.gradients(x, dy, &statistics, dx)));
        self.layers.norms[layer].statistics = statistics;
        if let Some(own) = own {
            for (at, values) in [(scale, own.scale), (shift, own.shift)] {
                if let Some(to) = &mut gradients[at] {
                    to.get_mut().copy_from_slice(&values);
                }
            }
        }
    }

    fn conv_input(&mut self, layer: usize) {
        let parameters = self.around.parameters;
        self.with_conv(layer, |run, conv| {
            let Some(way) = &mut conv.input_gradient else {
                return;
            };
            let weights = parameters[conv.kernel].get();
            let wider = has_leading_taps(&conv.description)
                .then(|| with_leading_taps(&conv.description, weights));
            let weights = wider.as_deref().unwrap_or(weights);
            if run.instruction.reads.len() == 2 {
                let Views {
                    reads: [dy, others],
                    writes: [to],
                    scratch,
                } = run.views::<2, 1>();
                way.run(dy, weights, Some(others), to, scratch);
            } else {
                let Views {
                    reads: [dy],
                    writes: [to],
                    scratch,
                } = run.views::<1, 1>();
                way.run(dy, weights, None, to, scratch);
            }
        });
    }

    fn transposed_input(&mut self, layer: usize) {
        let parameters = self.around.parameters;
        self.with_transposed(layer, |run, conv| {
            let Some((back, plan)) = &mut conv.input_gradient else {
                return;
            };
            back.repack(Kernel2d {
                weights: parameters[conv.kernel].get(),
                bias: &[],
            });
            let Views {
                reads: [dy],
                writes: [to],
                scratch,
            } = run.views::<1, 1>();
            back.run(plan, dy, to, None, scratch);
        });
    }

    /// Packs the weights as they are now.
    fn pack(&self, conv: &mut ConvLayer) {
        let parameters = self.around.parameters;
        let weights = parameters[conv.kernel].get();
        let wider = has_leading_taps(&conv.description)
            .then(|| with_leading_taps(&conv.description, weights));
        conv.forward.repack(Kernel2d {
            weights: wider.as_deref().unwrap_or(weights),
            bias: conv.bias.map_or(&[], |bias| parameters[bias].get()),
        });
    }

    fn copy(&mut self) {
        let (from, to) = (self.instruction.reads[0], self.instruction.writes[0]);
        let (shape, place) = self.program.whole(to);
        let views = self.arena.views([self.program.place(from)], [place]);
        let ArenaViews {
            reads: [x],
            writes: [whole],
        } = views;
        let x = map(self.program, self.around.isa, from, x);
        let mut whole = MapMut::whole(self.around.isa, shape, whole);
        kernels::copy(x, &mut whole, to.first);
    }

    fn max_pool(&mut self, window: kernels::PoolWindow) {
        let indices = self.program.place(self.instruction.writes[1]);
        let place = self.program.place(self.instruction.writes[0]);
        let (x, to) = (self.instruction.reads[0], self.instruction.writes[0]);
        let views = self.arena.views([self.program.place(x)], [place, indices]);
        let [y, indices] = views.writes;
        let (program, isa) = (self.program, self.around.isa);
        let indices = kernels::as_indices_mut(indices);
        let mut y = map_mut(program, isa, to, y);
        kernels::max_pool_with_indices(
            map(program, isa, x, views.reads[0]),
            window,
            &mut y,
            indices,
        );
    }

    fn with_indices(&mut self, work: impl FnOnce(Map<'_>, &[u32], &mut MapMut<'_>)) {
        let [x, indices] = [0, 1].map(|i| self.instruction.reads[i]);
        let to = self.instruction.writes[0];
        let reads = [x, indices].map(|value| self.program.place(value));
        let views = self.arena.views(reads, [self.program.place(to)]);
        let ([from, indices], [y]) = (views.reads, views.writes);
        let (program, isa) = (self.program, self.around.isa);
        work(
            map(program, isa, x, from),
            kernels::as_indices(indices),
            &mut map_mut(program, isa, to, y),
        );
    }

    fn unary(&mut self, work: impl FnOnce(Map<'_>, &mut MapMut<'_>)) {
        let Views {
            reads: [x],
            writes: [mut to],
            ..
        } = self.views::<1, 1>();
        work(x, &mut to);
    }

    fn binary(&mut self, work: impl FnOnce(Map<'_>, Map<'_>, &mut MapMut<'_>)) {
        let Views {
            reads: [a, b],
            writes: [mut to],
            ..
        } = self.views::<2, 1>();
        work(a, b, &mut to);
    }

    /// Lends a convolution out while the rest is in use.
    fn with_conv(&mut self, layer: usize, work: impl FnOnce(&mut Self, &mut ConvLayer)) {
        let mut convs = std::mem::take(&mut self.layers.convs);
        work(self, &mut convs[layer]);
        self.layers.convs = convs;
    }

    /// Lends a transposed convolution out while the rest is in use.
    fn with_transposed(
        &mut self,
        layer: usize,
        work: impl FnOnce(&mut Self, &mut TransposedLayer),
    ) {
        let mut transposed = std::mem::take(&mut self.layers.transposed);
        work(self, &mut transposed[layer]);
        self.layers.transposed = transposed;
    }

    fn views<const R: usize, const W: usize>(&mut self) -> Views<'_, R, W> {
        let instruction = self.instruction;
        let reads: [Value; R] = std::array::from_fn(|i| instruction.reads[i]);
        let writes: [Value; W] = std::array::from_fn(|i| instruction.writes[i]);
        let (program, isa) = (self.program, self.around.isa);
        let (views, scratch) = self.arena.views_and_scratch(
            reads.map(|value| program.place(value)),
            writes.map(|value| program.place(value)),
            program.scratch(self.index),
        );
        let mut from = views.reads.into_iter();
        let mut to = views.writes.into_iter();
        Views {
            reads: reads.map(|value| map(program, isa, value, from.next().unwrap_or_default())),
            writes: writes.map(|value| map_mut(program, isa, value, to.next().unwrap_or_default())),
            scratch,
        }
    }

    /// Whether all that was written is finite.
    fn check(&mut self, pass: &Pass<'_>) -> Result<(), NotFinite> {
        let wrong = |value: &&f32| !value.is_finite();
        let of_arena = self.instruction.writes.iter().find_map(|&value| {
            let views = self.arena.views::<1, 0>([self.program.place(value)], []);
            views.reads[0].iter().find(wrong).copied()
        });
        let of_parameters = match pass {
            Pass::Backward { gradients, .. } => self
                .layers
                .learned(&self.instruction.work)
                .into_iter()
                .find_map(|at| {
                    let gradient = gradients[at].as_ref()?;
                    gradient.get().iter().find(wrong).copied()
                }),
            Pass::Forward { .. } => None,
        };
        match of_arena.or(of_parameters) {
            Some(value) => Err(NotFinite {
                node: self.instruction.node,
                value,
            }),
            None => Ok(()),
        }
    }
}

fn map<'m>(program: &Program, isa: Isa, value: Value, data: &'m [f32]) -> Map<'m> {
    Map::new(isa, program.shape(value), data, program.image_stride(value))
}

fn map_mut<'m>(program: &Program, isa: Isa, value: Value, data: &'m mut [f32]) -> MapMut<'m> {
    MapMut::new(isa, program.shape(value), data, program.image_stride(value))
}

/// A batch norm with its numbers.
fn numbers<'p>(norm: &NormLayer, parameters: &'p [Slice]) -> BatchNorm<'p> {
    BatchNorm {
        scale: parameters[norm.scale].get(),
        shift: parameters[norm.shift].get(),
        epsilon: norm.epsilon,
        activation: norm.activation,
    }
}

/// Has `work` write the gradient of a convolution's kernel.
fn conv_weights(
    conv: &ConvLayer,
    gradients: &mut [Option<Slice>],
    work: impl FnOnce(&WeightGradient, &mut [f32]),
) {
    let (Some(way), Some(to)) = (&conv.weight_gradient, &mut gradients[conv.kernel]) else {
        return;
    };
    let to = to.get_mut();
    if has_leading_taps(&conv.description) {
        let mut wider = vec![0.0; conv.forward.spec().weights_len()];
        work(way, &mut wider);
        without_leading_taps(&conv.description, &wider, to);
    } else {
        work(way, to);
    }
}

fn bias_gradient(bias: Option<usize>, gradients: &mut [Option<Slice>], dy: Map<'_>) {
    if let Some(to) = bias.and_then(|bias| gradients[bias].as_mut()) {
        kernels::bias_gradient(dy, to.get_mut());
    }
}
