//! Training's passes: what is fused, what is kept for the backward pass and what is computed again.

use std::collections::HashMap;

use segmenta_graph::{Graph, Node, NodeData, Op, Shape};
use segmenta_kernels::{Activation, Convolution, Isa, WeightMemory, low};
use segmenta_program::terms::{as_convolution, conv_spec};
use segmenta_program::{
    BatchNorm, Draft, Layers, Learning, MaxPool, Placed, Plan, Program, Renorm, Step, Value, Work,
    backward,
};

use super::pack::pack;
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

/// A training step for inputs of one size.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) program: Program,
    pub(super) layers: Layers,
    pub(super) plan: Plan,
    /// The parameters whose gradients the backward pass writes.
    pub(super) learned: Vec<usize>,
}

/// Compiles a training step for inputs of one shape.
pub(super) fn compile(
    graph: &Graph,
    input: Shape,
    purpose: Purpose<'_>,
) -> Result<Compiled, EngineError> {
    let Purpose {
        isa,
        threads,
        wanted,
        trains,
        ..
    } = purpose;
    let shapes = graph.shapes(input)?;
    let learns = learns(graph, trains);
    let identity = |node: Node, data: &NodeData| is_identity(node, data, &shapes, purpose.drops);
    let mut draft = Draft::lower(graph, isa, wanted, identity);
    draft.read_pictures(|draft, conv| {
        let description = as_convolution(&draft.graph.node(conv.node).op);
        let spec = description.map(|conv| conv_spec(&conv, draft.graph.in_channels()));
        spec.is_some_and(|spec| Convolution::supports_picture(&spec))
    });
    draft.fuse_activations(|work, activation| match work {
        // Its gradient needs the norm's input alone.
        Work::BatchNorm(_) => true,
        // Their gradients follow from what they wrote.
        Work::Conv(_) | Work::Add(_) => is_clamp(activation),
        _ => false,
    });
    keep_indices(&mut draft, &learns);
    draft.resize_into_results(false);

    let layers = pack(&mut draft, &shapes, &learns, purpose)?;
    let mut placed = draft.place();
    let learning = Learning {
        isa,
        shapes: &shapes,
        trains,
        learns: &learns,
        layers: &layers,
    };
    let mut steps = backward(&mut placed, learning);
    if purpose.recomputes {
        steps = recompute_norms(&mut placed, steps);
    }
    let engine = low::Engine::PORTABLE;
    let program = Program::new(isa, engine, placed, steps, &layers);
    let learned = program.learned(&layers);
    let memory = WeightMemory::Brief;
    let plan = Plan::new(graph, &program, &layers, threads, memory, input)?;
    Ok(Compiled {
        learned: learned.into_iter().filter(|&at| trains[at]).collect(),
        program,
        layers,
        plan,
    })
}

/// Whether something at or before each node learns.
fn learns(graph: &Graph, trains: &[bool]) -> Vec<bool> {
    let mut learns = vec![false; graph.nodes().len()];
    for (node, data) in graph.iter() {
        let own = data.parameters.iter().any(|p| trains[p.index()]);
        let before = data.inputs.iter().any(|input| learns[input.index()]);
        learns[node.index()] = own || before;
    }
    learns
}

/// Whether a node has its first input's value.
fn is_identity(node: Node, data: &NodeData, shapes: &[Shape], drops: bool) -> bool {
    match data.op {
        Op::Dropout { p } | Op::Dropout2d { p } | Op::StochasticDepth { p } => !drops || p == 0.0,
        Op::ResizeLike { .. }
        | Op::ResizeTo { .. }
        | Op::Upsample { .. }
        | Op::FitLike { .. }
        | Op::PadToEven => shapes[node.index()] == shapes[data.inputs[0].index()],
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
        | Op::MaskedAttention { .. }
        | Op::DeformableAttention { .. }
        | Op::Rotary { .. }
        | Op::SinePositions { .. }
        | Op::PositionAttention
        | Op::Tokens { .. }
        | Op::Patches { .. }
        | Op::Table
        | Op::Join
        | Op::Part { .. }
        | Op::Transpose
        | Op::Product
        | Op::Windows { .. }
        | Op::FromWindows { .. }
        | Op::WindowAttention { .. }
        | Op::SpaceToDepth { .. }
        | Op::DepthToSpace { .. }
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

/// Max pools keep where their maxima are if the gradient goes there.
fn keep_indices(draft: &mut Draft<'_>, learns: &[bool]) {
    for at in draft.places() {
        let learns = draft.step(at).is_some_and(|step| learns[step.node.index()]);
        if let Some(Work::MaxPool(MaxPool { keeps_indices, .. })) = draft.work_mut(at) {
            *keeps_indices |= learns;
        }
    }
}

/// What batch norms wrote is computed again before the first step of the backward pass that reads it, so that it need
/// not live until then.
fn recompute_norms(placed: &mut Placed, backward: Vec<Step>) -> Vec<Step> {
    let mut norms: HashMap<usize, (BatchNorm, Value, Node)> = HashMap::new();
    for step in &placed.steps {
        if let (&Work::BatchNorm(norm), &[x], &[y]) =
            (&step.work, &step.reads[..], &step.writes[..])
            && placed.buffers.is_whole(y)
        {
            norms.insert(y.buffer, (norm, x, step.node));
        }
    }
    let mut again: HashMap<usize, usize> = HashMap::new();
    let mut steps = Vec::with_capacity(backward.len());
    for mut step in backward {
        for read in &mut step.reads {
            let Some(&(BatchNorm { layer }, x, node)) = norms.get(&read.buffer) else {
                continue;
            };
            let buffers = &mut placed.buffers;
            read.buffer = *again.entry(read.buffer).or_insert_with(|| {
                let to = buffers.allocate_like(*read);
                steps.push(Step {
                    node,
                    output: node,
                    inputs: Vec::new(),
                    work: Renorm { layer }.into(),
                    reads: vec![x],
                    writes: vec![to],
                    precise: false,
                });
                to.buffer
            });
        }
        steps.push(step);
    }
    steps
}
