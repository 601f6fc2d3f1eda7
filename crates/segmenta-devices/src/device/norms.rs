//! Norms of each picture's or pixel's own values, and softmax, to Burn.

use burn::tensor::{Tensor, activation};

/// Group norm; `own` are its scale and shift, or nothing.
pub(super) fn group_norm(x: Tensor<4>, groups: usize, eps: f32, own: &[Tensor<1>]) -> Tensor<4> {
    let [n, c, height, width] = x.dims();
    let x = x.reshape([n, groups, c / groups * height * width]);
    affine(standardise(x, 2, eps).reshape([n, c, height, width]), own)
}

/// Norm of each pixel's channels.
pub(super) fn layer_norm(x: Tensor<4>, eps: f32, own: &[Tensor<1>]) -> Tensor<4> {
    affine(standardise(x, 1, eps), own)
}

/// Mean 0 and (biased) variance 1 along an axis.
fn standardise<const D: usize>(x: Tensor<D>, axis: usize, eps: f32) -> Tensor<D> {
    let apart = x.clone() - x.mean_dim(axis);
    let variance = (apart.clone() * apart.clone()).mean_dim(axis);
    apart / (variance + f64::from(eps)).sqrt()
}

/// Each channel scaled and shifted.
fn affine(x: Tensor<4>, own: &[Tensor<1>]) -> Tensor<4> {
    let [scale, shift] = own else { return x };
    let of_channels = |values: &Tensor<1>| -> Tensor<4> {
        let count = values.dims()[0];
        values.clone().reshape([1, count, 1, 1])
    };
    x * of_channels(scale) + of_channels(shift)
}

/// Softmax between `parts` runs of channels, or its logarithm.
pub(super) fn softmax(x: Tensor<4>, parts: usize, log: bool) -> Tensor<4> {
    let [n, c, height, width] = x.dims();
    let x = x.reshape([n, parts, c / parts * height * width]);
    let y = if log {
        activation::log_softmax(x, 1)
    } else {
        activation::softmax(x, 1)
    };
    y.reshape([n, c, height, width])
}
