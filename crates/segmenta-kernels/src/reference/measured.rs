//! Numbers that know how far rounding may move them.

use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};

/// A value, and the sum of magnitudes that it was computed from.
///
/// Rounding errors to first order (Higham, *Accuracy and Stability of Numerical Algorithms*, 2002, §3): whatever the
/// order of its sums, the same formula in a precision of `u` differs from `value` by some `u · magnitude`, where "some"
/// grows with the number of roundings in a row and with nothing else. So a bound at each value is a share of the
/// magnitude there, however much of the value cancelled. A magnitude is at least the absolute value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// In f64: exact, as far as f32 can tell.
    pub value: f64,
    /// The sum of the absolute values of all that was added up, as far as it reaches the value.
    pub magnitude: f64,
}

/// How far a function's argument is moved to measure the function there, in units of the argument's magnitude: more
/// than a kernel's argument is wrong by.
const STEP: f64 = 4e-6;

/// What f32 sums in another order may be off by, of what is summed at a value: sixteen units in the last place. Over
/// the suite's cases sums of up to some thousand terms were off by three at most.
#[cfg(test)]
pub(crate) const SHARE: f64 = 8.0 * f32::EPSILON as f64;

impl Measured {
    /// A number that is given, or known but for its last rounding.
    pub fn new(value: f64) -> Self {
        Self {
            value,
            magnitude: value.abs(),
        }
    }

    /// A function of it. Its magnitude comes of how much the function moves within the argument's error, so that a step
    /// (where the argument may fall to either side) counts with its height.
    #[must_use]
    pub fn map(self, f: impl Fn(f64) -> f64) -> Self {
        let (value, step) = (f(self.value), STEP * self.magnitude);
        let moved = |by: f64| (f(self.value + by) - value).abs();
        Self {
            value,
            magnitude: value.abs() + moved(step).max(moved(-step)) / STEP,
        }
    }

    /// With at least such a magnitude: that of what it is computed together with.
    #[must_use]
    pub fn at_least(self, magnitude: f64) -> Self {
        Self {
            magnitude: self.magnitude.max(magnitude),
            ..self
        }
    }
}

impl From<f32> for Measured {
    fn from(value: f32) -> Self {
        Self::new(f64::from(value))
    }
}

impl Add for Measured {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            value: self.value + other.value,
            magnitude: self.magnitude + other.magnitude,
        }
    }
}

impl Sub for Measured {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            value: self.value - other.value,
            magnitude: self.magnitude + other.magnitude,
        }
    }
}

impl Mul for Measured {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        Self {
            value: self.value * other.value,
            magnitude: self.value.abs() * other.magnitude + self.magnitude * other.value.abs(),
        }
    }
}

impl Div for Measured {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let (value, by) = (self.value / other.value, other.value.abs());
        Self {
            value,
            magnitude: (self.magnitude + value.abs() * other.magnitude) / by,
        }
    }
}

impl AddAssign for Measured {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Measured {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// Asserts |got − expected| ≤ share × magnitude, the magnitude being that of each value, and nothing of it below the
/// smallest normal number, which threads flush.
///
/// # Panics
/// If a value is further off, or there are not as many.
#[cfg(test)]
#[track_caller]
pub(crate) fn assert_close(what: &str, got: &[f32], expected: &[Measured], share: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (&got, expected)) in got.iter().zip(expected).enumerate() {
        let Measured { value, magnitude } = *expected;
        let apart = (f64::from(got) - value).abs();
        assert!(
            apart <= share * magnitude + f64::from(f32::MIN_POSITIVE),
            "{what}: value {i} is {got}, expected {value}: off by {:e} of a magnitude of {magnitude}, at most {share:e}",
            apart / magnitude
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(a + b) − c · d / e` in f32 is wrong by a few units of the magnitude, though most of it cancels.
    #[test]
    fn what_cancels_counts() {
        let numbers = [1e6_f32, 0.3, 3000.7, 999.9, 3.0];
        let [a, b, c, d, e] = numbers;
        let single = (a + b) - c * d / e;
        let [a, b, c, d, e] = numbers.map(Measured::from);
        let exact = (a + b) - c * d / e;
        let off = (f64::from(single) - exact.value).abs();
        assert!(off > 1e-6 * exact.value.abs(), "{exact:?}, off by {off}");
        assert!(exact.magnitude > 2e6);
        assert_close("a difference", &[single], &[exact], f64::from(f32::EPSILON));
    }

    #[test]
    fn a_step_within_the_error_counts_whole() {
        let step = |x: f64| f64::from(u8::from(x > 0.0));
        let near = Measured {
            value: 1e-9,
            magnitude: 1.0,
        };
        assert!(near.map(step).magnitude * STEP >= 1.0);
        let far = Measured {
            value: 0.1,
            magnitude: 1.0,
        };
        assert_eq!(far.map(step).magnitude, 1.0);
    }

    #[test]
    #[should_panic(expected = "value 1 is 2")]
    fn a_value_that_is_off_is_told() {
        let expected = [1.0, 2.1].map(Measured::new);
        assert_close("values", &[1.0, 2.0], &expected, 1e-2);
    }
}
