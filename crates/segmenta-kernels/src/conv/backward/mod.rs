//! Gradients of convolutions: of the weights, the input, the bias.
//!
//! Contract: maps are blocked, weights and their gradients lie as PyTorch has them,
//! `[out, in / groups, height, width]`. A gradient is overwritten, not added to. Every sum runs in an
//! order that the shape alone decides: two sums in a row, over a chunk of pixels (or tiles) and over the
//! chunks, so that the error does not grow with the map. It differs from an exact sum by at most 2·10⁻⁵
//! of the gradients' root mean square for inputs of one size, by tiles 5·10⁻⁵.

mod depthwise;
mod picture;
pub(crate) mod reduce;
mod unpack;
mod weight;
mod window;

pub use weight::WeightGradient;

#[cfg(test)]
mod tests;
