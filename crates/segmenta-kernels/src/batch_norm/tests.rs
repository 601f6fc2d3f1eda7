//! On every instruction set of this machine, against the reference, and the reference against
//! differences.

use proptest::prelude::*;

use super::*;
use crate::layout::{blocked, to_planar};
use crate::map::{Map, MapMut};
use crate::reference::{self, SHARE, assert_close};
use crate::threads::Threads;

/// Deterministic values in −1..1.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

#[derive(Clone, Debug)]
struct Case {
    shape: MapShape,
    activation: Activation,
    /// Of the input.
    offset: f32,
    fixed: bool,
}

#[derive(Debug, PartialEq)]
struct Results {
    y: Vec<f32>,
    statistics: Statistics,
    dx: Vec<f32>,
    gradients: BatchNormGradients,
}

impl Case {
    fn x(&self) -> Vec<f32> {
        let x = values(self.shape.batch * self.shape.planar_len(), 1);
        x.into_iter().map(|x| 3.0 * x + self.offset).collect()
    }

    fn dy(&self) -> Vec<f32> {
        values(self.shape.batch * self.shape.planar_len(), 2)
    }

    fn affine(&self) -> [Vec<f32>; 2] {
        [
            values(self.shape.channels, 3),
            values(self.shape.channels, 4),
        ]
    }

    fn run(&self, isa: Isa, threads: usize) -> Results {
        let shape = self.shape;
        let (x, dy) = (
            blocked(isa, shape, &self.x()),
            blocked(isa, shape, &self.dy()),
        );
        let (x, dy) = (Map::whole(isa, shape, &x), Map::whole(isa, shape, &dy));
        let [scale, shift] = &self.affine();
        let norm = BatchNorm {
            scale,
            shift,
            epsilon: 1e-3,
            activation: self.activation,
        };
        let mut y = Buffer::zeros(shape.blocked_len(isa));
        y.fill(f32::NAN);
        let mut dx = Buffer::zeros(shape.blocked_len(isa));
        dx.fill(f32::NAN);
        let (statistics, gradients) = Threads::new(threads).unwrap().run(|| {
            let mut statistics = norm.train(x, &mut MapMut::whole(isa, shape, &mut y));
            if self.fixed {
                let variance = vec![2.5; shape.channels];
                statistics = Statistics::fixed(&vec![0.25; shape.channels], &variance, 1e-3);
            }
            let dx = &mut MapMut::whole(isa, shape, &mut dx);
            let gradients = norm.gradients(x, dy, &statistics, dx);
            (statistics, gradients)
        });
        let planar = |map: &[f32]| {
            assert!(map.iter().all(|x| x.is_finite()), "{isa}: lanes left");
            let mut planar = vec![0.0; shape.batch * shape.planar_len()];
            to_planar(Map::whole(isa, shape, map), &mut planar);
            planar
        };
        Results {
            y: planar(&y),
            statistics,
            dx: planar(&dx),
            gradients,
        }
    }

    fn expected(&self, fixed: bool) -> reference::backward::BatchNormGradients {
        let wide = |values: Vec<f32>| -> Vec<f64> { values.into_iter().map(f64::from).collect() };
        let (mean, variance) = (
            vec![0.25; self.shape.channels],
            vec![2.5; self.shape.channels],
        );
        let [scale, shift] = &self.affine();
        reference::backward::batch_norm(
            &wide(self.x()),
            self.shape,
            [scale, shift],
            1e-3,
            self.activation,
            fixed.then_some([&mean, &variance]),
            &wide(self.dy()),
        )
    }

    fn check(&self, threads: usize) -> Result<(), TestCaseError> {
        let forward = self.expected(false);
        let backward = self.expected(self.fixed);
        for isa in Isa::available() {
            let one = self.run(isa, 1);
            assert_close("output", &one.y, &forward.output, SHARE);
            if !self.fixed {
                assert_close("mean", &one.statistics.mean, &forward.mean, SHARE);
                assert_close(
                    "variance",
                    &one.statistics.variance,
                    &forward.variance,
                    SHARE,
                );
            }
            assert_close("input", &one.dx, &backward.input, SHARE);
            assert_close("scale", &one.gradients.scale, &backward.scale, SHARE);
            assert_close("shift", &one.gradients.shift, &backward.shift, SHARE);
            prop_assert!(
                one == self.run(isa, threads),
                "{isa}: {threads} threads differ"
            );
        }
        Ok(())
    }
}

prop_compose! {
    fn cases()(
        batch in 1_usize..4,
        channels in 1_usize..40,
        size in prop_oneof![[1_usize..12, 1_usize..12], [40_usize..50, 30_usize..60]],
        activation in prop::sample::select(vec![
            Activation::None, Activation::Relu, Activation::Relu6, Activation::Silu,
            Activation::Sigmoid,
        ]),
        offset in prop::sample::select(vec![0.0_f32, 1.0, -20.0]),
        fixed: bool,
    ) -> Case {
        let shape = MapShape::new(batch, channels, size[0], size[1]);
        Case { shape, activation, offset, fixed }
    }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(48))]

    #[test]
    fn any_shape(case in cases(), threads in 2_usize..4) {
        if case.shape.batch * case.shape.pixels() > 1 {
            case.check(threads)?;
        }
    }
}

/// A mean a thousand times the deviation costs no digits.
#[test]
fn large_means() {
    let case = Case {
        shape: MapShape::new(2, 20, 40, 40),
        activation: Activation::None,
        offset: 3000.0,
        fixed: false,
    };
    let expected = case.expected(false);
    for isa in Isa::available() {
        let got = case.run(isa, 2);
        assert_close(
            "variance",
            &got.statistics.variance,
            &expected.variance,
            SHARE,
        );
        assert_close("output", &got.y, &expected.output, SHARE);
    }
}

#[test]
fn running_statistics_are_pytorchs() {
    let statistics = Statistics {
        mean: vec![2.0],
        variance: vec![3.0],
        inverse_std: vec![0.0],
        count: 4,
    };
    let (mut mean, mut variance) = ([1.0], [1.0]);
    statistics.update(&mut mean, &mut variance, 0.1);
    assert!((mean[0] - 1.1).abs() < 1e-6 && (variance[0] - 1.3).abs() < 1e-6);
}

/// The reference's gradients against central differences in f64.
#[test]
fn reference_is_a_difference() {
    let shape = MapShape::new(2, 3, 2, 3);
    let wide = |seed| -> Vec<f64> { values(36, seed).into_iter().map(f64::from).collect() };
    let (x, dy) = (wide(1), wide(2));
    let (scale, shift) = (values(3, 3), values(3, 4));
    let run = |x: &[f64]| {
        let affine = [&scale[..], &shift[..]];
        reference::backward::batch_norm(x, shape, affine, 1e-3, Activation::Silu, None, &dy)
    };
    let loss = |x: &[f64]| -> f64 {
        run(x)
            .output
            .iter()
            .zip(&dy)
            .map(|(y, dy)| y.value * dy)
            .sum()
    };
    let gradient = run(&x).input;
    for i in 0..x.len() {
        let at = |step: f64| {
            let mut moved = x.clone();
            moved[i] += step;
            loss(&moved)
        };
        let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!((difference - gradient[i].value).abs() < 1e-7, "value {i}");
    }
}
