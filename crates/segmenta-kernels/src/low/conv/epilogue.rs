//! From sums to what is stored: scale and bias of the channel, residual, non-linearity, rounding.
//!
//! In f32: `v = sum · scale + bias`, then `v + r · factor` for a residual `r`, each rounded once; the non-linearity;
//! then the nearest bf16 number, or `v / scale + zero point` rounded to the nearest whole number, of two the even one,
//! and clamped. Where the non-linearity does no more than clamp, the output's scale and zero point are part of `scale`,
//! `bias` and `factor`. Sums of bytes are exact, and `−zero point · Σ weights` of the input is added to them as a whole
//! number, so that padding counts for nothing and 8-bit results are the same bits on every engine.

use super::{ConvElements, KernelNumbers};
use crate::activation::{Activation, clamp};
use crate::low::element::Element;
use crate::low::engine::VectorKernel;
use crate::low::layout::{LINE, LowLayout};
use crate::low::narrow::{GROUP, Narrow};
use crate::low::numbers::Numbers;

/// What is done to sums; a value a channel, groups filled up.
#[derive(Debug)]
pub(crate) struct Epilogue {
    /// Added to whole sums.
    terms: Vec<i32>,
    /// The same for sums that are kept in f32.
    terms_f32: Vec<f32>,
    scale: Vec<f32>,
    bias: Vec<f32>,
    /// What is multiplied by the numbers of a residual.
    factor: f32,
    bounds: [f32; 2],
    /// The non-linearity where it does more than clamp, then what its values are multiplied by, what is added, and the
    /// range of what is stored.
    curve: Option<(Activation, [f32; 2], [f32; 2])>,
    pub(crate) output: Option<Element>,
}

/// Where the pixels of a task go. Offsets of pixels are bytes of a low-precision map and values of an f32 one.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    Low {
        /// The picture's first byte.
        start: *mut u8,
        layout: LowLayout,
    },
    Blocked {
        /// The first value of the picture's pixel number `first`.
        start: *mut f32,
        first: usize,
        /// Values from one block to the next.
        plane: usize,
        lanes: usize,
        blocks: usize,
    },
}

impl Target {
    /// The offset of a pixel.
    pub(crate) fn at(&self, width: usize, [row, column]: [usize; 2]) -> usize {
        match self {
            Self::Low { layout, .. } => layout.at(row, column),
            Self::Blocked { lanes, first, .. } => (row * width + column - first) * lanes,
        }
    }
}

/// A residual's picture.
#[derive(Clone, Copy)]
pub(crate) struct Residual {
    pub(crate) start: *const u8,
    pub(crate) layout: LowLayout,
}

/// The sums of a run of pixels, `[pixel][group][16]` of i32 or f32, and where each pixel goes.
pub(crate) struct Sums<'a> {
    pub(crate) from: *const u8,
    /// The first group of channels, and how many there are.
    pub(crate) first: usize,
    pub(crate) groups: usize,
    /// Groups from one pixel's sums to the next one's.
    pub(crate) pitch: usize,
    /// Offsets of the pixels; the sums of the first come first. A pixel at [`NOWHERE`] is left out.
    pub(crate) outs: &'a [usize],
    pub(crate) residuals: &'a [usize],
}

/// The epilogue of some sums. It is entered through the engine, not inlined: one piece of code for all products and
/// tiles that end with it.
pub(crate) struct Finish<'a> {
    pub(crate) epilogue: &'a Epilogue,
    pub(crate) sums: Sums<'a>,
    pub(crate) target: &'a Target,
    pub(crate) residual: Option<&'a Residual>,
    /// Whether sums are whole numbers, i32.
    pub(crate) whole: bool,
}

impl VectorKernel for Finish<'_> {
    #[inline(always)]
    unsafe fn run<S: Narrow>(self) {
        // SAFETY: whoever made it vouches for the sums and for where they go.
        unsafe {
            if self.whole {
                self.epilogue
                    .store::<S, true>(&self.sums, self.target, self.residual);
            } else {
                self.epilogue
                    .store::<S, false>(&self.sums, self.target, self.residual);
            }
        }
    }
}

/// Stores a group of a pixel. A type, not a closure, which would not have the caller's instructions where the compiler
/// leaves it out of line.
trait Put: Copy {
    /// # Safety
    /// As for [`Epilogue::store`]; `at` is a pixel's offset.
    unsafe fn put<S: Narrow>(self, v: S::V, at: usize);
}

/// 8-bit numbers from the group's first byte on.
#[derive(Clone, Copy)]
struct Bytes(*mut u8);

impl Put for Bytes {
    #[inline(always)]
    unsafe fn put<S: Narrow>(self, v: S::V, at: usize) {
        // SAFETY: the caller vouches for the pixel.
        unsafe { S::store_bytes(self.0.add(at), v) }
    }
}

/// bf16 numbers from the group's first byte on.
#[derive(Clone, Copy)]
struct Halves(*mut u8);

impl Put for Halves {
    #[inline(always)]
    unsafe fn put<S: Narrow>(self, v: S::V, at: usize) {
        // SAFETY: the caller vouches for the pixel.
        unsafe { S::store_bf16(self.0.add(at), v) }
    }
}

/// A pixel thinner than a group: no byte beside it may be written.
#[derive(Clone, Copy)]
struct Thin {
    start: *mut u8,
    pixel: usize,
    is_bf16: bool,
}

impl Put for Thin {
    #[inline(always)]
    unsafe fn put<S: Narrow>(self, v: S::V, at: usize) {
        // SAFETY: the caller vouches for the pixel, which is shorter than the room.
        unsafe {
            let mut room = [0; 2 * GROUP];
            if self.is_bf16 {
                S::store_bf16(room.as_mut_ptr(), v);
            } else {
                S::store_bytes(room.as_mut_ptr(), v);
            }
            self.start
                .add(at)
                .copy_from_nonoverlapping(room.as_ptr(), self.pixel);
        }
    }
}

/// Blocks of an f32 map: as many of a group as there are.
#[derive(Clone, Copy)]
struct Blocks {
    start: *mut f32,
    plane: usize,
    lanes: usize,
    count: usize,
}

impl Put for Blocks {
    #[inline(always)]
    unsafe fn put<S: Narrow>(self, v: S::V, at: usize) {
        // SAFETY: the caller vouches for the pixel, `count` for the blocks.
        unsafe {
            let mut values = [0.0; GROUP];
            S::store(values.as_mut_ptr(), v);
            for block in 0..self.count {
                let to = self.start.add(block * self.plane + at);
                to.copy_from_nonoverlapping(values.as_ptr().add(block * self.lanes), self.lanes);
            }
        }
    }
}

/// The offset of a pixel that is not of the map.
pub(crate) const NOWHERE: usize = usize::MAX;

impl Epilogue {
    pub(crate) fn new(
        elements: &ConvElements,
        numbers: &KernelNumbers<'_>,
        activation: Activation,
    ) -> Self {
        let input = elements.input.quantisation();
        let output = elements.output.map_or(Element::Bf16, |element| element);
        let (range, to) = (output.range(), output.quantisation());
        let clamps = activation.bounds();
        // By what real numbers are multiplied, and what is added, in the one step.
        let (multiplier, shift) = (1.0 / f64::from(to.scale), f64::from(to.zero_point));
        let (early, shift) = if clamps.is_some() {
            (multiplier, shift)
        } else {
            (1.0, 0.0)
        };
        let residual = elements.residual.map(Element::quantisation);
        let factor = residual.map_or(0.0, |r| f64::from(r.scale) * early);
        let behind = residual.map_or(0.0, |r| f64::from(r.zero_point) * factor);
        let channels = numbers.scales.len().next_multiple_of(GROUP);
        let mut epilogue = Self {
            terms: vec![0; channels],
            terms_f32: vec![0.0; channels],
            scale: vec![0.0; channels],
            bias: vec![0.0; channels],
            factor: factor as f32,
            bounds: clamps.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]),
            curve: None,
            output: elements.output,
        };
        for (channel, &scale) in numbers.scales.iter().enumerate() {
            let term =
                i64::from(input.zero_point) * numbers.sums.get(channel).copied().unwrap_or(0);
            epilogue.terms[channel] = -term as i32;
            epilogue.terms_f32[channel] = -term as f32;
            epilogue.scale[channel] = (f64::from(input.scale) * f64::from(scale) * early) as f32;
            let bias = numbers.bias.get(channel).copied().unwrap_or(0.0);
            epilogue.bias[channel] = (f64::from(bias) * early + shift - behind) as f32;
        }
        let range = range.unwrap_or([f32::NEG_INFINITY, f32::INFINITY]);
        if clamps.is_some() {
            let [low, high] = epilogue
                .bounds
                .map(|x| (f64::from(x) * early + shift) as f32);
            epilogue.bounds = [low.max(range[0]), high.min(range[1])];
        } else {
            let last = [multiplier as f32, to.zero_point as f32];
            epilogue.curve = Some((activation, last, range));
        }
        epilogue
    }

    /// What sums of whole numbers in f32 begin with: a value a channel.
    pub(crate) fn terms_f32(&self) -> *const f32 {
        self.terms_f32.as_ptr()
    }

    /// Computes and stores what belongs to some sums: whole numbers if `WHOLE`.
    ///
    /// # Safety
    /// The processor has the instruction set; there are sums for all pixels, the offsets are those of pixels of the
    /// target and of the residual, and no other thread has the pixels' channels.
    #[inline(always)]
    unsafe fn store<S: Narrow, const WHOLE: bool>(
        &self,
        sums: &Sums<'_>,
        target: &Target,
        residual: Option<&Residual>,
    ) {
        if let (
            &Target::Low { start, layout },
            Some(output @ (Element::Bf16 | Element::U8(_))),
            None,
        ) = (target, self.output, self.curve)
        {
            let (channel, values) = (sums.first * GROUP, LINE / output.bytes());
            let begins = layout.pixel() == LINE && channel.is_multiple_of(values);
            if begins && (sums.groups * GROUP).is_multiple_of(values) {
                for first in (0..sums.groups).step_by(values / GROUP) {
                    // SAFETY: as for one group; those of a pixel are written together.
                    unsafe {
                        let to = start.add(layout.channel(channel + first * GROUP));
                        if output == Element::Bf16 {
                            self.lines::<S, WHOLE, 2>(sums, first, residual, to);
                        } else {
                            self.lines::<S, WHOLE, 4>(sums, first, residual, to);
                        }
                    }
                }
                return;
            }
        }
        for group in 0..sums.groups {
            let channel = (sums.first + group) * GROUP;
            // SAFETY: what the caller vouches for is passed on.
            unsafe {
                match (*target, self.output) {
                    (Target::Low { start, layout }, output) if layout.block() < GROUP => {
                        let is_bf16 = output == Some(Element::Bf16);
                        let pixel = layout.pixel();
                        let put = Thin {
                            start,
                            pixel,
                            is_bf16,
                        };
                        self.group::<S, _, WHOLE>(sums, group, residual, put);
                    }
                    (Target::Low { start, layout }, Some(Element::Bf16)) => {
                        let put = Halves(start.add(layout.channel(channel)));
                        self.group::<S, _, WHOLE>(sums, group, residual, put);
                    }
                    (Target::Low { start, layout }, _) => {
                        let put = Bytes(start.add(layout.channel(channel)));
                        self.group::<S, _, WHOLE>(sums, group, residual, put);
                    }
                    (
                        Target::Blocked {
                            start,
                            plane,
                            lanes,
                            blocks,
                            ..
                        },
                        _,
                    ) => {
                        let first = channel / lanes;
                        let put = Blocks {
                            start: start.add(first * plane),
                            plane,
                            lanes,
                            count: (GROUP / lanes).min(blocks - first),
                        };
                        self.group::<S, _, WHOLE>(sums, group, residual, put);
                    }
                }
            }
        }
    }

    /// Whole pixels of 64 bytes, the commonest of all: their groups, two of bf16 or four of u8, are packed and stored
    /// together.
    ///
    /// # Safety
    /// As for [`Epilogue::store`]; `to` is the first pixel's place of offset 0.
    #[inline(always)]
    unsafe fn lines<S: Narrow, const WHOLE: bool, const GROUPS: usize>(
        &self,
        sums: &Sums<'_>,
        first: usize,
        residual: Option<&Residual>,
        to: *mut u8,
    ) {
        // SAFETY: the groups of each pixel are this task's; residuals have the same channels.
        unsafe {
            const SUMS: usize = GROUP * size_of::<i32>();
            let channel = (sums.first + first) * GROUP;
            let (mut scale, mut bias) = ([S::zero(); GROUPS], [S::zero(); GROUPS]);
            for group in 0..GROUPS {
                let channel = channel + group * GROUP;
                scale[group] = S::load(self.scale.as_ptr().add(channel));
                bias[group] = S::load(self.bias.as_ptr().add(channel));
            }
            let terms = self.terms.as_ptr().add(channel);
            let [low, high] = self.bounds;
            let (low_byte, low, high) =
                (low.round_ties_even() as u8, S::splat(low), S::splat(high));
            let factor = S::splat(self.factor);
            let added = residual.map(|r| {
                let start = |group: usize| {
                    let group = group.min(GROUPS - 1);
                    r.start.add(r.layout.channel(channel + group * GROUP))
                };
                (
                    [start(0), start(1), start(2), start(3)],
                    Numbers::of(&r.layout),
                )
            });
            let row = sums.pitch * SUMS;
            let mut from = sums.from.add(first * SUMS);
            for (index, &at) in sums.outs.iter().enumerate() {
                let mut groups = [S::zero(); GROUPS];
                for group in 0..GROUPS {
                    let at = from.add(group * SUMS);
                    let sum = if WHOLE {
                        S::load_sums(at.cast(), terms.add(group * GROUP))
                    } else {
                        S::load(at.cast())
                    };
                    let mut v = S::fused(sum, scale[group], bias[group]);
                    if let Some((start, numbers)) = added {
                        let from = start[group].add(*sums.residuals.get_unchecked(index));
                        v = S::fused(numbers.load::<S>(from), factor, v);
                    }
                    groups[group] = v;
                }
                from = from.add(row);
                if at == NOWHERE {
                    continue;
                }
                let to = to.add(at);
                if GROUPS == 2 {
                    let (a, b) = (groups[0], groups[GROUPS - 1]);
                    let groups = [clamp::<S>(a, low, high), clamp::<S>(b, low, high)];
                    S::store_two_bf16(to, groups);
                } else {
                    let mut four = [S::zero(); 4];
                    for (group, four) in four.iter_mut().enumerate() {
                        *four = S::min(high, groups[group % GROUPS]);
                    }
                    S::store_four_groups(to, four, low_byte);
                }
            }
        }
    }

    /// # Safety
    /// As for [`Epilogue::store`].
    #[inline(always)]
    unsafe fn group<S: Narrow, P: Put, const WHOLE: bool>(
        &self,
        sums: &Sums<'_>,
        group: usize,
        residual: Option<&Residual>,
        put: P,
    ) {
        // SAFETY: channels are filled up to whole groups; a thin residual is read by way of a buffer.
        unsafe {
            let channel = (sums.first + group) * GROUP;
            let terms = self.terms.as_ptr().add(channel);
            let scale = S::load(self.scale.as_ptr().add(channel));
            let bias = S::load(self.bias.as_ptr().add(channel));
            let (low, high) = (S::splat(self.bounds[0]), S::splat(self.bounds[1]));
            let factor = S::splat(self.factor);
            let added = residual.map(|r| {
                (
                    r.start.add(r.layout.channel(channel)),
                    Numbers::of(&r.layout),
                )
            });
            // What is rounded to bf16 needs no more; 8-bit results are the same bits everywhere.
            let short = self.output == Some(Element::Bf16)
                && matches!(
                    self.curve,
                    Some((Activation::Silu | Activation::Sigmoid, ..))
                );
            let row = sums.pitch * GROUP * size_of::<i32>();
            let mut from = sums.from.add(group * GROUP * size_of::<i32>());
            for (index, &at) in sums.outs.iter().enumerate() {
                let sum = if WHOLE {
                    S::load_sums(from.cast(), terms)
                } else {
                    S::load(from.cast())
                };
                from = from.add(row);
                if at == NOWHERE {
                    continue;
                }
                let mut v = S::fused(sum, scale, bias);
                if let Some((start, numbers)) = added {
                    let from = start.add(*sums.residuals.get_unchecked(index));
                    v = S::fused(numbers.load::<S>(from), factor, v);
                }
                v = clamp::<S>(v, low, high);
                if let (true, Some((activation, ..))) = (short, self.curve) {
                    let gate = S::sigmoid(v);
                    v = if activation == Activation::Silu {
                        S::mul(v, gate)
                    } else {
                        gate
                    };
                } else if let Some((activation, [multiplier, shift], [low, high])) = self.curve {
                    let mut values = [0.0; GROUP];
                    S::store(values.as_mut_ptr(), v);
                    activation.in_place::<S>(values.as_mut_ptr(), 1);
                    v = S::load(values.as_ptr());
                    v = S::fused(v, S::splat(multiplier), S::splat(shift));
                    v = clamp::<S>(v, S::splat(low), S::splat(high));
                }
                put.put::<S>(v, at);
            }
        }
    }
}
