//! Attention, and maps as rows of tokens, to Burn.

use burn::tensor::{Tensor, activation};
use segmenta_kernels::SideMap;

use super::sides::Sides;

/// Each of `heads` runs of the queries' channels takes the means of values whose keys fit.
pub(super) fn attention([q, k, v]: [Tensor<4>; 3], heads: usize) -> Tensor<4> {
    let [n, depth, height, width] = q.dims();
    let channels = v.dims()[1];
    let scale = ((depth / heads) as f64).powf(-0.5);
    let [q, k, v] = [q, k, v].map(|x| rows(x, heads));
    let weights = activation::softmax((q * scale).matmul(k.transpose()), 3);
    let means = weights.matmul(v).swap_dims(2, 3);
    means.reshape([n, channels, height, width])
}

/// MA-Net's: one softmax for all pairs of a picture, the result `[pixel][channel]` read as
/// `[channel][pixel]`.
pub(super) fn position_attention([q, k, v]: [Tensor<4>; 3]) -> Tensor<4> {
    let [n, _, height, width] = q.dims();
    let (channels, pixels) = (v.dims()[1], height * width);
    let [q, k, v] = [q, k, v].map(|x| rows(x, 1));
    let fits = q.matmul(k.transpose()).reshape([n, pixels * pixels]);
    let weights = activation::softmax(fits, 1).reshape([n, 1, pixels, pixels]);
    weights.matmul(v).reshape([n, channels, height, width])
}

/// N × heads × pixels × channels of a head.
fn rows(x: Tensor<4>, heads: usize) -> Tensor<4> {
    let [n, c, height, width] = x.dims();
    x.reshape([n, heads, c / heads, height * width])
        .swap_dims(2, 3)
}

/// The pixels in one row after the class token, each with the embedding of its position.
pub(super) fn tokens(
    x: Tensor<4>,
    [token, positions]: [&Tensor<1>; 2],
    grid: [usize; 2],
    sides: &mut Sides,
) -> Tensor<4> {
    let [n, c, height, width] = x.dims();
    let cells = grid[0] * grid[1];
    let positions = positions.clone().reshape([1 + cells, c]).transpose();
    let positions = positions.reshape([1, c, 1, 1 + cells]);
    let class = positions.clone().narrow(3, 0, 1) + token.clone().reshape([1, c, 1, 1]);
    let mut others = positions.narrow(3, 1, cells);
    if [height, width] != grid {
        let map = others.reshape([1, c, grid[0], grid[1]]);
        others = sides.apply(map, [SideMap::Cubic; 2], [height, width]);
    }
    let pixels = height * width;
    let row = x.reshape([n, c, 1, pixels]) + others.reshape([1, c, 1, pixels]);
    Tensor::cat(vec![class.repeat_dim(0, n), row], 3)
}

/// The row without its first token, as a map.
pub(super) fn patches(x: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [n, c, _, length] = x.dims();
    x.narrow(3, 1, length - 1).reshape([n, c, height, width])
}
