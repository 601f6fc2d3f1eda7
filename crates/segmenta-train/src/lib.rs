//! Learning: what makes a network's weights better, batch by batch.
//!
//! *In*: logits and targets, gradients and parameters: in this machine's memory, or with the features `cuda`, `wgpu` or
//! `flex` on a device. *Out*: losses with gradients, new parameters, learning rates. Definitions and defaults are
//! PyTorch's and segmentation_models_pytorch's, checked against their numbers.
//!
//! - [`engine`]: a network's graph, forward and backward.
//! - [`loss`]: how wrong logits are (`segmenta-losses`).
//! - [`optim`]: parameters moved along gradients.
//! - [`run`]: a data set, a configuration, a folder: the whole of it.
//! - [`schedule`]: the learning rate over a run.

pub mod engine;
mod numbers;
pub mod optim;
pub mod run;
pub mod schedule;

pub use numbers::Numbers;
pub use segmenta_losses as loss;
