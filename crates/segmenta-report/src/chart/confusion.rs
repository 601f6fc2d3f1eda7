//! Which class was taken for which.

use segmenta_files::count;
use segmenta_metrics::Confusion;

use super::Chart;
use super::svg::{Anchor, Svg, fitted, width};

/// More classes than these are no longer told apart; those with the most pixels are drawn.
const CLASSES: usize = 64;
/// The matrix's side at most, where its cells are not at their least.
const SIDE: f64 = 560.0;
const TITLE: f64 = 30.0;
/// Names longer than this are cut.
const NAME: f64 = 130.0;

/// The matrix, each row being a class of the truth as shares of its own pixels. Cells have their pixels too where
/// there is room; all have them when pointed at.
pub(crate) fn confusion_matrix(confusion: &Confusion, names: &[String]) -> Chart {
    let shown = shown(confusion);
    let n = shown.len() as f64;
    let cell = (SIDE / n).clamp(12.0, 58.0).floor();
    let letters = (cell * 0.62).clamp(8.0, 12.0);
    let name = |class: usize| fitted(&names[class], letters, NAME);
    let longest = shown
        .iter()
        .map(|&class| width(&name(class), letters))
        .fold(0.0, f64::max);
    // Column names rise at an angle.
    let (left, top) = (longest + 40.0, TITLE + longest * 0.71 + 40.0);
    let wide = (left + n * cell + longest.mul_add(0.71, 16.0)).max(left + key_width());
    let mut svg = Svg::new(wide.max(300.0).ceil(), (top + n * cell + 62.0).ceil());

    let title = match (shown.len(), confusion.classes()) {
        (n, all) if n < all => format!("Confusion matrix · the {n} most frequent of {all} classes"),
        _ => "Confusion matrix".into(),
    };
    svg.text("title", (14.0, 22.0), 14.0, Anchor::Start, &title);
    for (i, &class) in shown.iter().enumerate() {
        let middle = i as f64 * cell + cell / 2.0;
        svg.text(
            "label",
            (left - 7.0, top + middle + letters * 0.36),
            letters,
            Anchor::End,
            &name(class),
        );
        svg.turned(
            "label",
            (left + middle + letters * 0.25, top - 7.0),
            letters,
            Anchor::Start,
            -45.0,
            &name(class),
        );
    }
    let (side, middle) = (n * cell, n * cell / 2.0);
    svg.turned(
        "faint",
        (16.0, top + middle),
        12.0,
        Anchor::Middle,
        -90.0,
        "truth",
    );
    svg.text(
        "faint",
        (left + middle, top + side + 20.0),
        12.0,
        Anchor::Middle,
        "prediction",
    );
    svg.rect("bed", (left, top), (side, side), "");
    for (row, &truth) in shown.iter().enumerate() {
        let whole: u64 = (0..confusion.classes())
            .map(|p| confusion.at(truth, p))
            .sum();
        if whole == 0 {
            let at = (
                left + side / 2.0,
                top + row as f64 * cell + cell / 2.0 + letters * 0.36,
            );
            svg.text("faint", at, letters, Anchor::Middle, "n/a: not in the data");
        }
        for (column, &found) in shown.iter().enumerate() {
            let at = (left + column as f64 * cell, top + row as f64 * cell);
            let pixels = confusion.at(truth, found);
            // A class that is not in the data has no shares, but it may have been found: nothing is in its row.
            if pixels > 0 {
                let share = pixels as f64 / whole as f64;
                svg.group(&format!(
                    "{} taken for {}: {}, {} of it",
                    names[truth],
                    names[found],
                    count(pixels, "pixel"),
                    percent(share, true)
                ));
                draw_cell(&mut svg, at, cell, share, pixels);
                svg.end();
            }
        }
    }
    key(&mut svg, (left, top + side + 34.0));
    Chart::new("Confusion matrix", svg)
}

/// The classes that are drawn, in their order.
fn shown(confusion: &Confusion) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..confusion.classes()).collect();
    if classes.len() > CLASSES {
        let counts: Vec<u64> = confusion.rows().map(|row| row.iter().sum()).collect();
        classes.sort_by_key(|&class| std::cmp::Reverse(counts[class]));
        classes.truncate(CLASSES);
        classes.sort_unstable();
    }
    classes
}

fn draw_cell(svg: &mut Svg, (x, y): (f64, f64), cell: f64, share: f64, pixels: u64) {
    // Something is never quite nothing to the eye.
    let opacity = format!(r#" fill-opacity="{:.3}""#, share.max(0.02));
    svg.rect(
        "cell",
        (x + 0.5, y + 0.5),
        (cell - 1.0, cell - 1.0),
        &opacity,
    );
    if cell < 24.0 {
        return;
    }
    let class = if share > 0.5 { "on" } else { "off" };
    let (letters, middle) = (
        (cell * 0.26).clamp(8.0, 13.0),
        (x + cell / 2.0, y + cell / 2.0),
    );
    let with_pixels = cell >= 44.0;
    let baseline = middle.1 + if with_pixels { -1.0 } else { letters * 0.36 };
    svg.text(
        class,
        (middle.0, baseline),
        letters,
        Anchor::Middle,
        &percent(share, with_pixels),
    );
    if with_pixels {
        svg.text(
            class,
            (middle.0, baseline + 14.0),
            9.5,
            Anchor::Middle,
            &brief(pixels),
        );
    }
}

const SHADES: usize = 10;
const SHADE: f64 = 12.0;
const KEY_LETTERS: f64 = 11.0;
const DARKEST: &str = "100 % of the class";

/// From where the shades begin to the end of what is said of them, with a margin.
fn key_width() -> f64 {
    SHADE * SHADES as f64 + 7.0 + width(DARKEST, KEY_LETTERS) + 14.0
}

/// What the shades mean.
fn key(svg: &mut Svg, (x, y): (f64, f64)) {
    svg.text(
        "faint",
        (x - 7.0, y + 10.0),
        KEY_LETTERS,
        Anchor::End,
        "0 %",
    );
    svg.rect("bed", (x, y), (SHADE * SHADES as f64, 12.0), "");
    for i in 1..=SHADES {
        let opacity = format!(r#" fill-opacity="{}""#, i as f64 / SHADES as f64);
        svg.rect(
            "cell",
            (x + (i - 1) as f64 * SHADE, y),
            (SHADE, 12.0),
            &opacity,
        );
    }
    svg.text(
        "faint",
        (x + SHADE * SHADES as f64 + 7.0, y + 10.0),
        KEY_LETTERS,
        Anchor::Start,
        DARKEST,
    );
}

fn percent(share: f64, sign: bool) -> String {
    let sign = if sign { " %" } else { "" };
    match share * 100.0 {
        p if p < 0.1 => format!("<0.1{sign}"),
        p if p < 9.95 => format!("{p:.1}{sign}"),
        p => format!("{p:.0}{sign}"),
    }
}

/// A count in four characters or so.
fn brief(n: u64) -> String {
    match n as f64 {
        v if v < 1e3 => n.to_string(),
        v if v < 9.95e3 => format!("{:.1} k", v / 1e3),
        v if v < 999.5e3 => format!("{:.0} k", v / 1e3),
        v if v < 9.95e6 => format!("{:.1} M", v / 1e6),
        v if v < 999.5e6 => format!("{:.0} M", v / 1e6),
        v => format!("{:.1} G", v / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chart of two classes is the narrowest, and what its shades mean the widest line of it.
    #[test]
    fn what_the_shades_mean_fits() {
        let confusion = Confusion::from_counts(2, None, &[9, 1, 2, 8], 0).unwrap();
        let names = ["a".to_string(), "b".to_string()];
        let picture = confusion_matrix(&confusion, &names).picture(1.0).unwrap();
        let (wide, high) = picture.size();
        let edge = (0..high).map(|y| &picture.pixels()[(y * wide + wide - 3) * 3..][..9]);
        assert!(edge.flatten().all(|&value| value == 255));
    }

    #[test]
    fn counts_are_brief() {
        assert_eq!(
            [7, 999, 1234, 9960, 999_400, 1_200_000, 5_000_000_000].map(brief),
            ["7", "999", "1.2 k", "10 k", "999 k", "1.2 M", "5.0 G"]
        );
    }

    #[test]
    fn many_classes_are_cut_to_the_most_frequent_and_said() {
        let classes = 150_u64;
        let mut pixels = vec![0; 150 * 150];
        (0..150).for_each(|class| pixels[class * 151] = 1 + (class as u64 * 7) % classes);
        let confusion = Confusion::from_counts(150, None, &pixels, 0).unwrap();
        let names: Vec<String> = (0..150).map(|class| format!("class {class}")).collect();
        let chart = confusion_matrix(&confusion, &names);
        assert!(chart.svg().contains("the 64 most frequent of 150 classes"));
        assert_eq!(shown(&confusion).len(), 64);
        assert!(
            shown(&confusion)
                .iter()
                .all(|&class| pixels[class * 151] > 150 - 64)
        );
        assert!(chart.picture(1.0).is_ok());
    }

    #[test]
    fn names_cannot_break_out() {
        let confusion = Confusion::from_counts(2, None, &[3, 1, 0, 0], 0).unwrap();
        let names = [
            "</title><script>alert(1)</script>".to_owned(),
            "\u{0}\u{ffff}\"&'".to_owned(),
        ];
        let chart = confusion_matrix(&confusion, &names);
        assert!(!chart.svg().contains("<script"));
        assert!(chart.svg().contains("n/a: not in the data"));
        assert!(chart.picture(1.0).is_ok(), "still XML");
    }
}
