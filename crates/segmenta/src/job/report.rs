//! What was found, as `predictions.json` has it.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use segmenta_image::write_atomic;
use serde::{Serialize, Serializer};

use super::Job;
use crate::error::{Error, Failure};
use crate::options::SegmentOptions;
use crate::segmentation::ClassShare;
use crate::tiles::Tiles;

/// The record's name in the output folder.
pub(crate) const REPORT: &str = "predictions.json";

/// What became of every picture of a [`Job`]: what it writes into `predictions.json`. Serialised, it is that file.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The version that wrote it.
    #[serde(rename = "segmenta")]
    pub version: &'static str,
    /// The network.
    pub model: ModelRecord,
    /// How pictures were read and segmented.
    pub settings: SettingsRecord,
    /// The pictures that were done, in order.
    pub pictures: Vec<PictureRecord>,
    /// What failed, and why: first places that gave no picture, then pictures in their order.
    pub failed: Vec<Failure>,
    /// Results of earlier runs that lay among the pictures and were left out.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "lossy")]
    pub left_out: Vec<PathBuf>,
}

/// The network that was used.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ModelRecord {
    /// Name of the architecture.
    pub architecture: Cow<'static, str>,
    /// Where the weights come from, in words.
    pub weights: String,
    /// Its classes, by id.
    pub classes: Vec<ClassRecord>,
    /// The instruction set that it ran on.
    pub isa: String,
    /// In what it was computed.
    pub precision: String,
    /// Threads that it ran on.
    pub threads: usize,
}

/// A class of the network.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ClassRecord {
    /// Its id in label maps.
    pub id: usize,
    /// Its name.
    pub name: String,
    /// Its colour, red, green, blue.
    pub color: [u8; 3],
}

/// How pictures were read and segmented.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SettingsRecord {
    /// The rule of resizing, as [`Resize`](crate::Resize) writes it.
    pub resize: String,
    /// Width and height of the centre crop.
    pub center_crop: Option<[usize; 2]>,
    /// Width and height of the canvas.
    pub pad: Option<[usize; 2]>,
    /// Mean of red, green and blue, 0 to 1.
    pub mean: [f32; 3],
    /// Their standard deviations.
    pub std: [f32; 3],
    /// Of a network of one class, the probability above which a pixel is of it.
    pub threshold: Option<f32>,
    /// Test-time augmentation: `flip`, or none.
    pub tta: Option<&'static str>,
    /// Pixels of a tile's side.
    pub tile: Option<usize>,
    /// Pixels by which tiles overlap.
    pub overlap: Option<usize>,
    /// Pictures that go through the network together.
    pub batch: usize,
    /// Strength of the colours in overlays, 0 to 1.
    pub alpha: f64,
}

/// One picture that was done.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PictureRecord {
    /// What its results are called in the output folder, before `.mask.png`.
    #[serde(skip)]
    pub name: PathBuf,
    /// The picture's file.
    #[serde(serialize_with = "lossy_path")]
    pub file: PathBuf,
    /// Its width in pixels.
    pub width: usize,
    /// Its height in pixels.
    pub height: usize,
    /// Name of the architecture.
    pub model: Cow<'static, str>,
    /// The classes that occur, largest first.
    pub classes: Vec<ShareRecord>,
    /// What was written, relative to the output folder.
    #[serde(serialize_with = "lossy")]
    pub written: Vec<PathBuf>,
    /// How long it took.
    pub milliseconds: Milliseconds,
}

/// A class's share of a picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ShareRecord {
    /// Its id in the label map.
    pub id: u8,
    /// Its name.
    pub name: String,
    /// Pixels.
    pub pixels: u64,
    /// Share of the pixels that have a class, 0 to 1.
    pub share: f64,
}

impl From<ClassShare> for ShareRecord {
    fn from(class: ClassShare) -> Self {
        Self {
            id: class.id,
            name: class.name,
            pixels: class.pixels,
            share: class.share,
        }
    }
}

/// Milliseconds that the parts of the work on a picture took. Parts of several pictures overlap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Milliseconds {
    /// Reading the file.
    pub decode: f64,
    /// Resizing and normalising.
    pub prepare: f64,
    /// The network, for this picture's share of its batch.
    pub network: f64,
    /// Logits to labels at the photograph's size.
    pub labels: f64,
    /// Drawing and writing the files.
    pub write: f64,
}

impl Milliseconds {
    /// All of it.
    pub fn total(self) -> f64 {
        self.decode + self.prepare + self.network + self.labels + self.write
    }
}

impl Report {
    pub(super) fn new(job: &Job<'_>) -> Self {
        let model = job.model;
        let description = model.description();
        let classes = description.class_names().into_iter().enumerate();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            model: ModelRecord {
                architecture: description.architecture.into(),
                weights: description.source.clone(),
                classes: classes
                    .map(|(id, name)| ClassRecord {
                        id,
                        name: name.into(),
                        color: description.palette.color(id as u8),
                    })
                    .collect(),
                isa: model.engine().isa().to_string(),
                precision: model.engine().precision().to_string(),
                threads: model.engine().threads(),
            },
            settings: settings(job, &job.options),
            pictures: Vec::new(),
            failed: Vec::new(),
            left_out: Vec::new(),
        }
    }

    /// Writes `predictions.json` into a folder.
    ///
    /// # Errors
    /// If the file cannot be written; it is there whole or not at all.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        let mut text = serde_json::to_vec_pretty(self).expect("numbers and text are JSON");
        text.push(b'\n');
        Ok(write_atomic(folder.join(REPORT), &text)?)
    }
}

fn settings(job: &Job<'_>, options: &SegmentOptions) -> SettingsRecord {
    let description = job.model.description();
    let recipe = &description.preprocess;
    SettingsRecord {
        resize: recipe.resize.to_string(),
        center_crop: recipe.center_crop,
        pad: recipe.pad.map(|pad| [pad.width, pad.height]),
        mean: recipe.mean,
        std: recipe.std,
        threshold: description.threshold(),
        tta: options.tta(),
        tile: options.tiles.map(Tiles::size),
        overlap: options.tiles.map(Tiles::overlap),
        batch: job.batch,
        alpha: job.drawing.alpha,
    }
}

/// JSON is Unicode; names of files need not be.
fn lossy_path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

fn lossy<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(paths.iter().map(|path| path.to_string_lossy()))
}
