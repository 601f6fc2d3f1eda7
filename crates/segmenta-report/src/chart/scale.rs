//! Numbers along an axis.

/// An axis from `low` to `high` in steps that are 1, 2 or 5 times a power of ten.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    step: f64,
}

impl Scale {
    /// An axis that holds both values, with about `ticks` steps. Both must be finite.
    pub(super) fn around(low: f64, high: f64, ticks: f64) -> Self {
        // One value alone, or two that differ by nothing but rounding, has some room around it.
        let room = (high - low).max((high.abs() * 1e-6).max(1e-12));
        let step = nice(room / ticks);
        let low = (low / step + 1e-9).floor() * step;
        let high = (high / step - 1e-9).ceil() * step;
        Self {
            low,
            high: high.max(low + step),
            step,
        }
    }

    /// A whole number of steps from a whole number: for epochs. `low` and `high` stay the ends.
    pub(super) fn whole(low: f64, high: f64, ticks: f64) -> Self {
        Self {
            low,
            high,
            step: nice((high - low) / ticks).max(1.0),
        }
    }

    /// Where the marks are.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-9).ceil();
        let count = ((self.high - first * self.step) / self.step + 1e-9).floor();
        // `+ 0.0`: a mark at minus nothing is at nothing.
        (0..=count as usize)
            .map(|i| (first + i as f64) * self.step + 0.0)
            .collect()
    }

    /// A mark's label, with as many digits as tell neighbours apart.
    pub(super) fn label(&self, value: f64) -> String {
        let magnitude = self.low.abs().max(self.high.abs());
        if value != 0.0 && !(1e-3..1e5).contains(&magnitude) {
            let digits = (magnitude.log10().floor() - self.step.log10().floor()).max(0.0) as usize;
            let text = format!("{value:.digits$e}");
            // All marks of an axis lose the same digits, or none: `1.50e-4` stays beside `1.25e-4`.
            return text;
        }
        let digits = (-self.step.log10().floor()).max(0.0) as usize;
        format!("{value:.digits$}")
    }

    /// The place of a value between 0 (`low`) and 1 (`high`).
    pub(super) fn place(&self, value: f64) -> f64 {
        if self.high > self.low {
            (value - self.low) / (self.high - self.low)
        } else {
            0.5
        }
    }
}

/// The least of 1, 2, 5, 10, … times a power of ten that is no less than `step`.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let times = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|times| times * power >= step * (1.0 - 1e-9));
    times.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_hold_the_values() {
        for (low, high) in [
            (0.0, 1.0),
            (0.213, 0.958),
            (1e-5, 3e-4),
            (5.0, 5.0),
            (0.0, 0.0),
            (-3.0, 1200.0),
        ] {
            let scale = Scale::around(low, high, 5.0);
            let ticks = scale.ticks();
            assert!(scale.low <= low && high <= scale.high, "{scale:?}");
            assert!((2..=9).contains(&ticks.len()), "{scale:?}: {ticks:?}");
            let labels: std::collections::HashSet<String> =
                ticks.iter().map(|&t| scale.label(t)).collect();
            assert_eq!(labels.len(), ticks.len(), "{labels:?}");
        }
        assert_eq!(Scale::around(0.21, 0.78, 5.0).ticks().len(), 4);
    }

    #[test]
    fn labels_say_no_more_than_they_must() {
        let scale = Scale::around(0.0, 1.0, 5.0);
        assert_eq!(
            scale
                .ticks()
                .iter()
                .map(|&t| scale.label(t))
                .collect::<Vec<_>>(),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        let scale = Scale::around(0.0, 4e-4, 5.0);
        assert_eq!(scale.label(scale.ticks()[2]), "2e-4");
        assert_eq!(
            Scale::whole(1.0, 12.0, 6.0).ticks(),
            [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
        );
        assert_eq!(Scale::whole(3.0, 3.0, 6.0).ticks(), [3.0]);
    }
}
