//! The exponential function on vectors.
//!
//! `e^x = 2^n · e^r` with `n` whole and `|r| ≤ ln 2 / 2`: `r` in two steps, so that nothing of it is
//! rounded away (Cody and Waite), `e^r` by a polynomial whose coefficients minimise the largest relative
//! error over that range (4.4e-9; the rest of the bound is rounding).
//!
//! Contract: relative error at most 1.2e-7 wherever the result is a normal number; below,
//! an absolute error of less than the smallest normal number, since workers flush denormals.
//! `e^−∞ = 0`, `e^∞ = ∞`, a NaN stays one.

use crate::activation::clamp;
use crate::simd::Simd;

/// Largest relative error of [`exp`], one unit in the last place; the test finds 8.1e-8.
#[cfg(test)]
pub(crate) const EXP_ERROR: f64 = 1.2e-7;

/// Coefficients of `r²` to `r⁶`; those of 1 and `r` are 1.
const POLYNOMIAL: [f32; 5] = [
    0.499_999_94,
    0.166_665_2,
    0.041_668_396,
    0.008_368_797,
    0.001_381_443_3,
];
/// `ln 2` in two parts; the first has nine bits, so that its product with `n` is exact.
const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
/// Beyond these the result is 0 or ∞.
const RANGE: [f32; 2] = [-104.0, 89.0];

/// `e^x`.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
    unsafe {
        let x = clamp::<S>(x, S::splat(RANGE[0]), S::splat(RANGE[1]));
        let n = round::<S>(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let r = S::mul_add(n, S::splat(-LN_2[0]), x);
        let r = S::mul_add(n, S::splat(-LN_2[1]), r);
        let [c2, c3, c4, c5, c6] = POLYNOMIAL;
        let sum = S::mul_add(S::splat(c6), r, S::splat(c5));
        let sum = S::mul_add(sum, r, S::splat(c4));
        let sum = S::mul_add(sum, r, S::splat(c3));
        let sum = S::mul_add(sum, r, S::splat(c2));
        let sum = S::add(S::mul_add(sum, S::mul(r, r), r), S::splat(1.0));
        // Two powers, since `2^n` itself may be no number where `e^x` still is one.
        let half = round::<S>(S::mul(n, S::splat(0.5)));
        S::mul(S::mul(sum, S::pow2(half)), S::pow2(S::sub(n, half)))
    }
}

/// The nearest whole number, for `|x|` below 2²².
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn round<S: Simd>(x: S::V) -> S::V {
    // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
    unsafe {
        // So large that the sum has no bits for a fraction.
        let whole = S::splat(12_582_912.0);
        S::sub(S::add(x, whole), whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Isa, Kernel};

    struct Each<'a>(&'a mut [f32]);

    impl Kernel for Each<'_> {
        type Output = ();

        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            for vector in self.0.chunks_exact_mut(S::LANES) {
                let at = vector.as_mut_ptr();
                // SAFETY: `at` points to a whole vector of the slice.
                unsafe { S::store(at, exp::<S>(S::load(at))) };
            }
        }
    }

    #[test]
    fn error_over_the_whole_range() {
        // Every thousandth float or so between ±110, both signs, zeros and denormals among them.
        let top = 110_f32.to_bits();
        let inputs = (0..top).step_by(997).map(f32::from_bits);
        let inputs: Vec<f32> = inputs.flat_map(|x| [x, -x]).collect();
        let inputs = &inputs[..inputs.len() / 16 * 16];
        for isa in Isa::available() {
            let mut got = inputs.to_vec();
            isa.run(Each(&mut got));
            let mut largest = 0.0_f64;
            for (&x, &got) in inputs.iter().zip(&got) {
                let (expected, got) = (f64::from(x).exp(), f64::from(got));
                if expected > f64::from(f32::MAX) * (1.0 + EXP_ERROR) {
                    assert_eq!(got, f64::INFINITY, "{isa}: e^{x}");
                } else if expected < f64::from(f32::MIN_POSITIVE) * (1.0 + EXP_ERROR) {
                    let error = (got - expected).abs();
                    assert!(error <= f64::from(f32::MIN_POSITIVE), "{isa}: e^{x}");
                } else if expected < f64::from(f32::MAX) * (1.0 - EXP_ERROR) {
                    largest = largest.max((got - expected).abs() / expected);
                }
            }
            println!("{isa}: relative error {largest:e}");
            assert!(largest <= EXP_ERROR, "{isa}: relative error {largest:e}");
        }
    }

    #[test]
    fn what_is_no_ordinary_number() {
        for isa in Isa::available() {
            let mut values = [0.0_f32; 16];
            values[..7].copy_from_slice(&[
                f32::NEG_INFINITY,
                f32::INFINITY,
                f32::MIN,
                f32::MAX,
                f32::NAN,
                -0.0,
                -f32::NAN,
            ]);
            isa.run(Each(&mut values));
            assert_eq!(
                values[..4],
                [0.0, f32::INFINITY, 0.0, f32::INFINITY],
                "{isa}"
            );
            assert!(values[4].is_nan() && values[6].is_nan(), "{isa}");
            assert_eq!((values[5], values[15]), (1.0, 1.0), "{isa}");
        }
    }
}
