//! What was found, as it is told on the terminal.

use std::fmt::Write;
use std::path::Path;

use segmenta::{Milliseconds, PictureRecord, Report};

use crate::message::{FAINT, count, shown};
use crate::table::Table;

/// Above this many, pictures are no longer listed one by one.
const LISTED: usize = 20;
/// Classes named for a picture.
const TOP: usize = 4;

/// A class and its share of the pixels, 0 to 1.
type Share<'a> = (&'a str, f64);

/// The summary for people, `seconds` after the first picture was begun.
pub(crate) fn summary(report: &Report, out: &Path, seconds: f64) -> String {
    let mut text = String::new();
    let n = report.pictures.len();
    if n <= LISTED {
        text += &table(&report.pictures);
        text.push('\n');
    } else {
        let _ = writeln!(text, "{}", top(&overall(report)));
    }
    let mean = |stage: fn(&Milliseconds) -> f64| {
        let pictures = report.pictures.iter();
        pictures.map(|p| stage(&p.milliseconds)).sum::<f64>() / n as f64
    };
    let _ = writeln!(
        text,
        "{} in {} → {}",
        count(n, "picture"),
        duration(seconds),
        shown(&out.join(""))
    );
    let _ = writeln!(
        text,
        "{FAINT}each: decode {:.0} ms · prepare {:.0} · network {:.0} · labels {:.0} · write {:.0}{FAINT:#}",
        mean(|m| m.decode),
        mean(|m| m.prepare),
        mean(|m| m.network),
        mean(|m| m.labels),
        mean(|m| m.write),
    );
    text
}

fn table(pictures: &[PictureRecord]) -> String {
    let mut table = Table::new(&["picture", ">size", ">ms", "classes"]);
    for picture in pictures {
        let classes = picture.classes.iter();
        let shares: Vec<Share<'_>> = classes.map(|c| (&*c.name, c.share)).collect();
        table.row([
            shown(&picture.name).to_string(),
            format!("{}×{}", picture.width, picture.height),
            format!("{:.0}", picture.milliseconds.total()),
            top(&shares),
        ]);
    }
    table.render()
}

/// The classes of all pictures together, largest first.
fn overall(report: &Report) -> Vec<Share<'_>> {
    let mut pixels = vec![0_u64; 256];
    for share in report.pictures.iter().flat_map(|p| &p.classes) {
        pixels[usize::from(share.id)] += share.pixels;
    }
    let total: u64 = pixels.iter().sum();
    let classes = report.model.classes.iter();
    let mut all: Vec<Share<'_>> = classes
        .map(|class| (&*class.name, pixels[class.id] as f64 / total as f64))
        .filter(|&(_, share)| share > 0.0)
        .collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1));
    all
}

/// `person 21 % · dog 3.4 %`.
fn top(classes: &[Share<'_>]) -> String {
    let percent = |share: f64| match share * 100.0 {
        p if p >= 9.95 => format!("{p:.0} %"),
        p if p >= 0.05 => format!("{p:.1} %"),
        _ => "< 0.1 %".into(),
    };
    let named = classes
        .iter()
        .take(TOP)
        .map(|&(name, share)| format!("{name} {}", percent(share)));
    let mut text = named.collect::<Vec<_>>().join(" · ");
    if classes.len() > TOP {
        let _ = write!(text, " · {} more", classes.len() - TOP);
    }
    text
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s => format!("{:.0} min {:02.0} s", (s / 60.0).floor(), s % 60.0),
    }
}
