//! Why a run ended before its time.

use segmenta_data::DataError;
use segmenta_graph::GraphError;
use segmenta_metrics::MetricError;
use segmenta_report::ReportError;
use segmenta_runtime::RuntimeError;
use segmenta_weights::{FindError, WeightsError};
use segmenta_zoo::ZooError;
use thiserror::Error;

use crate::engine::EngineError;
use crate::loss::LossError;
use crate::optim::OptimError;
use crate::schedule::ScheduleError;

/// Why a run could not begin, or ended before its time.
#[derive(Debug, Error)]
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
    /// Data that cannot be learned from.
    #[error("{0}")]
    Checked(String),
    /// A loss or gradient that is no number.
    #[error(
        "the loss became {loss} at step {step} (epoch {epoch}) · learn more slowly (optimizer.lr), limit gradients (train.clip.norm=1), or run with --debug-numerics, which names the node that made it"
    )]
    NotFinite {
        /// What it became.
        loss: f32,
        /// The step.
        step: u64,
        /// The epoch.
        epoch: u32,
    },
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
