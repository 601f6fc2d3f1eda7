//! From graph and weights to steps.

mod concat;
mod maps;
mod pack;
mod parallel;

use pack::{DraftConv, folded_norm, read_embeddings, read_norm};
use rayon::prelude::*;
use segmenta_graph::{Filter, Graph, Node, NodeData, Op, Parameter, Pool2d};
use segmenta_kernels::{Activation, Convolution, Isa};

use crate::lower::{
    as_convolution, conv_spec, kernel_activation, pool_window, precise_nodes, undone_pools,
};
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
                DraftWork::Norm(norm, activation) => {
                    read_norm(graph, graph.node(norm), activation, read)?
                }
                DraftWork::Tokens(node) => read_embeddings(graph, graph.node(node), read)?,
            };
            Ok(Step {
                name: step.name,
                work,
                inputs: step.inputs,
                output: step.output,
                indices: step.indices,
                precise: step.precise,
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
    indices: Option<Value>,
    precise: bool,
}

impl DraftStep {
    fn new(name: &str, work: DraftWork, inputs: Vec<Value>, output: Option<Value>) -> Self {
        Self {
            name: name.into(),
            work,
            inputs,
            output,
            indices: None,
            precise: false,
        }
    }
}

enum DraftWork {
    Ready(Work),
    Conv(DraftConv),
    Affine(Node, Activation),
    /// A norm by what the map itself holds.
    Norm(Node, Activation),
    Tokens(Node),
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
    /// Who reads each node, dropouts and their like seen through.
    readers: Vec<Vec<Node>>,
    needed: Vec<bool>,
    /// The nodes on whose rounding it depends which pixel a max pool finds that is undone later.
    precise: Vec<bool>,
    /// The value of each node that has one of its own so far.
    values: Vec<Option<Value>>,
    /// Where each max pool that is undone later leaves its indices.
    indices: Vec<Option<Value>>,
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
            if !data.op.is_training_only() {
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
            precise: precise_nodes(graph),
            values: vec![None; count],
            indices: vec![None; count],
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
            // Brought into blocks when something reads it so; nothing to do in inference.
            Op::Input | Op::Dropout { .. } | Op::Dropout2d { .. } | Op::StochasticDepth { .. } => {}
            Op::Conv2d(_) | Op::Linear { .. } => self.conv(node, data),
            Op::ConvTranspose2d(_) => self.conv_transpose(node, data),
            Op::BatchNorm(_) => {
                self.pointwise(node, data, |activation| DraftWork::Affine(node, activation));
            }
            Op::GroupNorm { .. } => self.pointwise(node, data, |a| DraftWork::Norm(node, a)),
            Op::LayerNorm { .. } => {
                let work = DraftWork::Norm(node, Activation::None);
                self.push_as(node, node, work, &data.inputs);
            }
            Op::Softmax { parts, log } => {
                self.push_ready(node, data, Work::Softmax { parts, log });
            }
            Op::Attention { heads } => self.push_ready(node, data, Work::Attention { heads }),
            Op::PositionAttention => self.push_ready(node, data, Work::PositionAttention),
            Op::Tokens { .. } => {
                self.push_as(node, node, DraftWork::Tokens(node), &data.inputs);
            }
            Op::Patches { .. } => self.push_ready(node, data, Work::Patches),
            Op::Scale { by } => self.scale(node, data, by),
            Op::Slice { first, .. } => self.slice(node, data, first),
            Op::Activation(activation) => {
                self.push_ready(node, data, Work::Apply(kernel_activation(activation)));
            }
            Op::Add => self.pointwise(node, data, |a| DraftWork::Ready(Work::Add(a))),
            // Goes into the weights of the convolution after it.
            Op::Mul if self.scaled(node).is_some() => {}
            Op::Mul => self.pointwise(node, data, |a| DraftWork::Ready(Work::Mul(a))),
            Op::Concat => self.concat(node, data),
            Op::MaxPool2d(pool) => self.max_pool(node, data, pool),
            Op::MaxUnpool2d => self.max_unpool(node, data),
            Op::AvgPool2d {
                window,
                count_include_pad,
            } => {
                let work = Work::AvgPool {
                    window: pool_window(window),
                    count_include_pad,
                };
                self.push_ready(node, data, work);
            }
            Op::AdaptiveAvgPool2d { .. } => self.push_ready(node, data, Work::AdaptiveAvgPool),
            Op::GlobalAvgPool => self.push_ready(node, data, Work::GlobalAvgPool),
            Op::GlobalMaxPool => self.push_ready(node, data, Work::GlobalMaxPool),
            // What writes straight into the result: see `emit`.
            Op::ResizeLike { .. } | Op::Upsample { .. } | Op::FitLike { .. }
                if self.is_only_a_result(node) && !is_nearest(&data.op) => {}
            Op::ResizeLike { filter, .. } | Op::Upsample { filter, .. } => {
                self.push_ready(node, data, Work::Resize(filter));
            }
            Op::FitLike { .. } => self.push_ready(node, data, Work::Fit),
        }
    }

    /// A convolution with all that can be done before its values leave the registers: the batch
    /// norm after it, convolutions beside it that it is added to, a sum with something that is there
    /// already, a non-linearity.
    fn conv(&mut self, node: Node, data: &NodeData) {
        let input = see_through(self.graph, data.inputs[0]);
        let Some(conv) = as_convolution(&data.op) else {
            return;
        };
        let mut tail = node;
        let scaled = self.scaled(input);
        let mut inputs = scaled.map_or(vec![input], Vec::from);
        let norm = self.absorb_norm(&mut tail);
        let (conv, parallel) = self.absorb_parallel(&mut tail, input, conv);
        let on_picture = input.index() == 0
            && Convolution::supports_picture(&conv_spec(&conv, self.graph.in_channels()));
        let scale = self.absorb_scale(&mut tail);
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
            parallel,
            window: conv.kernel,
            scale,
            activation,
            on_picture,
            scaled: scaled.is_some(),
        };
        if on_picture {
            inputs.clear();
        }
        self.push_as(node, tail, DraftWork::Conv(draft), &inputs);
    }

    /// A transposed convolution with the batch norm and the non-linearity after it.
    fn conv_transpose(&mut self, node: Node, data: &NodeData) {
        let mut tail = node;
        let norm = self.absorb_norm(&mut tail);
        let activation = self.absorb_activation(&mut tail);
        let draft = DraftConv {
            node,
            norm,
            parallel: Vec::new(),
            window: [0, 0],
            scale: 1.0,
            activation,
            on_picture: false,
            scaled: false,
        };
        self.push_as(node, tail, DraftWork::Conv(draft), &data.inputs);
    }

    /// The map and the factors of a product with one factor a channel (squeeze-and-excitation), if all that
    /// reads it is a convolution that takes the factors into its weights.
    fn scaled(&self, product: Node) -> Option<[Node; 2]> {
        let data = self.graph.node(product);
        let reader = match data.op {
            Op::Mul => self.only_reader(product, |op| as_convolution(op).is_some())?,
            _ => return None,
        };
        let conv = as_convolution(&self.graph.node(reader).op)?;
        let [x, factors] = [0, 1].map(|i| see_through(self.graph, data.inputs[i]));
        let a_channel =
            self.graph.is_one_pixel(factors) && self.graph.node(factors).channels == data.channels;
        let takes_it = Convolution::supports_scale(&conv_spec(&conv, data.channels));
        (a_channel && takes_it).then_some([x, factors])
    }

    /// A max pool, which leaves its indices if it is undone later.
    fn max_pool(&mut self, node: Node, data: &NodeData, pool: Pool2d) {
        self.push_ready(node, data, Work::MaxPool(pool_window(pool)));
        if undone_pools(self.graph).contains(&node) {
            let indices = self.allocate(data.channels, node, Layout::Blocked);
            self.indices[node.index()] = Some(indices);
            if let Some(step) = self.drafts.steps.last_mut() {
                step.indices = Some(indices);
            }
        }
    }

    fn max_unpool(&mut self, node: Node, data: &NodeData) {
        let pool = data.inputs[1];
        let indices = self.indices[pool.index()].expect("left by the pool before");
        let value = self.value(data.inputs[0]);
        let work = DraftWork::Ready(Work::MaxUnpool);
        self.push_values(node, node, work, vec![value, indices]);
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

    fn absorb_norm(&self, tail: &mut Node) -> Option<Node> {
        let norm = self.only_reader(*tail, |op| matches!(op, Op::BatchNorm(_)))?;
        *tail = norm;
        Some(norm)
    }

    fn absorb_scale(&self, tail: &mut Node) -> f32 {
        let next = self.only_reader(*tail, |op| matches!(op, Op::Scale { .. }));
        match next.map(|next| (next, self.graph.node(next).op)) {
            Some((next, Op::Scale { by })) => {
                *tail = next;
                by
            }
            _ => 1.0,
        }
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

    /// Whether a node is a result that nobody else reads.
    fn is_only_a_result(&self, node: Node) -> bool {
        self.is_result(node) && self.readers[node.index()].is_empty()
    }

    fn push_ready(&mut self, node: Node, data: &NodeData, work: Work) {
        self.push_as(node, node, DraftWork::Ready(work), &data.inputs);
    }

    /// A step that computes all from `node` to `tail`.
    fn push_as(&mut self, node: Node, tail: Node, work: DraftWork, inputs: &[Node]) -> Value {
        let inputs = inputs.iter().map(|&input| self.value(input)).collect();
        self.push_values(node, tail, work, inputs)
    }

    fn push_values(
        &mut self,
        node: Node,
        tail: Node,
        work: DraftWork,
        inputs: Vec<Value>,
    ) -> Value {
        let data = self.graph.node(tail);
        let output = self.allocate(data.channels, tail, Layout::Blocked);
        let name = &self.graph.node(node).name;
        self.drafts.steps.push(DraftStep {
            precise: self.precise[node.index()],
            ..DraftStep::new(name, work, inputs, Some(output))
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
            None => self.push_as(node, node, DraftWork::Ready(Work::Block), &[]),
        }
    }

    /// Writes result number `output`.
    fn emit(&mut self, output: usize, node: Node) {
        let node = see_through(self.graph, node);
        let data = self.graph.node(node);
        let only = self.is_only_a_result(node);
        let (source, work) = match data.op {
            Op::ResizeLike {
                filter: Filter::Bilinear { align_corners },
                ..
            }
            | Op::Upsample {
                filter: Filter::Bilinear { align_corners },
                ..
            } if only => {
                let work = Work::EmitResized {
                    output,
                    align_corners,
                };
                (see_through(self.graph, data.inputs[0]), work)
            }
            Op::FitLike { .. } if only => (
                see_through(self.graph, data.inputs[0]),
                Work::EmitFitted { output },
            ),
            _ => (node, Work::Emit { output }),
        };
        let mut value = self.value(source);
        if matches!(work, Work::EmitResized { .. }) {
            let planar = self.allocate(data.channels, source, Layout::Planar);
            let work = DraftWork::Ready(Work::Unblock);
            let step = DraftStep::new(&data.name, work, vec![value], Some(planar));
            self.drafts.steps.push(step);
            value = planar;
        }
        let work = DraftWork::Ready(work);
        let step = DraftStep::new(&data.name, work, vec![value], None);
        self.drafts.steps.push(step);
    }
}

/// The node whose value a node has: dropout and its like change nothing here.
fn see_through(graph: &Graph, mut node: Node) -> Node {
    while graph.node(node).op.is_training_only() {
        node = graph.node(node).inputs[0];
    }
    node
}

/// Whether it resizes by copying, which has no way straight into a result.
fn is_nearest(op: &Op) -> bool {
    matches!(
        op,
        Op::ResizeLike {
            filter: Filter::Nearest,
            ..
        } | Op::Upsample {
            filter: Filter::Nearest,
            ..
        }
    )
}
