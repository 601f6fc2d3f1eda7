//! What a tensor's numbers look like at a glance: enough to see weights that are dead or broken.

/// A summary of a tensor's values. Infinities and NaN are counted and otherwise left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    /// The smallest finite value; NaN when there is none.
    pub min: f32,
    /// The largest finite value; NaN when there is none.
    pub max: f32,
    /// The mean of the finite values; NaN when there is none.
    pub mean: f64,
    /// Their standard deviation (of the population: divided by n); NaN when there is none.
    pub std: f64,
    /// How many values are zero.
    pub zeros: usize,
    /// How many values are infinite or NaN.
    pub non_finite: usize,
}

impl Statistics {
    /// Summarises `values`.
    pub fn of(values: &[f32]) -> Statistics {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let count = finite().count();
        // Two passes: a running sum of squares loses a small spread around a large mean.
        let mean = finite().map(f64::from).sum::<f64>() / count as f64;
        let variance = finite().map(|v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count as f64;
        Statistics {
            min: finite().fold(f32::NAN, f32::min),
            max: finite().fold(f32::NAN, f32::max),
            mean,
            std: variance.sqrt(),
            zeros: values.iter().filter(|&&value| value == 0.0).count(),
            non_finite: values.len() - count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summarises() {
        let s = Statistics::of(&[1.0, 3.0, 0.0, -0.0, f32::NAN, f32::INFINITY]);
        assert_eq!((s.min, s.max, s.zeros, s.non_finite), (0.0, 3.0, 2, 2));
        assert_eq!((s.mean, s.std), (1.0, 1.5f64.sqrt()));
        let none = Statistics::of(&[f32::NAN]);
        assert!(none.min.is_nan() && none.mean.is_nan() && none.std.is_nan());
    }

    #[test]
    fn keeps_a_small_spread_around_a_large_mean() {
        let s = Statistics::of(&[1e6, 1e6 + 1.0]);
        assert_eq!(s.std, 0.5);
    }
}
