//! The same operations on planar maps, written to be obviously right: sums in f64, one loop an index. What the fast
//! paths are tested against: what is summed comes with its magnitude ([`Measured`]), of which each value may be off
//! by a share.

pub mod backward;
mod measured;

pub use measured::Measured;
#[cfg(test)]
pub(crate) use measured::{SHARE, assert_close};

use crate::conv::{ConvSpec, Kernel2d, TransposedSpec};
use crate::map::MapShape;
use crate::pool::PoolWindow;

/// Convolution of a planar batch, plus bias.
///
/// # Panics
/// If the window does not fit the padded input.
pub fn convolution(
    spec: &ConvSpec,
    kernel: Kernel2d<'_>,
    input: &[f32],
    shape: MapShape,
) -> (Vec<Measured>, MapShape) {
    let out = spec.output(shape).expect("a window that fits");
    let (ins, outs) = (
        spec.in_channels / spec.groups,
        spec.out_channels / spec.groups,
    );
    let at = |n: usize, c: usize, y: isize, x: isize| {
        let inside =
            (0..shape.height as isize).contains(&y) && (0..shape.width as isize).contains(&x);
        if !inside {
            return Measured::default();
        }
        let index =
            ((n * shape.channels + c) * shape.height + y as usize) * shape.width + x as usize;
        Measured::from(input[index])
    };
    let [kh, kw] = spec.kernel;
    let mut values = Vec::with_capacity(out.batch * out.planar_len());
    for (n, o) in (0..out.batch).flat_map(|n| (0..out.channels).map(move |o| (n, o))) {
        for (oy, ox) in (0..out.height).flat_map(|y| (0..out.width).map(move |x| (y, x))) {
            let mut sum = kernel
                .bias
                .get(o)
                .copied()
                .map(Measured::from)
                .unwrap_or_default();
            for c in 0..ins {
                for (ky, kx) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
                    let y = (oy * spec.stride[0] + ky * spec.dilation[0]) as isize
                        - spec.padding[0] as isize;
                    let x = (ox * spec.stride[1] + kx * spec.dilation[1]) as isize
                        - spec.padding[1] as isize;
                    let weight = kernel.weights[((o * ins + c) * kh + ky) * kw + kx];
                    sum += Measured::from(weight) * at(n, o / outs * ins + c, y, x);
                }
            }
            values.push(sum);
        }
    }
    (values, out)
}

/// Transposed convolution of a planar batch, plus bias: each input pixel is added to all that it
/// reaches. The kernel is `[in, out / groups, height, width]`.
///
/// # Panics
/// If nothing is left by the padding.
pub fn transposed_convolution(
    spec: &TransposedSpec,
    kernel: Kernel2d<'_>,
    input: &[f32],
    shape: MapShape,
) -> (Vec<Measured>, MapShape) {
    let out = spec.output(shape).expect("an output");
    let (ins, outs) = (
        spec.in_channels / spec.groups,
        spec.out_channels / spec.groups,
    );
    let [kh, kw] = spec.kernel;
    let mut sums = Vec::new();
    for o in (0..out.batch).flat_map(|_| 0..out.channels) {
        let bias = kernel
            .bias
            .get(o)
            .copied()
            .map(Measured::from)
            .unwrap_or_default();
        sums.extend(vec![bias; out.pixels()]);
    }
    for (n, c) in pixels(shape.batch, shape.channels) {
        let plane = &input[(n * shape.channels + c) * shape.pixels()..][..shape.pixels()];
        for (o, (y, x)) in
            (0..outs).flat_map(|o| pixels(shape.height, shape.width).map(move |p| (o, p)))
        {
            let to = (n * out.channels + c / ins * outs + o) * out.pixels();
            for (ky, kx) in pixels(kh, kw) {
                let oy = (y * spec.stride[0] + ky * spec.dilation[0]).wrapping_sub(spec.padding[0]);
                let ox = (x * spec.stride[1] + kx * spec.dilation[1]).wrapping_sub(spec.padding[1]);
                if oy < out.height && ox < out.width {
                    let weight = kernel.weights[((c * outs + o) * kh + ky) * kw + kx];
                    sums[to + oy * out.width + ox] +=
                        Measured::from(weight) * Measured::from(plane[y * shape.width + x]);
                }
            }
        }
    }
    (sums, out)
}

/// Maximum over a moving window of a planar batch, and its `row · width + column` in the plane.
///
/// # Panics
/// If the window does not fit the padded input.
pub fn max_pool_with_indices(
    window: impl Into<PoolWindow>,
    input: &[f32],
    shape: MapShape,
) -> (Vec<f32>, Vec<u32>) {
    let window = window.into();
    let out = window.output(shape).expect("a window that fits");
    let (mut values, mut indices) = (Vec::new(), Vec::new());
    for plane in input.chunks_exact(shape.pixels()) {
        for (oy, ox) in pixels(out.height, out.width) {
            let (mut largest, mut found) = (f32::NEG_INFINITY, None);
            for (ky, kx) in pixels(window.kernel[0], window.kernel[1]) {
                let y = (oy * window.stride[0] + ky * window.dilation[0])
                    .wrapping_sub(window.padding[0]);
                let x = (ox * window.stride[1] + kx * window.dilation[1])
                    .wrapping_sub(window.padding[1]);
                if y < shape.height && x < shape.width {
                    let (value, index) = (plane[y * shape.width + x], y * shape.width + x);
                    if value > largest || value.is_nan() || found.is_none() {
                        (largest, found) = (value, Some(index as u32));
                    }
                }
            }
            values.push(largest);
            indices.push(found.unwrap_or(0));
        }
    }
    (values, indices)
}

/// Values of planes of `from` (height, width) put to their indices in planes of `to`.
pub fn max_unpool(input: &[f32], indices: &[u32], from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let (from, to) = (from[0] * from[1], to[0] * to[1]);
    let mut values = vec![0.0; input.len() / from * to];
    for (i, (&value, &index)) in input.iter().zip(indices).enumerate() {
        values[i / from * to + index as usize] = value;
    }
    values
}

/// Mean over a moving window of a planar batch.
///
/// # Panics
/// If the window does not fit the padded input.
pub fn avg_pool(
    window: impl Into<PoolWindow>,
    count_include_pad: bool,
    input: &[f32],
    shape: MapShape,
) -> Vec<Measured> {
    let window = window.into();
    let out = window.output(shape).expect("a window that fits");
    let mut values = Vec::with_capacity(out.batch * out.planar_len());
    for plane in input.chunks_exact(shape.pixels()) {
        for (oy, ox) in pixels(out.height, out.width) {
            let (mut sum, mut inside, mut padded) = (Measured::default(), 0, 0);
            for (ky, kx) in pixels(window.kernel[0], window.kernel[1]) {
                let (y, x) = (oy * window.stride[0] + ky, ox * window.stride[1] + kx);
                let [py, px] = window.padding;
                padded += usize::from(y < shape.height + 2 * py && x < shape.width + 2 * px);
                let (y, x) = (y.wrapping_sub(py), x.wrapping_sub(px));
                if y < shape.height && x < shape.width {
                    sum += Measured::from(plane[y * shape.width + x]);
                    inside += 1;
                }
            }
            let count = if count_include_pad { padded } else { inside };
            values.push(sum / Measured::new(count as f64));
        }
    }
    values
}

/// Means over a grid of `to` windows of planes of `from` (height, width).
pub fn adaptive_avg_pool(input: &[f32], from: [usize; 2], to: [usize; 2]) -> Vec<Measured> {
    let window = |i: usize, axis: usize| {
        // A quotient of whole numbers that is whole is met exactly.
        let at = |i: usize| (i * from[axis]) as f64 / to[axis] as f64;
        at(i).floor() as usize..at(i + 1).ceil() as usize
    };
    let mut values = Vec::new();
    for plane in input.chunks_exact(from[0] * from[1]) {
        for (oy, ox) in pixels(to[0], to[1]) {
            let (mut sum, mut count) = (Measured::default(), 0);
            for y in window(oy, 0) {
                for x in window(ox, 1) {
                    sum += Measured::from(plane[y * from[1] + x]);
                    count += 1;
                }
            }
            values.push(sum / Measured::new(count as f64));
        }
    }
    values
}

/// Rows and columns of a map, in its order.
fn pixels(height: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..height).flat_map(move |y| (0..width).map(move |x| (y, x)))
}

/// Bilinear resize of planes of `from` (height, width) to `to`.
pub fn resize_bilinear(
    input: &[f32],
    from: [usize; 2],
    to: [usize; 2],
    align_corners: bool,
) -> Vec<Measured> {
    let position = |i: usize, axis: usize| {
        let (from, to) = (from[axis] as f64, to[axis] as f64);
        let position = if align_corners {
            i as f64
                * if to > 1.0 {
                    (from - 1.0) / (to - 1.0)
                } else {
                    0.0
                }
        } else {
            ((i as f64 + 0.5) * from / to - 0.5).max(0.0)
        };
        let low = (position as usize).min(from as usize - 1);
        (low, (low + 1).min(from as usize - 1), position - low as f64)
    };
    let mut values = Vec::new();
    for plane in input.chunks_exact(from[0] * from[1]) {
        let at = |y: usize, x: usize| Measured::from(plane[y * from[1] + x]);
        // A position, whose fraction is what is left of it, is rounded as a whole.
        let mix = |a: Measured, b: Measured, (low, fraction): (usize, f64)| {
            let position = low as f64 + 1.0;
            let [near, far] =
                [1.0 - fraction, fraction].map(|part| Measured::new(part).at_least(position));
            a * near + b * far
        };
        for y in 0..to[0] {
            let (y0, y1, fy) = position(y, 0);
            for x in 0..to[1] {
                let (x0, x1, fx) = position(x, 1);
                let top = mix(at(y0, x0), at(y0, x1), (x0, fx));
                let bottom = mix(at(y1, x0), at(y1, x1), (x0, fx));
                values.push(mix(top, bottom, (y0, fy)));
            }
        }
    }
    values
}

/// Nearest resize of planes of `from` (height, width) to `to`.
pub fn resize_nearest(input: &[f32], from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let source = |i: usize, axis: usize| {
        let scale = from[axis] as f32 / to[axis] as f32;
        ((i as f32 * scale).floor() as usize).min(from[axis] - 1)
    };
    let planes = input.chunks_exact(from[0] * from[1]);
    planes
        .flat_map(|plane| {
            pixels(to[0], to[1]).map(|(y, x)| plane[source(y, 0) * from[1] + source(x, 1)])
        })
        .collect()
}

/// Norm of groups of values of a planar batch, scaled and shifted: for each value `group` says which group it
/// belongs to and `affine` its scale and shift.
pub fn normalise(
    x: &[f32],
    group: impl Fn(usize) -> usize,
    eps: f32,
    affine: impl Fn(usize) -> [f32; 2],
) -> Vec<Measured> {
    let standard = Standard::new(x, &group, eps);
    let values = (0..x.len()).map(|i| {
        let [scale, shift] = affine(i).map(Measured::from);
        standard.value(i) * scale + shift
    });
    values.collect()
}

/// Groups of values brought to mean 0 and variance 1.
struct Standard {
    /// For each group, which values are in it.
    members: Vec<Vec<usize>>,
    /// For each value its difference to its group's mean, and one over the group's deviation.
    values: Vec<[Measured; 2]>,
}

impl Standard {
    fn new(x: &[f32], group: impl Fn(usize) -> usize, eps: f32) -> Self {
        let groups = (0..x.len()).map(&group).max().map_or(0, |last| last + 1);
        let mut members = vec![Vec::new(); groups];
        (0..x.len()).for_each(|i| members[group(i)].push(i));
        let mut values = vec![[Measured::default(); 2]; x.len()];
        for members in &members {
            let count = Measured::new(members.len() as f64);
            let mean = members
                .iter()
                .map(|&i| Measured::from(x[i]))
                .sum::<Measured>()
                / count;
            let apart = |&i: &usize| Measured::from(x[i]) - mean;
            let squares: Measured = members.iter().map(apart).map(|d| d * d).sum();
            let variance = squares / count + Measured::from(eps);
            let inverse = variance.map(|v| 1.0 / v.max(f64::from(eps)).sqrt());
            for &i in members {
                values[i] = [apart(&i), inverse];
            }
        }
        Self { members, values }
    }

    fn value(&self, i: usize) -> Measured {
        let [apart, inverse] = self.values[i];
        apart * inverse
    }
}

/// The channels of a map, `[channels][pixels]`, times the pixels of a row, `[channels][rows]`: `[rows][pixels]`.
pub fn product(x: &[f32], row: &[f32], channels: usize) -> Vec<Measured> {
    let (to, rows) = (x.len() / channels, row.len() / channels);
    let of = |map: &[f32], at: usize| Measured::from(map[at]);
    pixels(rows, to)
        .map(|(n, p)| {
            (0..channels)
                .map(|k| of(row, k * rows + n) * of(x, k * to + p))
                .sum()
        })
        .collect()
}

/// Scaled dot products of each query with all keys, as weights of the values: maps are
/// `[channels][pixels]` of one picture and one head. `over_all` takes the softmax over all pairs instead of
/// each query's.
pub fn attention(
    [queries, keys, values]: [&[f32]; 3],
    channels: usize,
    scale: f64,
    over_all: bool,
) -> Vec<Measured> {
    let to = keys.len() / channels;
    let (from, weights) = (
        queries.len() / channels,
        attention_weights([queries, keys], channels, scale, over_all, &[]),
    );
    pixels(values.len() / to, from)
        .map(|(c, q)| {
            (0..to)
                .map(|k| weights[q * to + k] * Measured::from(values[c * to + k]))
                .sum()
        })
        .collect()
}

/// The same for the pixels of one window, with a bias for each query and key, `[queries][keys]`.
pub fn biased_attention(
    [queries, keys, values]: [&[f32]; 3],
    channels: usize,
    scale: f64,
    biases: &[f32],
) -> Vec<Measured> {
    let to = keys.len() / channels;
    let weights = attention_weights([queries, keys], channels, scale, false, biases);
    pixels(values.len() / to, queries.len() / channels)
        .map(|(c, q)| {
            (0..to)
                .map(|k| weights[q * to + k] * Measured::from(values[c * to + k]))
                .sum()
        })
        .collect()
}

/// What each query weighs each key with, `[queries][keys]`.
fn attention_weights(
    [queries, keys]: [&[f32]; 2],
    channels: usize,
    scale: f64,
    over_all: bool,
    biases: &[f32],
) -> Vec<Measured> {
    let (from, to) = (queries.len() / channels, keys.len() / channels);
    let mut weights: Vec<Measured> = pixels(from, to)
        .map(|(q, k)| {
            let [query, key] = [(queries, from, q), (keys, to, k)];
            let of = |(map, pixels, at): (&[f32], usize, usize), c: usize| {
                Measured::from(map[c * pixels + at])
            };
            let product = |c: usize| of(query, c) * of(key, c);
            let bias = biases.get(q * to + k).copied().unwrap_or_default();
            let product = Measured::new(scale) * (0..channels).map(product).sum::<Measured>();
            product + Measured::from(bias)
        })
        .collect();
    let each = if over_all { from * to } else { to };
    for weights in weights.chunks_exact_mut(each) {
        let largest = weights
            .iter()
            .copied()
            .reduce(|a, b| if b.value > a.value { b } else { a });
        let largest = largest.unwrap_or_default();
        weights
            .iter_mut()
            .for_each(|w| *w = (*w - largest).map(f64::exp));
        let sum: Measured = weights.iter().copied().sum();
        weights.iter_mut().for_each(|w| *w = *w / sum);
    }
    weights
}

/// Softmax over the channels of a planar batch.
pub fn softmax(input: &[f32], shape: MapShape) -> Vec<f32> {
    let mut values = vec![0.0; input.len()];
    for image in 0..shape.batch {
        for pixel in 0..shape.pixels() {
            let at = |c: usize| image * shape.planar_len() + c * shape.pixels() + pixel;
            let x = |c: usize| f64::from(input[at(c)]);
            let largest = (0..shape.channels).map(x).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = (0..shape.channels).map(|c| (x(c) - largest).exp()).sum();
            for c in 0..shape.channels {
                values[at(c)] = ((x(c) - largest).exp() / sum) as f32;
            }
        }
    }
    values
}
