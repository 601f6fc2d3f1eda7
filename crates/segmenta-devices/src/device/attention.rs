//! Attention, and maps as rows of tokens, to Burn.

use burn::tensor::ops::PadMode;
use burn::tensor::{Int, Tensor, TensorData, activation};
use segmenta_kernels::SideMap;

use super::sides::Sides;

/// Each of `heads` runs of the queries' channels takes the means of values whose keys fit.
pub(super) fn attention([q, k, v]: [Tensor<4>; 3], heads: usize) -> Tensor<4> {
    attend([q, k, v], heads, |fits| fits)
}

/// The same, where queries do not see keys at which the mask is below zero: it has a channel for each of the first
/// queries and a pixel for each of the last keys.
pub(super) fn masked_attention(maps: [Tensor<4>; 3], mask: Tensor<4>, heads: usize) -> Tensor<4> {
    let [n, masked, height, width] = mask.dims();
    let hidden = mask.reshape([n, 1, masked, height * width]);
    let hidden = hidden.lower_elem(0.0).float();
    attend(maps, heads, |fits| {
        let [_, _, queries, keys] = fits.dims();
        // 1 where a key is hidden, but in rows that would see nothing.
        let mut hidden = hidden;
        if keys == height * width {
            let all = hidden.clone().min_dim(3);
            hidden = hidden * (all * -1.0 + 1.0);
        }
        let around = [(0, queries - masked), (keys - height * width, 0)];
        let hidden = hidden.pad(around, PadMode::Constant(0.0));
        fits.mask_fill(hidden.greater_elem(0.5), f32::NEG_INFINITY)
    })
}

fn attend(
    [q, k, v]: [Tensor<4>; 3],
    heads: usize,
    hide: impl FnOnce(Tensor<4>) -> Tensor<4>,
) -> Tensor<4> {
    let [n, depth, height, width] = q.dims();
    let channels = v.dims()[1];
    let scale = ((depth / heads) as f64).powf(-0.5);
    let [q, k, v] = [q, k, v].map(|x| rows(x, heads));
    let fits = hide((q * scale).matmul(k.transpose()));
    let weights = activation::softmax(fits, 3);
    let means = weights.matmul(v).swap_dims(2, 3);
    means.reshape([n, channels, height, width])
}

/// Deformable attention over maps of these sizes, whose pixels lie in one row. Of each point its four corners are
/// gathered; a place's fraction is what the gradient of offsets goes through.
pub(super) fn deformable(
    [values, offsets, logits]: [Tensor<4>; 3],
    heads: usize,
    points: usize,
    maps: &[[usize; 2]],
) -> Tensor<4> {
    let [n, channels, height, width] = values.dims();
    let (tokens, depth, each) = (height * width, channels / heads, maps.len() * points);
    let (all, device) = (n * heads, values.device());
    let weights = activation::softmax(logits.reshape([all, each, tokens, 1]), 1);
    let offsets = offsets.reshape([all, each * 2, tokens, 1]);
    let values: Tensor<3> = values.reshape([all, depth, tokens]);
    let centre = |at: usize, side: usize| (at as f32 + 0.5) / side as f32;
    let mut places = [Vec::new(), Vec::new()];
    for &[rows, columns] in maps {
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            places[0].push(centre(x, columns));
            places[1].push(centre(y, rows));
        }
    }
    let places = places.map(|values| -> Tensor<2> {
        Tensor::from_data(TensorData::new(values, [1, tokens]), &device).autodiff()
    });
    let (mut sum, mut before) = (None, 0);
    for (map, &[rows, columns]) in maps.iter().enumerate() {
        for point in 0..points {
            let i = map * points + point;
            let at = [columns, rows].map(|side| side as f64);
            let at = [0, 1].map(|axis| {
                let offset = offsets.clone().narrow(1, 2 * i + axis, 1);
                let offset: Tensor<2> = offset.reshape([all, tokens]);
                places[axis].clone() * at[axis] + offset - 0.5
            });
            let low = [0, 1].map(|axis| at[axis].clone().detach().floor());
            let part = [0, 1].map(|axis| at[axis].clone() - low[axis].clone());
            let weight: Tensor<2> = weights.clone().narrow(1, i, 1).reshape([all, tokens]);
            for [right, down] in [[0, 0], [1, 0], [0, 1], [1, 1]] {
                let [x, y] =
                    [(0, right), (1, down)].map(|(axis, by)| low[axis].clone() + f64::from(by));
                let share = |axis: usize, far: i32| {
                    let part = part[axis].clone();
                    if far == 1 { part } else { part * -1.0 + 1.0 }
                };
                let inside = |at: &Tensor<2>, side: usize| {
                    let from = at.clone().greater_equal_elem(0.0).float();
                    from * at.clone().lower_elem(side as f64).float()
                };
                let there = inside(&x, columns) * inside(&y, rows);
                let factor = share(0, right) * share(1, down) * weight.clone() * there;
                let index = y.clamp(0.0, (rows - 1) as f64) * columns as f64
                    + x.clamp(0.0, (columns - 1) as f64)
                    + before as f64;
                let index: Tensor<3, Int> = index.int().reshape([all, 1, tokens]);
                let from = values.clone().gather(2, index.repeat_dim(1, depth));
                let term = from * factor.reshape([all, 1, tokens]);
                sum = Some(match sum {
                    None => term,
                    Some(sum) => sum + term,
                });
            }
        }
        before += rows * columns;
    }
    let sum = sum.unwrap_or(values);
    sum.reshape([n, channels, height, width])
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
