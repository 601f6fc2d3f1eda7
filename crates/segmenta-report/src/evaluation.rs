//! The page of a measurement: one file, as a run's report is.

use askama::Template;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use segmenta_image::Picture;
use segmenta_metrics::{Confusion, Score};

use crate::chart::{confusion_matrix, page_css, reliability};
use crate::page::{ClassRow, Facts, Headline, rows};
use crate::{Classes, ReportError};

/// A table of the page.
#[derive(Clone, Debug)]
pub struct TableOf {
    /// Above it.
    pub heading: String,
    /// Heads of its columns; the first is of names.
    pub columns: Vec<String>,
    /// Its rows, as many cells each.
    pub rows: Vec<Vec<String>>,
    /// Below it: how its numbers were made.
    pub note: String,
}

/// Pictures with their captions, under a heading.
#[derive(Clone, Debug)]
pub struct Gallery {
    /// Above them.
    pub heading: String,
    /// Each with what is said below it.
    pub shown: Vec<(Picture, String)>,
}

/// All that the page shows.
#[derive(Clone, Debug)]
pub struct EvaluationPage<'a> {
    /// What was measured.
    pub name: &'a str,
    /// On what, in a sentence.
    pub about: &'a str,
    /// Scores by their names.
    pub scores: Vec<(String, Score)>,
    /// Which class was taken for which.
    pub confusion: &'a Confusion,
    /// The classes.
    pub classes: Classes,
    /// Tables, in their order.
    pub tables: Vec<TableOf>,
    /// For each interval of probability its mean, the share of right pixels and its share of all pixels; empty for none.
    pub calibration: Vec<[f64; 3]>,
    /// What is said below the diagram.
    pub calibration_note: String,
    /// Pictures.
    pub galleries: Vec<Gallery>,
    /// How it was measured.
    pub facts: &'a [Facts],
}

#[derive(Template)]
#[template(path = "evaluation.html")]
struct Filled<'a> {
    version: &'static str,
    name: &'a str,
    about: &'a str,
    chart_css: String,
    headlines: Vec<Headline>,
    classes: Vec<ClassRow>,
    confusion: String,
    tables: &'a [TableOf],
    calibration: Option<String>,
    calibration_note: &'a str,
    galleries: Vec<Shown>,
    facts: &'a [Facts],
}

struct Shown {
    heading: String,
    shown: Vec<Drawn>,
}

struct Drawn {
    png: String,
    caption: String,
}

impl EvaluationPage<'_> {
    /// The page's HTML.
    ///
    /// # Errors
    /// A template that cannot be filled, which is a defect.
    pub fn html(&self) -> Result<String, ReportError> {
        let classes = self.classes.padded(self.confusion.classes());
        let galleries = self
            .galleries
            .iter()
            .filter(|gallery| !gallery.shown.is_empty())
            .map(|gallery| Shown {
                heading: gallery.heading.clone(),
                shown: gallery
                    .shown
                    .iter()
                    .map(|(picture, caption)| Drawn {
                        png: BASE64_STANDARD.encode(picture.to_png()),
                        caption: caption.clone(),
                    })
                    .collect(),
            });
        let filled = Filled {
            version: env!("CARGO_PKG_VERSION"),
            name: self.name,
            about: self.about,
            chart_css: page_css(),
            headlines: self.scores.iter().map(Headline::new).collect(),
            classes: rows(self.confusion, &self.classes),
            confusion: confusion_matrix(self.confusion, classes.names())
                .svg()
                .to_owned(),
            tables: &self.tables,
            calibration: (!self.calibration.is_empty())
                .then(|| reliability(&self.calibration).svg().to_owned()),
            calibration_note: &self.calibration_note,
            galleries: galleries.collect(),
            facts: self.facts,
        };
        filled.render().map_err(|error| ReportError::Draw {
            drawing: "evaluation",
            problem: error.to_string(),
        })
    }
}
