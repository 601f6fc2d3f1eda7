//! What a training step does for one input size: instructions over values in one arena.

use std::ops::Range;

use segmenta_graph::Filter;
use segmenta_kernels::{Activation, Isa, MapShape, PoolWindow};
use segmenta_runtime::layout::{Demand, lay_out};

/// A run of the channels of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) buffer: usize,
    pub(super) first: usize,
    pub(super) channels: usize,
}

/// What an instruction does with what it reads and writes, in the order of the comments. A layer is an
/// index into the step's [`Layers`](super::layers::Layers).
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    // Forward.
    /// → the network's input in blocks.
    Block,
    /// x → y.
    Conv(usize),
    /// → y, of the network's input as it came.
    ConvOnPicture(usize),
    /// x → y.
    Transposed(usize),
    /// x → y.
    Norm(usize),
    /// x → y.
    Apply(Activation),
    /// a, b → sum.
    Add(Activation),
    /// x, by → product.
    Mul,
    /// x → channels of a larger buffer.
    Copy,
    /// Nothing: the parts are in place.
    Concat,
    /// x → y, and where the maxima were.
    MaxPool(PoolWindow),
    /// x, where the maxima were → y.
    MaxUnpool,
    /// x → y.
    AvgPool {
        window: PoolWindow,
        count_include_pad: bool,
    },
    /// x → y.
    AdaptiveAvgPool,
    /// x → y.
    GlobalAvgPool,
    /// x → y.
    Resize(Filter),
    /// x → y, cut off or filled up with zeros; its own gradient too.
    Fit,
    /// x → y; its own gradient too.
    Dropout { p: f32, node: usize },
    /// x → y; its own gradient too.
    DropPictures { p: f32, node: usize },
    /// x → a result.
    Emit(usize),
    /// x → a result, resized bilinearly.
    EmitResized { output: usize, align_corners: bool },

    // Backward.
    /// → the gradient of a result in blocks.
    Take(usize),
    /// → the gradient of what was resized to a result.
    TakeResized { output: usize, align_corners: bool },
    /// dy → dx; or dy, what other readers gave → dx.
    ConvInput(usize),
    /// x, dy.
    ConvWeights(usize),
    /// dy.
    ConvWeightsOnPicture(usize),
    /// dy.
    ConvBias(usize),
    /// dy → dx.
    TransposedInput(usize),
    /// x, dy.
    TransposedWeights(usize),
    /// dy.
    TransposedBias(usize),
    /// x → y, once more: what the forward pass did not keep.
    Renorm(usize),
    /// x, dy → dx.
    NormGradient(usize),
    /// x or y, dy → dx.
    ApplyGradient(Activation),
    /// x, dy → the gradient of scales.
    ScaleGradient,
    /// x, dy → the gradient of a gate.
    GateGradient,
    /// dy, where the maxima were → dx.
    MaxPoolGradient,
    /// dy, where the maxima were → dx.
    MaxUnpoolGradient,
    /// dy → dx.
    AvgPoolGradient {
        window: PoolWindow,
        count_include_pad: bool,
    },
    /// dy → dx.
    AdaptiveAvgPoolGradient,
    /// dy → dx.
    ResizeGradient(Filter),
    /// more → the sum so far, in place.
    Accumulate,
    /// Channels of a larger map, from `first` on → a map of their own.
    Extract { first: usize },
}

impl Work {
    /// The kind in a word or two, for profiles.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Block => "to blocks",
            Self::Conv(_) | Self::ConvOnPicture(_) => "convolution",
            Self::Transposed(_) => "transposed",
            Self::Norm(_) => "batch norm",
            Self::Apply(_) => "activation",
            Self::Add(_) => "add",
            Self::Mul => "multiply",
            Self::Copy => "copy",
            Self::Concat => "concat",
            Self::MaxPool(_) => "max pool",
            Self::MaxUnpool => "max unpool",
            Self::AvgPool { .. } | Self::AdaptiveAvgPool | Self::GlobalAvgPool => "average pool",
            Self::Resize(_) => "resize",
            Self::Fit => "fit",
            Self::Dropout { .. } | Self::DropPictures { .. } => "dropout",
            Self::Emit(_) | Self::EmitResized { .. } => "logits",
            Self::Take(_) | Self::TakeResized { .. } => "d logits",
            Self::ConvInput(_) => "d input",
            Self::ConvWeights(_) | Self::ConvWeightsOnPicture(_) => "d weights",
            Self::ConvBias(_) | Self::TransposedBias(_) => "d bias",
            Self::TransposedInput(_) => "d input (transposed)",
            Self::TransposedWeights(_) => "d weights (transposed)",
            Self::Renorm(_) => "batch norm again",
            Self::NormGradient(_) => "d batch norm",
            Self::ApplyGradient(_) => "d activation",
            Self::ScaleGradient | Self::GateGradient => "d scale",
            Self::MaxPoolGradient => "d max pool",
            Self::MaxUnpoolGradient => "d max unpool",
            Self::AvgPoolGradient { .. } | Self::AdaptiveAvgPoolGradient => "d average pool",
            Self::ResizeGradient(_) => "d resize",
            Self::Accumulate => "accumulate",
            Self::Extract { .. } => "extract",
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug)]
pub(super) struct Instruction {
    /// The graph's node that it is for.
    pub(super) node: usize,
    pub(super) work: Work,
    pub(super) reads: Vec<Value>,
    pub(super) writes: Vec<Value>,
    /// Values of scratch memory.
    pub(super) scratch_len: usize,
}

impl Instruction {
    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.reads.iter().chain(&self.writes)
    }
}

/// The instructions of a step and where their values lie.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) forward: Vec<Instruction>,
    pub(super) backward: Vec<Instruction>,
    /// Shape of each buffer.
    buffers: Vec<MapShape>,
    places: Vec<Range<usize>>,
    /// Scratch memory of each instruction, forward ones first.
    scratch: Vec<Range<usize>>,
    pub(super) arena_len: usize,
    isa: Isa,
}

impl Program {
    /// Lays all buffers out: each lives from its first use to its last, the backward pass included.
    pub(super) fn new(
        isa: Isa,
        buffers: Vec<MapShape>,
        forward: Vec<Instruction>,
        backward: Vec<Instruction>,
    ) -> Self {
        let mut lives: Vec<Option<(usize, usize)>> = vec![None; buffers.len()];
        let all = || forward.iter().chain(&backward).enumerate();
        for (index, instruction) in all() {
            for value in instruction.values() {
                let live = &mut lives[value.buffer];
                *live = Some((live.map_or(index, |(first, _)| first), index));
            }
        }
        let of_buffer = |(buffer, live): (&MapShape, &Option<(usize, usize)>)| match *live {
            Some((first, last)) => Demand {
                len: buffer.blocked_len(isa),
                live: first..=last,
            },
            None => Demand {
                len: 0,
                live: 0..=0,
            },
        };
        let mut demands: Vec<Demand> = buffers.iter().zip(&lives).map(of_buffer).collect();
        demands.extend(all().map(|(index, instruction)| Demand {
            len: instruction.scratch_len,
            live: index..=index,
        }));
        let (mut places, arena_len) = lay_out(&demands);
        let scratch = places.split_off(buffers.len());
        Self {
            forward,
            backward,
            buffers,
            places,
            scratch,
            arena_len,
            isa,
        }
    }

    /// The shape of a value.
    pub(super) fn shape(&self, value: Value) -> MapShape {
        MapShape {
            channels: value.channels,
            ..self.buffers[value.buffer]
        }
    }

    /// The shape of the buffer that a value is in, and where it lies.
    pub(super) fn whole(&self, value: Value) -> (MapShape, Range<usize>) {
        (
            self.buffers[value.buffer],
            self.places[value.buffer].clone(),
        )
    }

    /// Values from one picture to the next.
    pub(super) fn image_stride(&self, value: Value) -> usize {
        self.buffers[value.buffer].image_len(self.isa)
    }

    /// Where a value lies in the arena.
    pub(super) fn place(&self, value: Value) -> Range<usize> {
        let (buffer, place) = self.whole(value);
        if value.channels == buffer.channels {
            return place;
        }
        let plane = buffer.pixels() * self.isa.lanes();
        let start = place.start + value.first / self.isa.lanes() * plane;
        let images = (buffer.batch - 1) * self.image_stride(value);
        start..start + images + self.shape(value).image_len(self.isa)
    }

    /// Scratch memory of an instruction; forward ones count first.
    pub(super) fn scratch(&self, index: usize) -> Range<usize> {
        self.scratch[index].clone()
    }
}
