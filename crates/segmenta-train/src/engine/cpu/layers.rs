//! What has weights: packed for the forward pass, and how their gradients are computed.

use segmenta_graph::Conv2d;
use segmenta_kernels::{
    Activation, ConvPlan, Convolution, InputGradient, Statistics, TransposedConvolution,
    WeightGradient,
};

use super::program::Work;

/// A convolution or linear layer. Parameters are indices into those of the graph.
#[derive(Debug)]
pub(super) struct ConvLayer {
    pub(super) description: Conv2d,
    pub(super) kernel: usize,
    pub(super) bias: Option<usize>,
    /// One that only clamps, after it.
    pub(super) activation: Activation,
    pub(super) forward: Convolution,
    pub(super) plan: ConvPlan,
    /// Unless the kernel is frozen.
    pub(super) weight_gradient: Option<WeightGradient>,
    /// Unless nothing before it learns.
    pub(super) input_gradient: Option<InputGradient>,
}

/// A transposed convolution.
#[derive(Debug)]
pub(super) struct TransposedLayer {
    pub(super) kernel: usize,
    pub(super) bias: Option<usize>,
    pub(super) forward: TransposedConvolution,
    /// The gradient of its weights is that of a convolution that goes the other way.
    pub(super) weight_gradient: Option<WeightGradient>,
    /// And the gradient of its input is that convolution.
    pub(super) input_gradient: Option<(Convolution, ConvPlan)>,
}

/// A batch norm with the non-linearity after it.
#[derive(Debug)]
pub(super) struct NormLayer {
    pub(super) scale: usize,
    pub(super) shift: usize,
    pub(super) mean: usize,
    pub(super) variance: usize,
    pub(super) counter: usize,
    pub(super) epsilon: f32,
    pub(super) momentum: f32,
    pub(super) activation: Activation,
    /// A frozen one stays as in evaluation: by its running statistics, which stay too.
    pub(super) frozen: bool,
    /// Of the last forward pass.
    pub(super) statistics: Statistics,
}

/// All layers of a network.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) convs: Vec<ConvLayer>,
    pub(super) transposed: Vec<TransposedLayer>,
    pub(super) norms: Vec<NormLayer>,
}

impl Layers {
    /// The parameters whose gradients an instruction writes, where they learn.
    pub(super) fn learned(&self, work: &Work) -> Vec<usize> {
        match *work {
            Work::ConvWeights(layer) | Work::ConvWeightsOnPicture(layer) => {
                vec![self.convs[layer].kernel]
            }
            Work::ConvBias(layer) => self.convs[layer].bias.into_iter().collect(),
            Work::TransposedWeights(layer) => vec![self.transposed[layer].kernel],
            Work::TransposedBias(layer) => self.transposed[layer].bias.into_iter().collect(),
            Work::NormGradient(layer) => {
                let NormLayer { scale, shift, .. } = self.norms[layer];
                vec![scale, shift]
            }
            Work::GroupNormGradient {
                affine: Some(own), ..
            }
            | Work::LayerNormGradient { affine: own, .. }
            | Work::EmbeddingsGradient { entries: own, .. } => own.to_vec(),
            // They write the gradients of maps alone. Listed, so that the compiler asks whether a new kind has
            // parameters: one that is left out here gets no room for its gradient and does not learn.
            Work::GroupNormGradient { affine: None, .. }
            | Work::Take(_)
            | Work::TakeResized { .. }
            | Work::ConvInput(_)
            | Work::TransposedInput(_)
            | Work::Renorm(_)
            | Work::SoftmaxGradient { .. }
            | Work::AttentionGradient { .. }
            | Work::PositionAttentionGradient
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
            | Work::Place { .. }
            // Of the forward pass, or of both.
            | Work::Block
            | Work::Conv(_)
            | Work::ConvOnPicture(_)
            | Work::Transposed(_)
            | Work::Norm(_)
            | Work::GroupNorm { .. }
            | Work::LayerNorm { .. }
            | Work::Softmax { .. }
            | Work::Attention { .. }
            | Work::PositionAttention
            | Work::Tokens { .. }
            | Work::Patches
            | Work::Scale { .. }
            | Work::Apply(_)
            | Work::Add(_)
            | Work::Mul
            | Work::Copy
            | Work::Concat
            | Work::Part { .. }
            | Work::MaxPool(_)
            | Work::MaxUnpool
            | Work::AvgPool { .. }
            | Work::AdaptiveAvgPool
            | Work::GlobalAvgPool
            | Work::Resize(_)
            | Work::Fit
            | Work::Dropout { .. }
            | Work::DropChannels { .. }
            | Work::DropPictures { .. }
            | Work::Emit(_)
            | Work::EmitResized { .. }
            | Work::Extract { .. } => vec![],
        }
    }
}
