//! Low precision: maps of bf16 and of 8-bit numbers, and the kernels that keep a network in them.
//!
//! *In*: [`LowMap`]s in planes of pixels of at most 64 bytes ([`LowLayout`]), weights packed by a
//! [`LowConvolution`]. *Out*: the same, written into [`LowMapMut`]s, or blocked f32 [`Map`](crate::Map)s where
//! full precision begins again. bf16 is a storage of f32: products are of bf16 numbers, sums and all else are f32.
//! 8-bit products are summed exactly in i32 and scaled in f32 ([`Quantisation`]).
//!
//! The layout is the same on every processor; an [`Engine`] says which instructions compute. Every kernel writes its
//! output whole: pixels, the channels that fill a pixel up, and the halo around the map. All of them panic where maps
//! of two engines meet, where an element is not the one that a convolution was packed for, or a halo is smaller than
//! the padding. Sums run in one order, so results are the same bits for any number of threads; 8-bit results are the
//! same on every engine, too.

mod conv;
mod copy;
mod element;
mod engine;
mod instructions;
mod layout;
mod map;
mod narrow;
mod numbers;
pub mod peak;
mod pointwise;
mod product;
#[cfg(test)]
pub(crate) mod reference;
mod tile;
mod windows;

pub use conv::{ConvElements, LONGEST_SUM, LowConvolution, LowKernel};
pub use copy::{copy, extract};
pub use element::{Element, Quantisation, bf16, from_bf16};
pub use engine::Engine;
pub use instructions::instructions;
pub use layout::LowLayout;
pub use map::{LowMap, LowMapMut};
pub use pointwise::{add, apply, from_blocked, from_planar, scale, to_blocked};
pub use windows::{adaptive_avg_pool, avg_pool, max_pool, resize_bilinear, resize_nearest};
