//! Weights in the order in which the reduction reads them.
//!
//! `[panel][step][4 bytes of a pixel][group of the panel][16 channels][4 bytes]`: a panel is as many groups of 16
//! output channels as a register tile has beside each other; a step is what lies side by side in memory at one tap of
//! the window and one plane of the input: a pixel, or several neighbouring ones where pixels are thin. One form serves
//! all engines: registers take rows of 64 bytes one after the other, tiles take them a panel's width apart.

use super::ConvSpec;
use crate::buffer::{Buffer, as_bytes, as_bytes_mut};
use crate::low::element::{Element, bf16};
use crate::low::layout::{LINE, LowLayout};
use crate::low::narrow::GROUP;
use crate::low::product::{ROW, STEP};

/// The most groups of a panel.
pub(crate) const PANEL: usize = 4;

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
    pub(crate) start: usize,
}

#[derive(Debug)]
pub(crate) struct Weights {
    values: Buffer,
    pub(crate) steps: Vec<Step>,
    pub(crate) panels: Vec<Panel>,
    /// Runs of all steps.
    pub(crate) runs: usize,
}

impl Weights {
    /// Packs `[out, in, height, width]`. Where `whole_pixels`, a step is as long in the last plane as in the others,
    /// with zeros for channels that there are not: tiles have one shape.
    pub(crate) fn new(
        spec: &ConvSpec,
        input: Element,
        values: &Values<'_>,
        whole_pixels: bool,
    ) -> Self {
        let (size, block) = (
            input.bytes(),
            LowLayout::channels_of_a_pixel(spec.in_channels, input),
        );
        let span = span(spec, block * size);
        let steps = steps(spec, [block, size, span], whole_pixels);
        let runs = steps.iter().map(|step| step.runs).sum();
        let panels = panels(spec.out_channels.div_ceil(GROUP), runs);
        let bytes = spec.out_channels.div_ceil(GROUP) * runs * ROW;
        let mut packed = Buffer::zeros(bytes.div_ceil(size_of::<f32>()));
        let to = as_bytes_mut(&mut packed);
        let [height, width] = spec.kernel;
        for panel in &panels {
            let row = panel.groups * ROW;
            let mut start = panel.start;
            for step in &steps {
                for element in 0..step.runs * STEP / size {
                    let channel = step.plane * block + element % block;
                    let column = step.tap[1] + element / block;
                    if channel >= spec.in_channels || column >= width {
                        continue;
                    }
                    let tap = step.tap[0] * width + column;
                    let (run, byte) = (element * size / STEP, element * size % STEP);
                    let outs = panel.first * GROUP..(panel.first + panel.groups) * GROUP;
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
        }
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

/// Panels of nearly the same number of groups.
fn panels(groups: usize, runs: usize) -> Vec<Panel> {
    let count = groups.div_ceil(PANEL);
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
