//! Gradients on planar maps, in f64: each is the sum that its definition says, term by term.

use crate::activation::{Activation, normal};
use crate::conv::ConvSpec;
use crate::map::MapShape;

/// What a convolution's input, weights and bias add to a loss.
#[derive(Clone, Debug)]
pub struct ConvGradients {
    /// As the input.
    pub input: Vec<f64>,
    /// `[out, in / groups, height, width]`.
    pub weights: Vec<f64>,
    /// `[out]`.
    pub bias: Vec<f64>,
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
        input: vec![0.0; x.len()],
        weights: vec![0.0; weights.len()],
        bias: vec![0.0; spec.out_channels],
    };
    for (i, &dy) in dy.iter().enumerate() {
        let (rest, ox) = (i / out.width, i % out.width);
        let (rest, oy) = (rest / out.height, rest % out.height);
        let (n, o) = (rest / out.channels, rest % out.channels);
        all.bias[o] += f64::from(dy);
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
                    all.weights[weight] += f64::from(dy) * f64::from(x[pixel]);
                    all.input[pixel] += f64::from(dy) * f64::from(weights[weight]);
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

/// What a batch norm in training gives, and its gradients.
#[derive(Clone, Debug)]
pub struct BatchNormGradients {
    /// `activation(scale · (x − mean) / √(variance + ε) + shift)`.
    pub output: Vec<f64>,
    /// Mean of each channel.
    pub mean: Vec<f64>,
    /// Biased variance of each channel.
    pub variance: Vec<f64>,
    /// Gradient of the input.
    pub input: Vec<f64>,
    /// Gradient of the scale.
    pub scale: Vec<f64>,
    /// Gradient of the shift.
    pub shift: Vec<f64>,
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
    let [scale, shift] = affine;
    let zeros = || vec![0.0; shape.channels];
    let mut all = BatchNormGradients {
        output: vec![0.0; x.len()],
        mean: zeros(),
        variance: zeros(),
        input: vec![0.0; x.len()],
        scale: zeros(),
        shift: zeros(),
    };
    let count = (shape.batch * shape.pixels()) as f64;
    for c in 0..shape.channels {
        let of_channel = |i: &usize| i / shape.pixels() % shape.channels == c;
        let pixels: Vec<usize> = (0..x.len()).filter(of_channel).collect();
        let mean = |f: &dyn Fn(usize) -> f64| pixels.iter().map(|&i| f(i)).sum::<f64>() / count;
        let centre = fixed.map_or_else(|| mean(&|i| x[i]), |[m, _]| m[c]);
        let variance = fixed.map_or_else(|| mean(&|i| (x[i] - centre).powi(2)), |[_, v]| v[c]);
        let inverse = 1.0 / (variance + f64::from(epsilon)).sqrt();
        let hat = |i: usize| (x[i] - centre) * inverse;
        let z = |i: usize| f64::from(scale[c]) * hat(i) + f64::from(shift[c]);
        let dz = |i: usize| dy[i] * derivative(after, z(i));
        let [of_shift, of_scale] = [mean(&dz), mean(&|i| dz(i) * hat(i))];
        for &i in &pixels {
            all.output[i] = activation(after, z(i));
            let moved = of_shift + hat(i) * of_scale;
            let moved = if fixed.is_some() { 0.0 } else { moved };
            all.input[i] = f64::from(scale[c]) * inverse * (dz(i) - moved);
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
    pub input: Vec<f64>,
    /// One a channel.
    pub scale: Vec<f64>,
    /// One a channel.
    pub shift: Vec<f64>,
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
    let groups = (0..x.len()).map(&group).max().map_or(0, |last| last + 1);
    let mut members = vec![Vec::new(); groups];
    (0..x.len()).for_each(|i| members[group(i)].push(i));
    let mut all = NormGradients {
        input: vec![0.0; x.len()],
        scale: vec![0.0; scale.len()],
        shift: vec![0.0; scale.len()],
    };
    for members in members {
        let mean = |f: &dyn Fn(usize) -> f64| {
            members.iter().map(|&i| f(i)).sum::<f64>() / members.len() as f64
        };
        let centre = mean(&|i| f64::from(x[i]));
        let variance = mean(&|i| (f64::from(x[i]) - centre).powi(2));
        let inverse = 1.0 / (variance + f64::from(eps)).sqrt();
        let hat = |i: usize| (f64::from(x[i]) - centre) * inverse;
        let g = |i: usize| f64::from(dy[i]) * f64::from(scale[channel(i)]);
        let (along, across) = (mean(&g), mean(&|i| g(i) * hat(i)));
        for &i in &members {
            all.input[i] = inverse * (g(i) - along - hat(i) * across);
            all.scale[channel(i)] += f64::from(dy[i]) * hat(i);
            all.shift[channel(i)] += f64::from(dy[i]);
        }
    }
    all
}

/// Gradients of the queries, keys and values of [`attention`](super::attention), `[channels][pixels]`
/// each, whose output has the gradient `dy`.
pub fn attention(
    [queries, keys, values]: [&[f32]; 3],
    channels: usize,
    scale: f64,
    over_all: bool,
    dy: &[f32],
) -> [Vec<f64>; 3] {
    let (from, to) = (queries.len() / channels, keys.len() / channels);
    // Values of a picture's pixels that are one-hot give the weights back.
    let one_hot: Vec<f32> = (0..to * to)
        .map(|i| f32::from(u8::from(i / to == i % to)))
        .collect();
    let weights = super::attention([queries, keys, &one_hot], channels, scale, over_all);
    let weight = |q: usize, k: usize| weights[k * from + q];
    let width = values.len() / to;
    let blame = |q: usize, k: usize| -> f64 {
        let of = |c: usize| f64::from(dy[c * from + q]) * f64::from(values[c * to + k]);
        (0..width).map(of).sum()
    };
    let dot = |q: usize| -> f64 { (0..to).map(|k| weight(q, k) * blame(q, k)).sum() };
    let dots: Vec<f64> = (0..from).map(dot).collect();
    let total: f64 = dots.iter().sum();
    let mut gradients = [queries, keys, values].map(|map| vec![0.0; map.len()]);
    for q in 0..from {
        let dot = if over_all { total } else { dots[q] };
        for k in 0..to {
            let slope = weight(q, k) * (blame(q, k) - dot) * scale;
            for c in 0..channels {
                gradients[0][c * from + q] += slope * f64::from(keys[c * to + k]);
                gradients[1][c * to + k] += slope * f64::from(queries[c * from + q]);
            }
            for c in 0..width {
                gradients[2][c * to + k] += weight(q, k) * f64::from(dy[c * from + q]);
            }
        }
    }
    gradients
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
                        y.iter().zip(&dy).map(|(y, &dy)| y * f64::from(dy)).sum()
                    });
                    let got = found[which][at];
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
            pairs.map(|(&y, &dy)| f64::from(y) * f64::from(dy)).sum()
        };
        let found = normalise(&x, group, 1e-5, channel, &scale, &dy);
        // What is compared with gives f32.
        let close = |got: f64, expected: f64| {
            assert!((got - expected).abs() < 2e-3, "{got}, {expected}");
        };
        for at in 0..x.len() {
            close(
                found.input[at],
                by_differences(&x, at, |x| sum(x, &scale, 0.0)),
            );
        }
        for at in 0..scale.len() {
            close(
                found.scale[at],
                by_differences(&scale, at, |scale| sum(&x, scale, 0.0)),
            );
        }
        let all: f64 = found.shift.iter().sum();
        close(
            all,
            by_differences(&[0.0], 0, |shift| sum(&x, &scale, shift[0])),
        );
    }
}
