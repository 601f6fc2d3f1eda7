//! A run: a network learns from a data set, is measured after each epoch, and leaves a folder.
//!
//! *In*: a [`Config`], a data set, a folder. *Out*: the folder: `model.safetensors` (the best epoch, which
//! `predict` reads), `last.safetensors` (to go on from), metrics, pictures, `report.html`.
//!
//! It prints nothing: [`Event`]s tell what happens, and the answer to one may end the run after its step.
//!
//! A run that is stopped at any moment and resumed does what it would have done: order, augmentation, dropout,
//! optimiser, schedule and averages are functions of the configuration and of the checkpoint, and on the processor
//! every sum has its order, so that the weights are the same bits.

mod begin;
mod checkpoint;
mod config;
mod error;
mod event;
mod explain;
mod finite;
mod heads;
mod measure;
mod origin;
mod resume;
mod session;

pub use begin::{Matching, Taken};
pub use config::{
    Config, DataConfig, Difference, Draw, ENCODER, EXPLAINED, FRESH, Found, InputConfig,
    ModelConfig, OptimizerConfig, Per, Reduction, ScheduleConfig, ScoreName, TrainConfig,
};
pub use error::RunError;
pub use event::{EpochDone, Event, Note, Stage};
pub use explain::explained;
pub use measure::{Measured, StrangeLoss, measure, predictions};
pub use resume::Resumed;
pub use session::{Ended, Outcome, Session, Settings, verify, weigh};
