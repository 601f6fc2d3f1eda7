//! What was found, as `predictions.json` has it and as it is told on the terminal.

use std::fmt::Write;
use std::path::Path;

use segmenta::{ClassShare, Model, Preprocess};
use serde::Serialize;

use super::settings::{Record, Settings};
use crate::inputs::Failure;
use crate::message::{FAINT, count, shown};
use crate::table::Table;

/// Above this many, pictures are no longer listed one by one.
const LISTED: usize = 20;
/// Classes named for a picture.
const TOP: usize = 4;

#[derive(Serialize)]
pub(crate) struct Report {
    segmenta: &'static str,
    model: ModelRecord,
    settings: Record,
    pub(crate) pictures: Vec<PictureRecord>,
    pub(crate) failed: Vec<Failure>,
}

#[derive(Serialize)]
struct ModelRecord {
    architecture: &'static str,
    weights: String,
    classes: Vec<ClassRecord>,
    isa: String,
    threads: usize,
}

#[derive(Serialize)]
struct ClassRecord {
    id: usize,
    name: String,
    color: [u8; 3],
}

/// One picture. Paths of what was written are relative to the output folder.
#[derive(Serialize)]
pub(crate) struct PictureRecord {
    /// What it is called on the terminal.
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) model: &'static str,
    /// The classes that occur, largest first.
    pub(crate) classes: Vec<Share>,
    pub(crate) written: Vec<String>,
    pub(crate) milliseconds: Milliseconds,
}

#[derive(Serialize)]
pub(crate) struct Share {
    id: u8,
    name: String,
    pixels: u64,
    share: f64,
}

impl From<ClassShare> for Share {
    fn from(class: ClassShare) -> Self {
        Self {
            id: class.id,
            name: class.name,
            pixels: class.pixels,
            share: class.share,
        }
    }
}

#[derive(Clone, Copy, Serialize)]
pub(crate) struct Milliseconds {
    pub(crate) decode: f64,
    pub(crate) prepare: f64,
    pub(crate) network: f64,
    pub(crate) labels: f64,
    pub(crate) write: f64,
}

impl Milliseconds {
    fn total(self) -> f64 {
        self.decode + self.prepare + self.network + self.labels + self.write
    }
}

/// A class's name for people: torchvision writes `__background__`.
pub(crate) fn readable(name: &str) -> &str {
    match name.trim_matches('_') {
        "" => name,
        bare => bare,
    }
}

impl Report {
    pub(crate) fn new(model: &Model, settings: &Settings, recipe: &Preprocess) -> Self {
        let description = model.description();
        let classes = description.class_names().into_iter().enumerate();
        Self {
            segmenta: env!("CARGO_PKG_VERSION"),
            model: ModelRecord {
                architecture: description.architecture,
                weights: description.source.clone(),
                classes: classes
                    .map(|(id, name)| ClassRecord {
                        id,
                        name: name.into(),
                        color: description.palette.color(id as u8),
                    })
                    .collect(),
                isa: model.engine().isa().to_string(),
                threads: model.engine().threads(),
            },
            settings: settings.record(recipe),
            pictures: Vec::new(),
            failed: Vec::new(),
        }
    }

    pub(crate) fn save(&self, out: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(segmenta_image::write_atomic(
            out.join("predictions.json"),
            &text,
        )?)
    }

    /// The summary for people, `seconds` after the first picture was begun.
    pub(crate) fn summary(&self, out: &Path, seconds: f64) -> String {
        let mut text = String::new();
        let n = self.pictures.len();
        if n <= LISTED {
            text += &self.table();
            text.push('\n');
        } else {
            let _ = writeln!(text, "{}", top(&self.overall()));
        }
        let mean = |stage: fn(&Milliseconds) -> f64| {
            self.pictures
                .iter()
                .map(|p| stage(&p.milliseconds))
                .sum::<f64>()
                / n as f64
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

    fn table(&self) -> String {
        let mut table = Table::new(&["picture", ">size", ">ms", "classes"]);
        for picture in &self.pictures {
            table.row([
                picture.name.clone(),
                format!("{}×{}", picture.width, picture.height),
                format!("{:.0}", picture.milliseconds.total()),
                top(&picture.classes),
            ]);
        }
        table.render()
    }

    /// The classes of all pictures together.
    fn overall(&self) -> Vec<Share> {
        let classes = self.model.classes.iter();
        let pixels = |id: u8| -> u64 {
            let shares = self.pictures.iter().flat_map(|p| &p.classes);
            shares
                .filter(|share| share.id == id)
                .map(|share| share.pixels)
                .sum()
        };
        let mut all: Vec<Share> = classes
            .map(|class| Share {
                id: class.id as u8,
                name: class.name.clone(),
                pixels: pixels(class.id as u8),
                share: 0.0,
            })
            .filter(|share| share.pixels > 0)
            .collect();
        let total: u64 = all.iter().map(|share| share.pixels).sum();
        all.iter_mut()
            .for_each(|class| class.share = class.pixels as f64 / total as f64);
        all.sort_by_key(|class| std::cmp::Reverse(class.pixels));
        all
    }
}

/// `person 21 % · dog 3.4 %`.
fn top(classes: &[Share]) -> String {
    let percent = |share: f64| match share * 100.0 {
        p if p >= 9.95 => format!("{p:.0} %"),
        p if p >= 0.05 => format!("{p:.1} %"),
        _ => "< 0.1 %".into(),
    };
    let named = classes
        .iter()
        .take(TOP)
        .map(|c| format!("{} {}", readable(&c.name), percent(c.share)));
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
