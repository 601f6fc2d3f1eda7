//! Numbers on slices: what a processor does for a network.
//!
//! *In*: feature maps as [`Map`]s in blocked layout, packed weights. *Out*: the same, written into
//! [`MapMut`]s that the caller laid out. One operation a file, a scalar reference in
//! [`mod@reference`] beside the fast paths, every entry point safe: it checks extents once and then
//! works on pointers.
//!
//! **Layout.** A map is `[batch][channels / L][height][width][L]`: blocks of `L` channels, `L`
//! being the lanes of the instruction set in use ([`Isa::lanes`]: 16, 8). Channels that fill the last
//! block up hold finite numbers that nobody reads. **Threads**: kernels split their work over the
//! rayon pool that they are called in ([`Threads`]); every value is summed in one fixed order, so
//! results do not depend on the number of threads. This is the only room with `unsafe`.

mod activation;
mod buffer;
mod conv;
mod exp;
mod isa;
mod labels;
mod layout;
mod map;
pub mod mapped_file;
mod nearest;
pub mod optim;
mod pointwise;
mod pool;
pub mod reference;
mod resize;
mod shared;
mod simd;
mod softmax;
mod threads;

pub use activation::Activation;
pub use buffer::{Arena, ArenaViews, Buffer, OutOfMemory};
pub use conv::{
    ConvPlan, ConvSpec, Convolution, Kernel2d, TransposedConvolution, TransposedSpec, WeightMemory,
};
pub use isa::Isa;
pub use labels::{Logits, labels, winning_probability};
pub use layout::{blocked, to_blocked, to_planar};
pub use map::{Map, MapMut, MapShape};
pub use nearest::resize_nearest;
pub use pointwise::{add, affine, apply, copy, mul};
pub use pool::{
    PoolSpec, PoolWindow, adaptive_avg_pool, as_indices, as_indices_mut, avg_pool, global_avg_pool,
    max_pool, max_pool_with_indices, max_unpool,
};
pub use resize::{resize_bilinear, resize_bilinear_planar};
pub use softmax::{softmax, softmax_planar};
pub use threads::Threads;
