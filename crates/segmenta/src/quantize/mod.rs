//! A model in 8 bits: calibrated on pictures, measured, and kept within a bound.
//!
//! *In*: a model's weights, pictures, and how far the score may drop. *Out*: a [`Quantized`] model, with a report of
//! each layer, to be saved as one file. `segmenta-quantize` finds ranges and rounds weights; here is which pictures it
//! sees, what the score is, and which layers stay out of 8 bits until the bound is kept.

mod report;
mod trial;
mod work;

use std::ops::ControlFlow;
use std::path::Path;

use segmenta_data::{DataError, Dataset};
use segmenta_quantize::Equalised;
use segmenta_weights::{Numbers, Progress, WeightsError, save_numbers};
use thiserror::Error;

use crate::error::Error as ModelError;
use crate::evaluate::{EvaluateError, EvaluateOptions};
use crate::inputs::Inputs;
use crate::model::{Model, ModelOptions};

pub use report::{LayerRecord, QuantizeReport, TrialRecord};
pub use segmenta_quantize::RangeBy;

use trial::Trial;
use work::Work;

/// What a model is calibrated on and measured with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum CalibrationData<'a> {
    /// Pictures with masks: the score is mIoU, by [`Model::evaluate`].
    Masks {
        /// What ranges are found on.
        calibrate: &'a Dataset,
        /// What the score is measured on.
        measure: &'a Dataset,
    },
    /// Pictures alone: the score is the mIoU of labels with those that f32 gives.
    Pictures(&'a Inputs),
}

/// How a model is brought into 8 bits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QuantizeOptions {
    /// The most pictures that ranges are found on, spread over all of them.
    pub pictures: usize,
    /// By how many points of mIoU the score may drop.
    pub max_drop: f64,
    /// How ranges are chosen; if `None`, all ways are tried and the best taken: of those within the bound the one whose
    /// labels are nearest to those of f32.
    pub range: Option<RangeBy>,
    /// Whether channels are evened out between layers of which one is depthwise.
    pub equalise: bool,
    /// How the score is measured.
    pub evaluate: EvaluateOptions,
}

impl Default for QuantizeOptions {
    fn default() -> Self {
        Self {
            pictures: 100,
            max_drop: 0.5,
            range: None,
            equalise: true,
            evaluate: EvaluateOptions::default(),
        }
    }
}

impl QuantizeOptions {
    /// A hundred pictures, half a point, the best way to choose ranges.
    pub fn new() -> Self {
        Self::default()
    }

    /// At most so many pictures; at least 1.
    #[must_use]
    pub fn pictures(mut self, most: usize) -> Self {
        self.pictures = most.max(1);
        self
    }

    /// The score may drop by so many points.
    #[must_use]
    pub fn max_drop(mut self, points: f64) -> Self {
        self.max_drop = points;
        self
    }

    /// Ranges chosen so.
    #[must_use]
    pub fn range(mut self, by: RangeBy) -> Self {
        self.range = Some(by);
        self
    }

    /// With or without evening channels out.
    #[must_use]
    pub fn equalise(mut self, equalise: bool) -> Self {
        self.equalise = equalise;
        self
    }

    /// The score measured so.
    #[must_use]
    pub fn evaluate(mut self, options: EvaluateOptions) -> Self {
        self.evaluate = options;
        self
    }
}

/// What happens while a model is brought into 8 bits.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum QuantizeEvent<'a> {
    /// Published weights are pulled.
    Download(Progress),
    /// A picture was gone through.
    Picture {
        /// For what: `f32`, `ranges`, `percentile 99.99`, `3 layers in f32` ….
        what: &'a str,
        /// Pictures so far, with this one.
        done: usize,
        /// Pictures of this pass.
        total: usize,
    },
    /// A way was measured.
    Tried(&'a TrialRecord),
}

/// Why a model could not be brought into 8 bits.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// No picture to calibrate on.
    #[error("no picture to find ranges on · {0} · give some as the network will meet")]
    Empty(String),
    /// A picture that cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model, or a picture that it cannot segment.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The score cannot be measured.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A model that is in 8 bits already.
    #[error("the model is in 8 bits already · {0} · give the one that it was made from")]
    Already(String),
    /// Masks in which no pixel counts.
    #[error(
        "no score: no pixel of the masks counts · {0} · look at them with `segmenta data check`"
    )]
    NoScore(String),
    /// No layer has a kernel for 8 bits.
    #[error("no layer of the network can be computed in 8 bits · {0} · use it in f32 or bf16")]
    NoLayers(String),
    /// The callback ended it.
    #[error("stopped")]
    Stopped,
}

/// A model in 8 bits.
#[derive(Debug)]
pub struct Quantized {
    work: Work,
    best: Trial,
    report: QuantizeReport,
}

impl Quantized {
    /// Calibrates the model that `options` name. `observe` hears of the work and may end it.
    ///
    /// # Errors
    /// A model that cannot be loaded or is in 8 bits already, data that cannot be read or scored, no layer that can be
    /// computed in 8 bits.
    pub fn make(
        options: &ModelOptions,
        data: CalibrationData<'_>,
        how: &QuantizeOptions,
        observe: &mut dyn FnMut(QuantizeEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Self, QuantizeError> {
        let mut download = |step: Progress| {
            // A download is ended by its own means.
            let _ = observe(QuantizeEvent::Download(step));
        };
        let mut work = Work::open(options, &mut download)?;
        let mut bench = trial::Bench::new(&work, data, how, observe)?;
        let mut trials = Vec::new();
        let mut equalised = work.equalise(&mut bench, how)?;
        let mut seen = work.observe(&mut bench, how.pictures, "ranges")?;
        let mut best = bench.best(&work, &seen, how, &mut trials)?;
        if best.drop() > how.max_drop && equalised.pairs > 0 {
            // Channels that were evened out are cut off at what was seen of them: other pictures may have more.
            work.undo();
            let plain = work.observe(&mut bench, how.pictures, "ranges")?;
            let other = bench.best(&work, &plain, how, &mut trials)?;
            if other.is_better(&best, how.max_drop) {
                (best, seen) = (other, plain);
                equalised = Equalised {
                    pairs: 0,
                    ..equalised
                };
            } else {
                work.redo(best.base());
            }
        }
        let layers = bench.layers(&work, &seen, &best)?;
        let report = QuantizeReport {
            score: bench.score_name(),
            f32: bench.f32_score(),
            int8: best.score,
            drop: best.drop(),
            agreement: best.agreement,
            max_drop: how.max_drop,
            pictures: bench.pictures(how.pictures),
            ranges: best.by.to_string(),
            equalised: equalised.pairs,
            not_equalised: equalised.others,
            trials,
            layers,
        };
        Ok(Self { work, best, report })
    }

    /// What was tried, and what became of each layer.
    pub fn report(&self) -> &QuantizeReport {
        &self.report
    }

    /// The model, as it is loaded from its file.
    ///
    /// # Errors
    /// No threads.
    pub fn model(&self) -> Result<Model, ModelError> {
        self.work.int8_model(&self.best, false)
    }

    /// Writes the model file: weights of 8 bits with their scales, and a card that says the ranges.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let card = self.work.card(&self.best, &self.report);
        let metadata = card.to_metadata()?;
        let tensors = self.work.tensors(&self.best);
        let views: Vec<(&str, &[usize], Numbers<'_>)> = tensors
            .iter()
            .map(|tensor| (tensor.name, tensor.shape, tensor.numbers()))
            .collect();
        save_numbers(path, &views, &metadata).map_err(|error: WeightsError| error.into())
    }
}
