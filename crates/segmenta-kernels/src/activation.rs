//! Pointwise non-linearities on vectors.
//!
//! Error: those that clamp are exact; [`Activation::Sigmoid`] and [`Activation::Silu`] differ from the
//! function by at most 5e-7 of their value where `e^−x` is a finite number (`x` > −88.7), and by less than
//! 3e-37 beyond. [`Activation::Tanh`] differs by at most 3e-7, [`Activation::Gelu`] by 3e-7 of the larger of
//! 1 and |x|. A NaN stays one; so are `Silu` and `Gelu` of −∞, in PyTorch too.

use crate::exp::exp;
use crate::simd::Simd;

/// A pointwise non-linearity, as PyTorch defines it; what a kernel applies before it stores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x`.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x · relu6(x + 3) / 6`.
    Hardswish,
    /// `relu6(x + 3) / 6`.
    Hardsigmoid,
    /// `1 / (1 + e^−x)`.
    Sigmoid,
    /// `x / (1 + e^−x)`, also called swish.
    Silu,
    /// `x · Φ(x)`, Φ being the normal distribution's.
    Gelu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// Of one value: the reference for the vectors below.
    pub fn scalar(self, x: f32) -> f32 {
        let gate = |x: f32| (x + 3.0).clamp(0.0, 6.0) / 6.0;
        match self {
            Self::None => x,
            // Not `x.max(0.0)`, which is 0 for a NaN.
            Self::Relu => x.clamp(0.0, f32::INFINITY),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Hardswish => x * gate(x),
            Self::Hardsigmoid => gate(x),
            Self::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Self::Silu => x / (1.0 + (-x).exp()),
            Self::Gelu => (f64::from(x) * normal(f64::from(x))) as f32,
            Self::Tanh => x.tanh(),
        }
    }

    /// The range that a value is clamped to, for the non-linearities that do nothing else: what a
    /// kernel can apply to registers without a branch.
    #[inline(always)]
    pub(crate) fn bounds(self) -> Option<[f32; 2]> {
        match self {
            Self::None => Some([f32::NEG_INFINITY, f32::INFINITY]),
            Self::Relu => Some([0.0, f32::INFINITY]),
            Self::Relu6 => Some([0.0, 6.0]),
            Self::Hardswish
            | Self::Hardsigmoid
            | Self::Sigmoid
            | Self::Silu
            | Self::Gelu
            | Self::Tanh => None,
        }
    }

    /// Applies itself to `vectors` vectors in memory.
    ///
    /// # Safety
    /// As for [`Simd`]; `at` points to that many vectors.
    #[inline(always)]
    pub(crate) unsafe fn in_place<S: Simd>(self, at: *mut f32, vectors: usize) {
        // SAFETY: the caller vouches for the instruction set and for as many vectors at `at`.
        unsafe {
            if let Some([low, high]) = self.bounds() {
                let (low, high) = (S::splat(low), S::splat(high));
                for i in 0..vectors {
                    let at = at.add(i * S::LANES);
                    S::store(at, clamp::<S>(S::load(at), low, high));
                }
            } else if matches!(self, Self::Sigmoid | Self::Silu) {
                let (zero, one) = (S::zero(), S::splat(1.0));
                for i in 0..vectors {
                    let at = at.add(i * S::LANES);
                    let x = S::load(at);
                    let above = if self == Self::Silu { x } else { one };
                    let below = S::add(one, exp::<S>(S::sub(zero, x)));
                    S::store(at, S::div(above, below));
                }
            } else if self == Self::Gelu {
                for i in 0..vectors {
                    let at = at.add(i * S::LANES);
                    let x = S::load(at);
                    S::store(at, S::mul(x, normal_of::<S>(x).0));
                }
            } else if self == Self::Tanh {
                for i in 0..vectors {
                    let at = at.add(i * S::LANES);
                    S::store(at, tanh::<S>(S::load(at)));
                }
            } else {
                let (sixth, half) = (S::splat(1.0 / 6.0), S::splat(0.5));
                let (zero, one) = (S::zero(), S::splat(1.0));
                for i in 0..vectors {
                    let at = at.add(i * S::LANES);
                    let x = S::load(at);
                    let gate = clamp::<S>(S::mul_add(x, sixth, half), zero, one);
                    let swish = self == Self::Hardswish;
                    S::store(at, if swish { S::mul(x, gate) } else { gate });
                }
            }
        }
    }
}

/// `x` clamped; a NaN stays one, because the second operand of a minimum or maximum wins then.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn clamp<S: Simd>(x: S::V, low: S::V, high: S::V) -> S::V {
    // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
    unsafe { S::min(high, S::max(low, x)) }
}

/// `2 / (1 + e^−2x) − 1`.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn tanh<S: Simd>(x: S::V) -> S::V {
    // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
    unsafe {
        let (one, two) = (S::splat(1.0), S::splat(2.0));
        let below = S::add(one, exp::<S>(S::mul(x, S::splat(-2.0))));
        S::sub(S::div(two, below), one)
    }
}

/// The normal distribution's Φ(x), and `e^(−x² / 2)`, which its density is made of. The error function by
/// Abramowitz and Stegun's 7.1.26, whose error is at most 1.5e-7.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn normal_of<S: Simd>(x: S::V) -> (S::V, S::V) {
    // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
    unsafe {
        const SCALE: f32 = 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2;
        const POLYNOMIAL: [f32; 5] = [
            0.254_829_6,
            -0.284_496_72,
            1.421_413_8,
            -1.453_152_1,
            1.061_405_4,
        ];
        let (one, half) = (S::splat(1.0), S::splat(0.5));
        let away = S::max(x, S::sub(S::zero(), x));
        let bell = exp::<S>(S::mul(S::mul(away, away), S::splat(-0.5)));
        let t = S::div(one, S::mul_add(away, S::splat(SCALE), one));
        let mut sum = S::splat(POLYNOMIAL[4]);
        for &coefficient in POLYNOMIAL[..4].iter().rev() {
            sum = S::mul_add(sum, t, S::splat(coefficient));
        }
        // What lies beyond |x|, on one side.
        let tail = S::mul(S::mul(S::mul(sum, t), bell), half);
        (
            S::select_larger(x, S::zero(), S::sub(one, tail), tail),
            bell,
        )
    }
}

/// The normal distribution's Φ(x), all digits of an f64's: `e^(−x² / 2)` times a series whose terms are all
/// of one sign.
pub(crate) fn normal(x: f64) -> f64 {
    if x.is_nan() || x.abs() > 40.0 {
        return if x > 0.0 { 1.0 } else { x * 0.0 };
    }
    // Far out the series would take the tail from 1 and lose its digits: a continued fraction has them.
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() > 6.0 {
        let away = x.abs();
        let fraction = (1..60)
            .rev()
            .fold(0.0, |below, k| f64::from(k) / (away + below));
        let tail = density / (away + fraction);
        return if x > 0.0 { 1.0 - tail } else { tail };
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= x * x / f64::from(2 * n + 1);
        sum += term;
    }
    0.5 + density * sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Kernel};

    struct InPlace<'a>(Activation, &'a mut [f32]);

    impl Kernel for InPlace<'_> {
        type Output = ();

        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            // SAFETY: whole vectors of the slice.
            unsafe {
                self.0
                    .in_place::<S>(self.1.as_mut_ptr(), self.1.len() / S::LANES);
            }
        }
    }

    fn of(isa: Isa, activation: Activation, values: &[f32]) -> Vec<f32> {
        let mut padded = values.to_vec();
        padded.resize(values.len().next_multiple_of(isa.lanes()), 0.0);
        isa.run(InPlace(activation, &mut padded));
        padded.truncate(values.len());
        padded
    }

    const ALL: [Activation; 9] = [
        Activation::None,
        Activation::Relu,
        Activation::Relu6,
        Activation::Hardswish,
        Activation::Hardsigmoid,
        Activation::Sigmoid,
        Activation::Silu,
        Activation::Gelu,
        Activation::Tanh,
    ];

    /// Values of Φ from tables.
    #[test]
    fn reference_of_the_normal_distribution() {
        for (x, expected) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_542_9),
            (-1.0, 0.158_655_253_931_457_05),
            (-3.0, 1.349_898_031_630_094_5e-3),
            (-7.0, 1.279_812_543_885_835e-12),
            (8.0, 1.0),
        ] {
            let got = normal(x);
            assert!(
                (got - expected).abs() <= 2e-15 * (1.0 + expected / 1e-12).min(1.0),
                "{x}: {got}"
            );
        }
    }

    #[test]
    fn error_of_gelu_and_tanh() {
        let inputs: Vec<f32> = (-20_000..20_000).map(|i| i as f32 * 6.1e-4).collect();
        for isa in Isa::available() {
            let (gelu, tanh) = (
                of(isa, Activation::Gelu, &inputs),
                of(isa, Activation::Tanh, &inputs),
            );
            for ((&x, gelu), tanh) in inputs.iter().zip(gelu).zip(tanh) {
                let wide = f64::from(x);
                let gelu_error = (f64::from(gelu) - wide * normal(wide)).abs();
                let tanh_error = (f64::from(tanh) - wide.tanh()).abs();
                let close = gelu_error <= 3e-7 * wide.abs().max(1.0) && tanh_error <= 3e-7;
                assert!(close, "{isa}, {x}: {gelu_error:e}, {tanh_error:e}");
            }
        }
    }

    #[test]
    fn vectors_do_what_the_scalar_form_does() {
        let values: Vec<f32> = (-4000..4000).map(|i| i as f32 * 0.004_3).collect();
        for (isa, activation) in Isa::available()
            .into_iter()
            .flat_map(|i| ALL.map(|a| (i, a)))
        {
            let got = of(isa, activation, &values);
            for (&x, got) in values.iter().zip(got) {
                let expected = activation.scalar(x);
                let close = (got - expected).abs() <= 1e-6 * expected.abs().max(1.0);
                assert!(
                    close,
                    "{isa}: {activation:?} of {x} is {got}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn error_of_sigmoid_and_silu() {
        let inputs = (0..120_f32.to_bits()).step_by(9973).map(f32::from_bits);
        let inputs: Vec<f32> = inputs.flat_map(|x| [x, -x]).collect();
        for isa in Isa::available() {
            let sigmoid = of(isa, Activation::Sigmoid, &inputs);
            let silu = of(isa, Activation::Silu, &inputs);
            for ((&x, sigmoid), silu) in inputs.iter().zip(sigmoid).zip(silu) {
                let expected = 1.0 / (1.0 + f64::from(-x).exp());
                let product = f64::from(x) * expected;
                let errors = [
                    (f64::from(sigmoid) - expected).abs() - 5e-7 * expected,
                    (f64::from(silu) - product).abs() - 5e-7 * product.abs(),
                ];
                let bound = if x > -88.0 { 2e-38 } else { 3e-37 };
                assert!(
                    errors.iter().all(|&e| e <= bound),
                    "{isa}, {x}: {sigmoid}, {silu}"
                );
            }
        }
    }

    #[test]
    fn nan_and_infinity_are_not_swallowed() {
        let values = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN,
        ];
        for isa in Isa::available() {
            for activation in ALL {
                let got = of(isa, activation, &values);
                assert!(got[0].is_nan(), "{isa}, {activation:?}");
                for (got, x) in got.iter().zip(values) {
                    let expected = activation.scalar(x);
                    let same = got.to_bits() == expected.to_bits();
                    let nan = got.is_nan() && expected.is_nan();
                    let zeros = *got == 0.0 && expected == 0.0;
                    assert!(
                        same || nan || zeros,
                        "{isa}: {activation:?} of {x} is {got}, not {expected}"
                    );
                }
            }
        }
    }
}
