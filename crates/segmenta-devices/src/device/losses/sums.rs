//! Sums whose order is fixed.
//!
//! Burn adds large tensors up in as many parts as threads happen to take, so that the last bits differ from run to
//! run. Sums over rows, then columns, then the rest always come out the same, and lose less to rounding.

use burn::tensor::{Tensor, TensorData};

/// All values.
pub(crate) fn total(x: Tensor<4>) -> Tensor<1> {
    x.sum_dim(3).sum_dim(2).sum()
}

/// The values of each class over images and pixels: C values.
pub(crate) fn of_classes(x: Tensor<4>) -> Tensor<1> {
    let classes = x.dims()[1];
    x.sum_dim(3).sum_dim(2).sum_dim(0).reshape([classes])
}

/// The values of each class in each image: N×C.
pub(crate) fn of_images(x: Tensor<4>) -> Tensor<2> {
    let [images, classes, ..] = x.dims();
    x.sum_dim(3).sum_dim(2).reshape([images, classes])
}

/// Constants on the device of `like`.
pub(crate) fn constants<const D: usize>(values: Vec<f32>, like: &Tensor<D>) -> Tensor<1> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), &like.device())
}

/// One constant a class, broadcast over N×C×H×W.
pub(crate) fn a_class<const D: usize>(values: Vec<f32>, like: &Tensor<D>) -> Tensor<4> {
    let len = values.len();
    constants(values, like).reshape([1, len, 1, 1])
}

/// 0 with a gradient of 0: the loss of a batch that teaches nothing.
pub(crate) fn nothing(logits: Tensor<4>) -> Tensor<1> {
    total(logits.mul_scalar(0.0))
}
