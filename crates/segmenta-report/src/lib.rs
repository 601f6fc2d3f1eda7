//! What a training run leaves to look at.
//!
//! *In*: what each epoch measured, predictions of some fixed pictures, the confusion matrix of the validation data.
//! *Out*: a folder with `metrics.csv`, TensorBoard events, curves, figures, an animation and one page that shows it
//! all.
//!
//! - [`RunFolder`]: where everything has its name. Nothing is overwritten unasked.
//! - [`History`]: what each epoch measured.
//! - [`events`]: for TensorBoard.
//! - [`RunLog`]: plain lines with times.
//!
//! Every file is written whole or not at all, or, where it grows, record by whole record. A run that is resumed at a
//! step forgets what it recorded after it.

mod error;
pub mod events;
mod folder;
mod history;
mod log;

pub use error::ReportError;
pub use folder::{Existing, RunFile, RunFolder};
pub use history::{Epoch, History};
pub use log::RunLog;
