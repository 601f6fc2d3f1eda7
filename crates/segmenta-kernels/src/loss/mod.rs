//! Losses of planar logits together with their gradients, in one pass over memory, and the probabilities that other
//! losses are made of.

mod binary;
mod cross_entropy;
mod squash;

pub use binary::{BinaryCrossEntropy, binary_cross_entropy};
pub use cross_entropy::{CrossEntropy, LabelOutOfRange, cross_entropy};
pub use squash::{class_probabilities, sigmoids};

/// Pixels of a task: the sums of tasks are added in order, so their number must not depend on threads.
const TASK: usize = 4096;

#[cfg(test)]
mod tests;
