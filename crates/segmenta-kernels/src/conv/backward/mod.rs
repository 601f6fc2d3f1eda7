//! Gradients of convolutions: of the weights, the input, the bias.
//!
//! Contract: maps are blocked, weights and their gradients lie as PyTorch has them,
//! `[out, in / groups, height, width]`. A gradient is overwritten, not added to. Every sum runs in an
//! order that the shape alone decides: two sums in a row, over a chunk of pixels (or tiles) and over the
//! chunks, so that the error does not grow with the map. It differs from an exact sum by at most 2·10⁻⁵
//! of the gradients' root mean square for inputs of one size, by tiles 5·10⁻⁵.

mod bias;
mod depthwise;
mod input;
mod picture;
pub(crate) mod reduce;
mod unpack;
mod weight;
mod window;

pub use bias::bias_gradient;
pub use input::InputGradient;
pub use weight::WeightGradient;

use super::ConvSpec;
use crate::map::MapShape;

/// The output of a convolution whose extents fit.
fn output(spec: &ConvSpec, input: MapShape) -> MapShape {
    assert_eq!(spec.in_channels, input.channels, "channels in");
    spec.check();
    spec.output(input).expect("a window that fits")
}

#[cfg(test)]
mod tests;
