//! Learning: what makes a network's weights better, batch by batch.
//!
//! *In*: logits and targets, gradients and parameters, on Burn's tensors and any of its devices. *Out*: losses with
//! gradients, new parameters, learning rates. Definitions and defaults are PyTorch's and
//! segmentation_models_pytorch's, checked against their numbers.
//!
//! - [`engine`]: a network's graph, forward and backward.
//! - [`loss`]: how wrong logits are.
//! - [`optim`]: parameters moved along gradients.
//! - [`run`]: a data set, a configuration, a folder: the whole of it.
//! - [`schedule`]: the learning rate over a run.

pub mod engine;
pub mod loss;
pub mod optim;
pub mod run;
pub mod schedule;
