//! Batch norm in training, with the non-linearity after it, and its gradients.
//!
//! Contract: forward reads the input twice and writes the output once; backward reads the input and the
//! output's gradient twice and writes the input's gradient once. Where a block of channels fits the
//! second cache, what is read again comes from there. Mean and variance: of each 256 pixels first, about
//! their own mean, then put together (Chan, Golub and LeVeque, 1979) in f64; so a large mean costs no
//! digits. Sums are cut into parts that the shape alone decides, and added in their order.

mod backward;
mod forward;

use std::ops::Range;

pub use backward::BatchNormGradients;
pub use forward::Statistics;

use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::isa::Isa;
use crate::map::MapShape;
use crate::shared::{in_parallel, part};

/// A batch norm and the non-linearity after it: `activation(scale · (x − mean) / √(variance + ε) + shift)`.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<'a> {
    /// One value a channel (PyTorch's `weight`).
    pub scale: &'a [f32],
    /// One value a channel (PyTorch's `bias`).
    pub shift: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
    /// Applied to the normalised values.
    pub activation: Activation,
}

/// Parts of blocks that are enough to keep many threads busy.
const PIECES: usize = 32;
/// The fewest pixels of a part.
const PART: usize = 1024;

/// How the pixels of a map are cut: into `parts` of `batch · cuts`, each within a picture.
#[derive(Clone, Copy)]
struct Cuts {
    shape: MapShape,
    blocks: usize,
    cuts: usize,
}

impl Cuts {
    fn new(isa: Isa, shape: MapShape) -> Self {
        let blocks = shape.blocks(isa);
        let most = shape.pixels().div_ceil(PART);
        Self {
            shape,
            blocks,
            cuts: PIECES.div_ceil(blocks * shape.batch).min(most),
        }
    }

    fn parts(&self) -> usize {
        self.shape.batch * self.cuts
    }

    /// Picture and pixels of a part.
    fn part(&self, index: usize) -> (usize, Range<usize>) {
        let (image, cut) = (index / self.cuts, index % self.cuts);
        (image, part(self.shape.pixels(), self.cuts, cut))
    }

    /// Runs `first` for every block and part, then `between` for every block, then `last` for every
    /// block and part. Where there are blocks enough for all threads, one takes a block through all three.
    fn run(
        &self,
        first: impl Fn(usize, usize) + Sync,
        between: impl Fn(usize) + Sync,
        last: impl Fn(usize, usize) + Sync,
    ) {
        let (blocks, parts) = (self.blocks, self.parts());
        let of_block = |block: usize, work: &(dyn Fn(usize, usize) + Sync)| {
            (0..parts).for_each(|index| work(block, index));
        };
        if blocks >= 4 * rayon::current_num_threads() {
            in_parallel(blocks, |block| {
                of_block(block, &first);
                between(block);
                of_block(block, &last);
            });
        } else {
            in_parallel(blocks * parts, |task| first(task / parts, task % parts));
            (0..blocks).for_each(between);
            in_parallel(blocks * parts, |task| last(task / parts, task % parts));
        }
    }
}

/// One value a channel, the last block filled up with zeros.
fn padded(isa: Isa, values: &[f32], channels: usize) -> Buffer {
    assert_eq!(values.len(), channels, "one value a channel");
    let mut padded = Buffer::zeros(channels.next_multiple_of(isa.lanes()));
    padded[..channels].copy_from_slice(values);
    padded
}

#[cfg(test)]
mod tests;
