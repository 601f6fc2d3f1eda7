//! Numbers on slices: what a processor does for a network.
//!
//! *In*: feature maps as [`Map`]s in blocked layout, packed weights. *Out*: the same, written into
//! [`MapMut`]s that the caller laid out. One operation a file, a scalar reference in
//! [`mod@reference`] beside the fast paths, every entry point safe: it checks layouts and extents once and then
//! works on pointers. All of them panic where maps of two instruction sets meet, or packed weights and a map of
//! another one; a convolution, where it is given another one's plan. `tests/misuse` calls each of them wrongly.
//!
//! **Layout.** A map is `[batch][channels / L][height][width][L]`: blocks of `L` channels, `L`
//! being the lanes of the instruction set in use ([`Isa::lanes`]: 16, 8). Channels that fill the last
//! block up hold finite numbers that nobody reads. **Threads**: kernels split their work over the
//! rayon pool that they are called in ([`Threads`]); every value is summed in one fixed order, so
//! results do not depend on the number of threads. This is the only room with `unsafe`.

#![allow(
    unsafe_code,
    reason = "vectors, disjoint writes by many threads and huge pages: each use says why it is sound"
)]
#![deny(
    unsafe_op_in_unsafe_fn,
    clippy::undocumented_unsafe_blocks,
    clippy::missing_safety_doc
)]

mod activation;
mod attention;
mod batch_norm;
mod buffer;
mod conv;
mod deformable;
mod depth;
mod derivative;
mod dropout;
mod exp;
mod fit;
mod group_norm;
mod isa;
mod labels;
mod layer_norm;
mod layout;
mod loss;
pub mod low;
mod map;
mod nearest;
pub mod optim;
pub mod peak;
mod pointwise;
mod pointwise_gradient;
mod pool;
mod positions;
mod product;
pub mod reference;
mod resize;
mod rows;
mod separable;
mod shared;
mod simd;
mod softmax;
mod softmax_between;
mod threads;
mod tokens;
mod windows;

pub use activation::Activation;
pub use attention::{
    attention, attention_gradient, attention_gradient_scratch, attention_scratch, masked_attention,
    masked_attention_gradient, masked_attention_gradient_scratch, masked_attention_scratch,
    position_attention, position_attention_gradient, position_attention_gradient_scratch,
    position_attention_scratch, window_attention, window_attention_gradient,
    window_attention_gradient_scratch,
};
pub use batch_norm::{BatchNorm, BatchNormGradients, Statistics};
pub use buffer::{
    Arena, ArenaViews, Buffer, OutOfMemory, as_bytes, as_bytes_mut, prefer_huge_pages,
};
pub use conv::{
    ConvPlan, ConvSpec, Convolution, InputGradient, Kernel2d, TransposedConvolution,
    TransposedSpec, WeightGradient, WeightMemory, bias_gradient,
};
pub use deformable::{Deformable, deformable_attention, deformable_attention_gradient};
pub use depth::{depth_to_space, space_to_depth};
pub use derivative::activation_gradient;
pub use dropout::{drop_channels, drop_factors, drop_pictures, dropout};
pub use fit::{fit, fit_below, fit_to_planar};
pub use group_norm::{group_norm, group_norm_gradient};
pub use isa::Isa;
pub use labels::{
    Logits, ToProbability, class_scores, label_probabilities, labels, winning_probability,
};
pub use layer_norm::{layer_norm, layer_norm_gradient};
pub use layout::{blocked, to_blocked, to_planar};
pub use loss::{
    BinaryCrossEntropy, CrossEntropy, LabelOutOfRange, binary_cross_entropy, class_probabilities,
    cross_entropy, sigmoids,
};
pub use map::{Map, MapMut, MapShape};
pub use nearest::resize_nearest;
pub use pointwise::{add, affine, apply, copy, extract, mul, place, scale};
pub use pointwise_gradient::{accumulate, gate_gradient, scale_gradient};
pub use pool::{
    PoolSpec, PoolWindow, adaptive_avg_pool, as_indices, as_indices_mut, avg_pool, global_avg_pool,
    max_pool, max_pool_gradient, max_pool_with_indices, max_unpool, max_unpool_gradient,
};
pub use positions::{rotary, rotary_angles, sine_positions, sine_table};
pub use product::{product, product_gradient, product_row_gradient, product_scratch};
pub use resize::{resize_bilinear, resize_bilinear_planar};
pub use rows::{join, part, part_gradient, table, table_gradient, transpose};
pub use separable::{
    SideMap, adaptive_avg_pool_gradient, avg_pool_gradient, resize_bicubic,
    resize_bicubic_gradient, resize_bilinear_gradient, resize_bilinear_planar_gradient,
    resize_nearest_gradient,
};
pub use softmax::{softmax, softmax_planar};
pub use softmax_between::{softmax_between, softmax_between_gradient};
pub use threads::Threads;
pub use tokens::{Embeddings, embeddings_gradient, patches, patches_gradient, tokens};
pub use windows::{from_windows, to_windows};
