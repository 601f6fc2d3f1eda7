//! Optimisers: parameters moved along their gradients.
//!
//! *In*: an [`Algorithm`] with its settings, [`Parts`] of the network that differ, a learning rate, and for each step
//! parameters and gradients as [`crate::Numbers`]. *Out*: the parameters, changed; the state by name, for checkpoints.
//!
//! Definitions and defaults are those of `torch.optim`. In this machine's memory a step is one pass over a parameter
//! and its state, on all threads, with the same bits for any number of them; on a device its operations do the same.

mod accumulate;
mod algorithm;
mod clip;
mod ema;
mod error;
mod optimizer;
mod parts;
mod rule;

pub(crate) use rule::Rule;

pub use accumulate::Accumulation;
pub use algorithm::{Adam, AdamW, Algorithm, NAMES, RmsProp, Sgd};
pub use clip::Clip;
pub use ema::Ema;
pub use error::OptimError;
pub use optimizer::{NamedValues, Optimizer, Step, Update};
pub use parts::{Group, Part, Parts};
