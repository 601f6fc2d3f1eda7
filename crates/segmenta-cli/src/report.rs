//! `segmenta eval --report`: what was measured as a page, and in files for programs.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use segmenta::{Analysis, Dataset, Error, EvaluateEvent, Evaluation, MatchBy, Model, Shown};
use segmenta_image::{Filter, Picture, write_atomic};
use segmenta_report::{Classes, EvaluationPage, Facts, Gallery, TableOf};
use serde_json::json;

use super::message::count;
use super::table::grouped;

/// Pictures of each kind.
const PICTURES: usize = 6;
/// Pixels across of a drawing in the page: photograph, truth, found and errors.
const WIDEST: usize = 1600;
/// What the sizes of [`Analysis::sizes`] are called.
const SIZES: [&str; 3] = ["small, below 32²", "medium, below 96²", "large"];

/// A report that grows with every picture.
pub(crate) struct Report {
    out: PathBuf,
    analysis: Analysis,
}

impl Report {
    /// Into this folder, which is made now: long work is not to end in a folder that cannot be written.
    pub(crate) fn new(out: &Path, model: &Model) -> anyhow::Result<Self> {
        segmenta::prepare_folder(out)?;
        Ok(Self {
            out: out.into(),
            analysis: Analysis::new(PICTURES, &model.description().class_names()),
        })
    }

    pub(crate) fn see(&mut self, event: EvaluateEvent<'_>) -> Result<(), Error> {
        self.analysis.see(event)
    }

    /// Writes `index.html`, `scores.json`, `pictures.csv`; where the page is.
    pub(crate) fn save(
        &self,
        measured: &Evaluation,
        model: &Model,
        dataset: &Dataset,
    ) -> anyhow::Result<PathBuf> {
        let page = self.out.join("index.html");
        write_atomic(&page, self.page(measured, model, dataset)?.as_bytes())?;
        write_atomic(
            self.out.join("scores.json"),
            self.json(measured)?.as_bytes(),
        )?;
        write_atomic(self.out.join("pictures.csv"), self.csv().as_bytes())?;
        Ok(page)
    }

    fn page(
        &self,
        measured: &Evaluation,
        model: &Model,
        dataset: &Dataset,
    ) -> anyhow::Result<String> {
        let analysis = &self.analysis;
        let description = model.description();
        let facts = [
            facts_of_data(measured, dataset),
            facts_of_model(model, measured),
        ];
        let on = measured
            .measured_on
            .iter()
            .fold(String::new(), |_, part| format!(", {part}"));
        let about = format!(
            "{}{on}: {} of {} pixels right",
            count(measured.pictures, "picture"),
            grouped(measured.confusion.right()),
            grouped(measured.confusion.pixels())
        );
        let all: u64 = analysis.bins.iter().map(|bin| bin.tally.pixels).sum();
        let calibration = analysis.bins.iter().filter_map(|bin| {
            let share = bin.tally.pixels as f64 / all as f64;
            Some([bin.confidence()?, bin.tally.share()?, share])
        });
        let caption = |shown: &Shown| {
            let [near, elsewhere] = shown.wrong;
            format!(
                "{}: mIoU {:.3}, {} wrong near a boundary, {} elsewhere",
                shown.name,
                shown.miou,
                count(near as usize, "pixel"),
                elsewhere
            )
        };
        // Where it lies is among the facts.
        let source = Path::new(&description.source);
        let name = source
            .file_name()
            .unwrap_or(source.as_os_str())
            .to_string_lossy();
        let gallery = |heading: &str, shown: &[Shown]| Gallery {
            heading: heading.into(),
            shown: shown
                .iter()
                .map(|shown| (fitted(&shown.drawing), caption(shown)))
                .collect(),
        };
        let page = EvaluationPage {
            name: &name,
            about: &about,
            scores: measured.scores.iter().map(|named| (named.name.to_owned(), named.score.clone())).collect(),
            confusion: &measured.confusion,
            classes: Classes::new(description.class_names(), description.palette.clone()),
            tables: vec![self.boundary(), self.sizes()],
            calibration: calibration.collect(),
            calibration_note: analysis.calibration_error().map_or_else(String::new, |error| {
                format!(
                    "Expected calibration error {error:.4}: the mean over pixels of how far probability and share of right pixels are \
                     apart, in 15 intervals (Guo et al. 2017). Below the diagonal the network is surer than it is right; a dot is as large as its \
                     share of the pixels."
                )
            }),
            galleries: vec![gallery("The worst pictures", &analysis.worst), gallery("The best pictures", &analysis.best)],
            facts: &facts,
        };
        Ok(page.html()?)
    }

    fn boundary(&self) -> TableOf {
        let wrong: u64 = self.analysis.band.iter().map(|tally| tally.wrong()).sum();
        let rows = ["near a boundary", "elsewhere"]
            .into_iter()
            .zip(self.analysis.band)
            .map(|(name, tally)| {
                let share = if wrong == 0 {
                    0.0
                } else {
                    tally.wrong() as f64 / wrong as f64
                };
                vec![
                    name.into(),
                    grouped(tally.pixels),
                    tally
                        .share()
                        .map_or("n/a".into(), |share| format!("{:.2} %", 100.0 * share)),
                    grouped(tally.wrong()),
                    format!("{:.1} %", 100.0 * share),
                ]
            });
        TableOf {
            heading: "Where errors lie".into(),
            columns: ["pixels", "how many", "right", "wrong", "share of all errors"].map(Into::into).into(),
            rows: rows.collect(),
            note: "Near a boundary: within 0.5 % of the picture's diagonal of another class of the truth, 2 pixels at least.".into(),
        }
    }

    fn sizes(&self) -> TableOf {
        let rows = SIZES
            .into_iter()
            .zip(self.analysis.sizes)
            .map(|(name, size)| {
                let share = |part: u64, of: u64| {
                    if of == 0 {
                        "n/a".into()
                    } else {
                        format!("{:.1} %", 100.0 * part as f64 / of as f64)
                    }
                };
                vec![
                    name.into(),
                    grouped(size.regions),
                    share(size.found, size.regions),
                    share(size.tally.right, size.tally.pixels),
                ]
            });
        TableOf {
            heading: "By size".into(),
            columns: ["connected regions", "how many", "half found or more", "pixels found"].map(Into::into).into(),
            rows: rows.collect(),
            note: "Connected regions of the truth by their pixels, with COCO's bounds; the background's are left out.".into(),
        }
    }

    fn json(&self, measured: &Evaluation) -> anyhow::Result<String> {
        let analysis = &self.analysis;
        let mut all = serde_json::to_value(measured)?;
        all["boundary"] = json!({
            "near": {"pixels": analysis.band[0].pixels, "right": analysis.band[0].right},
            "elsewhere": {"pixels": analysis.band[1].pixels, "right": analysis.band[1].right},
        });
        let sizes = ["small", "medium", "large"].into_iter().zip(analysis.sizes);
        all["sizes"] = sizes
            .map(|(name, size)| {
                json!({"size": name, "regions": size.regions, "found": size.found, "pixels": size.tally.pixels, "right": size.tally.right})
            })
            .collect();
        all["calibration"] = json!({
            "expected_calibration_error": analysis.calibration_error(),
            "bins": analysis.bins.iter().map(|bin| json!({
                "pixels": bin.tally.pixels,
                "right": bin.tally.right,
                "confidence": bin.confidence(),
            })).collect::<Vec<_>>(),
        });
        Ok(serde_json::to_string_pretty(&all)?)
    }

    fn csv(&self) -> String {
        let mut text = "picture,miou\n".to_owned();
        for (name, miou) in &self.analysis.pictures {
            // Quoted as RFC 4180 has it.
            let name = name.replace('"', "\"\"");
            let miou = miou.map_or_else(String::new, |miou| format!("{miou:.6}"));
            let _ = writeln!(text, "\"{name}\",{miou}");
        }
        text
    }
}

/// No wider than a page can show.
fn fitted(drawing: &Picture) -> Picture {
    let (width, height) = drawing.size();
    if width <= WIDEST {
        return drawing.clone();
    }
    drawing.resize(WIDEST, (height * WIDEST / width).max(1), Filter::Bilinear)
}

fn facts_of_data(measured: &Evaluation, dataset: &Dataset) -> Facts {
    let matched = match measured.matched_by {
        MatchBy::Name => "name",
        _ => "place",
    };
    let rows = [
        ("folder", dataset.root().display().to_string()),
        ("pictures", measured.pictures.to_string()),
        ("part", measured.measured_on.clone().unwrap_or_default()),
        ("left out", measured.left_out.to_string()),
        ("masks are", measured.masks.to_string()),
        ("classes matched by", matched.into()),
    ];
    Facts::new(
        "Data",
        rows.into_iter().filter(|(_, value)| !value.is_empty()),
    )
}

fn facts_of_model(model: &Model, measured: &Evaluation) -> Facts {
    let (description, settings) = (model.description(), &measured.settings);
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "none".into());
    let rows = [
        ("weights", description.source.clone()),
        ("architecture", description.architecture.into()),
        (
            "encoder",
            or_none(
                description
                    .options
                    .encoder
                    .map(|encoder| encoder.name.into()),
            ),
        ),
        ("precision", model.engine().precision().to_string()),
        ("resize", settings.resize.clone()),
        (
            "test-time augmentation",
            or_none(settings.tta.map(Into::into)),
        ),
        (
            "tiles",
            or_none(settings.tile.map(|tile| format!("{tile} pixels"))),
        ),
        ("segmenta", env!("CARGO_PKG_VERSION").into()),
    ];
    Facts::new("Model", rows)
}
