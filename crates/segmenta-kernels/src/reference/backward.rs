//! Gradients on planar maps, in f64: each is the sum that its definition says, term by term.

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
