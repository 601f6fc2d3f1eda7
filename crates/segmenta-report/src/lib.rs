//! What a training run leaves to look at, and the page of a measurement.
//!
//! *In*: what each epoch measured, predictions of some fixed pictures, the confusion matrix of the validation data.
//! *Out*: a folder with `metrics.csv`, TensorBoard events, curves, figures, an animation and one page that shows it
//! all.
//!
//! - [`RunRecord`]: what a training loop talks to; it writes all of the above.
//! - [`RunFolder`]: where everything has its name. Nothing is overwritten unasked.
//! - [`History`]: what each epoch measured. [`events`]: the same for TensorBoard. [`RunLog`]: plain lines with times.
//! - [`EvaluationPage`]: what `eval --report` writes.
//! - [`figure`], [`growth_gif`]: pictures with their truth and prediction.
//!
//! Every file is written whole or not at all, or, where it grows, record by whole record. A run that is resumed at a
//! step forgets what it recorded after it.

mod chart;
mod classes;
mod counted;
mod curves;
mod error;
mod evaluation;
pub mod events;
mod figure;
mod folder;
mod growth;
mod history;
mod log;
mod masks;
mod page;
mod run;

pub use chart::Chart;
pub use classes::Classes;
pub use error::ReportError;
pub use evaluation::{EvaluationPage, Gallery, TableOf};
pub use figure::{Example, figure};
pub use folder::{Existing, RunFile, RunFolder, RunLock};
pub use growth::{Growth, Watched, growth_gif};
pub use history::{Epoch, History};
pub use log::RunLog;
pub use page::Facts;
pub use run::{Recorded, RunRecord, Summary};
