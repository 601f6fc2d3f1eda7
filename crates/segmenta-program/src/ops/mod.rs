//! The operations, a file each: what it computes, its scratch memory and weights, and its gradient.

mod activation;
mod add;
mod attention;
mod batch_norm;
mod channels;
mod conv;
mod convert;
mod deformable;
mod depth;
mod drop;
mod edges;
mod fit;
mod group_norm;
mod layer_norm;
mod max_pool;
mod mean;
mod mul;
mod positions;
mod product;
mod resize;
mod rows;
mod scale;
mod softmax;
mod tokens;
mod transposed;
mod windows;

pub use activation::{Apply, ApplyGradient};
pub use add::{Accumulate, Add};
pub use attention::{Attention, AttentionGradient, MaskedAttention, MaskedAttentionGradient};
pub use batch_norm::{BatchNorm, BatchNormGradient, Renorm};
pub use channels::{Concat, Copy, Place, Slice};
pub use conv::{BiasGradient, Conv, ConvInput, ConvWeights};
pub use convert::Convert;
pub use deformable::{DeformableAttention, DeformableAttentionGradient};
pub use depth::{DepthToSpace, SpaceToDepth};
pub use drop::{Drop, Dropped, drop_seed};
pub use edges::{Block, Emit, Take};
pub use fit::{Fit, FitBelow};
pub use group_norm::{GroupNorm, GroupNormGradient};
pub use layer_norm::{LayerNorm, LayerNormGradient};
pub use max_pool::{MaxPool, MaxPoolGradient, MaxUnpool, MaxUnpoolGradient};
pub use mean::{AvgPool, AvgPoolGradient};
pub use mul::{FactorGradient, Mul};
pub use positions::{Rotary, RotaryGradient, SinePositions};
pub use product::{Product, ProductGradient, ProductRowGradient};
pub use resize::{Resize, ResizeGradient};
pub use rows::{Join, Part, PartGradient, Table, TableGradient, Transpose};
pub use scale::Scale;
pub use softmax::{Softmax, SoftmaxGradient};
pub use tokens::{EmbeddingsGradient, Patches, PatchesGradient, Tokens, TokensOf};
pub use transposed::{Transposed, TransposedInput, TransposedWeights};
pub use windows::{FromWindows, WindowAttention, WindowAttentionGradient, Windows};

/// Numbers of a layer: its own, or a parameter's.
#[derive(Clone, Debug)]
pub enum Numbers {
    /// As they stay.
    Own(Vec<f32>),
    /// Those of a parameter, by its index.
    Parameter(usize),
}

impl Numbers {
    /// The numbers as they are now.
    pub(crate) fn get<'n>(&'n self, parameters: &'n [&[f32]]) -> &'n [f32] {
        match self {
            Self::Own(values) => values,
            Self::Parameter(at) => parameters[*at],
        }
    }

    /// Bytes of its own.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Own(values) => size_of_val(&values[..]),
            Self::Parameter(_) => 0,
        }
    }

    /// The parameter.
    pub(crate) fn parameter(&self) -> Option<usize> {
        match self {
            Self::Own(_) => None,
            Self::Parameter(at) => Some(*at),
        }
    }
}

/// The parameters of a scale and a shift.
pub(crate) fn parameters_of(affine: &[Numbers; 2]) -> Option<[usize; 2]> {
    Some([affine[0].parameter()?, affine[1].parameter()?])
}
