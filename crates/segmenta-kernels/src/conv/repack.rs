//! Weights that change every step, packed again where they lie.
//!
//! In: a kernel in PyTorch's order. Out: the panels that [`Panels`] describes, every value written,
//! with zeros where there is no channel and between groups. Read in the kernel's order, sixteen rows at
//! a time, and turned in the first cache: rows of weights are often a power of two apart, and read
//! across they would all fall on one set of it.

use std::ops::Range;

use super::ConvSpec;
use super::panel::{Panel, Panels};
use crate::isa::{Isa, Kernel};
use crate::shared::{Shared, in_parallel, part};
use crate::simd::Simd;

/// Values of a kernel's row that are turned together.
const RUN: usize = 16;
/// Tasks a panel.
const CUTS: usize = 8;

/// Where the weights of panels come from.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    weights: &'a [f32],
    /// Channels that a panel's reduction runs over and that it gives, in a group.
    ins: usize,
    outs: usize,
    groups: usize,
    /// Taps of the kernel.
    all: usize,
    /// Whether a kernel's rows are the channels of the reduction: that of the convolution whose gradient
    /// the panels compute, or a transposed one's.
    transposed: bool,
}

impl<'a> Source<'a> {
    /// For panels of `spec`, from a kernel `[out, in / groups, taps]`, or `[in, out / groups, taps]` if
    /// it is transposed.
    pub(crate) fn new(spec: &ConvSpec, weights: &'a [f32], all: usize, transposed: bool) -> Self {
        Self {
            weights,
            ins: spec.in_channels / spec.groups,
            outs: spec.out_channels / spec.groups,
            groups: spec.groups,
            all,
            transposed,
        }
    }

    /// Writes `panels`, whose reduction runs over `taps`, each the channels that `reads` says, in whole
    /// blocks.
    pub(crate) fn repack(
        &self,
        isa: Isa,
        taps: &[usize],
        panels: &mut Panels,
        reads: impl Fn(&Panel) -> Range<usize> + Sync,
    ) {
        if taps.is_empty() {
            return;
        }
        let lanes = isa.lanes();
        let shared = Shared::new(&mut panels.weights);
        let panels = &panels.panels;
        in_parallel(panels.len() * CUTS, |task| {
            let panel = panels[task / CUTS];
            let reads = reads(&panel);
            let blocks = part(reads.len() / lanes, CUTS, task % CUTS);
            isa.run(Task {
                from: *self,
                taps,
                panel,
                channels: reads.start + blocks.start * lanes..reads.start + blocks.end * lanes,
                reads,
                to: shared,
            });
        });
    }

    /// The place of a weight in the kernel, if there is one between the channels.
    #[inline(always)]
    fn place(&self, out: usize, channel: usize, tap: usize) -> Option<usize> {
        let group = out / self.outs;
        let inside = channel.checked_sub(group * self.ins)?;
        if inside >= self.ins || group >= self.groups {
            return None;
        }
        let row = if self.transposed {
            channel * self.outs + out % self.outs
        } else {
            out * self.ins + inside
        };
        Some(row * self.all + tap)
    }
}

/// Some channels of the reduction of one panel, at all taps.
struct Task<'a> {
    from: Source<'a>,
    taps: &'a [usize],
    panel: Panel,
    /// Channels of the panel's reduction, and those of the task.
    reads: Range<usize>,
    channels: Range<usize>,
    to: Shared<'a>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `repack` cut the panels, each at its own offset, among tasks by channels.
        unsafe {
            for v in 0..self.panel.vectors {
                let first = (self.panel.block + v) * S::LANES;
                let whole = first + S::LANES <= self.from.outs;
                match (self.from.groups, whole, self.from.transposed) {
                    (1, true, false) => self.turn::<S>(v, first),
                    (1, true, true) => self.gather::<S>(v, first),
                    _ => self.one_by_one::<S>(v, first),
                }
            }
        }
    }
}

impl Task<'_> {
    /// Where the vector of a tap and channel goes.
    ///
    /// # Safety
    /// `v` is below the panel's width, `tap` below the number of taps, `channel` one of the task's.
    #[inline(always)]
    unsafe fn row<S: Simd>(&self, v: usize, tap: usize, channel: usize) -> *mut f32 {
        // SAFETY: a row of this task's part of the panel.
        unsafe {
            let row = tap * self.reads.len() + channel - self.reads.start;
            let row = row * self.panel.vectors + v;
            self.to.at(self.panel.offset + row * S::LANES)
        }
    }

    /// Channels that exist.
    ///
    /// # Safety
    /// As for [`Simd`]; `v` is below the panel's width.
    #[inline(always)]
    unsafe fn real<S: Simd>(&self, v: usize) -> Range<usize> {
        // SAFETY: rows of this task's channels.
        unsafe {
            let end = self.channels.end.min(self.from.ins * self.from.groups);
            for channel in end.max(self.channels.start)..self.channels.end {
                for tap in 0..self.taps.len() {
                    S::store(self.row::<S>(v, tap, channel), S::zero());
                }
            }
            self.channels.start..end.max(self.channels.start)
        }
    }

    /// A kernel whose rows are output channels; the taps are all there are, in order.
    ///
    /// # Safety
    /// As for [`Simd`]; one group, the block from output channel `first` on is whole, and `v` is its number
    /// in the panel.
    #[inline(always)]
    unsafe fn turn<S: Simd>(&self, v: usize, first: usize) {
        // SAFETY: `LANES` rows of the kernel are there, each `ins · all` long; channels end where the kernel's
        // do.
        unsafe {
            let channels = self.real::<S>(v);
            let all = self.from.all;
            let row_len = self.from.ins * all;
            let weights = self.from.weights.as_ptr().add(first * row_len);
            let mut tile = [[0.0_f32; RUN]; 16];
            let (mut at, end) = (channels.start * all, channels.end * all);
            let (mut channel, mut tap) = (channels.start, 0);
            while at < end {
                let count = RUN.min(end - at);
                for (lane, tile) in tile.iter_mut().enumerate().take(S::LANES) {
                    let from = weights.add(lane * row_len + at);
                    from.copy_to_nonoverlapping(tile.as_mut_ptr(), count);
                }
                for i in 0..count {
                    let to = self.row::<S>(v, tap, channel);
                    for (lane, tile) in tile.iter().enumerate().take(S::LANES) {
                        *to.add(lane) = *tile.get_unchecked(i);
                    }
                    tap += 1;
                    if tap == all {
                        (channel, tap) = (channel + 1, 0);
                    }
                }
                at += count;
            }
        }
    }

    /// A kernel whose rows are the reduction's channels.
    ///
    /// # Safety
    /// As for [`Task::turn`].
    #[inline(always)]
    unsafe fn gather<S: Simd>(&self, v: usize, first: usize) {
        // SAFETY: rows of the kernel are reduction channels that are there, each `outs · all` long, with the
        // whole block in it.
        unsafe {
            let all = self.from.all;
            for channel in self.real::<S>(v) {
                let row = (channel * self.from.outs + first) * all;
                let weights = self.from.weights.as_ptr().add(row);
                for (tap, &place) in self.taps.iter().enumerate() {
                    let to = self.row::<S>(v, tap, channel);
                    for lane in 0..S::LANES {
                        *to.add(lane) = *weights.add(lane * all + place);
                    }
                }
            }
        }
    }

    /// Groups, and blocks that are not full.
    ///
    /// # Safety
    /// As for [`Simd`]; `v` is the number in the panel of the block from output channel `first` on.
    #[inline(always)]
    unsafe fn one_by_one<S: Simd>(&self, v: usize, first: usize) {
        // SAFETY: rows of this task's channels; weights are looked up in the slice.
        unsafe {
            for channel in self.channels.clone() {
                for (tap, &place) in self.taps.iter().enumerate() {
                    let to = self.row::<S>(v, tap, channel);
                    for lane in 0..S::LANES {
                        let weight = self.from.place(first + lane, channel, place);
                        *to.add(lane) = weight.map_or(0.0, |at| self.from.weights[at]);
                    }
                }
            }
        }
    }
}
