//! Why a run ended before its time.

use std::path::PathBuf;

use segmenta_data::DataError;
use segmenta_graph::GraphError;
use segmenta_metrics::MetricError;
use segmenta_report::ReportError;
use segmenta_runtime::RuntimeError;
use segmenta_weights::{FindError, WeightsError};
use segmenta_zoo::ZooError;
use thiserror::Error;

use super::config::Difference;
use crate::engine::EngineError;
use crate::loss::LossError;
use crate::optim::OptimError;
use crate::schedule::ScheduleError;

/// Why a run could not begin, or ended before its time.
#[derive(Debug, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the wrapped errors say it")]
pub enum RunError {
    /// A configuration that says what cannot be.
    #[error("{problem} · {origin}")]
    Config {
        /// The file or key.
        origin: String,
        /// What is wrong.
        problem: String,
    },
    /// It was told to stop before its first step.
    #[error("the run was told to stop before it began · nothing was written · begin it again")]
    Cancelled,
    /// Data that cannot be learned from.
    #[error("{0}")]
    Checked(String),
    /// A loss, gradient or logit that is no number.
    #[error(
        "{what} became {value} at step {step} (epoch {epoch}){} · what was kept before stays; begin anew and learn more slowly (optimizer.lr), or limit gradients (train.clip.norm=1)",
        first(place.as_ref())
    )]
    NotFinite {
        /// What became no number: the loss, a gradient, logits.
        what: String,
        /// NaN or an infinity.
        value: f32,
        /// The first layer that has such values, and the pass in which it has them, where they were found.
        place: Option<String>,
        /// The step.
        step: u64,
        /// The epoch.
        epoch: u32,
    },
    /// Logits of validation pictures that are no numbers.
    #[error(
        "the network says {value} of validation pictures {pictures:?} · look at the weights and the pictures"
    )]
    Logits {
        /// NaN or an infinity.
        value: f32,
        /// The pictures, by their index in the validation data.
        pictures: Vec<usize>,
    },
    /// Weights that are no numbers.
    #[error(
        "`{entry}` has {} that are NaN or infinite, the first layer of {of} with such · {place} · {remedy}",
        segmenta_files::count(*.count, "value")
    )]
    NotFiniteWeights {
        /// The first entry that has some.
        entry: String,
        /// How many.
        count: usize,
        /// How many entries have some.
        of: usize,
        /// The file, or the moment of the run.
        place: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A run that is to go on with settings of another.
    #[error(
        "the run was begun with other settings: {} · {} · give them as they were or leave the recipe out to go on with it, or begin a run in another folder",
        list(differences), folder.display()
    )]
    Differs {
        /// The run's folder.
        folder: PathBuf,
        /// What differs.
        differences: Vec<Difference>,
    },
    /// A run that is to go on with other data.
    #[error(
        "the data are not the run's: {problem} · {} · name the data that it began with ({}), or begin a run in another folder",
        folder.display(), begun.display()
    )]
    OtherData {
        /// The data set that is given.
        folder: PathBuf,
        /// What differs.
        problem: String,
        /// Where the data lay that the run began with.
        begun: PathBuf,
    },
    /// Weights that a run is to begin with and that cannot be had, or followed.
    #[error("{0}")]
    Unavailable(String),
    /// A checkpoint that is not this run's.
    #[error("{problem} · {path} · {remedy}")]
    Checkpoint {
        /// What is wrong.
        problem: String,
        /// The file.
        path: String,
        /// What to do.
        remedy: &'static str,
    },
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Loss(#[from] LossError),
    #[error(transparent)]
    Metric(#[from] MetricError),
    #[error(transparent)]
    Optim(#[from] OptimError),
    #[error(transparent)]
    Picture(#[from] segmenta_image::PictureError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Weights that a run begins with and that are not found in their file.
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Zoo(#[from] ZooError),
}

fn first(place: Option<&String>) -> String {
    place.map_or_else(String::new, |place| {
        format!(" · the first layer with such values is {place}")
    })
}

fn list(differences: &[Difference]) -> String {
    let one = |d: &Difference| format!("{} is {} there and {} here", d.key, d.was, d.now);
    let all: Vec<String> = differences.iter().map(one).collect();
    all.join(", ")
}
