//! From graph and weights to steps.

use rayon::prelude::*;
use segmenta_graph::{Activation as GraphActivation, Conv2d, Graph, Node, NodeData, Op, Parameter};
use segmenta_kernels::{Activation, ConvSpec, Convolution, Isa, Kernel2d, PoolSpec};

use crate::program::{BufferId, BufferSpec, Layout, Program, Step, Value, Work};

/// Compiles what the results named by `wanted` need. `read` gives a parameter's values.
pub(crate) fn compile<E: Send>(
    graph: &Graph,
    isa: Isa,
    wanted: &[Node],
    read: &(impl Fn(&Parameter) -> Result<Vec<f32>, E> + Sync),
) -> Result<Program, E> {
    let drafts = Draft::new(graph, isa, wanted).run();
    let Drafts { buffers, steps } = drafts;
    // Reading and packing weights is most of the time to load: on all threads.
    let steps: Result<Vec<Step>, E> = steps
        .into_par_iter()
        .map(|step| {
            let work = match step.work {
                DraftWork::Ready(work) => work,
                DraftWork::Conv(conv) => conv.pack(graph, isa, read)?,
                DraftWork::Affine(norm, activation) => {
                    let (scale, shift) = folded_norm(graph, graph.node(norm), read)?;
                    Work::Affine {
                        scale,
                        shift,
                        activation,
                    }
                }
            };
            Ok(Step {
                name: step.name,
                work,
                inputs: step.inputs,
                output: step.output,
            })
        })
        .collect();
    Ok(Program {
        buffers,
        steps: steps?,
        results: wanted.to_vec(),
    })
}

/// A step whose weights are not read yet.
struct DraftStep {
    name: String,
    work: DraftWork,
    inputs: Vec<Value>,
    output: Option<Value>,
}

enum DraftWork {
    Ready(Work),
    Conv(DraftConv),
    Affine(Node, Activation),
}

struct DraftConv {
    node: Node,
    norm: Option<Node>,
    activation: Activation,
    on_picture: bool,
}

struct Drafts {
    buffers: Vec<BufferSpec>,
    steps: Vec<DraftStep>,
}

/// Walks the graph and writes steps down.
struct Draft<'a> {
    graph: &'a Graph,
    isa: Isa,
    wanted: &'a [Node],
    /// Who reads each node, dropouts seen through.
    readers: Vec<Vec<Node>>,
    needed: Vec<bool>,
    /// The value of each node that has one of its own so far.
    values: Vec<Option<Value>>,
    /// Nodes computed inside an earlier step.
    absorbed: Vec<bool>,
    drafts: Drafts,
}

impl<'a> Draft<'a> {
    fn new(graph: &'a Graph, isa: Isa, wanted: &'a [Node]) -> Self {
        let count = graph.nodes().len();
        let needed = graph.needed_for(wanted);
        let mut readers = vec![Vec::new(); count];
        for (node, data) in graph.iter().filter(|(n, _)| needed[n.index()]) {
            if !matches!(data.op, Op::Dropout { .. }) {
                for &input in &data.inputs {
                    readers[see_through(graph, input).index()].push(node);
                }
            }
        }
        Self {
            graph,
            isa,
            wanted,
            readers,
            needed,
            values: vec![None; count],
            absorbed: vec![false; count],
            drafts: Drafts {
                buffers: Vec::new(),
                steps: Vec::new(),
            },
        }
    }

    fn run(mut self) -> Drafts {
        let graph = self.graph;
        for (node, data) in graph.iter() {
            if self.needed[node.index()] && !self.absorbed[node.index()] {
                self.step(node, data);
            }
        }
        for (output, &node) in self.wanted.iter().enumerate() {
            self.emit(output, node);
        }
        self.drafts
    }

    fn step(&mut self, node: Node, data: &NodeData) {
        match data.op {
            // Brought into blocks when something reads it so; nothing to do for dropout.
            Op::Input | Op::Dropout { .. } => {}
            Op::Conv2d(_) => self.conv(node, data),
            Op::BatchNorm { .. } => {
                self.pointwise(node, data, |activation| DraftWork::Affine(node, activation));
            }
            Op::Activation(activation) => {
                let work = Work::Apply(kernel_activation(activation));
                self.push(node, DraftWork::Ready(work), &data.inputs);
            }
            Op::Add => self.pointwise(node, data, |a| DraftWork::Ready(Work::Add(a))),
            Op::Mul => self.pointwise(node, data, |a| DraftWork::Ready(Work::Mul(a))),
            Op::Concat => self.concat(node, data),
            Op::MaxPool2d(pool) => {
                let work = Work::MaxPool(PoolSpec {
                    kernel: pool.kernel,
                    stride: pool.stride,
                    padding: pool.padding,
                });
                self.push(node, DraftWork::Ready(work), &data.inputs);
            }
            Op::GlobalAvgPool => {
                self.push(node, DraftWork::Ready(Work::GlobalAvgPool), &data.inputs);
            }
            // The last resize writes straight into the result: see `emit`.
            Op::ResizeLike { .. } if self.resizes_a_result(node) => {}
            Op::ResizeLike { align_corners, .. } => {
                let work = Work::Resize { align_corners };
                self.push(node, DraftWork::Ready(work), &data.inputs);
            }
        }
    }

    /// A convolution with all that can be done before its values leave the registers: the batch
    /// norm after it, a sum with something that is there already, a non-linearity.
    fn conv(&mut self, node: Node, data: &NodeData) {
        let input = see_through(self.graph, data.inputs[0]);
        let Op::Conv2d(conv) = data.op else { return };
        let on_picture =
            input.index() == 0 && planar_kernel_exists(&conv_spec(&conv, self.graph.in_channels()));
        let mut tail = node;
        let mut inputs = vec![input];
        let mut norm = None;
        if let Some(next) = self.only_reader(tail, |op| matches!(op, Op::BatchNorm { .. })) {
            (tail, norm) = (next, Some(next));
        }
        if !on_picture && let Some(sum) = self.only_reader(tail, |op| matches!(op, Op::Add)) {
            let operands = &self.graph.node(sum).inputs;
            let other = operands
                .iter()
                .map(|&o| see_through(self.graph, o))
                .find(|&o| o != tail);
            // Only what was computed before can be added; the operand that comes last adds.
            if let Some(other) = other.filter(|o| o.index() < node.index()) {
                inputs.push(other);
                tail = sum;
            }
        }
        let activation = self.absorb_activation(&mut tail);
        let draft = DraftConv {
            node,
            norm,
            activation,
            on_picture,
        };
        if on_picture {
            inputs.clear();
        }
        self.push_as(node, tail, DraftWork::Conv(draft), &inputs);
    }

    /// A pointwise operation and the non-linearity after it.
    fn pointwise(
        &mut self,
        node: Node,
        data: &NodeData,
        work: impl FnOnce(Activation) -> DraftWork,
    ) {
        let mut tail = node;
        let activation = self.absorb_activation(&mut tail);
        self.push_as(node, tail, work(activation), &data.inputs);
    }

    fn absorb_activation(&mut self, tail: &mut Node) -> Activation {
        let next = self.only_reader(*tail, |op| matches!(op, Op::Activation(_)));
        let Some(next) = next else {
            return Activation::None;
        };
        *tail = next;
        match self.graph.node(next).op {
            Op::Activation(activation) => kernel_activation(activation),
            _ => Activation::None,
        }
    }

    /// The one node that reads `node`, if it is of the kind asked for and `node` is no result.
    fn only_reader(&self, node: Node, kind: impl Fn(&Op) -> bool) -> Option<Node> {
        match self.readers[node.index()][..] {
            [reader] if !self.is_result(node) && kind(&self.graph.node(reader).op) => Some(reader),
            _ => None,
        }
    }

    fn is_result(&self, node: Node) -> bool {
        self.wanted
            .iter()
            .any(|&w| see_through(self.graph, w) == node)
    }

    /// Whether a node is a result that nobody else reads, resized to the network's input.
    fn resizes_a_result(&self, node: Node) -> bool {
        let Op::ResizeLike { like, .. } = self.graph.node(node).op else {
            return false;
        };
        like.index() == 0 && self.is_result(node) && self.readers[node.index()].is_empty()
    }

    fn push(&mut self, node: Node, work: DraftWork, inputs: &[Node]) -> Value {
        self.push_as(node, node, work, inputs)
    }

    /// A step that computes all from `node` to `tail`.
    fn push_as(&mut self, node: Node, tail: Node, work: DraftWork, inputs: &[Node]) -> Value {
        let inputs = inputs.iter().map(|&input| self.value(input)).collect();
        let data = self.graph.node(tail);
        let output = self.allocate(data.channels, tail, Layout::Blocked);
        self.drafts.steps.push(DraftStep {
            name: self.graph.node(node).name.clone(),
            work,
            inputs,
            output: Some(output),
        });
        self.define(node, tail, output);
        output
    }

    /// Everything on the way from `node` to `tail` is computed; `tail` has the value.
    fn define(&mut self, node: Node, tail: Node, value: Value) {
        let mut at = node;
        self.absorbed[at.index()] = true;
        while at != tail {
            at = self.readers[at.index()][0];
            self.absorbed[at.index()] = true;
        }
        self.values[tail.index()] = Some(value);
    }

    fn allocate(&mut self, channels: usize, size_of: Node, layout: Layout) -> Value {
        self.drafts.buffers.push(BufferSpec {
            channels,
            size_of,
            layout,
        });
        Value {
            buffer: BufferId(self.drafts.buffers.len() - 1),
            first: 0,
            channels,
        }
    }

    /// The value of a node; the network's input is brought into blocks when first asked for.
    fn value(&mut self, node: Node) -> Value {
        let node = see_through(self.graph, node);
        match self.values[node.index()] {
            Some(value) => value,
            None => self.push(node, DraftWork::Ready(Work::Block), &[]),
        }
    }

    /// Parts that were just computed are made to write into the whole; others are copied.
    fn concat(&mut self, node: Node, data: &NodeData) {
        let whole = self.allocate(data.channels, node, Layout::Blocked);
        let mut first = 0;
        for &part in &data.inputs {
            let part = see_through(self.graph, part);
            let value = self.value(part);
            let place = Value {
                first,
                channels: value.channels,
                ..whole
            };
            first += value.channels;
            if self.can_move(value, place, data.channels) {
                self.move_buffer(value.buffer, place);
            } else {
                self.drafts.steps.push(DraftStep {
                    name: data.name.clone(),
                    work: DraftWork::Ready(Work::Copy),
                    inputs: vec![value],
                    output: Some(place),
                });
            }
        }
        self.values[node.index()] = Some(whole);
        self.absorbed[node.index()] = true;
    }

    /// Whether what makes `value` may write to `place`: it has a buffer of its own, whole blocks
    /// (a block filled up would spill into the next part), and nobody computes it from the whole.
    fn can_move(&self, value: Value, place: Value, total: usize) -> bool {
        let lanes = self.isa.lanes();
        let own = self.drafts.buffers[value.buffer.0].channels == value.channels;
        let whole_blocks =
            value.channels.is_multiple_of(lanes) || place.first + value.channels == total;
        let reads_whole = |step: &DraftStep| {
            let writes_it = step.output.is_some_and(|o| o.buffer == value.buffer);
            writes_it && step.inputs.iter().any(|i| i.buffer == place.buffer)
        };
        own && place.first.is_multiple_of(lanes)
            && whole_blocks
            && !self.drafts.steps.iter().any(reads_whole)
    }

    fn move_buffer(&mut self, from: BufferId, to: Value) {
        let moved = |value: &mut Value| {
            if value.buffer == from {
                *value = Value {
                    buffer: to.buffer,
                    first: to.first + value.first,
                    channels: value.channels,
                };
            }
        };
        for step in &mut self.drafts.steps {
            step.inputs.iter_mut().for_each(moved);
            step.output.iter_mut().for_each(moved);
        }
        self.values.iter_mut().flatten().for_each(moved);
    }

    /// Writes result number `output`.
    fn emit(&mut self, output: usize, node: Node) {
        let node = see_through(self.graph, node);
        let data = self.graph.node(node);
        let (source, work) = match data.op {
            Op::ResizeLike { align_corners, .. } if self.resizes_a_result(node) => {
                let source = see_through(self.graph, data.inputs[0]);
                let work = Work::EmitResized {
                    output,
                    align_corners,
                };
                (source, work)
            }
            _ => (node, Work::Emit { output }),
        };
        let mut value = self.value(source);
        if matches!(work, Work::EmitResized { .. }) {
            let planar = self.allocate(data.channels, source, Layout::Planar);
            self.drafts.steps.push(DraftStep {
                name: data.name.clone(),
                work: DraftWork::Ready(Work::Unblock),
                inputs: vec![value],
                output: Some(planar),
            });
            value = planar;
        }
        self.drafts.steps.push(DraftStep {
            name: data.name.clone(),
            work: DraftWork::Ready(work),
            inputs: vec![value],
            output: None,
        });
    }
}

/// The node whose value a node has: dropout changes nothing here.
fn see_through(graph: &Graph, mut node: Node) -> Node {
    while let Op::Dropout { .. } = graph.node(node).op {
        node = graph.node(node).inputs[0];
    }
    node
}

fn kernel_activation(activation: GraphActivation) -> Activation {
    match activation {
        GraphActivation::Relu => Activation::Relu,
        GraphActivation::Relu6 => Activation::Relu6,
        GraphActivation::Hardswish => Activation::Hardswish,
        GraphActivation::Hardsigmoid => Activation::Hardsigmoid,
        GraphActivation::Sigmoid => Activation::Sigmoid,
    }
}

fn conv_spec(conv: &Conv2d, in_channels: usize) -> ConvSpec {
    ConvSpec {
        in_channels,
        out_channels: conv.out_channels,
        kernel: conv.kernel,
        stride: conv.stride,
        padding: conv.padding,
        dilation: conv.dilation,
        groups: conv.groups,
    }
}

fn planar_kernel_exists(spec: &ConvSpec) -> bool {
    Convolution::supports_picture(spec)
}

impl DraftConv {
    /// Reads the weights, folds the batch norm in, packs.
    fn pack<E>(
        &self,
        graph: &Graph,
        isa: Isa,
        read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
    ) -> Result<Work, E> {
        let data = graph.node(self.node);
        let Op::Conv2d(conv) = data.op else {
            unreachable!("drafted from a convolution")
        };
        let spec = conv_spec(&conv, graph.node(data.inputs[0]).channels);
        let mut weights = read(graph.parameter(data.parameters[0]))?;
        let mut bias = match data.parameters.get(1) {
            Some(&id) => read(graph.parameter(id))?,
            None => vec![0.0; spec.out_channels],
        };
        if let Some(norm) = self.norm {
            let (scale, shift) = folded_norm(graph, graph.node(norm), read)?;
            let per_channel = weights.len() / spec.out_channels;
            for (channel, weights) in weights.chunks_exact_mut(per_channel).enumerate() {
                weights.iter_mut().for_each(|w| *w *= scale[channel]);
                bias[channel] = bias[channel] * scale[channel] + shift[channel];
            }
        }
        let kernel = Kernel2d {
            weights: &weights,
            bias: &bias,
        };
        if self.on_picture
            && let Some(packed) = Convolution::on_picture(isa, spec, kernel, self.activation)
        {
            return Ok(Work::ConvOnPicture(Box::new(packed)));
        }
        let packed = Convolution::new(isa, spec, kernel, self.activation);
        Ok(Work::Conv(Box::new(packed)))
    }
}

/// A batch norm in evaluation mode as a scale and a shift a channel.
fn folded_norm<E>(
    graph: &Graph,
    norm: &NodeData,
    read: &impl Fn(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<(Vec<f32>, Vec<f32>), E> {
    let Op::BatchNorm { eps } = norm.op else {
        unreachable!("drafted from a batch norm")
    };
    let entry = |i: usize| read(graph.parameter(norm.parameters[i]));
    let (weight, bias, mean, variance) = (entry(0)?, entry(1)?, entry(2)?, entry(3)?);
    // In f64, so that folding adds no rounding of its own.
    let scales = weight.iter().zip(&variance);
    let scale: Vec<f64> = scales
        .map(|(&w, &v)| f64::from(w) / (f64::from(v) + f64::from(eps)).sqrt())
        .collect();
    let shifts = bias.iter().zip(&mean).zip(&scale);
    let shift = shifts
        .map(|((&b, &m), s)| (f64::from(b) - f64::from(m) * s) as f32)
        .collect();
    Ok((scale.into_iter().map(|s| s as f32).collect(), shift))
}
