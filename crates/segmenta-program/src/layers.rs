//! What steps compute with beside maps: packed weights, and what of them learns.

use segmenta_graph::Conv2d;
use segmenta_kernels::low::LowConvolution;
use segmenta_kernels::{
    Activation, ConvPlan, ConvSpec, Convolution, InputGradient, Kernel2d, Statistics,
    TransposedConvolution, WeightGradient,
};

use crate::terms::{has_leading_taps, with_leading_taps};

/// All layers of a network, by the indices that their steps have.
#[derive(Debug, Default)]
pub struct Layers {
    /// Convolutions and linear layers.
    pub convs: Vec<ConvLayer>,
    /// Transposed convolutions.
    pub transposed: Vec<TransposedLayer>,
    /// Batch norms.
    pub norms: Vec<NormLayer>,
}

impl Layers {
    /// Bytes of weights in a second form, for all plans together.
    pub(crate) fn transformed_bytes(&self) -> usize {
        self.convs
            .iter()
            .map(|conv| conv.packed.transformed_bytes())
            .sum()
    }
}

/// A convolution or a linear layer.
#[derive(Debug)]
pub struct ConvLayer {
    /// Its weights for the forward pass.
    pub packed: Packed,
    /// How it learns; `None` where its weights stay as they were packed.
    pub learning: Option<ConvLearning>,
}

/// Weights in the form of what they are multiplied with.
#[derive(Debug)]
pub enum Packed {
    /// For f32 maps.
    F32(Convolution),
    /// For maps of low precision.
    Low(LowConvolution),
}

impl Packed {
    /// Its extents.
    pub fn spec(&self) -> &ConvSpec {
        match self {
            Self::F32(conv) => conv.spec(),
            Self::Low(conv) => conv.spec(),
        }
    }

    /// Bytes of its weights, in all forms.
    pub fn weight_bytes(&self) -> usize {
        match self {
            Self::F32(conv) => conv.weight_bytes(),
            Self::Low(conv) => conv.weight_bytes(),
        }
    }

    /// Bytes of its weights in a second form.
    pub fn transformed_bytes(&self) -> usize {
        match self {
            Self::F32(conv) => conv.transformed_bytes(),
            Self::Low(_) => 0,
        }
    }
}

/// A convolution whose weights are packed anew for each step. Parameters are indices into those of the graph.
#[derive(Debug)]
pub struct ConvLearning {
    /// As the network has it.
    pub description: Conv2d,
    /// The parameter of its kernel.
    pub kernel: usize,
    /// The parameter of its bias.
    pub bias: Option<usize>,
    /// One that only clamps, after it.
    pub activation: Activation,
    /// Unless the kernel is frozen.
    pub weight_gradient: Option<WeightGradient>,
    /// Unless nothing before it learns.
    pub input_gradient: Option<InputGradient>,
}

/// A transposed convolution.
#[derive(Debug)]
pub struct TransposedLayer {
    /// Its weights for the forward pass.
    pub packed: TransposedConvolution,
    /// How it learns; `None` where its weights stay as they were packed.
    pub learning: Option<TransposedLearning>,
}

/// A transposed convolution whose weights are packed anew for each step.
#[derive(Debug)]
pub struct TransposedLearning {
    /// The parameter of its kernel.
    pub kernel: usize,
    /// The parameter of its bias.
    pub bias: Option<usize>,
    /// The gradient of its weights is that of a convolution that goes the other way.
    pub weight_gradient: Option<WeightGradient>,
    /// And the gradient of its input is that convolution.
    pub input_gradient: Option<(Convolution, ConvPlan)>,
}

/// A batch norm with the non-linearity after it.
#[derive(Debug)]
pub struct NormLayer {
    /// The non-linearity.
    pub activation: Activation,
    /// Where its numbers come from.
    pub numbers: NormNumbers,
}

/// The numbers of a batch norm.
#[derive(Debug)]
pub enum NormNumbers {
    /// In evaluation: a scale and a shift for each channel.
    Fixed([Vec<f32>; 2]),
    /// In training.
    Learning(NormLearning),
}

/// A batch norm that measures each batch. Parameters are indices into those of the graph.
#[derive(Debug)]
pub struct NormLearning {
    /// The parameter of its scale.
    pub scale: usize,
    /// The parameter of its shift.
    pub shift: usize,
    /// The running mean.
    pub mean: usize,
    /// The running variance.
    pub variance: usize,
    /// How many batches were measured.
    pub counter: usize,
    /// Added to the variance before the root.
    pub epsilon: f32,
    /// How much of a running statistic a step replaces.
    pub momentum: f32,
    /// A frozen one stays as in evaluation: by its running statistics, which stay too.
    pub frozen: bool,
    /// Of the last forward pass.
    pub statistics: Statistics,
}

impl ConvLayer {
    /// Packs the weights as they are now, if they learn.
    pub(crate) fn pack(&mut self, parameters: &[&[f32]]) {
        let Some(ConvLearning {
            description,
            kernel,
            bias,
            ..
        }) = &self.learning
        else {
            return;
        };
        let weights = parameters[*kernel];
        let wider = has_leading_taps(description).then(|| with_leading_taps(description, weights));
        if let Packed::F32(packed) = &mut self.packed {
            packed.repack(Kernel2d {
                weights: wider.as_deref().unwrap_or(weights),
                bias: bias.map_or(&[], |bias| parameters[bias]),
            });
        }
    }
}

impl TransposedLayer {
    /// Packs the weights as they are now, if they learn.
    pub(crate) fn pack(&mut self, parameters: &[&[f32]]) {
        if let Some(TransposedLearning { kernel, bias, .. }) = &self.learning {
            self.packed.repack(Kernel2d {
                weights: parameters[*kernel],
                bias: bias.map_or(&[], |bias| parameters[bias]),
            });
        }
    }
}
