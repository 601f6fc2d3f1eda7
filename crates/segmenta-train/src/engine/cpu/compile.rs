//! From a graph to the instructions of its forward pass.
//!
//! Fused are a batch norm and the non-linearity after it, whose gradient needs the norm's input alone; and
//! a non-linearity that only clamps with the convolution or the sum before it, whose gradient needs its
//! output alone. A concatenation is a place that its parts are written to.

use segmenta_graph::{Filter, Graph, Node, NodeData, Op, Shape};
use segmenta_kernels::{
    Activation, ConvPlan, Convolution, InputGradient, Isa, Kernel2d, MapShape, Statistics,
    TransposedConvolution, WeightGradient, WeightMemory,
};
use segmenta_runtime::lower::{
    as_convolution, conv_spec, kernel_activation, map_shape, pool_window, precise_nodes,
    transposed_spec, undone_pools,
};

use super::layers::{ConvLayer, Layers, NormLayer, TransposedLayer};
use super::program::{Instruction, Program, Value, Work};
use crate::engine::EngineError;

/// What a step is compiled for.
#[derive(Clone, Copy)]
pub(super) struct Purpose<'a> {
    pub(super) isa: Isa,
    pub(super) threads: usize,
    /// The nodes whose values are the results.
    pub(super) wanted: &'a [Node],
    /// Whether each parameter learns.
    pub(super) trains: &'a [bool],
    /// Whether dropout and stochastic depth drop.
    pub(super) drops: bool,
    /// Whether what norms wrote is computed again by the backward pass, not kept for it.
    pub(super) recomputes: bool,
}

/// A compiled step.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) program: Program,
    pub(super) layers: Layers,
    /// Shapes of the results.
    pub(super) results: Vec<Shape>,
}

/// Compiles a training step for inputs of one shape.
pub(super) fn compile(
    graph: &Graph,
    input: Shape,
    purpose: Purpose<'_>,
) -> Result<Compiled, EngineError> {
    let shapes = graph.shapes(input)?;
    let results = purpose.wanted.iter().map(|n| shapes[n.index()]).collect();
    let mut draft = Draft::new(graph, shapes, purpose);
    draft.forward()?;
    let backward = draft.backward();
    let forward = draft.steps.into_iter().map(|step| step.instruction);
    let forward = forward
        .filter(|i| !matches!(i.work, Work::Concat))
        .collect();
    Ok(Compiled {
        program: Program::new(purpose.isa, draft.buffers, forward, backward),
        layers: draft.layers,
        results,
    })
}

/// An instruction of the forward pass and the nodes it goes from and to.
pub(super) struct Step {
    pub(super) instruction: Instruction,
    pub(super) inputs: Vec<usize>,
    /// The node whose value it makes.
    pub(super) output: usize,
}

/// Walks the graph and writes instructions down. Nodes are indices.
pub(super) struct Draft<'a> {
    graph: &'a Graph,
    pub(super) purpose: Purpose<'a>,
    shapes: Vec<Shape>,
    /// The node whose value each node has.
    same_as: Vec<usize>,
    readers: Vec<Vec<usize>>,
    needed: Vec<bool>,
    precise: Vec<bool>,
    undone: Vec<bool>,
    /// Whether something at or before a node learns.
    pub(super) learns: Vec<bool>,
    absorbed: Vec<bool>,
    pub(super) values: Vec<Option<Value>>,
    /// Where each max pool left its indices.
    pub(super) indices: Vec<Option<Value>>,
    pub(super) buffers: Vec<MapShape>,
    pub(super) steps: Vec<Step>,
    pub(super) layers: Layers,
}

impl<'a> Draft<'a> {
    fn new(graph: &'a Graph, shapes: Vec<Shape>, purpose: Purpose<'a>) -> Self {
        let count = graph.nodes().len();
        let needed = graph.needed_for(purpose.wanted);
        let mut same_as: Vec<usize> = (0..count).collect();
        let mut readers = vec![Vec::new(); count];
        let mut learns = vec![false; count];
        for (node, data) in graph.iter() {
            let at = node.index();
            let inputs = || data.inputs.iter().map(|input| input.index());
            let own = data.parameters.iter().any(|p| purpose.trains[p.index()]);
            learns[at] = own || inputs().any(|input| learns[input]);
            if changes_nothing(&data.op, &shapes, at, data, purpose.drops) {
                same_as[at] = same_as[data.inputs[0].index()];
            } else if needed[at] {
                inputs().for_each(|input| readers[same_as[input]].push(at));
            }
        }
        let mut undone = vec![false; count];
        for pool in undone_pools(graph) {
            undone[pool.index()] = true;
        }
        Self {
            graph,
            purpose,
            shapes,
            same_as,
            readers,
            needed,
            precise: precise_nodes(graph),
            undone,
            learns,
            absorbed: vec![false; count],
            values: vec![None; count],
            indices: vec![None; count],
            buffers: Vec::new(),
            steps: Vec::new(),
            layers: Layers::default(),
        }
    }

    fn forward(&mut self) -> Result<(), EngineError> {
        let graph = self.graph;
        for (node, data) in graph.iter() {
            let at = node.index();
            if self.needed[at] && !self.absorbed[at] && self.same_as[at] == at {
                self.node(at, data)?;
            }
        }
        for (output, node) in self.purpose.wanted.iter().enumerate() {
            self.emit(output, self.same_as[node.index()]);
        }
        Ok(())
    }

    fn node(&mut self, at: usize, data: &NodeData) -> Result<(), EngineError> {
        match data.op {
            // Brought into blocks when something reads it so.
            Op::Input => {}
            Op::Conv2d(_) | Op::Linear { .. } => self.conv(at, data),
            Op::ConvTranspose2d(conv) => self.conv_transpose(at, data, &conv),
            Op::BatchNorm(_) => self.norm(at, data)?,
            Op::Activation(activation) => {
                self.push(at, data, Work::Apply(kernel_activation(activation)));
            }
            Op::Add => {
                let (tail, activation) = self.absorb(at, is_clamp);
                self.push_as(at, tail, data, Work::Add(activation), 0);
            }
            Op::Mul => self.push(at, data, Work::Mul),
            Op::Concat => self.concat(at, data),
            Op::MaxPool2d(pool) => {
                self.push(at, data, Work::MaxPool(pool_window(pool)));
                if self.undone[at] || self.learns[at] {
                    let indices = self.allocate(map_shape(self.shapes[at]));
                    self.indices[at] = Some(indices);
                    let step = self.steps.last_mut().expect("just pushed");
                    step.instruction.writes.push(indices);
                }
            }
            Op::MaxUnpool2d => {
                let indices = self.indices[data.inputs[1].index()].expect("left by the pool");
                let x = self.value(data.inputs[0].index());
                let step = self.instruction(at, Work::MaxUnpool, vec![x, indices], at);
                self.steps.push(Step {
                    inputs: vec![self.same_as[data.inputs[0].index()]],
                    ..step
                });
            }
            Op::AvgPool2d {
                window,
                count_include_pad,
            } => {
                let work = Work::AvgPool {
                    window: pool_window(window),
                    count_include_pad,
                };
                self.push(at, data, work);
            }
            Op::AdaptiveAvgPool2d { .. } => self.push(at, data, Work::AdaptiveAvgPool),
            Op::GlobalAvgPool => self.push(at, data, Work::GlobalAvgPool),
            Op::ResizeLike { .. } | Op::Upsample { .. }
                if self.is_only_a_result(at) && bilinear(&data.op).is_some() => {}
            Op::ResizeLike { filter, .. } | Op::Upsample { filter, .. } => {
                self.push(at, data, Work::Resize(filter));
            }
            Op::FitLike { .. } => self.push(at, data, Work::Fit),
            Op::Dropout { p } => self.push(at, data, Work::Dropout { p, node: at }),
            Op::StochasticDepth { p } => {
                self.push(at, data, Work::DropPictures { p, node: at });
            }
            Op::GroupNorm { .. }
            | Op::LayerNorm { .. }
            | Op::Softmax { .. }
            | Op::Attention { .. }
            | Op::PositionAttention
            | Op::Tokens { .. }
            | Op::Patches { .. }
            | Op::Scale { .. }
            | Op::Slice { .. }
            | Op::GlobalMaxPool
            | Op::Dropout2d { .. } => {
                return Err(EngineError::Untrainable {
                    node: data.name.clone(),
                    op: data.op.kind(),
                });
            }
        }
        Ok(())
    }

    fn conv(&mut self, at: usize, data: &NodeData) {
        let Some(description) = as_convolution(&data.op) else {
            return;
        };
        let Purpose { isa, threads, .. } = self.purpose;
        let input = self.same_as[data.inputs[0].index()];
        let shape = map_shape(self.shapes[input]);
        let spec = conv_spec(&description, shape.channels);
        let (tail, activation) = self.absorb(at, is_clamp);
        let zeros = vec![0.0; spec.weights_len()];
        let kernel = Kernel2d {
            weights: &zeros,
            bias: &[],
        };
        let parameters: Vec<usize> = data.parameters.iter().map(|p| p.index()).collect();
        let trains = self.purpose.trains[parameters[0]];
        // A picture needs no gradient, and is read as it came where there are kernels for that.
        let on_picture = (input == 0)
            .then(|| Convolution::on_picture(isa, spec, kernel, activation))
            .flatten();
        let weights_of_picture = || WeightGradient::on_picture(isa, spec, shape);
        let (forward, weight_gradient, work, inputs) = match on_picture {
            Some(forward) => {
                let gradient = trains.then(weights_of_picture).flatten();
                (
                    forward,
                    gradient,
                    Work::ConvOnPicture as fn(usize) -> Work,
                    vec![],
                )
            }
            None => (
                Convolution::new(isa, spec, kernel, activation),
                trains.then(|| WeightGradient::new(isa, spec, shape)),
                Work::Conv as fn(usize) -> Work,
                vec![input],
            ),
        };
        let memory = if self.precise[at] {
            WeightMemory::Low
        } else {
            WeightMemory::Brief
        };
        let plan = forward.plan(shape, threads, memory);
        let scratch = plan.scratch_len();
        let input_gradient = (self.learns[input] && !inputs.is_empty())
            .then(|| InputGradient::new(isa, spec, shape, threads));
        self.layers.convs.push(ConvLayer {
            description,
            kernel: parameters[0],
            bias: parameters.get(1).copied(),
            activation,
            forward,
            plan,
            weight_gradient,
            input_gradient,
        });
        let work = work(self.layers.convs.len() - 1);
        self.push_nodes(at, tail, inputs, work, scratch);
    }

    fn conv_transpose(
        &mut self,
        at: usize,
        data: &NodeData,
        conv: &segmenta_graph::ConvTranspose2d,
    ) {
        let Purpose { isa, threads, .. } = self.purpose;
        let input = self.same_as[data.inputs[0].index()];
        let spec = transposed_spec(conv, self.shapes[input].channels);
        let zeros = vec![0.0; spec.weights_len()];
        let kernel = Kernel2d {
            weights: &zeros,
            bias: &[],
        };
        let parameters: Vec<usize> = data.parameters.iter().map(|p| p.index()).collect();
        let (adjoint, output) = (spec.adjoint(), map_shape(self.shapes[at]));
        let input_gradient = self.learns[input].then(|| {
            let back = Convolution::new(isa, adjoint, kernel, Activation::None);
            let plan: ConvPlan = back.plan(output, threads, WeightMemory::Brief);
            (back, plan)
        });
        let trains = self.purpose.trains[parameters[0]];
        self.layers.transposed.push(TransposedLayer {
            kernel: parameters[0],
            bias: parameters.get(1).copied(),
            forward: TransposedConvolution::new(isa, spec, kernel, Activation::None),
            weight_gradient: trains.then(|| WeightGradient::new(isa, adjoint, output)),
            input_gradient,
        });
        let work = Work::Transposed(self.layers.transposed.len() - 1);
        self.push(at, data, work);
    }

    fn norm(&mut self, at: usize, data: &NodeData) -> Result<(), EngineError> {
        let Op::BatchNorm(norm) = data.op else {
            return Ok(());
        };
        let parameters: Vec<usize> = data.parameters.iter().map(|p| p.index()).collect();
        let [scale, shift, mean, variance, counter] = parameters[..] else {
            unreachable!("a batch norm has five entries")
        };
        let frozen = !self.purpose.trains[scale];
        let shape = self.shapes[at];
        if !frozen {
            EngineError::check_values(data, shape)?;
        }
        let (tail, activation) = self.absorb(at, |_| true);
        self.layers.norms.push(NormLayer {
            scale,
            shift,
            mean,
            variance,
            counter,
            epsilon: norm.eps,
            momentum: norm.momentum,
            activation,
            frozen,
            statistics: Statistics::default(),
        });
        let work = Work::Norm(self.layers.norms.len() - 1);
        self.push_as(at, tail, data, work, 0);
        Ok(())
    }

    /// Parts that are whole blocks in buffers of their own are written in place; others are copied.
    fn concat(&mut self, at: usize, data: &NodeData) {
        let whole = self.allocate(map_shape(self.shapes[at]));
        let mut first = 0;
        for part in &data.inputs {
            let value = self.value(part.index());
            let place = Value {
                first,
                channels: value.channels,
                ..whole
            };
            first += value.channels;
            if self.can_move(value, place, data.channels) {
                self.move_buffer(value.buffer, place);
            } else {
                self.steps.push(Step {
                    instruction: Instruction {
                        node: at,
                        work: Work::Copy,
                        reads: vec![value],
                        writes: vec![place],
                        scratch_len: 0,
                    },
                    inputs: vec![],
                    output: at,
                });
            }
        }
        self.values[at] = Some(whole);
        self.steps.push(Step {
            instruction: Instruction {
                node: at,
                work: Work::Concat,
                reads: vec![],
                writes: vec![],
                scratch_len: 0,
            },
            inputs: data
                .inputs
                .iter()
                .map(|i| self.same_as[i.index()])
                .collect(),
            output: at,
        });
    }

    /// Whether what makes `value` may write to `place` instead: it has a buffer of its own, whole blocks (a
    /// block filled up would spill into the next part), and nobody computes it from the whole.
    fn can_move(&self, value: Value, place: Value, total: usize) -> bool {
        let lanes = self.purpose.isa.lanes();
        let own = self.buffers[value.buffer].channels == value.channels;
        let whole_blocks =
            value.channels.is_multiple_of(lanes) || place.first + value.channels == total;
        let reads_whole = |step: &Step| {
            let Instruction { reads, writes, .. } = &step.instruction;
            let writes_it = writes.iter().any(|w| w.buffer == value.buffer);
            writes_it && reads.iter().any(|r| r.buffer == place.buffer)
        };
        own && value.buffer != place.buffer
            && place.first.is_multiple_of(lanes)
            && whole_blocks
            && !self.steps.iter().any(reads_whole)
    }

    fn move_buffer(&mut self, from: usize, to: Value) {
        let moved = |value: &mut Value| {
            if value.buffer == from {
                *value = Value {
                    buffer: to.buffer,
                    first: to.first + value.first,
                    channels: value.channels,
                };
            }
        };
        for Step { instruction, .. } in &mut self.steps {
            instruction.reads.iter_mut().for_each(moved);
            instruction.writes.iter_mut().for_each(moved);
        }
        self.values.iter_mut().flatten().for_each(moved);
    }

    fn emit(&mut self, output: usize, at: usize) {
        let data = &self.graph.nodes()[at];
        let resized = bilinear(&data.op).filter(|_| self.is_only_a_result(at));
        let (source, work) = match resized {
            Some(align_corners) => {
                let work = Work::EmitResized {
                    output,
                    align_corners,
                };
                (self.same_as[data.inputs[0].index()], work)
            }
            None => (at, Work::Emit(output)),
        };
        let shape = map_shape(self.shapes[source]);
        let value = self.value(source);
        self.steps.push(Step {
            instruction: Instruction {
                node: at,
                work,
                reads: vec![value],
                writes: vec![],
                scratch_len: resized.map_or(0, |_| shape.batch * shape.planar_len()),
            },
            inputs: vec![source],
            output: at,
        });
    }

    /// A non-linearity of the kind asked for that alone reads `at`: the node whose value then is made.
    fn absorb(&mut self, at: usize, kind: impl Fn(Activation) -> bool) -> (usize, Activation) {
        if let [reader] = self.readers[at][..]
            && !self.is_result(at)
            && let Op::Activation(activation) = self.graph.nodes()[reader].op
            && kind(kernel_activation(activation))
        {
            self.absorbed[reader] = true;
            return (reader, kernel_activation(activation));
        }
        (at, Activation::None)
    }

    fn is_result(&self, at: usize) -> bool {
        let mut wanted = self.purpose.wanted.iter();
        wanted.any(|node| self.same_as[node.index()] == at)
    }

    fn is_only_a_result(&self, at: usize) -> bool {
        self.is_result(at) && self.readers[at].is_empty()
    }

    fn push(&mut self, at: usize, data: &NodeData, work: Work) {
        self.push_as(at, at, data, work, 0);
    }

    fn push_as(&mut self, at: usize, tail: usize, data: &NodeData, work: Work, scratch: usize) {
        let inputs = data
            .inputs
            .iter()
            .map(|i| self.same_as[i.index()])
            .collect();
        self.push_nodes(at, tail, inputs, work, scratch);
    }

    /// An instruction that computes all from `at` to `tail`.
    fn push_nodes(
        &mut self,
        at: usize,
        tail: usize,
        inputs: Vec<usize>,
        work: Work,
        scratch_len: usize,
    ) {
        let reads = inputs.iter().map(|&input| self.value(input)).collect();
        let mut step = self.instruction(at, work, reads, tail);
        step.instruction.scratch_len = scratch_len;
        step.inputs = inputs;
        self.steps.push(step);
    }

    /// A step that makes the value of `tail`.
    fn instruction(&mut self, at: usize, work: Work, reads: Vec<Value>, tail: usize) -> Step {
        let value = self.allocate(map_shape(self.shapes[tail]));
        self.values[tail] = Some(value);
        Step {
            instruction: Instruction {
                node: at,
                work,
                reads,
                writes: vec![value],
                scratch_len: 0,
            },
            inputs: vec![],
            output: tail,
        }
    }

    pub(super) fn allocate(&mut self, shape: MapShape) -> Value {
        self.buffers.push(shape);
        Value {
            buffer: self.buffers.len() - 1,
            first: 0,
            channels: shape.channels,
        }
    }

    /// The value of a node; the network's input is brought into blocks when first asked for.
    fn value(&mut self, at: usize) -> Value {
        let at = self.same_as[at];
        if self.values[at].is_none() {
            self.push_nodes(at, at, vec![], Work::Block, 0);
        }
        self.values[at].expect("made before it is read")
    }

    /// The shape of a node.
    pub(super) fn shape(&self, at: usize) -> MapShape {
        map_shape(self.shapes[at])
    }

    /// Whether a parameter learns.
    pub(super) fn trains(&self, parameter: usize) -> bool {
        self.purpose.trains[parameter]
    }
}

/// Whether a node has its first input's value.
fn changes_nothing(op: &Op, shapes: &[Shape], at: usize, data: &NodeData, drops: bool) -> bool {
    match *op {
        Op::Dropout { p } | Op::Dropout2d { p } | Op::StochasticDepth { p } => !drops || p == 0.0,
        Op::ResizeLike { .. } | Op::Upsample { .. } | Op::FitLike { .. } => {
            shapes[at] == shapes[data.inputs[0].index()]
        }
        _ => false,
    }
}

/// Those whose gradient follows from what they wrote.
fn is_clamp(activation: Activation) -> bool {
    matches!(activation, Activation::Relu | Activation::Relu6)
}

/// Whether corners are aligned, of a bilinear resize.
fn bilinear(op: &Op) -> Option<bool> {
    match *op {
        Op::ResizeLike {
            filter: Filter::Bilinear { align_corners },
            ..
        }
        | Op::Upsample {
            filter: Filter::Bilinear { align_corners },
            ..
        } => Some(align_corners),
        _ => None,
    }
}
