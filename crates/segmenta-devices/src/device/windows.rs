//! Maps in windows and squares, and attention within windows, to Burn.

use burn::tensor::{Device, Int, Tensor, TensorData, activation, ops::PadMode};

/// Filled up to whole windows, rolled, and parted.
pub(super) fn windows(x: Tensor<4>, side: usize, shift: usize) -> Tensor<4> {
    let [n, c, height, width] = x.dims();
    let [rows, columns] = [height, width].map(|pixels| pixels.div_ceil(side));
    let below_right = [(0, rows * side - height), (0, columns * side - width)];
    let x = rolled(x.pad(below_right, PadMode::Constant(0.0)), shift);
    let parted: Tensor<6> = x.reshape([n, c, rows, side, columns, side]);
    let parted = parted.swap_dims(3, 4);
    parted.reshape([n, c, rows, columns * side * side])
}

/// Windows as a map of that size.
pub(super) fn from_windows(
    x: Tensor<4>,
    side: usize,
    shift: usize,
    [height, width]: [usize; 2],
) -> Tensor<4> {
    let [n, c, rows, row] = x.dims();
    let columns = row / (side * side);
    let parted: Tensor<6> = x.reshape([n, c, rows, columns, side, side]);
    let map = parted
        .swap_dims(3, 4)
        .reshape([n, c, rows * side, columns * side]);
    let (back_down, back_right) = (rows * side - shift, columns * side - shift);
    let map = rolled_by(rolled_by(map, 2, back_down), 3, back_right);
    map.slice([0..n, 0..c, 0..height, 0..width])
}

/// Squares of pixels as pixels, their channels column by column.
pub(super) fn space_to_depth(x: Tensor<4>, side: usize) -> Tensor<4> {
    let [n, c, height, width] = x.dims();
    let [rows, columns] = [height, width].map(|pixels| pixels.div_ceil(side));
    let below_right = [(0, rows * side - height), (0, columns * side - width)];
    let x = x.pad(below_right, PadMode::Constant(0.0));
    let parted: Tensor<6> = x.reshape([n, c, rows, side, columns, side]);
    let parted = parted.permute([0, 5, 3, 1, 2, 4]);
    parted.reshape([n, side * side * c, rows, columns])
}

/// The inverse, all of it.
pub(super) fn depth_to_space(x: Tensor<4>, side: usize) -> Tensor<4> {
    let [n, c, rows, columns] = x.dims();
    let c = c / (side * side);
    let parted: Tensor<6> = x.reshape([n, side, side, c, rows, columns]);
    let parted = parted.permute([0, 3, 4, 2, 5, 1]);
    parted.reshape([n, c, rows * side, columns * side])
}

/// Up and to the left.
fn rolled(x: Tensor<4>, shift: usize) -> Tensor<4> {
    rolled_by(rolled_by(x, 2, shift), 3, shift)
}

fn rolled_by(x: Tensor<4>, axis: usize, by: usize) -> Tensor<4> {
    let length = x.dims()[axis];
    let by = by % length;
    if by == 0 {
        return x;
    }
    let (first, rest) = (
        x.clone().narrow(axis, 0, by),
        x.narrow(axis, by, length - by),
    );
    Tensor::cat(vec![rest, first], axis)
}

/// Each window's pixels attend to each other, with a bias by their distance.
pub(super) fn attention(
    [q, k, v]: [Tensor<4>; 3],
    table: Tensor<4>,
    token: Option<Tensor<4>>,
    [heads, shift]: [usize; 2],
) -> Tensor<4> {
    let [n, depth, rows, row] = q.dims();
    let channels = v.dims()[1];
    let device = q.device();
    let [_, _, table_rows, table_columns] = table.dims();
    let window = [table_rows, table_columns].map(|side| side.div_ceil(2));
    let lead = usize::from(token.is_some());
    let pixels = window[0] * window[1] + lead;
    let columns = row / pixels;
    let all = rows * columns;
    // N·heads × windows × pixels × channels of a head.
    let parted = |x: Tensor<4>| -> Tensor<4> {
        let of_head = x.dims()[1] / heads;
        let x: Tensor<4> = x.reshape([n * heads, of_head, all, pixels]);
        x.swap_dims(1, 2).swap_dims(2, 3)
    };
    let [q, k, v] = [q, k, v].map(parted);
    let scale = ((depth / heads) as f64).powf(-0.5);

    let entries = table_rows * table_columns;
    let mut table: Tensor<2> = table.narrow(0, 0, 1).reshape([heads, entries]);
    if let Some(token) = token {
        let token: Tensor<2> = token.narrow(0, 0, 1).reshape([heads, 3]);
        table = Tensor::cat(vec![table, token], 1);
    }
    let biases = table.select(1, places(window, lead, &device));
    let biases: Tensor<4> = biases.reshape([heads, 1, pixels, pixels]);
    let biases = biases.repeat_dim(0, n);
    let mut fits = (q * scale).matmul(k.transpose()) + biases;
    if shift > 0 {
        let apart = apart(window, [rows, columns], shift);
        let apart = TensorData::new(apart, [1, all, pixels, pixels]);
        fits = fits + Tensor::<4>::from_data(apart, &device).autodiff();
    }
    let means = activation::softmax(fits, 3).matmul(v);
    // N·heads × channels of a head × windows × pixels.
    let means = means.swap_dims(2, 3).swap_dims(1, 2);
    means.reshape([n, channels, rows, row])
}

/// Which entry of a table, or behind it of a class token's biases, each query and key has.
fn places([rows, columns]: [usize; 2], lead: usize, device: &Device) -> Tensor<1, Int> {
    let pixels = rows * columns + lead;
    let entries = (2 * rows - 1) * (2 * columns - 1);
    let place = |i: usize| {
        let (query, key) = (i / pixels, i % pixels);
        let entry = match (query.checked_sub(lead), key.checked_sub(lead)) {
            (None, None) => entries + 2,
            (None, Some(_)) => entries,
            (Some(_), None) => entries + 1,
            (Some(query), Some(key)) => {
                let y = query / columns + rows - 1 - key / columns;
                let x = query % columns + columns - 1 - key % columns;
                y * (2 * columns - 1) + x
            }
        };
        entry as i32
    };
    let places: Vec<i32> = (0..pixels * pixels).map(place).collect();
    Tensor::from_data(TensorData::new(places, [pixels * pixels]), device)
}

/// What the roll takes off, `[windows][query][key]`.
fn apart([rows, columns]: [usize; 2], grid: [usize; 2], shift: usize) -> Vec<f32> {
    let pixels = rows * columns;
    let region = |window: usize, pixel: usize| {
        let window = [window / grid[1], window % grid[1]];
        let place = [pixel / columns, pixel % columns];
        [0, 1].map(|axis| {
            window[axis] + 1 == grid[axis] && place[axis] + shift >= [rows, columns][axis]
        })
    };
    let pair = |i: usize| {
        let (window, query, key) = (i / pixels / pixels, i / pixels % pixels, i % pixels);
        let apart = region(window, query) != region(window, key);
        if apart { -100.0 } else { 0.0 }
    };
    (0..grid[0] * grid[1] * pixels * pixels).map(pair).collect()
}
