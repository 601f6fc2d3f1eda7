//! A score for each class.

use super::Chart;
use super::svg::{Anchor, Svg, fitted, width};

const LETTERS: f64 = 12.0;
const ROW: f64 = 24.0;
const TOP: f64 = 40.0;
const SWATCH: f64 = 11.0;
const BARS: f64 = 300.0;
const NAME: f64 = 170.0;

/// Bars from 0 to 1, one for each class under its name and colour; a class without a score says n/a.
pub(crate) fn class_bars(
    name: &'static str,
    scores: &[Option<f64>],
    names: &[String],
    colours: &[[u8; 3]],
) -> Chart {
    let shown: Vec<String> = names
        .iter()
        .map(|name| fitted(name, LETTERS, NAME))
        .collect();
    let longest = shown
        .iter()
        .map(|name| width(name, LETTERS))
        .fold(0.0, f64::max);
    let left = 14.0 + SWATCH + 8.0 + longest + 12.0;
    let bottom = TOP + scores.len() as f64 * ROW;
    let mut svg = Svg::new((left + BARS + 56.0).ceil(), bottom + 30.0);
    svg.text("title", (14.0, 22.0), 14.0, Anchor::Start, name);
    for tick in 0..=5 {
        let (x, label) = (
            left + f64::from(tick) / 5.0 * BARS,
            format!("{:.1}", f64::from(tick) / 5.0),
        );
        svg.line(
            if tick == 0 { "axis" } else { "grid" },
            (x, TOP),
            (x, bottom),
        );
        svg.text("faint", (x, bottom + 18.0), LETTERS, Anchor::Middle, &label);
    }
    for (class, score) in scores.iter().enumerate() {
        let middle = TOP + (class as f64 + 0.5) * ROW;
        let [r, g, b] = colours[class];
        let fill = format!(r#" rx="2" style="fill:rgb({r},{g},{b})""#);
        svg.rect(
            "edge",
            (14.5, middle - SWATCH / 2.0),
            (SWATCH, SWATCH),
            &fill,
        );
        svg.text(
            "label",
            (14.0 + SWATCH + 8.0, middle + 4.0),
            LETTERS,
            Anchor::Start,
            &shown[class],
        );
        match score {
            Some(score) => {
                let length = score.clamp(0.0, 1.0) * BARS;
                svg.group(&format!("{}: {score:.4}", names[class]));
                svg.rect("bar", (left, middle - 7.0), (length, 14.0), "");
                svg.end();
                svg.text(
                    "label",
                    (left + length + 7.0, middle + 4.0),
                    LETTERS,
                    Anchor::Start,
                    &format!("{score:.3}"),
                );
            }
            None => svg.text(
                "faint",
                (left + 7.0, middle + 4.0),
                LETTERS,
                Anchor::Start,
                "n/a",
            ),
        }
    }
    Chart::new(name, svg)
}
