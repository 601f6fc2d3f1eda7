//! Gradients on planar maps, in f64: each is the sum that its definition says, term by term.

use super::{Measured, Standard, attention_weights};
use crate::activation::{Activation, normal};
use crate::conv::ConvSpec;
use crate::map::MapShape;

/// What a convolution's input, weights and bias add to a loss.
#[derive(Clone, Debug)]
pub struct ConvGradients {
    /// As the input.
    pub input: Vec<Measured>,
    /// `[out, in / groups, height, width]`.
    pub weights: Vec<Measured>,
    /// `[out]`.
    pub bias: Vec<Measured>,
}

/// Gradients of a convolution of a planar batch whose output has the gradient `dy`.
///
/// # Panics
/// If the window does not fit the padded input.
pub fn convolution(
    spec: &ConvSpec,
    weights: &[f32],
    x: &[f32],
    shape: MapShape,
    dy: &[f32],
) -> ConvGradients {
    let out = spec.output(shape).expect("a window that fits");
    let (ins, outs) = (
        spec.in_channels / spec.groups,
        spec.out_channels / spec.groups,
    );
    let [kh, kw] = spec.kernel;
    let mut all = ConvGradients {
        input: vec![Measured::default(); x.len()],
        weights: vec![Measured::default(); weights.len()],
        bias: vec![Measured::default(); spec.out_channels],
    };
    for (i, &dy) in dy.iter().enumerate() {
        let (rest, ox) = (i / out.width, i % out.width);
        let (rest, oy) = (rest / out.height, rest % out.height);
        let (n, o) = (rest / out.channels, rest % out.channels);
        let dy = Measured::from(dy);
        all.bias[o] += dy;
        for c in 0..ins {
            for (ky, kx) in (0..kh).flat_map(|y| (0..kw).map(move |x| (y, x))) {
                let y = oy * spec.stride[0] + ky * spec.dilation[0];
                let x_at = ox * spec.stride[1] + kx * spec.dilation[1];
                let y = y.wrapping_sub(spec.padding[0]);
                let x_at = x_at.wrapping_sub(spec.padding[1]);
                if y < shape.height && x_at < shape.width {
                    let plane = n * shape.channels + o / outs * ins + c;
                    let pixel = (plane * shape.height + y) * shape.width + x_at;
                    let weight = ((o * ins + c) * kh + ky) * kw + kx;
                    all.weights[weight] += dy * Measured::from(x[pixel]);
                    all.input[pixel] += dy * Measured::from(weights[weight]);
                }
            }
        }
    }
    all
}

/// A non-linearity in f64.
pub fn activation(activation: Activation, x: f64) -> f64 {
    let gate = |x: f64| (x + 3.0).clamp(0.0, 6.0) / 6.0;
    match activation {
        Activation::None => x,
        Activation::Relu => x.clamp(0.0, f64::INFINITY),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::Hardswish => x * gate(x),
        Activation::Hardsigmoid => gate(x),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => x * normal(x),
        Activation::Tanh => x.tanh(),
    }
}

/// Its derivative; at the ends of a clamp, PyTorch's choice.
pub fn derivative(activation: Activation, x: f64) -> f64 {
    let inside = |low: f64, high: f64| f64::from(u8::from(low < x && x < high));
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::None => 1.0,
        Activation::Relu => inside(0.0, f64::INFINITY),
        Activation::Relu6 => inside(0.0, 6.0),
        Activation::Hardswish if x >= 3.0 => 1.0,
        Activation::Hardswish => inside(-3.0, 3.0) * (x / 3.0 + 0.5),
        Activation::Hardsigmoid => inside(-3.0, 3.0) / 6.0,
        Activation::Sigmoid => sigmoid * (1.0 - sigmoid),
        Activation::Silu => sigmoid * (1.0 + x * (1.0 - sigmoid)),
        Activation::Gelu => {
            let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            normal(x) + x * density
        }
        Activation::Tanh => 1.0 - x.tanh().powi(2),
    }
}

/// The largest of the terms that a derivative is the difference of, or that it has the rounding of: what its error is
/// relative to, where the terms cancel (`y − y²` of a sigmoid that is nearly 1).
fn derivative_terms(activation: Activation, x: f64) -> f64 {
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::None | Activation::Relu | Activation::Relu6 | Activation::Hardsigmoid => 0.0,
        Activation::Hardswish => x.abs() / 3.0 + 0.5,
        Activation::Sigmoid => sigmoid,
        Activation::Silu => sigmoid * (1.0 + x.abs()),
        Activation::Gelu => 1.0 + x.abs(),
        Activation::Tanh => 1.0,
    }
}

/// What a batch norm in training gives, and its gradients.
#[derive(Clone, Debug)]
pub struct BatchNormGradients {
    /// `activation(scale · (x − mean) / √(variance + ε) + shift)`.
    pub output: Vec<Measured>,
    /// Mean of each channel.
    pub mean: Vec<Measured>,
    /// Biased variance of each channel.
    pub variance: Vec<Measured>,
    /// Gradient of the input.
    pub input: Vec<Measured>,
    /// Gradient of the scale.
    pub scale: Vec<Measured>,
    /// Gradient of the shift.
    pub shift: Vec<Measured>,
}

/// Batch norm of a planar batch in training, with the non-linearity after it, and the gradients for
/// the gradient `dy` of its output. `fixed` statistics (mean and variance) make it that of evaluation.
pub fn batch_norm(
    x: &[f64],
    shape: MapShape,
    affine: [&[f32]; 2],
    epsilon: f32,
    after: Activation,
    fixed: Option<[&[f64]; 2]>,
    dy: &[f64],
) -> BatchNormGradients {
    let (zeros, one_each) = (
        vec![Measured::default(); x.len()],
        vec![Measured::default(); shape.channels],
    );
    let mut all = BatchNormGradients {
        output: zeros.clone(),
        mean: one_each.clone(),
        variance: one_each.clone(),
        input: zeros,
        scale: one_each.clone(),
        shift: one_each,
    };
    let count = Measured::new((shape.batch * shape.pixels()) as f64);
    for c in 0..shape.channels {
        let of_channel = |i: &usize| i / shape.pixels() % shape.channels == c;
        let pixels: Vec<usize> = (0..x.len()).filter(of_channel).collect();
        let mean =
            |f: &dyn Fn(usize) -> Measured| pixels.iter().map(|&i| f(i)).sum::<Measured>() / count;
        let [given_mean, given_variance] =
            [0, 1].map(|which| fixed.map(|f| Measured::new(f[which][c])));
        let centre = given_mean.unwrap_or_else(|| mean(&|i| Measured::new(x[i])));
        let variance = given_variance.unwrap_or_else(|| {
            // About means that were found first: their rounding is taken out again.
            mean(&|i| Measured::new((x[i] - centre.value).powi(2)))
        });
        let inverse = (variance + Measured::from(epsilon)).map(|v| 1.0 / v.sqrt());
        let [scale, shift] = affine.map(|values| Measured::from(values[c]));
        let hat = |i: usize| (Measured::new(x[i]) - centre) * inverse;
        let z = |i: usize| scale * hat(i) + shift;
        // Each term has the error of a non-linearity of its own.
        let slope = |z: Measured| {
            let terms = derivative_terms(after, z.value);
            z.map(|z| derivative(after, z)).at_least(2.0 * terms)
        };
        let dz = |i: usize| Measured::new(dy[i]) * slope(z(i));
        let [of_shift, of_scale] = [mean(&dz), mean(&|i| dz(i) * hat(i))];
        for &i in &pixels {
            all.output[i] = z(i).map(|z| activation(after, z));
            let moved = of_shift + hat(i) * of_scale;
            let moved = if fixed.is_some() {
                Measured::default()
            } else {
                moved
            };
            all.input[i] = scale * inverse * (dz(i) - moved);
        }
        (all.mean[c], all.variance[c]) = (centre, variance);
        (all.scale[c], all.shift[c]) = (of_scale * count, of_shift * count);
    }
    all
}

/// Gradients of a norm of groups of values.
#[derive(Clone, Debug)]
pub struct NormGradients {
    /// As the input.
    pub input: Vec<Measured>,
    /// One a channel.
    pub scale: Vec<Measured>,
    /// One a channel.
    pub shift: Vec<Measured>,
}

/// Gradients of [`normalise`](super::normalise), whose output has the gradient `dy`: for each value `group`
/// says which group it belongs to and `channel` which of the scales is its own.
pub fn normalise(
    x: &[f32],
    group: impl Fn(usize) -> usize,
    eps: f32,
    channel: impl Fn(usize) -> usize,
    scale: &[f32],
    dy: &[f32],
) -> NormGradients {
    let standard = Standard::new(x, group, eps);
    let mut all = NormGradients {
        input: vec![Measured::default(); x.len()],
        scale: vec![Measured::default(); scale.len()],
        shift: vec![Measured::default(); scale.len()],
    };
    for members in &standard.members {
        let count = Measured::new(members.len() as f64);
        let mean =
            |f: &dyn Fn(usize) -> Measured| members.iter().map(|&i| f(i)).sum::<Measured>() / count;
        let dy = |i: usize| Measured::from(dy[i]);
        let hat = |i: usize| standard.value(i);
        let g = |i: usize| dy(i) * Measured::from(scale[channel(i)]);
        let (along, across) = (mean(&g), mean(&|i| g(i) * hat(i)));
        for &i in members {
            let [_, inverse] = standard.values[i];
            all.input[i] = inverse * (g(i) - along - hat(i) * across);
            all.scale[channel(i)] += dy(i) * hat(i);
            all.shift[channel(i)] += dy(i);
        }
    }
    all
}

/// Gradients of the map and the row of [`product`](super::product), whose output has the gradient `dy`.
pub fn product(x: &[f32], row: &[f32], channels: usize, dy: &[f32]) -> [Vec<Measured>; 2] {
    let (pixels, rows) = (x.len() / channels, row.len() / channels);
    let of = |map: &[f32], at: usize| Measured::from(map[at]);
    let dx = (0..channels * pixels).map(|i| {
        let (k, p) = (i / pixels, i % pixels);
        (0..rows)
            .map(|n| of(row, k * rows + n) * of(dy, n * pixels + p))
            .sum()
    });
    let drow = (0..channels * rows).map(|i| {
        let (k, n) = (i / rows, i % rows);
        (0..pixels)
            .map(|p| of(dy, n * pixels + p) * of(x, k * pixels + p))
            .sum()
    });
    [dx.collect(), drow.collect()]
}

/// Gradients of the queries, keys and values of [`attention`](super::attention), `[channels][pixels]`
/// each, whose output has the gradient `dy`.
pub fn attention(
    maps: [&[f32]; 3],
    channels: usize,
    scale: f64,
    over_all: bool,
    dy: &[f32],
) -> [Vec<Measured>; 3] {
    attention_slopes(maps, channels, scale, over_all, &[], dy).0
}

/// Gradients of the queries, keys and values of [`biased_attention`](super::biased_attention), and of its biases.
pub fn biased_attention(
    maps: [&[f32]; 3],
    channels: usize,
    scale: f64,
    biases: &[f32],
    dy: &[f32],
) -> ([Vec<Measured>; 3], Vec<Measured>) {
    attention_slopes(maps, channels, scale, false, biases, dy)
}

/// Of queries, keys and values; and of what the softmax is taken of, `[queries][keys]`.
fn attention_slopes(
    [queries, keys, values]: [&[f32]; 3],
    channels: usize,
    scale: f64,
    over_all: bool,
    biases: &[f32],
    dy: &[f32],
) -> ([Vec<Measured>; 3], Vec<Measured>) {
    let (from, to) = (queries.len() / channels, keys.len() / channels);
    let weights = attention_weights([queries, keys], channels, scale, over_all, biases);
    let weight = |q: usize, k: usize| weights[q * to + k];
    let width = values.len() / to;
    let of = |map: &[f32], at: usize| Measured::from(map[at]);
    // The gradient of a weight.
    let slope_of: Vec<Measured> = (0..from * to)
        .map(|i| {
            let (q, k) = (i / to, i % to);
            (0..width)
                .map(|c| of(dy, c * from + q) * of(values, c * to + k))
                .sum()
        })
        .collect();
    let dot = |q: usize| -> Measured { (0..to).map(|k| weight(q, k) * slope_of[q * to + k]).sum() };
    let dots: Vec<Measured> = (0..from).map(dot).collect();
    let total: Measured = dots.iter().copied().sum();
    let mut gradients = [queries, keys, values].map(|map| vec![Measured::default(); map.len()]);
    let mut slopes = Vec::with_capacity(from * to);
    for q in 0..from {
        let dot = if over_all { total } else { dots[q] };
        for k in 0..to {
            let slope = weight(q, k) * (slope_of[q * to + k] - dot);
            slopes.push(slope);
            let slope = slope * Measured::new(scale);
            for c in 0..channels {
                gradients[0][c * from + q] += slope * of(keys, c * to + k);
                gradients[1][c * to + k] += slope * of(queries, c * from + q);
            }
            for c in 0..width {
                gradients[2][c * to + k] += weight(q, k) * of(dy, c * from + q);
            }
        }
    }
    (gradients, slopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(len: usize, seed: u32) -> Vec<f32> {
        let unit = |i: usize| (i as u32 ^ seed).wrapping_mul(0x9E37_79B9) as f32 / u32::MAX as f32;
        (0..len).map(|i| unit(i) * 2.0 - 1.0).collect()
    }

    /// The slope of `Σ y · dy` where one value moves, by differences.
    fn by_differences(x: &[f32], at: usize, sum: impl Fn(&[f32]) -> f64) -> f64 {
        let moved = |by: f32| {
            let mut x = x.to_vec();
            x[at] += by;
            (f64::from(x[at]), sum(&x))
        };
        let ((low, below), (high, above)) = (moved(-1e-3), moved(1e-3));
        (above - below) / (high - low)
    }

    #[test]
    fn attention_is_the_slope_of_differences() {
        let (depth, width, from, to) = (3, 2, 5, 4);
        for (over_all, to) in [(false, to), (true, from)] {
            let maps = [
                values(depth * from, 1),
                values(depth * to, 2),
                values(width * to, 3),
            ];
            let dy = values(width * from, 4);
            let slices = maps.each_ref().map(|map| &map[..]);
            let found = attention(slices, depth, 0.7, over_all, &dy);
            for (which, map) in maps.iter().enumerate() {
                for at in 0..map.len() {
                    let expected = by_differences(map, at, |moved| {
                        let mut maps = slices;
                        maps[which] = moved;
                        let y = crate::reference::attention(maps, depth, 0.7, over_all);
                        y.iter()
                            .zip(&dy)
                            .map(|(y, &dy)| y.value * f64::from(dy))
                            .sum()
                    });
                    let got = found[which][at].value;
                    assert!((got - expected).abs() < 1e-5, "{got}, {expected}");
                }
            }
        }
    }

    #[test]
    fn norms_are_the_slopes_of_differences() {
        let (x, dy, scale) = (values(24, 1), values(24, 2), values(3, 3));
        let (group, channel) = (|i: usize| i / 8, |i: usize| i % 3);
        let sum = |x: &[f32], scale: &[f32], shift: f32| -> f64 {
            let affine = |i: usize| [scale[channel(i)], shift];
            let y = crate::reference::normalise(x, group, 1e-5, affine);
            let pairs = y.iter().zip(&dy);
            pairs.map(|(y, &dy)| y.value * f64::from(dy)).sum()
        };
        let found = normalise(&x, group, 1e-5, channel, &scale, &dy);
        let close = |got: f64, expected: f64| {
            assert!((got - expected).abs() < 1e-4, "{got}, {expected}");
        };
        for at in 0..x.len() {
            close(
                found.input[at].value,
                by_differences(&x, at, |x| sum(x, &scale, 0.0)),
            );
        }
        for at in 0..scale.len() {
            close(
                found.scale[at].value,
                by_differences(&scale, at, |scale| sum(&x, scale, 0.0)),
            );
        }
        let all: f64 = found.shift.iter().map(|s| s.value).sum();
        close(
            all,
            by_differences(&[0.0], 0, |shift| sum(&x, &scale, shift[0])),
        );
    }
}
