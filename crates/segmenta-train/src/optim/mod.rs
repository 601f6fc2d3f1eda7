//! Optimisers: parameters moved along their gradients.
//!
//! *In*: an [`Algorithm`] with its settings, [`Parts`] of the network that differ, a learning rate, and for each step
//! flat parameters and gradients as `Tensor<1>`. *Out*: the parameters, changed; the state by name, for checkpoints.
//!
//! Definitions and defaults are those of `torch.optim`. In this machine's memory a step is one pass over a parameter
//! and its state, on all threads, with the same bits for any number of them; elsewhere Burn's operations do the same.

mod accumulate;
mod algorithm;
mod clip;
mod cpu;
mod ema;
mod error;
mod optimizer;
mod parts;
mod rule;

pub(crate) use cpu::{Slice, is_slice};

pub use accumulate::Accumulation;
pub use algorithm::{Adam, AdamW, Algorithm, NAMES, RmsProp, Sgd};
pub use clip::Clip;
pub use ema::Ema;
pub use error::OptimError;
pub use optimizer::{Optimizer, Step, Update};
pub use parts::{Group, Part, Parts};
