//! A step, and what it computes: any of the operations.

use segmenta_graph::Node;
use segmenta_kernels::{ConvPlan, Isa, MapShape};

pub(crate) use crate::backward::Backward;
pub(crate) use crate::layers::Layers;
use crate::ops;
pub(crate) use crate::run::Run;
use crate::value::Value;

/// One step of a program.
#[derive(Debug)]
pub struct Step {
    /// The graph's node that it begins with, or that it computes a gradient for.
    pub node: Node,
    /// The node whose value it makes.
    pub output: Node,
    /// The nodes whose values it reads.
    pub inputs: Vec<Node>,
    /// What it computes.
    pub work: Work,
    /// What it reads, in the order that its work documents.
    pub reads: Vec<Value>,
    /// What it writes.
    pub writes: Vec<Value>,
    /// Whether its rounding decides where a max pool that is undone later finds its maxima: a value that goes back to
    /// another pixel is an error without bound, so it is computed as precisely as can be.
    pub precise: bool,
}

impl Step {
    /// All values that it reads or writes.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.reads.iter().chain(&self.writes)
    }
}

/// Shapes that a step's scratch memory depends on.
pub(crate) struct Sizes<'a> {
    pub(crate) isa: Isa,
    pub(crate) layers: &'a Layers,
    pub(crate) reads: &'a [MapShape],
    pub(crate) writes: &'a [MapShape],
    /// The plan of its convolution.
    pub(crate) conv: Option<&'a ConvPlan>,
}

/// What every operation says of itself. An operation is a file in `ops`, with its gradients.
pub(crate) trait Operation {
    /// The kind in a word or two, for profiles.
    const LABEL: &'static str;

    /// Computes what its step writes from what it reads.
    fn run(&self, run: &mut Run<'_, '_>);

    /// Values of scratch memory.
    fn scratch(&self, _sizes: &Sizes<'_>) -> usize {
        0
    }

    /// Bytes of its weights, in all forms.
    fn weight_bytes(&self, _layers: &Layers) -> usize {
        0
    }
}

/// An operation of the forward pass.
pub(crate) trait Forward: Operation {
    /// Turns the gradient `dy` of what `step` made into those of what it read: by [`Backward::give`] and
    /// [`Backward::pass`].
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>);
}

/// An operation of the backward pass that writes gradients of parameters.
pub(crate) trait Gradient: Operation {
    /// Those parameters, whether they learn or not: one that is left out gets no room for its gradient and stays as
    /// it is.
    fn parameters(&self, layers: &Layers) -> Vec<usize>;
}

macro_rules! works {
    (
        forward { $($forward:ident,)* }
        gradients_of_maps { $($backward:ident,)* }
        gradients_of_parameters { $($gradient:ident,)* }
    ) => {
        /// What a step computes.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each variant is the operation of its name")]
        pub enum Work {
            $($forward(ops::$forward),)*
            $($backward(ops::$backward),)*
            $($gradient(ops::$gradient),)*
        }

        $(impl From<ops::$forward> for Work {
            fn from(operation: ops::$forward) -> Self {
                Self::$forward(operation)
            }
        })*

        $(impl From<ops::$backward> for Work {
            fn from(operation: ops::$backward) -> Self {
                Self::$backward(operation)
            }
        })*

        $(impl From<ops::$gradient> for Work {
            fn from(operation: ops::$gradient) -> Self {
                Self::$gradient(operation)
            }
        })*

        impl Work {
            /// The kind in a word or two, for profiles.
            pub fn label(&self) -> &'static str {
                match self {
                    $(Self::$forward(_) => <ops::$forward as Operation>::LABEL,)*
                    $(Self::$backward(_) => <ops::$backward as Operation>::LABEL,)*
                    $(Self::$gradient(_) => <ops::$gradient as Operation>::LABEL,)*
                }
            }

            /// Bytes of its weights, in all forms.
            pub fn weight_bytes(&self, layers: &Layers) -> usize {
                match self {
                    $(Self::$forward(operation) => operation.weight_bytes(layers),)*
                    $(Self::$backward(operation) => operation.weight_bytes(layers),)*
                    $(Self::$gradient(operation) => operation.weight_bytes(layers),)*
                }
            }

            pub(crate) fn scratch(&self, sizes: &Sizes<'_>) -> usize {
                match self {
                    $(Self::$forward(operation) => operation.scratch(sizes),)*
                    $(Self::$backward(operation) => operation.scratch(sizes),)*
                    $(Self::$gradient(operation) => operation.scratch(sizes),)*
                }
            }

            pub(crate) fn run(&self, run: &mut Run<'_, '_>) {
                match self {
                    $(Self::$forward(operation) => operation.run(run),)*
                    $(Self::$backward(operation) => operation.run(run),)*
                    $(Self::$gradient(operation) => operation.run(run),)*
                }
            }

            pub(crate) fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
                match self {
                    $(Self::$forward(operation) => operation.backward(step, dy, to),)*
                    $(Self::$backward(_))|* | $(Self::$gradient(_))|* => {
                        unreachable!("{self:?} belongs to the backward pass")
                    }
                }
            }

            /// The parameters whose gradients it writes.
            pub(crate) fn parameters(&self, layers: &Layers) -> Vec<usize> {
                match self {
                    $(Self::$gradient(operation) => operation.parameters(layers),)*
                    $(Self::$forward(_))|* | $(Self::$backward(_))|* => Vec::new(),
                }
            }
        }
    };
}

works! {
    forward {
        Block, Emit,
        Conv, Transposed,
        BatchNorm, GroupNorm, LayerNorm, Softmax,
        Attention, MaskedAttention, WindowAttention, Windows, FromWindows, SpaceToDepth, DepthToSpace, Tokens, Patches,
        Table, Join, Part, Transpose, Product,
        DeformableAttention, Rotary, SinePositions,
        Apply, Add, Mul, Scale, Drop,
        Copy, Concat, Slice, Convert,
        MaxPool, MaxUnpool, AvgPool,
        Resize, Fit, FitBelow,
    }
    gradients_of_maps {
        Take,
        ConvInput, TransposedInput,
        Renorm, SoftmaxGradient, AttentionGradient, MaskedAttentionGradient, WindowAttentionGradient, PatchesGradient,
        PartGradient, ProductGradient, ProductRowGradient,
        DeformableAttentionGradient, RotaryGradient,
        ApplyGradient, FactorGradient, Accumulate, Place,
        MaxPoolGradient, MaxUnpoolGradient, AvgPoolGradient, ResizeGradient,
    }
    gradients_of_parameters {
        ConvWeights, TransposedWeights, BiasGradient,
        BatchNormGradient, GroupNormGradient, LayerNormGradient, EmbeddingsGradient,
        TableGradient,
    }
}

impl Work {
    /// Whether it does nothing: its value is in place.
    pub fn is_place(&self) -> bool {
        matches!(
            self,
            Self::Concat(_) | Self::Slice(ops::Slice { in_place: true, .. })
        )
    }

    /// The result that it writes.
    pub fn result(&self) -> Option<usize> {
        match *self {
            Self::Emit(ops::Emit { output, .. })
            | Self::Conv(ops::Conv {
                emits: Some(output),
                ..
            }) => Some(output),
            _ => None,
        }
    }
}
