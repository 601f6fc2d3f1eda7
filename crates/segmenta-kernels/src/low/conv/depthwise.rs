//! Depthwise convolution: every channel by itself, sixteen at a time.
//!
//! Contract: numbers are widened to f32 where they are read; products are of f32 weights (whole ones for an 8-bit
//! input, bf16 ones for a bf16 input), sums f32. Pixels of 64 bytes of bf16 are taken whole, their weights stored as
//! they are: even and odd channels part by one instruction each, half of what widening in order takes. Sums of whole
//! numbers stay below 2²⁴ and so are exact. The halo is the padding, so no window asks whether it is on the map; sums
//! begin with what the input's zero point comes to.

use std::ops::Range;

use super::epilogue::{Epilogue, Finish, Residual, Sums, Target};
use super::{ConvSpec, LowConvolution, Values};
use crate::buffer::{Buffer, as_bytes, as_bytes_mut};
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

/// The weights.
#[derive(Debug)]
pub(crate) enum Packed {
    /// `[group][tap][16]` of f32.
    Groups(Buffer),
    /// `[two groups][tap][32]` of bf16.
    Pairs(Buffer),
}

impl Packed {
    /// A pixel of bf16 numbers of 64 bytes has them in pairs of groups; others one by one.
    pub(crate) fn new(spec: &ConvSpec, input: Element, values: &Values<'_>) -> Self {
        let taps = spec.kernel[0] * spec.kernel[1];
        let channels = spec.out_channels;
        if input == Element::Bf16 && LowLayout::channels_of_a_pixel(channels, input) == 2 * GROUP {
            let mut packed = Buffer::zeros(channels.next_multiple_of(2 * GROUP) * taps / 2);
            let bytes = as_bytes_mut(&mut packed);
            for index in 0..channels * taps {
                let Values::Float(values) = values else {
                    unreachable!("whole numbers for a bf16 input")
                };
                let (channel, tap) = (index / taps, index % taps);
                let at = (channel / (2 * GROUP) * taps + tap) * 2 * GROUP + channel % (2 * GROUP);
                bytes[2 * at..][..2].copy_from_slice(&bf16(values[index]).to_ne_bytes());
            }
            return Self::Pairs(packed);
        }
        let mut packed = Buffer::zeros(channels.next_multiple_of(GROUP) * taps);
        for index in 0..channels * taps {
            let (channel, tap) = (index / taps, index % taps);
            let at = (channel / GROUP * taps + tap) * GROUP + channel % GROUP;
            packed[at] = match values {
                Values::Int8(values) => f32::from(values[index]),
                Values::Float(values) => from_bf16(bf16(values[index])),
            };
        }
        Self::Groups(packed)
    }

    /// Groups of channels that are computed together.
    pub(crate) fn groups(&self) -> usize {
        match self {
            Self::Groups(_) => 1,
            Self::Pairs(_) => 2,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        let (Self::Groups(weights) | Self::Pairs(weights)) = self;
        weights.len() * size_of::<f32>()
    }
}

/// Some rows of one group of one picture, or of two.
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
    /// The first group.
    pub(crate) group: usize,
    pub(crate) rows: Range<usize>,
}

/// Room for the sums of a run, `[pixel][group][16]`.
#[repr(align(64))]
struct Room([f32; 2 * RUN * GROUP]);

impl VectorKernel for Rows<'_> {
    #[inline(always)]
    unsafe fn run<S: Narrow>(self) {
        let element = self.layout.element();
        // SAFETY: what the caller vouches for is passed on; the numbers are of the kind that is chosen.
        unsafe {
            let weights = match self.packed {
                Packed::Pairs(weights) => return self.pairs::<S>(as_bytes(weights)),
                Packed::Groups(weights) => weights,
            };
            match element {
                Element::Bf16 if self.layout.block() >= GROUP => self.rows::<S, _>(weights, Bf16s),
                Element::U8(_) if self.layout.block() >= GROUP => self.rows::<S, _>(weights, U8s),
                _ => self.rows::<S, _>(weights, Numbers::of(&self.layout)),
            }
        }
    }
}

impl Rows<'_> {
    /// # Safety
    /// As for [`VectorKernel::run`]; `numbers` reads the input's groups.
    #[inline(always)]
    unsafe fn rows<S: Narrow, L: Load>(&self, weights: &[f32], numbers: L) {
        // SAFETY: windows lie on the map and its halo; the rows of the group are this task's, and as many sums are
        // stored as a run has pixels.
        unsafe {
            let spec = &self.convolution.spec;
            let taps = spec.kernel[0] * spec.kernel[1];
            let weights = weights.as_ptr().add(self.group * taps * GROUP);
            let start = S::load(self.epilogue.terms_f32().add(self.group * GROUP));
            let input = self.input.add(self.layout.channel(self.group * GROUP));
            let distance = spec.stride[1] * self.layout.pixel();
            let mut room = Room([0.0; 2 * RUN * GROUP]);
            let width = self.output.width;
            let offsets = self.offsets();
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
    /// Two groups at a time: whole pixels of bf16 numbers.
    ///
    /// # Safety
    /// As for [`VectorKernel::run`].
    #[inline(always)]
    unsafe fn pairs<S: Narrow>(&self, weights: &[u8]) {
        const LINE: usize = 2 * GROUP * size_of::<u16>();
        // SAFETY: as in `rows`.
        unsafe {
            let spec = &self.convolution.spec;
            let taps = spec.kernel[0] * spec.kernel[1];
            let weights = weights.as_ptr().add(self.group / 2 * taps * LINE);
            let input = self.input.add(self.layout.channel(self.group * GROUP));
            let distance = spec.stride[1] * self.layout.pixel();
            let mut room = Room([0.0; 2 * RUN * GROUP]);
            let offsets = self.offsets();
            for row in self.rows.clone() {
                for first in (0..self.output.width).step_by(RUN) {
                    let count = RUN.min(self.output.width - first);
                    let mut x = 0;
                    while x < count {
                        let from = input.add(self.window([row, first + x]));
                        let sums = room.0.as_mut_ptr().add(x * 2 * GROUP);
                        let together = (count - x).min(TOGETHER);
                        if together == TOGETHER {
                            whole_pixels::<S, TOGETHER>(from, distance, &offsets, weights, sums);
                        } else {
                            for m in 0..together {
                                let from = from.add(m * distance);
                                let sums = sums.add(m * 2 * GROUP);
                                whole_pixels::<S, 1>(from, distance, &offsets, weights, sums);
                            }
                        }
                        x += together;
                    }
                    self.finish(&room, [row, first], count);
                }
            }
        }
    }

    /// Offsets of the taps: known before the first pixel, so that a tap is one addition.
    fn offsets(&self) -> Vec<usize> {
        let spec = &self.convolution.spec;
        let down = spec.dilation[0] * self.layout.pitch() * self.layout.pixel();
        let right = spec.dilation[1] * self.layout.pixel();
        let rows = (0..spec.kernel[0]).map(|row| row * down);
        rows.flat_map(|row| (0..spec.kernel[1]).map(move |column| row + column * right))
            .collect()
    }

    /// Bytes from the input's group to the first pixel of an output pixel's window.
    #[inline(always)]
    fn window(&self, at: [usize; 2]) -> usize {
        super::task::window(&self.convolution.spec, &self.layout, at)
    }

    fn finish(&self, room: &Room, [row, first]: [usize; 2], count: usize) {
        let pitch = self.packed.groups();
        let groups = self.output.channels.div_ceil(GROUP);
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
                groups: pitch.min(groups - self.group),
                pitch,
                outs: &outs[..count],
                residuals: &residuals[..added],
            },
            target: &self.target,
            residual: self.residual.as_ref(),
            whole: false,
        });
    }
}

/// Sums of some pixels, two groups each.
///
/// # Safety
/// As for [`VectorKernel::run`]: windows, weights and room for the sums are there.
#[inline(always)]
unsafe fn whole_pixels<S: Narrow, const PIXELS: usize>(
    from: *const u8,
    distance: usize,
    offsets: &[usize],
    weights: *const u8,
    sums: *mut f32,
) {
    // SAFETY: what the caller vouches for is read and written.
    unsafe {
        let mut together = [[S::zero(); 2]; PIXELS];
        for (tap, &offset) in offsets.iter().enumerate() {
            let weight = S::load_two_bf16(weights.add(tap * 2 * GROUP * size_of::<u16>()));
            for (m, sum) in together.iter_mut().enumerate() {
                let x = S::load_two_bf16(from.add(offset + m * distance));
                *sum = [
                    S::fused(x[0], weight[0], sum[0]),
                    S::fused(x[1], weight[1], sum[1]),
                ];
            }
        }
        for (m, &sum) in together.iter().enumerate() {
            S::store_two(sums.add(m * 2 * GROUP), sum);
        }
    }
}
