//! `report.html`: one page in one file, with everything that a run has to show.
//!
//! The template escapes every value; charts come escaped ([`crate::Chart::svg`]). The page may load nothing (its
//! content security policy says so to the browser too).

use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use segmenta_metrics::{Confusion, Metric, Score};

use crate::chart::{confusion_matrix, page_css};
use crate::{Chart, Classes, History, ReportError};

/// A part of the report: a heading with names and values under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The heading.
    pub heading: String,
    /// Names and values, in the order shown.
    pub rows: Vec<(String, String)>,
}

impl Facts {
    /// Facts under a heading.
    pub fn new<N: Into<String>, V: Into<String>>(
        heading: impl Into<String>,
        rows: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let rows = rows
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self {
            heading: heading.into(),
            rows,
        }
    }

    /// What the run ran on: Segmenta's version, `device` in words, the processor, `threads`, the system.
    pub fn environment(device: &str, threads: usize) -> Self {
        let rows = [
            ("segmenta", env!("CARGO_PKG_VERSION").to_owned()),
            ("device", device.to_owned()),
            ("processor", processor()),
            ("threads", threads.to_string()),
            (
                "system",
                format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            ),
        ];
        Self::new("Environment", rows)
    }
}

/// The processor's name where the system tells it in a file, else its architecture.
fn processor() -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = about
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.trim().to_owned(),
    )
}

/// All that the page shows.
pub(crate) struct Page<'a> {
    pub(crate) name: &'a str,
    pub(crate) ended: &'a str,
    pub(crate) headlines: &'a [(String, Score)],
    /// Which epoch's scores and pictures are shown.
    pub(crate) shown: Option<u32>,
    pub(crate) history: &'a History,
    pub(crate) confusion: Option<&'a Confusion>,
    pub(crate) classes: &'a Classes,
    pub(crate) curves: &'a [Chart],
    pub(crate) growth: Option<&'a [u8]>,
    /// The PNG of a preview, and its epoch.
    pub(crate) preview: Option<(u32, &'a [u8])>,
    pub(crate) command: &'a str,
    pub(crate) facts: &'a [Facts],
    pub(crate) config: &'a str,
}

impl Page<'_> {
    /// The page's HTML.
    pub(crate) fn html(&self) -> Result<String, ReportError> {
        let template = Report {
            version: env!("CARGO_PKG_VERSION"),
            name: self.name,
            ended: self.ended,
            chart_css: page_css(),
            headlines: self.headlines.iter().map(Headline::new).collect(),
            scores_of: self.shown.map(|epoch| {
                format!("Scores, classes and pictures are those of epoch {epoch}, the best.")
            }),
            command: self.command,
            curves: self.curves.iter().map(Chart::svg).collect(),
            growth: self.growth.map(|gif| BASE64_STANDARD.encode(gif)),
            preview: self.preview.map(|(epoch, png)| Preview {
                png: BASE64_STANDARD.encode(png),
                caption: format!("Picture, truth and prediction at epoch {epoch}."),
            }),
            classes: self
                .confusion
                .map(|confusion| rows(confusion, self.classes))
                .unwrap_or_default(),
            confusion: self.confusion.map(|confusion| {
                let classes = self.classes.padded(confusion.classes());
                confusion_matrix(confusion, classes.names())
                    .svg()
                    .to_owned()
            }),
            facts: self.facts,
            config: self.config,
            columns: self.columns(),
            epochs: self.epochs(),
        };
        template.render().map_err(|error| ReportError::Draw {
            drawing: "report",
            problem: error.to_string(),
        })
    }

    fn columns(&self) -> Vec<String> {
        let before = [
            "epoch",
            "step",
            "learning rate",
            "train loss",
            "validation loss",
        ];
        let after = ["pictures/s", "waiting for data"];
        let scores = self.history.scores().iter().map(String::as_str);
        before
            .into_iter()
            .chain(scores)
            .chain(after)
            .map(Into::into)
            .collect()
    }

    fn epochs(&self) -> Vec<Row> {
        let number = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "–".into(), |value| format!("{value:.digits$}"))
        };
        let row = |epoch: &crate::Epoch| {
            let mut cells = vec![
                epoch.epoch.to_string(),
                epoch.step.to_string(),
                epoch
                    .learning_rate
                    .map_or_else(|| "–".into(), |rate| format!("{rate:.3e}")),
                number(epoch.train_loss, 4),
                number(epoch.validation_loss, 4),
            ];
            cells.extend(epoch.scores.iter().map(|&score| number(score, 4)));
            cells.push(number(epoch.pictures_per_second, 1));
            cells.push(percent(epoch.waiting));
            Row {
                best: Some(epoch.epoch) == self.shown,
                cells,
            }
        };
        self.history.epochs().iter().map(row).collect()
    }
}

/// What the template is filled with.
#[derive(Template)]
#[template(path = "report.html")]
struct Report<'a> {
    version: &'static str,
    name: &'a str,
    ended: &'a str,
    chart_css: String,
    headlines: Vec<Headline>,
    scores_of: Option<String>,
    command: &'a str,
    curves: Vec<&'a str>,
    growth: Option<String>,
    preview: Option<Preview>,
    classes: Vec<ClassRow>,
    confusion: Option<String>,
    facts: &'a [Facts],
    config: &'a str,
    columns: Vec<String>,
    epochs: Vec<Row>,
}

pub(crate) struct Headline {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) protocol: String,
}

impl Headline {
    pub(crate) fn new((name, score): &(String, Score)) -> Self {
        Self {
            name: name.clone(),
            value: score
                .value
                .map_or_else(|| "n/a".into(), |value| format!("{value:.4}")),
            protocol: score.protocol.to_string(),
        }
    }
}

struct Preview {
    png: String,
    caption: String,
}

struct Row {
    best: bool,
    cells: Vec<String>,
}

pub(crate) struct ClassRow {
    pub(crate) name: String,
    pub(crate) colour: String,
    pub(crate) bar: String,
    pub(crate) iou: String,
    pub(crate) dice: String,
    pub(crate) precision: String,
    pub(crate) recall: String,
    pub(crate) share: String,
}

pub(crate) fn rows(confusion: &Confusion, classes: &Classes) -> Vec<ClassRow> {
    let classes = classes.padded(confusion.classes());
    let score =
        |value: Option<f64>| value.map_or_else(|| "n/a".into(), |value| format!("{value:.3}"));
    let row = |class: usize| {
        let counts = confusion.counts(class);
        let iou = Metric::Iou.of(counts);
        let [r, g, b] = classes.colours()[class];
        let truth = (counts.true_positives + counts.false_negatives) as f64;
        ClassRow {
            name: classes.names()[class].clone(),
            colour: format!("#{r:02x}{g:02x}{b:02x}"),
            bar: format!("{:.1}", iou.unwrap_or(0.0) * 100.0),
            iou: score(iou),
            dice: score(Metric::Dice.of(counts)),
            precision: score(Metric::Precision.of(counts)),
            recall: score(Metric::Recall.of(counts)),
            share: percent((confusion.pixels() > 0).then(|| truth / confusion.pixels() as f64)),
        }
    };
    (0..confusion.classes()).map(row).collect()
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".into(), |share| format!("{:.1} %", share * 100.0))
}
