//! Lowering: a graph as steps between nodes, which an engine's passes fuse and fold before values get their places.

use segmenta_graph::{Filter, Graph, Node, NodeData, Op};
use segmenta_kernels::low::{self, Quantisation};
use segmenta_kernels::{Activation, Isa};

use crate::ops::{
    Add, Apply, Attention, AvgPool, BatchNorm, Concat, Conv, DeformableAttention, DepthToSpace,
    Drop, Dropped, Fit, FitBelow, FromWindows, GroupNorm, Join, LayerNorm, MaskedAttention,
    MaxPool, MaxUnpool, Mul, Numbers, Part, Patches, Product, Resize, Rotary, Scale, SinePositions,
    Slice, Softmax, SpaceToDepth, Table, Tokens, TokensOf, Transpose, Transposed, WindowAttention,
    Windows,
};
use crate::terms::{as_convolution, kernel_activation, pool_window, undone_pools};
use crate::value::{Element, Storage};
use crate::work::Work;

/// A step between nodes.
#[derive(Debug)]
pub struct DraftStep {
    /// The node that it begins with, whose name it has.
    pub node: Node,
    /// The node whose value it makes: the last of those that were fused.
    pub output: Node,
    /// The nodes whose values it reads, in the order that its work documents.
    pub inputs: Vec<Node>,
    /// What it computes.
    pub work: Work,
    /// In what: read as a whole, except for what a convolution adds, which it takes as it comes.
    pub reads: Storage,
    /// In what it writes.
    pub writes: Storage,
}

/// A convolution, transposed convolution or linear layer, and what passes folded into its weights.
#[derive(Debug)]
pub struct ConvDraft {
    /// Its node.
    pub node: Node,
    /// The batch norm after it.
    pub norm: Option<Node>,
    /// Convolutions of the same map that are added to it.
    pub branches: Vec<Branch>,
    /// The window that holds its own and those of its branches.
    pub window: [usize; 2],
    /// What the result is multiplied by.
    pub scale: f32,
    /// The non-linearity at the end.
    pub activation: Activation,
}

/// A batch norm of a convolution, or of the map itself, that is added to a convolution.
#[derive(Debug)]
pub struct Branch {
    /// The convolution; the map itself if `None`.
    pub conv: Option<Node>,
    /// The batch norm.
    pub norm: Node,
}

/// A batch norm that is a step of its own.
#[derive(Debug)]
pub struct NormDraft {
    /// Its node.
    pub node: Node,
    /// The non-linearity after it.
    pub activation: Activation,
}

/// How a result is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emission {
    /// As it is.
    Plain,
    /// Resized bilinearly.
    Resized {
        /// Whether corners are aligned.
        align_corners: bool,
    },
    /// Cut off or filled up with zeros.
    Fitted,
}

/// A result: the node that is wanted, the one that it is written from, and how.
#[derive(Clone, Copy, Debug)]
pub struct DraftResult {
    /// The node that is wanted.
    pub node: Node,
    /// The node whose value is written.
    pub source: Node,
    /// How.
    pub emission: Emission,
}

/// A network being lowered. Each node that is needed and computes something has a step until a pass fuses it into
/// another's.
#[derive(Debug)]
pub struct Draft<'g> {
    /// The network.
    pub graph: &'g Graph,
    /// The instruction set that it is lowered for.
    pub isa: Isa,
    /// Convolutions and linear layers, by the index that [`Conv`] has.
    pub convs: Vec<ConvDraft>,
    /// Transposed convolutions, by the index that [`Transposed`] has.
    pub transposed: Vec<ConvDraft>,
    /// Batch norms, by the index that [`BatchNorm`] has.
    pub norms: Vec<NormDraft>,
    /// The results, in the order wanted.
    pub results: Vec<DraftResult>,
    /// What 8-bit numbers stand for, for each node's value that may be stored in them.
    pub quantisations: Vec<Option<Quantisation>>,
    /// In the order of the graph; `None` where one was fused into another.
    steps: Vec<Option<DraftStep>>,
    /// The node whose value each node has.
    same_as: Vec<Node>,
    /// The step that makes a node's value.
    maker: Vec<Option<usize>>,
    /// The steps that read a node's value, one as often as it does.
    readers: Vec<Vec<usize>>,
}

impl<'g> Draft<'g> {
    /// A step for each node that the `wanted` ones need. Those that `is_identity` accepts have the value of their
    /// first input, and no step.
    pub fn lower(
        graph: &'g Graph,
        isa: Isa,
        wanted: &[Node],
        is_identity: impl Fn(Node, &NodeData) -> bool,
    ) -> Self {
        let count = graph.nodes().len();
        let needed = graph.needed_for(wanted);
        let mut same_as: Vec<Node> = graph.iter().map(|(node, _)| node).collect();
        for (node, data) in graph.iter() {
            if is_identity(node, data) {
                same_as[node.index()] = same_as[data.inputs[0].index()];
            }
        }
        let result = |&node: &Node| DraftResult {
            node: same_as[node.index()],
            source: same_as[node.index()],
            emission: Emission::Plain,
        };
        let mut draft = Self {
            graph,
            isa,
            convs: Vec::new(),
            transposed: Vec::new(),
            norms: Vec::new(),
            results: wanted.iter().map(result).collect(),
            quantisations: vec![None; count],
            steps: Vec::new(),
            same_as,
            maker: vec![None; count],
            readers: vec![Vec::new(); count],
        };
        let undone = undone_pools(graph);
        for (node, data) in graph.iter() {
            if needed[node.index()] && draft.same_as[node.index()] == node {
                draft.node(node, data, undone.contains(&node));
            }
        }
        draft
    }

    fn node(&mut self, node: Node, data: &NodeData, is_undone: bool) {
        let parameter = |i: usize| data.parameters[i].index();
        let pair = || {
            let is_pair = data.parameters.len() == 2;
            is_pair.then(|| [0, 1].map(|i| Numbers::Parameter(parameter(i))))
        };
        let none = Activation::None;
        let work: Work = match data.op {
            // Brought into blocks when something reads it so.
            Op::Input => return,
            Op::Conv2d(_) | Op::Linear { .. } => {
                let window = as_convolution(&data.op).map_or([1, 1], |conv| conv.kernel);
                self.convs.push(ConvDraft::new(node, window));
                Conv::new(self.convs.len() - 1).into()
            }
            Op::ConvTranspose2d(conv) => {
                self.transposed.push(ConvDraft::new(node, conv.kernel));
                let layer = self.transposed.len() - 1;
                Transposed { layer }.into()
            }
            Op::BatchNorm(_) => {
                self.norms.push(NormDraft {
                    node,
                    activation: none,
                });
                let layer = self.norms.len() - 1;
                BatchNorm { layer }.into()
            }
            Op::GroupNorm { groups, eps } => GroupNorm {
                groups,
                eps,
                affine: pair(),
                activation: none,
            }
            .into(),
            Op::LayerNorm { eps } => LayerNorm {
                eps,
                affine: pair().expect("a layer norm has two entries"),
            }
            .into(),
            Op::Activation(activation) => Apply(kernel_activation(activation)).into(),
            Op::Softmax { parts, log } => Softmax { parts, log }.into(),
            Op::Attention { heads } => Attention::Heads(heads).into(),
            Op::MaskedAttention { heads } => MaskedAttention { heads }.into(),
            Op::DeformableAttention { heads, points } => {
                DeformableAttention { heads, points }.into()
            }
            Op::Rotary { heads, theta } => Rotary { heads, theta }.into(),
            Op::SinePositions { .. } => SinePositions.into(),
            Op::PositionAttention => Attention::Positions.into(),
            Op::Tokens { grid } => {
                let entries = [parameter(0), parameter(1)];
                let of = TokensOf::Parameters { grid, entries };
                Tokens(of).into()
            }
            Op::Patches { .. } => Patches.into(),
            Op::Table => Table(Numbers::Parameter(parameter(0))).into(),
            Op::Join => Join.into(),
            Op::Part { first, .. } => Part { first }.into(),
            Op::Windows { side, shift } => Windows { side, shift }.into(),
            Op::FromWindows { side, shift, .. } => FromWindows { side, shift }.into(),
            Op::SpaceToDepth { side } => SpaceToDepth { side }.into(),
            Op::DepthToSpace { side, .. } => DepthToSpace { side }.into(),
            Op::WindowAttention { heads, shift } => WindowAttention { heads, shift }.into(),
            Op::Transpose => Transpose.into(),
            Op::Product => Product.into(),
            Op::Scale { by } => Scale { by }.into(),
            Op::Slice { first, .. } => Slice {
                first,
                in_place: false,
            }
            .into(),
            Op::Add => Add(none).into(),
            Op::Mul => Mul(none).into(),
            Op::Concat => Concat.into(),
            Op::MaxPool2d(pool) => MaxPool {
                window: Some(pool_window(pool)),
                keeps_indices: is_undone,
            }
            .into(),
            Op::GlobalMaxPool => MaxPool {
                window: None,
                keeps_indices: false,
            }
            .into(),
            Op::MaxUnpool2d => {
                let pool = self.same_as[data.inputs[1].index()];
                MaxUnpool { pool }.into()
            }
            Op::AvgPool2d {
                window,
                count_include_pad,
            } => AvgPool::Window {
                window: pool_window(window),
                count_include_pad,
            }
            .into(),
            Op::AdaptiveAvgPool2d { .. } => AvgPool::Grid.into(),
            Op::GlobalAvgPool => AvgPool::Global.into(),
            Op::ResizeLike { filter, .. }
            | Op::ResizeTo { filter, .. }
            | Op::Upsample { filter, .. } => Resize(filter).into(),
            Op::FitLike { .. } => Fit.into(),
            Op::PadToEven => FitBelow.into(),
            Op::Dropout { p } => Drop::new(Dropped::Values, p, node).into(),
            Op::Dropout2d { p } => Drop::new(Dropped::Channels, p, node).into(),
            Op::StochasticDepth { p } => Drop::new(Dropped::Pictures, p, node).into(),
        };
        let read = match data.op {
            Op::MaxUnpool2d => &data.inputs[..1],
            _ => &data.inputs[..],
        };
        let at = self.steps.len();
        for &input in &data.inputs {
            self.readers[self.same_as[input.index()].index()].push(at);
        }
        self.steps.push(Some(DraftStep {
            node,
            output: node,
            inputs: read.iter().map(|i| self.same_as[i.index()]).collect(),
            work,
            reads: Storage::F32,
            writes: Storage::F32,
        }));
        self.maker[node.index()] = Some(at);
    }

    /// The places of all steps, those that were fused into others included, in the order of the graph.
    pub fn places(&self) -> std::ops::Range<usize> {
        0..self.steps.len()
    }

    /// The step at a place, unless it was fused into another.
    pub fn step(&self, at: usize) -> Option<&DraftStep> {
        self.steps[at].as_ref()
    }

    /// What the step at a place computes.
    pub fn work(&self, at: usize) -> Option<&Work> {
        self.step(at).map(|step| &step.work)
    }

    /// Sets in what the step at a place reads and writes.
    pub fn set_storage(&mut self, at: usize, reads: Storage, writes: Storage) {
        if let Some(step) = &mut self.steps[at] {
            (step.reads, step.writes) = (reads, writes);
        }
    }

    /// What a node's value is made of where it is stored so.
    ///
    /// # Panics
    /// If it is stored in bytes and it is not known what they stand for.
    pub fn element(&self, node: Node, storage: Storage) -> Element {
        element(&self.quantisations, node, storage)
    }

    /// The places of the steps that read what the one at a place makes.
    pub fn readers(&self, at: usize) -> &[usize] {
        let output = self.step(at).map(|step| step.output.index());
        output.map_or(&[], |output| &self.readers[output])
    }

    /// What the step at a place computes, to be changed.
    pub fn work_mut(&mut self, at: usize) -> Option<&mut Work> {
        self.steps[at].as_mut().map(|step| &mut step.work)
    }

    /// The place of the step that makes a node's value; `None` for the network's input.
    pub fn maker(&self, node: Node) -> Option<usize> {
        self.maker[node.index()]
    }

    /// Whether a node's value is a result.
    pub fn is_result(&self, node: Node) -> bool {
        self.results.iter().any(|result| result.node == node)
    }

    /// The place of the only reader of what a step makes, if that is no result.
    pub fn only_reader(&self, at: usize) -> Option<usize> {
        let output = self.step(at)?.output;
        match self.readers[output.index()][..] {
            [reader] if !self.is_result(output) => Some(reader),
            _ => None,
        }
    }

    /// Takes the step at a place out. Its value is made by no step then.
    pub fn remove(&mut self, at: usize) -> Option<DraftStep> {
        let step = self.steps[at].take()?;
        for input in &step.inputs {
            self.readers[input.index()].retain(|&reader| reader != at);
        }
        self.maker[step.output.index()] = None;
        Some(step)
    }

    /// Fuses the step at `next` into the one at `at`, which makes its value then. What `next` read beside the
    /// value of `at` is given.
    pub fn fuse(&mut self, at: usize, next: usize) -> Vec<Node> {
        let Some(next) = self.remove(next) else {
            return Vec::new();
        };
        let Some(step) = &mut self.steps[at] else {
            return Vec::new();
        };
        let others = next.inputs.into_iter().filter(|&i| i != step.output);
        let others = others.collect();
        self.maker[step.output.index()] = None;
        step.output = next.output;
        self.maker[next.output.index()] = Some(at);
        others
    }

    /// Has the step at a place read these nodes.
    pub fn set_inputs(&mut self, at: usize, inputs: Vec<Node>) {
        let Some(step) = &mut self.steps[at] else {
            return;
        };
        for old in std::mem::replace(&mut step.inputs, inputs.clone()) {
            self.readers[old.index()].retain(|&reader| reader != at);
        }
        for new in inputs {
            self.readers[new.index()].push(at);
        }
    }

    /// Where the step at a place keeps the non-linearity that it does last, for those that can do one.
    pub fn last_activation(&mut self, at: usize) -> Option<&mut Activation> {
        match &mut self.steps[at].as_mut()?.work {
            Work::Conv(conv) => Some(&mut self.convs[conv.layer].activation),
            Work::Transposed(conv) => Some(&mut self.transposed[conv.layer].activation),
            Work::BatchNorm(norm) => Some(&mut self.norms[norm.layer].activation),
            Work::GroupNorm(norm) => Some(&mut norm.activation),
            Work::Add(Add(activation)) | Work::Mul(Mul(activation)) => Some(activation),
            _ => None,
        }
    }

    /// A pass: has each step do the non-linearity that alone reads what it makes, where it can and `may` allows it.
    pub fn fuse_activations(&mut self, may: impl Fn(&Work, Activation) -> bool) {
        for at in self.places() {
            let Some(next) = self.only_reader(at) else {
                continue;
            };
            let (Some(work), Some(&Work::Apply(Apply(activation)))) =
                (self.work(at), self.work(next))
            else {
                continue;
            };
            if may(work, activation)
                && let Some(own) = self.last_activation(at)
                && *own == Activation::None
            {
                *own = activation;
                self.fuse(at, next);
            }
        }
    }

    /// A pass: results that are a bilinear resize of something, or with `fits` a map cut off or filled up, and that
    /// nobody else reads, are written straight from it.
    pub fn resize_into_results(&mut self, fits: bool) {
        for at in 0..self.results.len() {
            let DraftResult { node, .. } = self.results[at];
            let Some(maker) = self.maker(node) else {
                continue;
            };
            let emission = match self.work(maker) {
                Some(&Work::Resize(Resize(Filter::Bilinear { align_corners }))) => {
                    Emission::Resized { align_corners }
                }
                Some(Work::Fit(_)) if fits => Emission::Fitted,
                _ => continue,
            };
            if !self.readers[node.index()].is_empty() {
                continue;
            }
            let Some(step) = self.remove(maker) else {
                continue;
            };
            let of_node = self.results.iter_mut().filter(|result| result.node == node);
            for result in of_node {
                (result.source, result.emission) = (step.inputs[0], emission);
            }
        }
    }

    /// A pass: convolutions of the network's input read it as it came where there are kernels for that.
    pub fn read_pictures(&mut self, supports: impl Fn(&Self, &ConvDraft) -> bool) {
        let Some((input, _)) = self.graph.iter().next() else {
            return;
        };
        for at in self.places() {
            let Some(DraftStep { inputs, work, .. }) = self.step(at) else {
                continue;
            };
            let &Work::Conv(Conv { layer, .. }) = work else {
                continue;
            };
            if inputs[..] == [input] && supports(self, &self.convs[layer]) {
                self.set_inputs(at, Vec::new());
                if let Some(Work::Conv(conv)) = self.work_mut(at) {
                    conv.on_picture = true;
                }
            }
        }
    }

    /// Forgets the layers of steps that are no more: the indices of the others change.
    pub fn drop_unused_layers(&mut self) {
        fn keep<T>(layer: &mut usize, all: &mut [Option<T>], kept: &mut Vec<T>) {
            kept.extend(all[*layer].take());
            *layer = kept.len() - 1;
        }
        fn all<T>(layers: &mut Vec<T>) -> Vec<Option<T>> {
            std::mem::take(layers).into_iter().map(Some).collect()
        }
        let (mut convs, mut norms) = (all(&mut self.convs), all(&mut self.norms));
        let mut transposed = all(&mut self.transposed);
        for step in self.steps.iter_mut().flatten() {
            match &mut step.work {
                Work::Conv(Conv { layer, .. }) => keep(layer, &mut convs, &mut self.convs),
                Work::Transposed(Transposed { layer }) => {
                    keep(layer, &mut transposed, &mut self.transposed);
                }
                Work::BatchNorm(BatchNorm { layer }) => keep(layer, &mut norms, &mut self.norms),
                _ => {}
            }
        }
    }

    pub(crate) fn into_steps(self) -> (Vec<DraftStep>, Vec<DraftResult>) {
        (self.steps.into_iter().flatten().collect(), self.results)
    }
}

/// See [`Draft::element`].
pub(crate) fn element(
    quantisations: &[Option<Quantisation>],
    node: Node,
    storage: Storage,
) -> Element {
    match storage {
        Storage::F32 => Element::F32,
        Storage::Bf16 => Element::Low(low::Element::Bf16),
        Storage::Bytes => {
            let known = quantisations[node.index()];
            Element::Low(low::Element::U8(
                known.expect("known before it is stored so"),
            ))
        }
    }
}

impl ConvDraft {
    fn new(node: Node, window: [usize; 2]) -> Self {
        Self {
            node,
            norm: None,
            branches: Vec::new(),
            window,
            scale: 1.0,
            activation: Activation::None,
        }
    }
}
