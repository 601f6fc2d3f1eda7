//! How often values of what size are, and the range that loses least of them.

use std::fmt;

/// Bins on either side of 0.
const BINS: usize = 2048;

/// How the range of a value is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RangeBy {
    /// The smallest and the largest number seen: nothing is cut off.
    Extremes,
    /// All but so many per cent of the numbers, cut off at either end.
    Percentile(f32),
    /// The one with the least squared error, of what is rounded and what is cut off together.
    LeastError,
}

impl fmt::Display for RangeBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extremes => f.write_str("extremes"),
            Self::Percentile(percent) => write!(f, "percentile {percent}"),
            Self::LeastError => f.write_str("least error"),
        }
    }
}

/// Counts of numbers in bins of one width. The width doubles when a number is beyond the last bin, so that one pass is
/// enough.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    /// What the last bins end at, a power of two; 0 before the first number.
    limit: f32,
    below: Vec<u64>,
    above: Vec<u64>,
    /// Numbers that are 0, which every range keeps exactly.
    zeros: u64,
    extremes: [f32; 2],
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self {
            limit: 0.0,
            below: vec![0; BINS],
            above: vec![0; BINS],
            zeros: 0,
            extremes: [0.0; 2],
        }
    }

    /// Counts numbers, which are finite.
    pub(crate) fn add(&mut self, values: impl IntoIterator<Item = f32>) {
        for value in values {
            if value == 0.0 {
                self.zeros += 1;
                continue;
            }
            let size = value.abs();
            if size >= self.limit {
                self.grow(size);
            }
            let bin = (size / self.limit * BINS as f32) as usize;
            let side = if value < 0.0 {
                &mut self.below
            } else {
                &mut self.above
            };
            side[bin.min(BINS - 1)] += 1;
        }
    }

    /// Widens the extremes: they may come from more numbers than are counted.
    pub(crate) fn reach(&mut self, [low, high]: [f32; 2]) {
        self.extremes = [self.extremes[0].min(low), self.extremes[1].max(high)];
    }

    /// Doubles the width of the bins until a size is inside.
    fn grow(&mut self, size: f32) {
        if self.limit == 0.0 {
            self.limit = f32::MIN_POSITIVE.max(2.0_f32.powf(size.log2().floor() + 1.0));
        }
        while size >= self.limit && self.limit.is_finite() {
            for side in [&mut self.below, &mut self.above] {
                for bin in 0..BINS {
                    side[bin] = match bin {
                        _ if bin < BINS / 2 => side[2 * bin] + side[2 * bin + 1],
                        _ => 0,
                    };
                }
            }
            self.limit *= 2.0;
        }
    }

    /// The smallest and the largest number seen, 0 among them.
    pub(crate) fn extremes(&self) -> [f32; 2] {
        self.extremes
    }

    /// The range by a rule, inside the extremes, with 0 in it.
    pub(crate) fn range(&self, by: RangeBy) -> [f32; 2] {
        match by {
            RangeBy::Extremes => self.extremes,
            RangeBy::Percentile(percent) => {
                let counted: u64 = self.zeros + self.below.iter().chain(&self.above).sum::<u64>();
                let cut = (f64::from(100.0 - percent) / 100.0 * counted as f64) as u64;
                let [low, high] =
                    [&self.below, &self.above].map(|side| self.size_within(side, cut));
                [self.extremes[0].max(-low), self.extremes[1].min(high)]
            }
            RangeBy::LeastError => self.least_error(),
        }
    }

    /// The size that all but `cut` numbers of a side are below.
    fn size_within(&self, side: &[u64], cut: u64) -> f32 {
        let mut beyond = 0;
        for bin in (0..BINS).rev() {
            beyond += side[bin];
            if beyond > cut {
                return self.limit * (bin + 1) as f32 / BINS as f32;
            }
        }
        0.0
    }

    fn least_error(&self) -> [f32; 2] {
        /// Ranges tried on either side, from all of it down.
        const STEPS: usize = 64;
        let mut best = self.extremes;
        let mut least = self.error(best);
        // Each end by itself, twice: the first was chosen beside the other's extreme.
        for end in [1, 0, 1, 0] {
            for step in 1..STEPS {
                let mut range = best;
                range[end] = self.extremes[end] * step as f32 / STEPS as f32;
                let error = self.error(range);
                if error < least {
                    (best, least) = (range, error);
                }
            }
        }
        best
    }

    /// The squared error of storing the numbers in a range: a twelfth of a step's square inside, and what is cut off.
    fn error(&self, [low, high]: [f32; 2]) -> f64 {
        let step = f64::from(high - low) / 255.0;
        let rounded = step * step / 12.0;
        let width = f64::from(self.limit) / BINS as f64;
        let of_side = |side: &[u64], end: f64| {
            let errors = side.iter().enumerate().filter(|(_, count)| **count > 0);
            let errors = errors.map(|(bin, &count)| {
                let beyond = ((bin as f64 + 0.5) * width - end).max(0.0);
                count as f64 * rounded.max(beyond * beyond)
            });
            errors.sum::<f64>()
        };
        of_side(&self.below, f64::from(-low)) + of_side(&self.above, f64::from(high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::new();
        histogram.add(values.iter().copied());
        let low = values.iter().copied().fold(0.0, f32::min);
        let high = values.iter().copied().fold(0.0, f32::max);
        histogram.reach([low, high]);
        histogram
    }

    #[test]
    fn counts_stay_whole_while_bins_widen() {
        let values: Vec<f32> = (-300..700).map(|i| (i as f32) * 0.37).collect();
        let histogram = of(&values);
        let counted: u64 = histogram.below.iter().chain(&histogram.above).sum();
        assert_eq!(counted + histogram.zeros, 1000);
        assert_eq!(
            histogram.range(RangeBy::Extremes),
            [-300.0 * 0.37, 699.0 * 0.37]
        );
        // Half of the numbers are below the median, to a bin's width.
        let [_, high] = histogram.range(RangeBy::Percentile(50.0));
        assert!((high - 199.0 * 0.37).abs() < 1.0, "{high}");
    }

    #[test]
    fn one_far_number_is_cut_off_where_that_loses_less() {
        // One in twelve times the square of 255 is where cutting begins to pay.
        let mut values: Vec<f32> = (0..4_000_000).map(|i| (i % 1000) as f32 * 1e-3).collect();
        let [low, high] = of(&values).range(RangeBy::LeastError);
        assert!(low == 0.0 && high > 0.9, "{low} {high}");
        values.push(40.0);
        let [_, high] = of(&values).range(RangeBy::LeastError);
        assert!((0.9..20.0).contains(&high), "{high}");
        let [_, high] = of(&values).range(RangeBy::Percentile(99.99));
        assert!((0.9..1.1).contains(&high), "{high}");
        assert_eq!(of(&values).range(RangeBy::Extremes), [0.0, 40.0]);
    }

    #[test]
    fn nothing_seen_is_no_range() {
        let empty = Histogram::new();
        for by in [
            RangeBy::Extremes,
            RangeBy::Percentile(99.9),
            RangeBy::LeastError,
        ] {
            assert_eq!(empty.range(by), [0.0, 0.0], "{by}");
        }
    }
}
