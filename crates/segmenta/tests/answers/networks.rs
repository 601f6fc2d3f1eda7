//! Small networks with weights that are anything, and pictures.

use std::sync::LazyLock;

use segmenta::{Model, ModelOptions, Picture, Preprocess, Resize};
use segmenta_graph::Parameter;
use segmenta_zoo::{Options, find_encoder};

/// Deterministic pseudo-random numbers in −1..1.
fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Weights that keep activations in range, different for every parameter.
pub(crate) fn fill(parameter: &Parameter) -> Vec<f32> {
    let seed = parameter
        .name
        .bytes()
        .fold(7, |h: u64, b| h.wrapping_mul(31) + u64::from(b));
    let fan_in: usize = parameter.shape.iter().skip(1).product();
    // One stretch of noise for all, begun elsewhere for each.
    static NOISE: LazyLock<Vec<f32>> = LazyLock::new(|| noise(1, 1 << 16));
    let (middle, width) = match parameter.shape.len() {
        2.. => (0.0, (6.0 / fan_in as f32).sqrt()),
        _ if parameter.name.ends_with("bias") => (0.0, 0.2),
        _ => (0.9, 0.1),
    };
    // Whole stretches are copied: millions of values are filled for each of hundreds of networks.
    let mut values = Vec::with_capacity(parameter.len());
    let mut begin = seed as usize % NOISE.len();
    while values.len() < parameter.len() {
        let stretch = &NOISE[begin..];
        values.extend_from_slice(&stretch[..stretch.len().min(parameter.len() - values.len())]);
        begin = 0;
    }
    for value in &mut values {
        *value = middle + width * *value;
    }
    values
}

/// A network of SMP's on MobileNetV2, that reads pictures at their own size.
pub(crate) fn network(architecture: &str, classes: usize, settings: &[(&str, &str)]) -> Model {
    let mut options = Options {
        encoder: Some(find_encoder("mobilenet_v2").unwrap()),
        ..Options::new(classes)
    };
    for (name, value) in settings {
        options.set(name, value).unwrap();
    }
    let run = ModelOptions::new().threads(1);
    let model = Model::untrained(architecture, &options, &run, fill).unwrap();
    model
        .with_preprocess(Preprocess {
            resize: Resize::None,
            ..Preprocess::torchvision(1)
        })
        .unwrap()
}

/// Noise.
pub(crate) fn picture(seed: u64, width: usize, height: usize) -> Picture {
    let bytes = noise(seed, 3 * width * height)
        .into_iter()
        .map(|v| (v * 127.0 + 128.0) as u8);
    Picture::from_rgb(width, height, bytes.collect()).unwrap()
}
