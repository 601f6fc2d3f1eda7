//! From the order that tiles leave a weight gradient in to PyTorch's.
//!
//! In: for each block of output channels rows of one vector each, a row an input channel and tap. Out:
//! `[output channel][input channel of its group][tap]`. Gradients that were summed in parts are added
//! in the order of the parts.

use std::ops::Range;

use crate::isa::{Isa, Kernel};
use crate::shared::{Shared, in_parallel, part};
use crate::simd::Simd;

/// Rows that are turned together: with 16 lanes 8 KiB.
const ROWS: usize = 128;

/// The rows of one block of output channels.
#[derive(Clone, Debug)]
pub(crate) struct BlockRows {
    /// The first row's place in a packed gradient.
    pub(crate) offset: usize,
    /// For each lane that is a channel, the row that its group starts with.
    pub(crate) first: Vec<usize>,
}

/// A whole weight gradient.
pub(crate) struct Unpack<'a> {
    pub(crate) isa: Isa,
    /// One after the other in `packed`, each as long as `part_len`.
    pub(crate) parts: usize,
    pub(crate) part_len: usize,
    pub(crate) packed: &'a [f32],
    pub(crate) blocks: &'a [BlockRows],
    /// Values of one output channel.
    pub(crate) row_len: usize,
}

impl Unpack<'_> {
    /// Writes it to `to`, `[output channel][row_len]`.
    pub(crate) fn run(&self, to: &mut [f32]) {
        let cuts = self.row_len.div_ceil(8 * ROWS);
        let shared = Shared::new(to);
        in_parallel(self.blocks.len() * cuts, |task| {
            self.isa.run(Block {
                unpack: self,
                block: task / cuts,
                rows: part(self.row_len, cuts, task % cuts),
                to: shared,
            });
        });
    }
}

/// Some rows of one block of output channels.
struct Block<'a> {
    unpack: &'a Unpack<'a>,
    block: usize,
    rows: Range<usize>,
    to: Shared<'a>,
}

impl Kernel for Block<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: a block's rows lie in each part of the packed gradient, and a channel's row in `to` is
        // written by the one task that has the block and the rows.
        unsafe {
            let Unpack {
                parts,
                part_len,
                packed,
                row_len,
                ..
            } = *self.unpack;
            let block = &self.unpack.blocks[self.block];
            let packed = packed.as_ptr().add(block.offset);
            let mut summed = [0.0_f32; ROWS * 16];
            // Lanes whose groups start at one row share the summed rows.
            let mut lane = 0;
            while lane < block.first.len() {
                let first = block.first[lane];
                let same = block.first[lane..].iter().take_while(|&&f| f == first);
                let lanes = lane..lane + same.count();
                for start in self.rows.clone().step_by(ROWS) {
                    let count = ROWS.min(self.rows.end - start);
                    for row in 0..count {
                        let at = packed.add((first + start + row) * S::LANES);
                        let mut sum = S::load(at);
                        for part in 1..parts {
                            sum = S::add(sum, S::load(at.add(part * part_len)));
                        }
                        S::store(summed.as_mut_ptr().add(row * S::LANES), sum);
                    }
                    for lane in lanes.clone() {
                        let channel = self.block * S::LANES + lane;
                        let to = self.to.at(channel * row_len + start);
                        for row in 0..count {
                            *to.add(row) = *summed.get_unchecked(row * S::LANES + lane);
                        }
                    }
                }
                lane = lanes.end;
            }
        }
    }
}
