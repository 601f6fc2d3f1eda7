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
