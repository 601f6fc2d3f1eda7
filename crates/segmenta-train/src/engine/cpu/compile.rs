//! From a graph to the instructions of its forward pass.
//!
//! Fused are a batch norm and the non-linearity after it, whose gradient needs the norm's input alone; and
//! a non-linearity that only clamps with the convolution or the sum before it, whose gradient needs its
//! output alone. A concatenation is a place that its parts are written to.

mod maps;
mod weighted;

use segmenta_graph::{Graph, Node, NodeData, Op, Shape};
use segmenta_kernels::{Activation, Isa, MapShape, PoolWindow};
use segmenta_kernels::{attention_scratch, position_attention_scratch};
use segmenta_runtime::lower::{
    kernel_activation, map_shape, pool_window, precise_nodes, undone_pools,
};

use self::maps::bilinear;
use super::layers::Layers;
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
    /// Gradient checkpointing: recompute norm outputs in the backward pass instead of keeping them.
    pub(super) recomputes: bool,
}

/// A compiled step.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) program: Program,
    pub(super) layers: Layers,
    /// The parameters whose gradients the backward pass writes.
    pub(super) learned: Vec<usize>,
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
    let layers = &draft.layers;
    let written = backward.iter().flat_map(|i| layers.learned(&i.work));
    let learned = written.filter(|&at| purpose.trains[at]).collect();
    let forward = draft.steps.into_iter().map(|step| step.instruction);
    let forward = forward
        .filter(|i| !matches!(i.work, Work::Concat | Work::Part { .. }))
        .collect();
    Ok(Compiled {
        program: Program::new(purpose.isa, draft.buffers, forward, backward),
        layers: draft.layers,
        learned,
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
            Op::MaxPool2d(pool) => self.max_pool(at, data, pool_window(pool)),
            Op::GlobalMaxPool => {
                let shape = self.shape(data.inputs[0].index());
                let all = [shape.height, shape.width];
                let window = PoolWindow {
                    kernel: all,
                    stride: all,
                    ..PoolWindow::square(1)
                };
                self.max_pool(at, data, window);
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
            Op::Dropout2d { p } => self.push(at, data, Work::DropChannels { p, node: at }),
            Op::GroupNorm { .. } | Op::LayerNorm { .. } => self.norm_of_values(at, data),
            Op::Softmax { parts, log } => self.push(at, data, Work::Softmax { parts, log }),
            Op::Attention { heads } => {
                let scratch = attention_scratch(self.purpose.isa, self.attended(data), heads);
                self.push_as(at, at, data, Work::Attention { heads }, scratch);
            }
            Op::PositionAttention => {
                let scratch = position_attention_scratch(self.purpose.isa, self.attended(data));
                self.push_as(at, at, data, Work::PositionAttention, scratch);
            }
            Op::Tokens { grid } => {
                let entries = [0, 1].map(|i| data.parameters[i].index());
                self.push(at, data, Work::Tokens { grid, entries });
            }
            Op::Patches { .. } => self.push(at, data, Work::Patches),
            Op::Scale { by } => self.push(at, data, Work::Scale { by }),
            Op::Slice { first, .. } => self.slice(at, data, first),
        }
        Ok(())
    }

    /// With where the maxima are found, if they are undone later or the gradient goes there.
    fn max_pool(&mut self, at: usize, data: &NodeData, window: PoolWindow) {
        self.push(at, data, Work::MaxPool(window));
        if self.undone[at] || self.learns[at] {
            let indices = self.allocate(map_shape(self.shapes[at]));
            self.indices[at] = Some(indices);
            let step = self.steps.last_mut().expect("just pushed");
            step.instruction.writes.push(indices);
        }
    }

    /// The shapes of queries, keys and values.
    fn attended(&self, data: &NodeData) -> [MapShape; 3] {
        [0, 1, 2].map(|i| self.shape(data.inputs[i].index()))
    }

    /// If the only reader of `at` is an activation that `kind` accepts, fuses it and returns its node.
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
        Op::Input
        | Op::Conv2d(_)
        | Op::Linear { .. }
        | Op::ConvTranspose2d(_)
        | Op::BatchNorm(_)
        | Op::GroupNorm { .. }
        | Op::LayerNorm { .. }
        | Op::Activation(_)
        | Op::Softmax { .. }
        | Op::Attention { .. }
        | Op::PositionAttention
        | Op::Tokens { .. }
        | Op::Patches { .. }
        | Op::Scale { .. }
        | Op::Slice { .. }
        | Op::Add
        | Op::Mul
        | Op::Concat
        | Op::MaxPool2d(_)
        | Op::MaxUnpool2d
        | Op::AvgPool2d { .. }
        | Op::AdaptiveAvgPool2d { .. }
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool => false,
    }
}

/// Those whose gradient follows from what they wrote.
fn is_clamp(activation: Activation) -> bool {
    matches!(activation, Activation::Relu | Activation::Relu6)
}
