//! Where pixels are, as numbers, to Burn. The tables are those of our kernels.

use burn::tensor::{Device, Tensor, TensorData};
use segmenta_graph::Shape;
use segmenta_kernels::{rotary_angles, sine_table};

/// DETR's waves of a map.
pub(super) fn sine(to: Shape, device: &Device) -> Tensor<4> {
    let values = sine_table([to.height, to.width], to.channels);
    let extents = [1, to.channels, to.height, to.width];
    let map: Tensor<4> = Tensor::from_data(TensorData::new(values, extents), device);
    map.autodiff().repeat_dim(0, to.batch)
}

/// The last pixels of `x`, those of a map of `size`, turned by their places.
pub(super) fn rotary(x: Tensor<4>, size: [usize; 2], heads: usize, theta: f32) -> Tensor<4> {
    let [n, c, height, width] = x.dims();
    let (pixels, turned) = (height * width, size[0] * size[1]);
    let (depth, before) = (c / heads, height * width - size[0] * size[1]);
    let device = x.device();
    let of = |values: Vec<f32>| -> Tensor<4> {
        let extents = [1, 1, turned, depth / 2];
        let table: Tensor<4> = Tensor::from_data(TensorData::new(values, extents), &device);
        table.autodiff().swap_dims(2, 3)
    };
    let [cosines, sines] = rotary_angles(size, depth, theta).map(of);
    // A head's halves, each N × heads × d/2 × pixels.
    let x = x.reshape([n * heads, 2, depth / 2, pixels]);
    let [first, second] = [0, 1].map(|half| x.clone().narrow(1, half, 1));
    let (kept, turned) = (
        x.narrow(3, 0, before.max(1)),
        [first, second].map(|half| half.narrow(3, before, turned)),
    );
    let [a, b] = turned;
    let first = a.clone() * cosines.clone() - b.clone() * sines.clone();
    let second = b * cosines + a * sines;
    let mut y = Tensor::cat(vec![first, second], 1);
    if before > 0 {
        y = Tensor::cat(vec![kept, y], 3);
    }
    y.reshape([n, c, height, width])
}
