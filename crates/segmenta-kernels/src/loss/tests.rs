//! Losses against their definitions in f64, and gradients against central differences of those.

use proptest::prelude::*;

use super::*;
use crate::isa::Isa;
use crate::map::MapShape;
use crate::threads::Threads;

fn values(len: usize, seed: u32) -> Vec<f32> {
    let unit = |i: usize| {
        let mixed = (i as u32 + 1).wrapping_mul(0x9E37_79B9) ^ seed.wrapping_mul(0x85EB_CA6B);
        (mixed ^ mixed >> 15).wrapping_mul(0x2C1B_3C6D) as f32 / u32::MAX as f32
    };
    (0..len).map(|i| 6.0 * unit(i) - 3.0).collect()
}

/// Cross entropy by its definition.
fn defined(loss: CrossEntropy<'_>, logits: &[f64], shape: MapShape, labels: &[u8]) -> f64 {
    let (pixels, classes) = (shape.pixels(), shape.channels);
    let weight = |c: usize| loss.class_weights.get(c).map_or(1.0, |&w| f64::from(w));
    let smoothing = f64::from(loss.label_smoothing);
    let (mut sum, mut total) = (0.0, 0.0);
    for (i, &label) in labels.iter().enumerate() {
        if loss.ignore_index == Some(label) {
            continue;
        }
        let x = |c: usize| logits[(i / pixels * classes + c) * pixels + i % pixels];
        let log_sum = (0..classes).map(|c| x(c).exp()).sum::<f64>().ln();
        let label = usize::from(label);
        sum += (1.0 - smoothing) * weight(label) * (log_sum - x(label));
        let even: f64 = (0..classes).map(|c| weight(c) * (log_sum - x(c))).sum();
        sum += smoothing / classes as f64 * even;
        total += weight(label);
    }
    sum / total
}

/// The gradient of `f` at `x` by central differences.
fn differences(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let at = |i: usize, step: f64| {
        let mut moved = x.to_vec();
        moved[i] += step;
        f(&moved)
    };
    let difference = |i| (at(i, 1e-4) - at(i, -1e-4)) / 2e-4;
    (0..x.len()).map(difference).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

proptest! {
    #![proptest_config(segmenta_properties::cases(48))]

    #[test]
    fn cross_entropies(
        batch in 1_usize..3, classes in 1_usize..7, height in 1_usize..5, width in 1_usize..5,
        weighted: bool, ignore in prop::sample::select(vec![None, Some(255), Some(0)]),
        label_smoothing in prop::sample::select(vec![0.0_f32, 0.1]),
    ) {
        let shape = MapShape::new(batch, classes, height, width);
        let logits = values(batch * shape.planar_len(), 1);
        let labels: Vec<u8> = (0..batch * shape.pixels())
            .map(|i| match i % 5 { 4 => ignore.unwrap_or(0), _ => (i * 7 % classes) as u8 })
            .collect();
        let weights: Vec<f32> = (0..classes).map(|c| 0.5 + c as f32).collect();
        let loss = CrossEntropy {
            class_weights: if weighted { &weights } else { &[] },
            ignore_index: ignore,
            label_smoothing,
        };
        let f = |x: &[f64]| defined(loss, x, shape, &labels);
        let (expected, slopes) = (f(&wide(&logits)), differences(&wide(&logits), f));
        for isa in Isa::available() {
            let mut gradient = vec![f32::NAN; logits.len()];
            let got = cross_entropy(isa, loss, &logits, shape, &labels, 0.5, &mut gradient).unwrap();
            if labels.iter().all(|&l| ignore == Some(l)) {
                prop_assert!(got.is_nan() && gradient.iter().all(|&g| g == 0.0));
                continue;
            }
            prop_assert!((f64::from(got) - expected).abs() <= 1e-5, "{isa}: {got}, {expected}");
            for (g, slope) in gradient.iter().zip(&slopes) {
                prop_assert!((f64::from(*g) - 0.5 * slope).abs() < 1e-6, "{isa}: {g}, {slope}");
            }
        }
    }

    #[test]
    fn binary_cross_entropies(
        batch in 1_usize..3, channels in 1_usize..4, height in 1_usize..6, width in 1_usize..6,
        weighted: bool,
    ) {
        let shape = MapShape::new(batch, channels, height, width);
        let logits = values(batch * shape.planar_len(), 1);
        let targets: Vec<f32> = (0..logits.len()).map(|i| (i % 4) as f32 / 3.0).collect();
        let weights: Vec<f32> = (0..channels).map(|c| 0.5 + c as f32).collect();
        let loss = BinaryCrossEntropy {
            positive_weights: if weighted { &weights } else { &[] },
        };
        let f = |x: &[f64]| {
            let term = |(i, (&x, &t)): (usize, (&f64, &f32))| {
                let weight = loss.positive_weights.get(i / shape.pixels() % channels);
                let (t, p) = (f64::from(t), 1.0 / (1.0 + (-x).exp()));
                -(f64::from(*weight.unwrap_or(&1.0)) * t * p.ln() + (1.0 - t) * (1.0 - p).ln())
            };
            let terms = x.iter().zip(&targets).enumerate().map(term);
            terms.sum::<f64>() / x.len() as f64
        };
        let (expected, slopes) = (f(&wide(&logits)), differences(&wide(&logits), f));
        for isa in Isa::available() {
            let mut gradient = vec![f32::NAN; logits.len()];
            let got = binary_cross_entropy(isa, loss, &logits, shape, &targets, 2.0, &mut gradient);
            prop_assert!((f64::from(got) - expected).abs() <= 1e-5, "{isa}: {got}, {expected}");
            for (g, slope) in gradient.iter().zip(&slopes) {
                prop_assert!((f64::from(*g) - 2.0 * slope).abs() < 2e-6, "{isa}: {g}, {slope}");
            }
        }
    }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(48))]

    #[test]
    fn probabilities(classes in 1_usize..9, len in 1_usize..200, wide: bool) {
        let factor = if wide { 60.0 } else { 1.0 };
        let logits: Vec<f32> = values(classes * len, 3).iter().map(|x| x * factor).collect();
        let logits: Vec<&[f32]> = logits.chunks(len).collect();
        for isa in Isa::available() {
            let mut made = vec![vec![f32::NAN; len]; classes];
            let mut sums = vec![f32::NAN; len];
            let mut to: Vec<&mut [f32]> = made.iter_mut().map(|p| &mut p[..]).collect();
            class_probabilities(isa, &logits, &mut to, &mut sums);
            for i in 0..len {
                let most = logits.iter().fold(f32::NEG_INFINITY, |m, x| m.max(x[i]));
                let e = |c: usize| f64::from(logits[c][i] - most).exp();
                let sum: f64 = (0..classes).map(e).sum();
                let log_sum = sum.ln() + f64::from(most);
                prop_assert!((f64::from(sums[i]) - log_sum).abs() <= 2e-5, "{isa}: {}", sums[i]);
                for c in 0..classes {
                    prop_assert!((f64::from(made[c][i]) - e(c) / sum).abs() <= 1e-6, "{isa}: {c}");
                }
            }
            let mut made = [vec![f32::NAN; len], vec![f32::NAN; len]];
            let [sigmoid, softplus] = made.each_mut().map(|to| &mut to[..]);
            sigmoids(isa, logits[0], sigmoid, softplus);
            for (i, &x) in logits[0].iter().enumerate() {
                let x = f64::from(x);
                let (p, plus) = (1.0 / (1.0 + (-x).exp()), x.max(0.0) + (-x.abs()).exp().ln_1p());
                prop_assert!((f64::from(made[0][i]) - p).abs() <= 4e-7 * p + 1e-37, "{isa}: σ({x})");
                let off = (f64::from(made[1][i]) - plus).abs();
                prop_assert!(off <= 6e-7 * plus + 1e-37, "{isa}: softplus({x}), {off}");
            }
        }
    }
}

#[test]
fn probabilities_of_what_is_no_number() {
    for isa in Isa::available() {
        let logits = [[f32::NAN, 500.0], [0.0, -500.0]];
        let mut made = [[0.0_f32; 2]; 2];
        let [a, b] = made.each_mut().map(|to| &mut to[..]);
        class_probabilities(isa, &[&logits[0], &logits[1]], &mut [a, b], &mut []);
        assert!(made[0][0].is_nan() && made[1][0].is_nan(), "{isa}");
        assert_eq!((made[0][1], made[1][1]), (1.0, 0.0), "{isa}");
        let mut made = [[0.0_f32; 4]; 2];
        let [sigmoid, softplus] = made.each_mut().map(|to| &mut to[..]);
        sigmoids(isa, &[f32::NAN, 500.0, -500.0, 0.0], sigmoid, softplus);
        assert!(made[0][0].is_nan() && made[1][0].is_nan(), "{isa}");
        assert_eq!(made[0][1..], [1.0, 0.0, 0.5], "{isa}");
        assert_eq!(made[1][1..3], [500.0, 0.0], "{isa}");
    }
}

/// Several tasks a picture: the same bits for any number of threads.
#[test]
fn threads_do_not_matter() {
    let shape = MapShape::new(2, 5, 97, 113);
    let logits = values(2 * shape.planar_len(), 1);
    let labels: Vec<u8> = (0..2 * shape.pixels()).map(|i| (i % 6) as u8).collect();
    let targets: Vec<f32> = (0..logits.len()).map(|i| (i % 2) as f32).collect();
    for isa in Isa::available() {
        let run = |threads| {
            let (mut a, mut b) = (vec![0.0; logits.len()], vec![0.0; logits.len()]);
            let losses = Threads::new(threads).unwrap().run(|| {
                let loss = CrossEntropy {
                    ignore_index: Some(5),
                    ..CrossEntropy::default()
                };
                let many = cross_entropy(isa, loss, &logits, shape, &labels, 1.0, &mut a);
                let loss = BinaryCrossEntropy::default();
                let two = binary_cross_entropy(isa, loss, &logits, shape, &targets, 1.0, &mut b);
                (many, two)
            });
            (losses, a, b)
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3), "{isa}");
    }
}

/// Confident logits lose no digits, and a label that is no class is named.
#[test]
fn far_logits_and_labels_out_of_range() {
    let shape = MapShape::new(1, 2, 1, 2);
    let logits = [500.0, -500.0, -500.0, 500.0];
    for isa in Isa::available() {
        let mut gradient = [f32::NAN; 4];
        let loss = CrossEntropy::default();
        let run = |labels: &[u8], gradient: &mut [f32]| {
            cross_entropy(isa, loss, &logits, shape, labels, 1.0, gradient)
        };
        assert_eq!(run(&[0, 0], &mut gradient), Ok(500.0));
        assert_eq!(gradient, [0.0, -0.5, 0.0, 0.5]);
        let error = run(&[1, 2], &mut gradient).unwrap_err();
        assert_eq!((error.label, error.pixel, error.classes), (2, 1, 2));
        let nan = [f32::NAN, 0.0, 0.0, 0.0];
        let got = cross_entropy(isa, loss, &nan, shape, &[0, 0], 1.0, &mut gradient);
        assert!(got.unwrap().is_nan() && gradient[0].is_nan() && !gradient[1].is_nan());
    }
}
