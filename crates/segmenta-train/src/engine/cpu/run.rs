//! Runs instructions.

mod attention;
mod weighted;

use std::time::Instant;

use segmenta_graph::{Filter, Shape};
use segmenta_kernels::{
    self as kernels, Activation, Arena, ArenaViews, Isa, Kernel2d, Map, MapMut,
};

use self::weighted::{bias_gradient, conv_weights};
use super::layers::Layers;
use super::program::{Instruction, Program, Value, Work};
use crate::engine::drop_seed;

/// What an instruction works on beside the arena.
pub(super) struct Surroundings<'a> {
    pub(super) isa: Isa,
    /// The values of each parameter, flat, in the order of the graph.
    pub(super) parameters: &'a [&'a [f32]],
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
        gradients: &'a mut [Option<Vec<f32>>],
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
                        way.run(dy, x, to, scratch);
                    }
                });
            }
            (Work::NormGradient(layer), Pass::Backward { gradients, .. }) => {
                self.norm_gradient(layer, gradients);
            }
            (Work::GroupNormGradient { .. }, Pass::Backward { gradients, .. }) => {
                self.group_norm_gradient(gradients);
            }
            (Work::LayerNormGradient { eps, affine }, Pass::Backward { gradients, .. }) => {
                self.layer_norm_gradient(eps, affine, gradients);
            }
            (Work::EmbeddingsGradient { .. }, Pass::Backward { gradients, .. }) => {
                self.embeddings_gradient(gradients);
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
                        weights: parameters[conv.kernel],
                        bias: conv.bias.map_or(&[], |bias| parameters[bias]),
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
            Work::GroupNorm {
                groups,
                eps,
                affine,
            } => self.group_norm(groups, eps, affine),
            Work::LayerNorm { eps, affine } => self.layer_norm(eps, affine),
            Work::Softmax { parts, log } => self.unary(|x, to| {
                if parts == x.shape().channels && !log {
                    kernels::softmax(x, to);
                } else {
                    kernels::softmax_between(x, parts, log, to);
                }
            }),
            Work::Attention { .. } | Work::PositionAttention => self.attend(),
            Work::AttentionGradient { .. } | Work::PositionAttentionGradient => {
                self.attend_gradient();
            }
            Work::Tokens { grid, entries } => self.tokens(grid, entries),
            Work::Patches => self.unary(kernels::patches),
            Work::PatchesGradient => self.unary(kernels::patches_gradient),
            Work::Scale { by } => self.unary(|x, to| kernels::scale(x, by, to)),
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
            Work::DropChannels { p, node } => {
                let seed = drop_seed(self.around.seed, node);
                self.unary(|x, to| kernels::drop_channels(x, p, seed, to));
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
            Work::SoftmaxGradient { parts, log } => self.binary(|y, dy, to| {
                kernels::softmax_between_gradient(y, dy, parts, log, to);
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
            Work::Place { first } => self.unary(|x, to| kernels::place(x, to, first)),
            // Those that read or write what a pass has of its own: see `work`. Listed, so that the compiler asks
            // what a new kind does.
            other @ (Work::Emit(_)
            | Work::EmitResized { .. }
            | Work::Take(_)
            | Work::TakeResized { .. }
            | Work::ConvWeights(_)
            | Work::ConvWeightsOnPicture(_)
            | Work::ConvBias(_)
            | Work::TransposedWeights(_)
            | Work::TransposedBias(_)
            | Work::NormGradient(_)
            | Work::GroupNormGradient { .. }
            | Work::LayerNormGradient { .. }
            | Work::EmbeddingsGradient { .. }) => {
                unreachable!("{other:?} belongs to the other pass")
            }
            // Places, which no program has as instructions.
            Work::Concat | Work::Part { .. } => unreachable!("nothing to do"),
        }
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
                    gradient.iter().find(wrong).copied()
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
