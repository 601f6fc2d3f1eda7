//! Depthwise convolution: every channel by itself, sixteen at a time.
//!
//! Contract: numbers are widened to f32 where they are read; products are of f32 weights (whole ones for an 8-bit
//! input, bf16 ones for a bf16 input), sums f32. Sums of whole numbers stay below 2²⁴ and so are exact. The halo is
//! the padding, so no window asks whether it is on the map; sums begin with what the input's zero point comes to.

use std::ops::Range;

use super::epilogue::{Epilogue, Finish, Residual, Sums, Target};
use super::{ConvSpec, LowConvolution, Values};
use crate::buffer::Buffer;
use crate::low::element::{Element, bf16, from_bf16};
use crate::low::engine::VectorKernel;
use crate::low::layout::LowLayout;
use crate::low::narrow::{GROUP, Narrow};
use crate::low::numbers::{Bf16s, Load, Numbers, U8s};
use crate::map::MapShape;

/// Taps of the largest window of bytes: 255 · 128 each, and the sum below 2²⁴.
pub(crate) const MOST_TAPS: usize = (1 << 24) / (255 * 128);

/// Pixels whose sums wait together for the epilogue.
const RUN: usize = 64;
/// Pixels whose sums are in registers.
const TOGETHER: usize = 8;

/// `[group][tap][16]`.
#[derive(Debug)]
pub(crate) struct Packed(Buffer);

impl Packed {
    pub(crate) fn new(spec: &ConvSpec, values: &Values<'_>) -> Self {
        let taps = spec.kernel[0] * spec.kernel[1];
        let mut packed = Buffer::zeros(spec.out_channels.next_multiple_of(GROUP) * taps);
        for index in 0..spec.out_channels * taps {
            let (channel, tap) = (index / taps, index % taps);
            let at = (channel / GROUP * taps + tap) * GROUP + channel % GROUP;
            packed[at] = match values {
                Values::Int8(values) => f32::from(values[index]),
                Values::Float(values) => from_bf16(bf16(values[index])),
            };
        }
        Self(packed)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.len() * size_of::<f32>()
    }
}

/// Some rows of one group of one picture.
pub(crate) struct Rows<'a> {
    pub(crate) convolution: &'a LowConvolution,
    pub(crate) packed: &'a Packed,
    pub(crate) epilogue: &'a Epilogue,
    /// The input's picture.
    pub(crate) input: *const u8,
    pub(crate) layout: LowLayout,
    pub(crate) output: MapShape,
    pub(crate) target: Target,
    pub(crate) residual: Option<Residual>,
    pub(crate) group: usize,
    pub(crate) rows: Range<usize>,
}

/// Room for the sums of a run.
#[repr(align(64))]
struct Room([f32; RUN * GROUP]);

impl VectorKernel for Rows<'_> {
    #[inline(always)]
    unsafe fn run<S: Narrow>(self) {
        let element = self.layout.element();
        // SAFETY: what the caller vouches for is passed on; the numbers are of the kind that is chosen.
        unsafe {
            match element {
                Element::Bf16 if self.layout.block() >= GROUP => self.rows::<S, _>(Bf16s),
                Element::U8(_) if self.layout.block() >= GROUP => self.rows::<S, _>(U8s),
                _ => self.rows::<S, _>(Numbers::of(&self.layout)),
            }
        }
    }
}

impl Rows<'_> {
    /// # Safety
    /// As for [`VectorKernel::run`]; `numbers` reads the input's groups.
    #[inline(always)]
    unsafe fn rows<S: Narrow, L: Load>(&self, numbers: L) {
        // SAFETY: windows lie on the map and its halo; the rows of the group are this task's, and as many sums are
        // stored as a run has pixels.
        unsafe {
            let spec = &self.convolution.spec;
            let taps = spec.kernel[0] * spec.kernel[1];
            let weights = self.packed.0.as_ptr().add(self.group * taps * GROUP);
            let start = S::load(self.epilogue.terms_f32().add(self.group * GROUP));
            let input = self.input.add(self.layout.channel(self.group * GROUP));
            let down = spec.dilation[0] * self.layout.pitch() * self.layout.pixel();
            let right = spec.dilation[1] * self.layout.pixel();
            let distance = spec.stride[1] * self.layout.pixel();
            let mut room = Room([0.0; RUN * GROUP]);
            let width = self.output.width;
            // Offsets of the taps: known before the first pixel, so that a tap is one addition.
            let of_a_tap = |tap: usize| (tap / spec.kernel[1] * down, tap % spec.kernel[1] * right);
            let offsets: Vec<usize> = (0..taps).map(of_a_tap).map(|(y, x)| y + x).collect();
            for row in self.rows.clone() {
                for first in (0..width).step_by(RUN) {
                    let count = RUN.min(width - first);
                    let mut x = 0;
                    while x < count {
                        let from = input.add(self.window([row, first + x]));
                        let sums = room.0.as_mut_ptr().add(x * GROUP);
                        if count - x >= TOGETHER {
                            let mut together = [start; TOGETHER];
                            for (tap, &offset) in offsets.iter().enumerate() {
                                let weight = S::load(weights.add(tap * GROUP));
                                let from = from.add(offset);
                                for (m, sum) in together.iter_mut().enumerate() {
                                    let x = numbers.load::<S>(from.add(m * distance));
                                    *sum = S::fused(x, weight, *sum);
                                }
                            }
                            for (m, &sum) in together.iter().enumerate() {
                                S::store(sums.add(m * GROUP), sum);
                            }
                            x += TOGETHER;
                        } else {
                            let mut sum = start;
                            for (tap, &offset) in offsets.iter().enumerate() {
                                let x = numbers.load::<S>(from.add(offset));
                                sum = S::fused(x, S::load(weights.add(tap * GROUP)), sum);
                            }
                            S::store(sums, sum);
                            x += 1;
                        }
                    }
                    self.finish(&room, [row, first], count);
                }
            }
        }
    }
}

impl Rows<'_> {
    /// Bytes from the input's group to the first pixel of an output pixel's window.
    #[inline(always)]
    fn window(&self, at: [usize; 2]) -> usize {
        super::task::window(&self.convolution.spec, &self.layout, at)
    }

    fn finish(&self, room: &Room, [row, first]: [usize; 2], count: usize) {
        let (mut outs, mut residuals) = ([0; RUN], [0; RUN]);
        for (index, out) in outs.iter_mut().enumerate().take(count) {
            *out = self.target.at(self.output.width, [row, first + index]);
        }
        let mut added = 0;
        if let Some(residual) = &self.residual {
            added = count;
            for (index, at) in residuals.iter_mut().enumerate().take(count) {
                *at = residual.layout.at(row, first + index);
            }
        }
        self.convolution.engine.vectors(Finish {
            epilogue: self.epilogue,
            sums: Sums {
                from: room.0.as_ptr().cast(),
                first: self.group,
                groups: 1,
                outs: &outs[..count],
                residuals: &residuals[..added],
            },
            target: &self.target,
            residual: self.residual.as_ref(),
            whole: false,
        });
    }
}
