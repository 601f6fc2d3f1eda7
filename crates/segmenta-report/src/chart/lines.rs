//! Values over epochs.

use super::scale::Scale;
use super::svg::{Anchor, Svg, width};
use super::{Chart, theme};

const SIZE: (f64, f64) = (480.0, 300.0);
const LETTERS: f64 = 12.0;
const RIGHT: f64 = 14.0;
const BOTTOM: f64 = 46.0;
/// More dots than this would hide the line.
const DOTS: usize = 40;

/// Lines of values over epochs.
#[derive(Debug)]
pub(crate) struct LineChart<'a> {
    pub(crate) name: &'static str,
    /// What the values are, with their unit.
    pub(crate) values: &'static str,
    pub(crate) epochs: &'a [u32],
    pub(crate) series: Vec<Series>,
    pub(crate) span: Span,
    /// An epoch to point out, and why.
    pub(crate) mark: Option<(u32, &'static str)>,
}

/// One line: a value for each epoch. What is not finite is a gap.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) values: Vec<Option<f64>>,
}

/// What the vertical axis spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// The values.
    Data,
    /// The values and 0.
    Zero,
}

impl LineChart<'_> {
    /// `None` if there is no value to draw.
    pub(crate) fn draw(&self) -> Option<Chart> {
        let values = || {
            self.series
                .iter()
                .flat_map(|s| s.values.iter().copied().flatten())
                .filter(|v| v.is_finite())
        };
        let (low, high) = (values().reduce(f64::min)?, values().reduce(f64::max)?);
        // An axis that nearly reaches 0 may as well do so.
        let zero = self.span == Span::Zero || (low > 0.0 && low < high * 0.35);
        let y = Scale::around(if zero { low.min(0.0) } else { low }, high, 5.0);
        let (first, last) = (self.epochs.first()?, self.epochs.last()?);
        let x = Scale::whole(f64::from(*first), f64::from(*last), 8.0);

        let mut svg = Svg::new(SIZE.0, SIZE.1);
        svg.text("title", (14.0, 22.0), 14.0, Anchor::Start, self.name);
        let top = self.legend(&mut svg) + 22.0;
        let labels = y
            .ticks()
            .into_iter()
            .map(|tick| width(&y.label(tick), LETTERS));
        let left = labels.fold(0.0, f64::max) + 42.0;
        let plot = Plot {
            x,
            y,
            left,
            top,
            right: SIZE.0 - RIGHT,
            bottom: SIZE.1 - BOTTOM,
        };
        plot.axes(&mut svg, self.values);
        if let Some((epoch, why)) = self.mark.filter(|(epoch, _)| self.epochs.contains(epoch)) {
            plot.mark(&mut svg, f64::from(epoch), why);
        }
        for (index, series) in self.series.iter().enumerate() {
            self.line(&mut svg, &plot, index, series);
        }
        Some(Chart::new(self.name, svg))
    }

    /// Which line is which, below the title; gives the lower edge.
    fn legend(&self, svg: &mut Svg) -> f64 {
        const SAMPLE: f64 = 26.0;
        // The axis names a line that is alone.
        if self.series.len() < 2 {
            return 24.0;
        }
        let (mut x, mut y) = (14.0, 42.0);
        for (index, series) in self.series.iter().enumerate() {
            let class = index % theme::LINES;
            let room = SAMPLE + 6.0 + width(&series.name, LETTERS);
            if x > 14.0 && x + room > SIZE.0 - RIGHT {
                (x, y) = (14.0, y + 18.0);
            }
            svg.line(
                &format!("s{class}"),
                (x + 2.0, y - 4.0),
                (x + SAMPLE - 2.0, y - 4.0),
            );
            svg.text(
                "label",
                (x + SAMPLE + 6.0, y),
                LETTERS,
                Anchor::Start,
                &series.name,
            );
            x += room + 18.0;
        }
        y
    }

    fn line(&self, svg: &mut Svg, plot: &Plot, index: usize, series: &Series) {
        let class = index % theme::LINES;
        let pairs = self.epochs.iter().zip(&series.values);
        let point = |(&epoch, value): (&u32, &Option<f64>)| {
            let value = value.filter(|value| value.is_finite())?;
            Some((epoch, value, plot.at(f64::from(epoch), value)))
        };
        let points: Vec<_> = pairs.map(point).collect();
        for run in points.split(Option::is_none).filter(|run| !run.is_empty()) {
            let run: Vec<(f64, f64)> = run.iter().flatten().map(|point| point.2).collect();
            svg.polyline(&format!("s{class}"), &run);
        }
        // Every point says its value; where they are many, only to who points at it.
        let (class, radius) = if points.len() <= DOTS {
            (format!("d{class}"), 2.6)
        } else {
            (format!("d{class} quiet"), 0.0)
        };
        for (epoch, value, at) in points.into_iter().flatten() {
            svg.dot(
                &class,
                at,
                radius,
                &format!("epoch {epoch} · {} {}", series.name, figures(value)),
            );
        }
    }
}

/// Where values are on the paper.
struct Plot {
    x: Scale,
    y: Scale,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Plot {
    fn at(&self, epoch: f64, value: f64) -> (f64, f64) {
        // The first and the last dot stay off the edges.
        let (left, right) = (self.left + 8.0, self.right - 8.0);
        (
            left + self.x.place(epoch) * (right - left),
            self.bottom - self.y.place(value) * (self.bottom - self.top),
        )
    }

    fn axes(&self, svg: &mut Svg, values: &str) {
        for tick in self.y.ticks() {
            let y = self.at(self.x.low, tick).1;
            svg.line("grid", (self.left, y), (self.right, y));
            svg.text(
                "faint",
                (self.left - 7.0, y + 4.0),
                LETTERS,
                Anchor::End,
                &self.y.label(tick),
            );
        }
        for tick in self.x.ticks() {
            let x = self.at(tick, self.y.low).0;
            svg.line("axis", (x, self.bottom), (x, self.bottom + 4.0));
            svg.text(
                "faint",
                (x, self.bottom + 18.0),
                LETTERS,
                Anchor::Middle,
                &format!("{tick}"),
            );
        }
        svg.line("axis", (self.left, self.bottom), (self.right, self.bottom));
        let middle = f64::midpoint(self.left, self.right);
        svg.text(
            "label",
            (middle, self.bottom + 37.0),
            LETTERS,
            Anchor::Middle,
            "epoch",
        );
        let middle = f64::midpoint(self.top, self.bottom);
        svg.turned(
            "label",
            (18.0, middle),
            LETTERS,
            Anchor::Middle,
            -90.0,
            values,
        );
    }

    fn mark(&self, svg: &mut Svg, epoch: f64, why: &str) {
        let x = self.at(epoch, self.y.low).0;
        svg.line("mark", (x, self.top - 4.0), (x, self.bottom));
        svg.text(
            "faint",
            (x, self.top - 8.0),
            LETTERS - 1.0,
            Anchor::Middle,
            why,
        );
    }
}

/// A value with four significant figures.
fn figures(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let digits = 3.0 - value.abs().log10().floor();
    if (0.0..=7.0).contains(&digits) {
        format!("{value:.*}", digits as usize)
    } else {
        format!("{value:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: Vec<Option<f64>>) -> Option<Chart> {
        let epochs: Vec<u32> = (1..=values.len() as u32).collect();
        let series = vec![Series {
            name: "<train>".into(),
            values,
        }];
        let chart = LineChart {
            name: "Loss",
            values: "loss",
            epochs: &epochs,
            series,
            span: Span::Data,
            mark: Some((2, "best")),
        };
        chart.draw()
    }

    #[test]
    fn what_is_not_finite_is_a_gap() {
        let svg = chart(vec![
            Some(1.0),
            Some(f64::NAN),
            Some(f64::INFINITY),
            None,
            Some(0.5),
        ])
        .unwrap();
        assert_eq!(svg.svg().matches("<polyline").count(), 2);
        assert_eq!(svg.svg().matches("<circle").count(), 2);
        assert!(!svg.svg().contains("NaN") && !svg.svg().contains("inf"));
        assert!(svg.svg().contains("&lt;train&gt;") && !svg.svg().contains("<train>"));
        assert!(chart(vec![None, Some(f64::NAN)]).is_none() && chart(Vec::new()).is_none());
    }

    #[test]
    fn one_epoch_and_thousands_are_drawn() {
        for n in [1, 2, 5000] {
            let drawn = chart((0..n).map(|i| Some(1.0 / f64::from(i + 1))).collect()).unwrap();
            assert_eq!(drawn.picture(1.0).unwrap().size(), (480, 300));
        }
    }

    #[test]
    fn values_have_four_figures() {
        assert_eq!(
            [0.123456, 12.0, 0.0, 3e-9, 12345.6, 0.0003].map(figures),
            ["0.1235", "12.00", "0", "3.000e-9", "1.235e4", "0.0003000"]
        );
    }
}
