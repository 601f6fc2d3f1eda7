//! Losses of planar logits together with their gradients, in one pass over memory.

mod binary;
mod cross_entropy;

pub use binary::{BinaryCrossEntropy, binary_cross_entropy};
pub use cross_entropy::{CrossEntropy, LabelOutOfRange, cross_entropy};

/// Pixels of a task: the sums of tasks are added in order, so their number must not depend on threads.
const TASK: usize = 4096;

#[cfg(test)]
mod tests;
