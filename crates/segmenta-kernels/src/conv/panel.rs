//! Weights in panels: the columns that one register tile computes, in the order that it reads them.

use std::ops::Range;

use super::{ConvSpec, Kernel2d};
use crate::buffer::Buffer;
use crate::isa::Isa;

/// The widest panel, in vectors, that leaves enough registers for several pixels.
fn widest(isa: Isa) -> usize {
    if isa.lanes() == 16 { 4 } else { 2 }
}

/// A run of output channels computed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panel {
    /// Width in vectors.
    pub(crate) vectors: usize,
    /// First block of output channels.
    pub(crate) block: usize,
    /// Where its weights start.
    pub(crate) offset: usize,
    /// First block of input channels that it reads.
    pub(crate) first_input: usize,
    /// Blocks of input channels that it reads.
    pub(crate) inputs: usize,
}

impl Panel {
    /// Channels of the blocks that it reads.
    pub(crate) fn channels(&self, isa: Isa) -> Range<usize> {
        self.first_input * isa.lanes()..(self.first_input + self.inputs) * isa.lanes()
    }
}

/// Cuts `blocks` into panels that cover them exactly, the widest that do: a column of zeros would
/// cost as much as a column of weights.
pub(crate) fn widths(blocks: usize, widest: usize) -> Vec<usize> {
    if widest < 4 {
        let mut widths = vec![widest; blocks / widest];
        widths.extend((!blocks.is_multiple_of(widest)).then_some(blocks % widest));
        return widths;
    }
    // Fours, and as many threes as bring the rest to a multiple of four.
    let threes = (4 - blocks % 4) % 4;
    if 3 * threes <= blocks {
        let fours = (blocks - 3 * threes) / 4;
        [vec![4; fours], vec![3; threes]].concat()
    } else {
        match blocks {
            5 => vec![3, 2],
            few => vec![few],
        }
    }
}

/// The widths of a convolution's panels. In groups, one that stays inside its group where groups are
/// whole blocks, else a single block: what a panel reads of other groups it multiplies by zeros.
fn widths_of(isa: Isa, spec: &ConvSpec) -> Vec<usize> {
    let blocks = spec.out_channels.div_ceil(isa.lanes());
    let of_group = spec.out_channels / spec.groups;
    if spec.groups == 1 {
        widths(blocks, widest(isa))
    } else if of_group.is_multiple_of(isa.lanes()) {
        widths(of_group / isa.lanes(), widest(isa)).repeat(spec.groups)
    } else {
        vec![1; blocks]
    }
}

/// Blocks of input channels that output channels read, from the first to the last group of theirs.
fn inputs_of(isa: Isa, spec: &ConvSpec, outs: &Range<usize>) -> Range<usize> {
    let [ins, outs_of_group] =
        [spec.in_channels, spec.out_channels].map(|channels| channels / spec.groups);
    let groups = outs.start / outs_of_group..(outs.end - 1) / outs_of_group + 1;
    groups.start * ins / isa.lanes()..(groups.end * ins).div_ceil(isa.lanes())
}

/// Weights and bias in panels.
///
/// The reduction runs over pairs (tap, block of input channels), tap by tap; a panel holds, for
/// each pair, `lanes` rows (one an input channel) of `vectors · lanes` output channels.
#[derive(Debug)]
pub(crate) struct Panels {
    pub(crate) weights: Buffer,
    pub(crate) bias: Buffer,
    pub(crate) panels: Vec<Panel>,
}

impl Panels {
    /// Packs a kernel. A panel has `rows` reduction rows for each block of input channels that it
    /// reads; `row` tells which (input channel, tap) a row of a panel is, if it is one.
    pub(crate) fn new(
        isa: Isa,
        spec: &ConvSpec,
        kernel: &Kernel2d<'_>,
        rows: impl Fn(&Panel) -> usize,
        row: impl Fn(&Panel, usize) -> Option<(usize, usize)>,
    ) -> Self {
        let lanes = isa.lanes();
        let blocks = spec.out_channels.div_ceil(lanes);
        let mut panels: Vec<Panel> = Vec::new();
        let (mut block, mut offset) = (0, 0);
        for vectors in widths_of(isa, spec) {
            let outs = block * lanes..((block + vectors) * lanes).min(spec.out_channels);
            let inputs = inputs_of(isa, spec, &outs);
            let panel = Panel {
                vectors,
                block,
                offset,
                first_input: inputs.start,
                inputs: inputs.len(),
            };
            block += vectors;
            offset += rows(&panel) * vectors * lanes;
            panels.push(panel);
        }

        let mut weights = Buffer::zeros(offset);
        for panel in &panels {
            let columns = panel.vectors * lanes;
            let packed = &mut weights[panel.offset..][..rows(panel) * columns];
            let channels = channels_of(panel, lanes, spec.out_channels);
            for (index, packed) in packed.chunks_exact_mut(columns).enumerate() {
                let Some((channel, tap)) = row(panel, index) else {
                    continue;
                };
                if spec.groups == 1 && channel < spec.in_channels {
                    // One stride leads from each output channel to the next.
                    let taps = spec.kernel[0] * spec.kernel[1];
                    let (stride, first) = (spec.in_channels * taps, channel * taps + tap);
                    let from = &kernel.weights[channels.start * stride + first..];
                    for (i, to) in packed[..channels.len()].iter_mut().enumerate() {
                        *to = from[i * stride];
                    }
                    continue;
                }
                for (to, out) in packed.iter_mut().zip(channels.clone()) {
                    *to = weight(spec, kernel.weights, out, channel, tap);
                }
            }
        }

        let mut bias = Buffer::zeros(blocks * lanes);
        bias[..kernel.bias.len()].copy_from_slice(kernel.bias);
        Self {
            weights,
            bias,
            panels,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.weights.len() + self.bias.len()
    }
}

fn channels_of(panel: &Panel, lanes: usize, out_channels: usize) -> Range<usize> {
    let first = panel.block * lanes;
    first..(first + panel.vectors * lanes).min(out_channels)
}

/// The weight from one input channel to one output channel: zero between groups.
fn weight(spec: &ConvSpec, weights: &[f32], out: usize, channel: usize, tap: usize) -> f32 {
    let taps = spec.kernel[0] * spec.kernel[1];
    let (ins, outs) = (
        spec.in_channels / spec.groups,
        spec.out_channels / spec.groups,
    );
    let inside = channel.checked_sub(out / outs * ins).filter(|&c| c < ins);
    inside.map_or(0.0, |c| weights[(out * ins + c) * taps + tap])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_cover_every_block_once() {
        for widest in [2, 4] {
            for blocks in 1..100 {
                let widths = widths(blocks, widest);
                assert_eq!(widths.iter().sum::<usize>(), blocks);
                assert!(widths.iter().all(|w| (1..=widest).contains(w)));
            }
        }
        assert_eq!(widths(13, 4), [4, 3, 3, 3]);
        assert_eq!(widths(5, 4), [3, 2]);
    }
}
