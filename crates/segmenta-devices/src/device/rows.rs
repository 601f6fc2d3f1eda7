//! Maps as rows of pixels, to Burn.

use burn::tensor::Tensor;
use segmenta_graph::Shape;

/// The pixels in one row.
pub(super) fn row(x: Tensor<4>) -> Tensor<4> {
    let [n, c, height, width] = x.dims();
    x.reshape([n, c, 1, height * width])
}

/// A parameter `[pixels][channels]` as each picture's map.
pub(super) fn table(values: &Tensor<1>, to: Shape) -> Tensor<4> {
    let by_pixel: Tensor<2> = values.clone().reshape([to.pixels(), to.channels]);
    let map = by_pixel
        .transpose()
        .reshape([1, to.channels, to.height, to.width]);
    map.repeat_dim(0, to.batch)
}

/// Pixels from `first` on, as a map.
pub(super) fn part(x: Tensor<4>, first: usize, [height, width]: [usize; 2]) -> Tensor<4> {
    let [n, c, ..] = x.dims();
    let run = row(x).narrow(3, first, height * width);
    run.reshape([n, c, height, width])
}

/// Each pixel's channels times the pixels of a row.
pub(super) fn product(x: Tensor<4>, matrix: Tensor<4>) -> Tensor<4> {
    let [n, _, height, width] = x.dims();
    let by_pixel = row(matrix).swap_dims(1, 2).swap_dims(2, 3);
    let rows = by_pixel.dims()[2];
    let y = by_pixel.matmul(row(x).swap_dims(1, 2));
    y.reshape([n, rows, height, width])
}
