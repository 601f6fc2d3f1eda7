use proptest::prelude::*;

use super::*;
use crate::Threads;

/// What a step comes to in f64, by the formulas of torch's documentation: gradient as taken, values in the order of
/// the rule.
type Scalar = fn(f64, Vec<f64>) -> Vec<f64>;

const TAKE: Take = Take {
    scale: 0.5,
    limit: 0.7,
};

const SGD: SgdStep = SgdStep {
    lr: 0.1,
    weight_decay: 0.01,
};

const MOMENTUM: MomentumStep = MomentumStep {
    lr: 0.1,
    weight_decay: 0.01,
    momentum: 0.9,
    enter: 0.8,
    nesterov: false,
};

const NESTEROV: MomentumStep = MomentumStep {
    nesterov: true,
    ..MOMENTUM
};

const ADAM: AdamStep = AdamStep {
    lr: 0.01,
    betas: [0.9, 0.99],
    eps: 1e-3,
    weight_decay: 0.02,
    shrink: 0.97,
    corrections: [0.19, 0.141],
};

const RMSPROP: RmsPropStep = RmsPropStep {
    lr: 0.01,
    alpha: 0.95,
    eps: 1e-3,
    weight_decay: 0.02,
    momentum: 0.8,
};

fn momentum(g: f64, v: &[f64], nesterov: bool) -> Vec<f64> {
    let g = g + 0.01 * v[0];
    let buffer = 0.9 * v[1] + 0.8 * g;
    let step = if nesterov { g + 0.9 * buffer } else { buffer };
    vec![v[0] - 0.1 * step, buffer]
}

/// Values: parameter, mean square, then the buffer and the mean.
fn rmsprop(g: f64, v: &[f64], buffer: Option<f64>, mean: Option<f64>) -> Vec<f64> {
    let g = g + 0.02 * v[0];
    let square = 0.95 * v[1] + 0.05 * g * g;
    let mean = mean.map(|mean| mean + 0.05 * (g - mean));
    let root = (square - mean.map_or(0.0, |mean| mean * mean)).sqrt() + 1e-3;
    let buffer = buffer.map(|buffer| 0.8 * buffer + g / root);
    let x = v[0] - 0.01 * buffer.unwrap_or(g / root);
    [x, square].into_iter().chain(buffer).chain(mean).collect()
}

/// Every rule, with how many values it takes and what they come to.
const RULES: [(&str, usize, Scalar); 9] = [
    ("sgd", 1, |g, v| vec![v[0] - 0.1 * (g + 0.01 * v[0])]),
    ("momentum", 2, |g, v| momentum(g, &v, false)),
    ("nesterov", 2, |g, v| momentum(g, &v, true)),
    ("adam", 3, |g, v| {
        let x = 0.97 * v[0];
        let g = g + 0.02 * x;
        let (mean, square) = (0.9 * v[1] + 0.1 * g, 0.99 * v[2] + 0.01 * g * g);
        let step = mean / 0.19 / (square.sqrt() / 0.141 + 1e-3);
        vec![x - 0.01 * step, mean, square]
    }),
    ("rmsprop", 2, |g, v| rmsprop(g, &v, None, None)),
    ("rmsprop with momentum", 3, |g, v| {
        rmsprop(g, &v, Some(v[2]), None)
    }),
    ("centred rmsprop", 3, |g, v| {
        rmsprop(g, &v, None, Some(v[2]))
    }),
    ("centred rmsprop with momentum", 4, |g, v| {
        rmsprop(g, &v, Some(v[2]), Some(v[3]))
    }),
    ("moving average", 1, |g, v| vec![v[0] + 0.25 * (g - v[0])]),
];

fn run(isa: Isa, name: &str, gradient: &[f32], values: &mut [Vec<f32>]) {
    let mut slices = values.iter_mut().map(Vec::as_mut_slice);
    let mut next = || slices.next().unwrap();
    let x = next();
    match name {
        "sgd" => sgd_step(isa, SGD, TAKE, gradient, x),
        "momentum" => momentum_step(isa, MOMENTUM, TAKE, gradient, x, next()),
        "nesterov" => momentum_step(isa, NESTEROV, TAKE, gradient, x, next()),
        "adam" => adam_step(isa, ADAM, TAKE, gradient, x, [next(), next()]),
        "moving average" => moving_average(isa, 0.25, gradient, x),
        _ => {
            let square = next();
            let buffer = name.contains("momentum").then(&mut next);
            let mean = name.contains("centred").then(&mut next);
            rmsprop_step(isa, RMSPROP, TAKE, gradient, x, square, buffer, mean);
        }
    }
}

/// Numbers in ±2, without a pattern.
fn numbers(seed: usize, len: usize) -> Vec<f32> {
    let mut state = seed as u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 22) as f32 - 2.0
    };
    (0..len).map(|_| next()).collect()
}

/// Gradient, and a parameter with its state; mean squares are larger than squares of means.
fn inputs(len: usize, values: usize) -> (Vec<f32>, Vec<Vec<f32>>) {
    let mut state: Vec<_> = (0..values).map(|i| numbers(i + 2, len)).collect();
    for values in state.iter_mut().skip(1) {
        values.iter_mut().for_each(|x| *x = x.abs() * 0.2 + 0.3);
    }
    if let Some(square) = state.get_mut(1) {
        square.iter_mut().for_each(|x| *x += 1.0);
    }
    (numbers(1, len), state)
}

proptest! {
    #![proptest_config(segmenta_properties::cases(20))]

    #[test]
    fn steps_follow_the_formulas(len in 0..200_usize) {
        for isa in Isa::available() {
            for (name, count, scalar) in RULES {
                let (gradient, before) = inputs(len, count);
                let mut values = before.clone();
                run(isa, name, &gradient, &mut values);
                for at in 0..len {
                    let take = if name == "moving average" { Take::default() } else { TAKE };
                    let (scale, limit) = (f64::from(take.scale), f64::from(take.limit));
                    let g = (f64::from(gradient[at]) * scale).clamp(-limit, limit);
                    let expected = scalar(g, before.iter().map(|v| f64::from(v[at])).collect());
                    for (i, expected) in expected.into_iter().enumerate() {
                        let got = f64::from(values[i][at]);
                        prop_assert!(
                            (got - expected).abs() <= 2e-6 * expected.abs().max(1.0),
                            "{isa}, {name}: value {i} at {at} of {len} is {got}, not {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn sums_of_squares(len in 0..30_000_usize) {
        let values = numbers(9, len);
        let expected: f64 = values.iter().map(|&x| f64::from(x).powi(2)).sum();
        for isa in Isa::available() {
            let got = sum_of_squares(isa, &values);
            prop_assert!((got - expected).abs() <= 1e-6 * expected, "{isa}: {got}, not {expected}");
        }
    }
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    const LEN: usize = 5 * LEAST + 13;
    let isa = Isa::fastest();
    let bits = |threads: usize| {
        Threads::new(threads).unwrap().run(|| {
            let mut bits = Vec::new();
            for (name, count, _) in RULES {
                let (gradient, mut values) = inputs(LEN, count);
                run(isa, name, &gradient, &mut values);
                bits.extend(values.into_iter().flatten().map(f32::to_bits));
            }
            (bits, sum_of_squares(isa, &numbers(1, LEN)).to_bits())
        })
    };
    let one = bits(1);
    assert!([2, 3, 8].into_iter().all(|threads| bits(threads) == one));
}

#[test]
fn a_nan_stays_one() {
    for isa in Isa::available() {
        for (name, count, _) in RULES {
            let (mut gradient, mut values) = inputs(20, count);
            gradient[[3, 18][count % 2]] = f32::NAN;
            run(isa, name, &gradient, &mut values);
            assert_eq!(
                values[0].iter().filter(|x| x.is_nan()).count(),
                1,
                "{isa}, {name}"
            );
        }
        assert!(sum_of_squares(isa, &[1.0, f32::NAN]).is_nan());
    }
}

#[test]
#[should_panic(expected = "one gradient and one state a value")]
fn slices_of_different_lengths_are_refused() {
    sgd_step(Isa::SCALAR, SGD, TAKE, &[0.0; 3], &mut [0.0; 4]);
}
