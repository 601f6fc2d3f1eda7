//! How well labels agree with the truth.
//!
//! *In*: label maps as slices of `u8` or `u32` ids, or masks and probabilities. *Out*: scores, each of which can
//! say in words how it was made. No picture, no tensor, no thread is known here.
//!
//! - [`Confusion`] counts a whole data set into one matrix; from it follow mIoU, pixel accuracy and the rest as
//!   papers report them.
//! - [`Stats`] keeps true and false positives and negatives per image and class and reduces them in the six ways of
//!   segmentation_models_pytorch.
//! - [`Metric`] is a formula on [`Counts`]; both of the above apply it.
//!
//! A class that does not occur has no score: it is `None` (n/a) and left out of means, never a silent 0.

mod confusion;
mod counts;
mod error;
mod metric;
mod protocol;
mod stats;

pub use confusion::{Confusion, Label, MAX_CLASSES};
pub use counts::Counts;
pub use error::MetricError;
pub use metric::Metric;
pub use protocol::{Over, Protocol, Score};
pub use stats::{Reduction, Stats, ZeroDivision};
