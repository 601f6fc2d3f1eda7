//! Weights in the order in which the reduction reads them.
//!
//! `[panel][strip][step][4 bytes of a pixel][group of the strip][16 channels][4 bytes]`: a panel is the groups of 16
//! output channels whose sums wait for one epilogue, a strip those that are multiplied together: all of a panel in
//! registers, two in tiles, whose rows are then two cache lines apart and follow each other without a gap. A step is
//! what lies side by side in memory at one tap of the window and one plane of the input: a pixel, or several
//! neighbouring ones where pixels are thin.

use std::ops::Range;

use super::ConvSpec;
use crate::buffer::{Buffer, as_bytes, as_bytes_mut};
use crate::low::element::{Element, bf16};
use crate::low::layout::{LINE, LowLayout};
use crate::low::narrow::GROUP;
use crate::low::product::{ROW, STEP};

/// The most groups of a panel.
pub(crate) const PANEL: usize = 4;
/// The most groups of a strip of tiles.
const STRIP: usize = 2;
/// Bytes of a strip's weights that are not cut, and what they are cut to.
const PART_MOST: usize = 512 << 10;
const PART: usize = 160 << 10;

/// What one step of the reduction multiplies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Plane of the input.
    plane: usize,
    /// Row and (first) column of the window.
    tap: [usize; 2],
    /// Runs of [`STEP`] bytes.
    pub(crate) runs: usize,
}

impl Step {
    /// How many bytes behind a window's first pixel it begins.
    pub(crate) fn offset(&self, input: &LowLayout, spec: &ConvSpec) -> usize {
        let [row, column] = [0, 1].map(|axis| self.tap[axis] * spec.dilation[axis]);
        self.plane * input.plane() + (row * input.pitch() + column) * input.pixel()
    }
}

/// Some groups of output channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panel {
    /// The first group.
    pub(crate) first: usize,
    pub(crate) groups: usize,
    /// Where its weights begin, in bytes.
    start: usize,
}

impl Panel {
    /// The first group of each strip, and how many it has.
    fn strips(self, strip: usize) -> impl Iterator<Item = (usize, usize)> {
        let end = self.first + self.groups;
        let strips = (self.first..end).step_by(strip);
        strips.map(move |first| (first, strip.min(end - first)))
    }
}

#[derive(Debug)]
pub(crate) struct Weights {
    values: Buffer,
    pub(crate) steps: Vec<Step>,
    pub(crate) panels: Vec<Panel>,
    /// Runs of all steps.
    pub(crate) runs: usize,
    /// The most groups of a strip.
    strip: usize,
}

impl Weights {
    /// Packs `[out, in, height, width]`, for tiles or for registers. For tiles a step is as long in the last plane as
    /// in the others, with zeros for channels that there are not: tiles have one shape.
    pub(crate) fn new(
        spec: &ConvSpec,
        input: Element,
        values: &Values<'_>,
        for_tiles: bool,
    ) -> Self {
        let (size, block) = (
            input.bytes(),
            LowLayout::channels_of_a_pixel(spec.in_channels, input),
        );
        let span = span(spec, block * size);
        let steps = steps(spec, [block, size, span], for_tiles);
        let runs = steps.iter().map(|step| step.runs).sum();
        // In tiles a panel is what makes a pixel of 64 bytes, so that its weights are few.
        let (panel, strip) = match (for_tiles, input) {
            (true, Element::Bf16) => (STRIP, STRIP),
            (true, _) => (PANEL, STRIP),
            (false, _) => (PANEL, PANEL),
        };
        let panels = panels(spec.out_channels.div_ceil(GROUP), panel, runs);
        let bytes = spec.out_channels.div_ceil(GROUP) * runs * ROW;
        let mut packed = Buffer::zeros(bytes.div_ceil(size_of::<f32>()));
        let to = as_bytes_mut(&mut packed);
        let [height, width] = spec.kernel;
        for (first, groups) in panels.iter().flat_map(|panel| panel.strips(strip)) {
            let row = groups * ROW;
            let mut start = first * runs * ROW;
            for step in &steps {
                for element in 0..step.runs * STEP / size {
                    let channel = step.plane * block + element % block;
                    let column = step.tap[1] + element / block;
                    if channel >= spec.in_channels || column >= width {
                        continue;
                    }
                    let tap = step.tap[0] * width + column;
                    let (run, byte) = (element * size / STEP, element * size % STEP);
                    let outs = first * GROUP..(first + groups) * GROUP;
                    for (lane, out) in outs.enumerate().filter(|o| o.1 < spec.out_channels) {
                        let from = (out * spec.in_channels + channel) * height * width + tap;
                        let at = start + run * row + lane * STEP + byte;
                        match values {
                            Values::Int8(values) => to[at] = values[from].cast_unsigned(),
                            Values::Float(values) => {
                                to[at..at + 2].copy_from_slice(&bf16(values[from]).to_ne_bytes());
                            }
                        }
                    }
                }
                start += step.runs * row;
            }
        }
        Self {
            values: packed,
            steps,
            panels,
            runs,
            strip,
        }
    }

    /// The strips of a panel: groups before it in the panel, groups, and where its weights begin.
    pub(crate) fn strips(&self, panel: &Panel) -> impl Iterator<Item = (usize, usize, *const u8)> {
        let (weights, runs) = (self.of(panel).as_ptr(), self.runs);
        let first = panel.first;
        panel.strips(self.strip).map(move |(group, groups)| {
            let before = group - first;
            (before, groups, weights.wrapping_add(before * runs * ROW))
        })
    }

    /// Bytes of input that all panels pass by while they stay in the second cache: processors with tiles have 2 MB.
    pub(crate) fn run_bytes(&self) -> usize {
        if self.strip == STRIP {
            1 << 20
        } else {
            512 << 10
        }
    }

    /// Steps by parts whose weights of a strip stay in the second cache: whole planes, all steps if they fit.
    pub(crate) fn parts(&self) -> Vec<Range<usize>> {
        let bytes = self.runs * self.strip * ROW;
        if self.strip != STRIP || bytes <= PART_MOST {
            return vec![0..self.steps.len()];
        }
        let planes = 1 + self.steps.last().map_or(0, |step| step.plane);
        let of_a_plane = self.steps.len() / planes;
        let count = bytes.div_ceil(PART).min(planes);
        let part = |index| {
            let planes = crate::shared::part(planes, count, index);
            planes.start * of_a_plane..planes.end * of_a_plane
        };
        (0..count).map(part).collect()
    }

    /// Weights of a panel, from its first step on.
    pub(crate) fn of(&self, panel: &Panel) -> &[u8] {
        &as_bytes(&self.values)[panel.start..][..panel.groups * self.runs * ROW]
    }

    pub(crate) fn bytes(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}

/// A convolution's weights as they are given, one number each.
pub(crate) enum Values<'a> {
    Int8(&'a [i8]),
    Float(&'a [f32]),
}

/// Neighbouring taps that make a step: as many as a cache line holds of those that share a row of the window, and none
/// beside it, since what lies there may be no number.
fn span(spec: &ConvSpec, pixel: usize) -> usize {
    let width = spec.kernel[1];
    if spec.dilation[1] > 1 {
        return 1;
    }
    let fits = |&taps: &usize| width.is_multiple_of(taps) && taps * pixel <= LINE;
    (1..=width).rev().find(fits).unwrap_or(1)
}

/// Plane by plane, so that all taps of a plane find it in the cache.
fn steps(spec: &ConvSpec, [block, size, span]: [usize; 3], whole_pixels: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for plane in 0..spec.in_channels.div_ceil(block) {
        let there = (spec.in_channels - plane * block).min(block);
        let channels = if whole_pixels || span > 1 {
            block
        } else {
            there
        };
        for row in 0..spec.kernel[0] {
            for column in (0..spec.kernel[1]).step_by(span) {
                steps.push(Step {
                    plane,
                    tap: [row, column],
                    runs: (span * channels * size).div_ceil(STEP),
                });
            }
        }
    }
    steps
}

/// Panels of at most `most` groups, of nearly the same number.
fn panels(groups: usize, most: usize, runs: usize) -> Vec<Panel> {
    let count = groups.div_ceil(most);
    let panel = |index: usize| {
        let range = crate::shared::part(groups, count, index);
        Panel {
            first: range.start,
            groups: range.len(),
            start: range.start * runs * ROW,
        }
    };
    (0..count).map(panel).collect()
}
