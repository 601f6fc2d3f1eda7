//! The instructions of the backward pass: those of the forward pass from the last to the first. Each step turns
//! the gradient of its output into the gradients of its inputs.
//!
//! A gradient that several readers give is the first one's buffer, added to in place where nobody else reads
//! it; a convolution adds while it writes. What a sum passes on to its terms, and a concatenation to its
//! parts, is not copied.

use std::collections::HashMap;

use segmenta_kernels::{
    Activation, ConvPlan, MapShape, WeightGradient, attention_gradient_scratch,
    position_attention_gradient_scratch,
};

use super::compile::{Draft, Step};
use super::program::{Instruction, Value, Work};

/// The instructions so far, and the gradient of each node that has one and has not passed it on.
struct Backward<'d, 'a> {
    draft: &'d mut Draft<'a>,
    gradients: Vec<Option<Value>>,
    instructions: Vec<Instruction>,
    /// The node that instructions are written for.
    node: usize,
    /// Buffers that a norm wrote and that are not kept: its layer, what it read, its node.
    forgotten: HashMap<usize, (usize, Value, usize)>,
    /// What of them has been computed again.
    again: HashMap<usize, usize>,
}

impl Draft<'_> {
    /// Compiles the backward pass of the steps that are there.
    pub(super) fn backward(&mut self) -> Vec<Instruction> {
        let steps = std::mem::take(&mut self.steps);
        let gradients = vec![None; self.values.len()];
        let forgotten = if self.purpose.recomputes {
            self.norm_outputs(&steps)
        } else {
            HashMap::new()
        };
        let mut backward = Backward {
            draft: self,
            gradients,
            instructions: Vec::new(),
            node: 0,
            forgotten,
            again: HashMap::new(),
        };
        for step in steps.iter().rev() {
            backward.step(step);
        }
        let instructions = backward.instructions;
        self.steps = steps;
        instructions
    }

    /// The buffers that norms wrote, each the whole of it.
    fn norm_outputs(&self, steps: &[Step]) -> HashMap<usize, (usize, Value, usize)> {
        let of_step = |step: &Step| {
            let instruction = &step.instruction;
            let (Work::Norm(layer), &[x], &[y]) = (
                instruction.work,
                &instruction.reads[..],
                &instruction.writes[..],
            ) else {
                return None;
            };
            let whole = self.buffers[y.buffer].channels == y.channels;
            whole.then_some((y.buffer, (layer, x, instruction.node)))
        };
        steps.iter().filter_map(of_step).collect()
    }
}

impl Backward<'_, '_> {
    fn step(&mut self, step: &Step) {
        let Instruction {
            work,
            reads,
            writes,
            ..
        } = &step.instruction;
        self.node = step.instruction.node;
        match *work {
            Work::Emit(output) => return self.give(step.inputs[0], Work::Take(output), vec![], 0),
            Work::EmitResized {
                output,
                align_corners,
            } => {
                let work = Work::TakeResized {
                    output,
                    align_corners,
                };
                let scratch = step.instruction.scratch_len;
                return self.give(step.inputs[0], work, vec![], scratch);
            }
            // A copy: the concatenation that owns this buffer runs later, hence its backward step has already run.
            // A block: it is the network's input, and nothing before that learns.
            Work::Copy | Work::Block => return,
            _ => {}
        }
        let Some(dy) = self.gradients[step.output].take() else {
            return;
        };
        let unary = |work| (step.inputs[0], work, vec![dy]);
        let (input, work, reads) = match *work {
            Work::Conv(layer) => {
                return self.conv(step, layer, Some((step.inputs[0], reads[0])), dy);
            }
            Work::ConvOnPicture(layer) => return self.conv(step, layer, None, dy),
            Work::Transposed(layer) => return self.transposed(step, layer, reads[0], dy),
            Work::Norm(layer) => return self.norm(step, Work::NormGradient(layer), dy),
            Work::GroupNorm {
                groups,
                eps,
                affine,
            } => {
                let work = Work::GroupNormGradient {
                    groups,
                    eps,
                    affine,
                };
                return self.norm(step, work, dy);
            }
            Work::LayerNorm { eps, affine } => {
                return self.norm(step, Work::LayerNormGradient { eps, affine }, dy);
            }
            Work::Softmax { parts, log } => (
                step.inputs[0],
                Work::SoftmaxGradient { parts, log },
                vec![writes[0], dy],
            ),
            Work::Attention { .. } | Work::PositionAttention => return self.attention(step, dy),
            Work::Tokens { grid, entries } => return self.tokens(step, grid, entries, dy),
            Work::Patches => unary(Work::PatchesGradient),
            Work::Part { first } | Work::Extract { first } => return self.slice(step, first, dy),
            Work::Apply(activation) => (
                step.inputs[0],
                Work::ApplyGradient(activation),
                vec![reads[0], dy],
            ),
            Work::Add(activation) => {
                let dz = self.before(activation, writes[0], dy, step.output);
                return step.inputs.iter().for_each(|&input| self.pass(input, dz));
            }
            Work::Mul => return self.mul(step, dy),
            Work::Concat => return self.concat(step, dy),
            Work::MaxPool(_) => (step.inputs[0], Work::MaxPoolGradient, vec![dy, writes[1]]),
            Work::MaxUnpool => (step.inputs[0], Work::MaxUnpoolGradient, vec![dy, reads[1]]),
            Work::AvgPool {
                window,
                count_include_pad,
            } => unary(Work::AvgPoolGradient {
                window,
                count_include_pad,
            }),
            Work::AdaptiveAvgPool | Work::GlobalAvgPool => unary(Work::AdaptiveAvgPoolGradient),
            Work::Resize(filter) => unary(Work::ResizeGradient(filter)),
            // What they are to values they are to gradients.
            Work::Fit
            | Work::Scale { .. }
            | Work::Dropout { .. }
            | Work::DropChannels { .. }
            | Work::DropPictures { .. } => unary(*work),
            Work::Emit(_) | Work::EmitResized { .. } | Work::Copy | Work::Block => {
                unreachable!("returned above")
            }
            // Instructions of the backward pass. Listed, so that the compiler asks for the gradient of a new kind
            // instead of a network that does not learn before it.
            other @ (Work::Take(_)
            | Work::TakeResized { .. }
            | Work::ConvInput(_)
            | Work::ConvWeights(_)
            | Work::ConvWeightsOnPicture(_)
            | Work::ConvBias(_)
            | Work::TransposedInput(_)
            | Work::TransposedWeights(_)
            | Work::TransposedBias(_)
            | Work::Renorm(_)
            | Work::NormGradient(_)
            | Work::GroupNormGradient { .. }
            | Work::LayerNormGradient { .. }
            | Work::SoftmaxGradient { .. }
            | Work::AttentionGradient { .. }
            | Work::PositionAttentionGradient
            | Work::EmbeddingsGradient { .. }
            | Work::PatchesGradient
            | Work::ApplyGradient(_)
            | Work::ScaleGradient
            | Work::GateGradient
            | Work::MaxPoolGradient
            | Work::MaxUnpoolGradient
            | Work::AvgPoolGradient { .. }
            | Work::AdaptiveAvgPoolGradient
            | Work::ResizeGradient(_)
            | Work::Accumulate
            | Work::Place { .. }) => unreachable!("{other:?} belongs to the backward pass"),
        };
        self.give(input, work, reads, 0);
    }

    fn conv(&mut self, step: &Step, layer: usize, input: Option<(usize, Value)>, dy: Value) {
        let conv = &self.draft.layers.convs[layer];
        let y = step.instruction.writes[0];
        let weights = conv
            .weight_gradient
            .as_ref()
            .map(WeightGradient::scratch_len);
        let inputs = conv.input_gradient.as_ref();
        let inputs = inputs.map(|gradient| (gradient.scratch_len(), gradient.adds()));
        let bias = conv.bias.is_some_and(|bias| self.draft.trains(bias));
        let dz = self.before(conv.activation, y, dy, step.output);
        if let Some(scratch) = weights {
            match input {
                Some((_, x)) => self.push(Work::ConvWeights(layer), vec![x, dz], vec![], scratch),
                None => self.push(Work::ConvWeightsOnPicture(layer), vec![dz], vec![], scratch),
            }
        }
        if bias {
            self.push(Work::ConvBias(layer), vec![dz], vec![], 0);
        }
        let (Some((scratch, adds)), Some((input, _))) = (inputs, input) else {
            return;
        };
        match self.gradients[input] {
            Some(others) if adds => {
                let to = self.draft.allocate(self.draft.shape(input));
                self.push(Work::ConvInput(layer), vec![dz, others], vec![to], scratch);
                self.gradients[input] = Some(to);
            }
            _ => self.give(input, Work::ConvInput(layer), vec![dz], scratch),
        }
    }

    fn transposed(&mut self, step: &Step, layer: usize, x: Value, dy: Value) {
        let conv = &self.draft.layers.transposed[layer];
        let weights = conv
            .weight_gradient
            .as_ref()
            .map(WeightGradient::scratch_len);
        let inputs = conv.input_gradient.as_ref();
        let inputs = inputs.map(|(_, plan)| ConvPlan::scratch_len(plan));
        let bias = conv.bias.is_some_and(|bias| self.draft.trains(bias));
        if let Some(scratch) = weights {
            self.push(Work::TransposedWeights(layer), vec![x, dy], vec![], scratch);
        }
        if bias {
            self.push(Work::TransposedBias(layer), vec![dy], vec![], 0);
        }
        if let Some(scratch) = inputs {
            self.give(
                step.inputs[0],
                Work::TransposedInput(layer),
                vec![dy],
                scratch,
            );
        }
    }

    /// Its own numbers may learn where its input does not: what it gives to that is dropped.
    fn norm(&mut self, step: &Step, work: Work, dy: Value) {
        let input = step.inputs[0];
        let to = self.fresh(self.draft.shape(input));
        self.push(work, vec![step.instruction.reads[0], dy], vec![to], 0);
        self.pass(input, to);
    }

    fn attention(&mut self, step: &Step, dy: Value) {
        let isa = self.draft.purpose.isa;
        let inputs = [0, 1, 2].map(|i| step.inputs[i]);
        let shapes = inputs.map(|input| self.draft.shape(input));
        let (work, scratch) = match step.instruction.work {
            Work::Attention { heads } => (
                Work::AttentionGradient { heads },
                attention_gradient_scratch(isa, shapes, heads),
            ),
            _ => (
                Work::PositionAttentionGradient,
                position_attention_gradient_scratch(isa, shapes),
            ),
        };
        let mut reads = step.instruction.reads.clone();
        reads.push(dy);
        let to = shapes.map(|shape| self.fresh(shape));
        self.push(work, reads, to.to_vec(), scratch);
        for (input, to) in inputs.into_iter().zip(to) {
            self.pass(input, to);
        }
    }

    fn tokens(&mut self, step: &Step, grid: [usize; 2], entries: [usize; 2], dy: Value) {
        let shape = self.draft.shape(step.inputs[0]);
        if entries.iter().any(|&entry| self.draft.trains(entry)) {
            let work = Work::EmbeddingsGradient {
                size: [shape.height, shape.width],
                grid,
                entries,
            };
            self.push(work, vec![dy], vec![], 0);
        }
        self.give(step.inputs[0], Work::Patches, vec![dy], 0);
    }

    /// Adds to the channels of the whole's gradient if that is there; else the other channels have none yet.
    fn slice(&mut self, step: &Step, first: usize, dy: Value) {
        let whole = step.inputs[0];
        if let Some(sum) = self.gradients[whole]
            && sum.buffer != dy.buffer
            && !self.is_shared(whole, sum)
        {
            let part = sum.part(first, dy.channels);
            if self.draft.is_whole_blocks(part, sum.channels - first) {
                return self.push(Work::Accumulate, vec![dy], vec![part], 0);
            }
        }
        self.give(whole, Work::Place { first }, vec![dy], 0);
    }

    fn mul(&mut self, step: &Step, dy: Value) {
        let (of_x, of_by) = (step.inputs[0], step.inputs[1]);
        let (x, by) = (step.instruction.reads[0], step.instruction.reads[1]);
        self.give(of_x, Work::Mul, vec![dy, by], 0);
        let (shape, other) = (self.draft.shape(of_x), self.draft.shape(of_by));
        let work = if other == shape {
            Work::Mul
        } else if other.pixels() == 1 {
            Work::ScaleGradient
        } else {
            Work::GateGradient
        };
        self.give(of_by, work, vec![x, dy], 0);
    }

    fn concat(&mut self, step: &Step, dy: Value) {
        let mut first = 0;
        for &part in &step.inputs {
            let channels = self.draft.shape(part).channels;
            let slice = dy.part(first, channels);
            if self.draft.is_whole_blocks(slice, dy.channels - first) {
                self.pass(part, slice);
            } else {
                self.give(part, Work::Extract { first }, vec![dy], 0);
            }
            first += channels;
        }
    }

    /// The gradient before a non-linearity that only clamps and wrote `y`.
    fn before(&mut self, activation: Activation, y: Value, dy: Value, node: usize) -> Value {
        if activation == Activation::None {
            return dy;
        }
        let dz = self.draft.allocate(self.draft.shape(node));
        self.push(Work::ApplyGradient(activation), vec![y, dy], vec![dz], 0);
        dz
    }

    /// Gives a node the gradient that `work` computes from `reads`.
    fn give(&mut self, node: usize, work: Work, reads: Vec<Value>, scratch_len: usize) {
        if !self.draft.learns[node] {
            return;
        }
        let to = self.fresh(self.draft.shape(node));
        self.push(work, reads, vec![to], scratch_len);
        self.pass(node, to);
    }

    /// Gives a node a gradient that is there.
    fn pass(&mut self, node: usize, gradient: Value) {
        if !self.draft.learns[node] {
            return;
        }
        let sum = match self.gradients[node] {
            None => gradient,
            Some(sum) if self.is_shared(node, sum) || sum.buffer == gradient.buffer => {
                let to = self.fresh(self.draft.shape(node));
                let work = Work::Add(Activation::None);
                self.push(work, vec![sum, gradient], vec![to], 0);
                to
            }
            Some(sum) => {
                self.push(Work::Accumulate, vec![gradient], vec![sum], 0);
                sum
            }
        };
        self.gradients[node] = Some(sum);
    }

    /// Whether another node has yet to read some of a node's gradient.
    fn is_shared(&self, node: usize, gradient: Value) -> bool {
        let overlaps = |other: &Value| {
            other.buffer == gradient.buffer
                && other.first < gradient.first + gradient.channels
                && gradient.first < other.first + other.channels
        };
        let others = self.gradients.iter().enumerate();
        let mut others = others.filter(|(other, _)| *other != node);
        others.any(|(_, other)| other.as_ref().is_some_and(overlaps))
    }

    fn fresh(&mut self, shape: MapShape) -> Value {
        self.draft.allocate(shape)
    }

    fn push(&mut self, work: Work, mut reads: Vec<Value>, writes: Vec<Value>, scratch_len: usize) {
        for read in &mut reads {
            if let Some(&(layer, x, node)) = self.forgotten.get(&read.buffer) {
                *read = self.compute_again(*read, layer, x, node);
            }
        }
        self.instructions.push(Instruction {
            node: self.node,
            work,
            reads,
            writes,
            scratch_len,
        });
    }

    /// The value that a norm wrote, computed again before the first instruction that reads it.
    fn compute_again(&mut self, value: Value, layer: usize, x: Value, node: usize) -> Value {
        if let Some(&buffer) = self.again.get(&value.buffer) {
            return Value { buffer, ..value };
        }
        let to = self.fresh(self.draft.buffers[value.buffer]);
        self.instructions.push(Instruction {
            node,
            work: Work::Renorm(layer),
            reads: vec![x],
            writes: vec![to],
            scratch_len: 0,
        });
        self.again.insert(value.buffer, to.buffer);
        Value {
            buffer: to.buffer,
            ..value
        }
    }
}
