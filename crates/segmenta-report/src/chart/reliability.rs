//! The reliability diagram: how often a pixel is right that says it is so likely (DeGroot and Fienberg 1983).

use super::Chart;
use super::svg::{Anchor, Svg};

const SIDE: f64 = 300.0;
const LEFT: f64 = 58.0;
const TOP: f64 = 40.0;
const LETTERS: f64 = 12.0;

/// For each interval its mean probability, the share of right pixels, and its share of all pixels. Dots on the diagonal are what they say;
/// the larger a dot, the more pixels.
pub(crate) fn reliability(bins: &[[f64; 3]]) -> Chart {
    let mut svg = Svg::new(LEFT + SIDE + 24.0, TOP + SIDE + 50.0);
    svg.text("title", (14.0, 22.0), 14.0, Anchor::Start, "Reliability");
    let at = |x: f64, y: f64| (LEFT + x * SIDE, TOP + (1.0 - y) * SIDE);
    for tick in 0..=5 {
        let value = f64::from(tick) / 5.0;
        let label = format!("{value:.1}");
        let class = if tick == 0 { "axis" } else { "grid" };
        svg.line(class, at(value, 0.0), at(value, 1.0));
        svg.line(class, at(0.0, value), at(1.0, value));
        let (x, y) = at(value, 0.0);
        svg.text("faint", (x, y + 18.0), LETTERS, Anchor::Middle, &label);
        let (x, y) = at(0.0, value);
        svg.text("faint", (x - 8.0, y + 4.0), LETTERS, Anchor::End, &label);
    }
    svg.line("mark", at(0.0, 0.0), at(1.0, 1.0));
    let points: Vec<(f64, f64)> = bins
        .iter()
        .map(|&[confidence, right, _]| at(confidence, right))
        .collect();
    svg.polyline("s0", &points);
    for (&[confidence, right, share], &point) in bins.iter().zip(&points) {
        let says = format!(
            "probability {confidence:.3}: {:.1} % right, {:.1} % of the pixels",
            100.0 * right,
            100.0 * share
        );
        svg.dot("d0", point, 2.5 + 7.0 * share.sqrt(), &says);
    }
    let (x, y) = at(0.5, 0.0);
    svg.text(
        "label",
        (x, y + 38.0),
        LETTERS,
        Anchor::Middle,
        "probability of the class that was found",
    );
    let (x, y) = at(0.0, 0.5);
    svg.turned(
        "label",
        (x - 40.0, y),
        LETTERS,
        Anchor::Middle,
        -90.0,
        "share of right pixels",
    );
    Chart::new("reliability", svg)
}
