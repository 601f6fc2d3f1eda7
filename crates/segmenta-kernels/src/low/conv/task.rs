//! A part of a convolution: some pixels of one picture times some panels of weights.

use std::ops::Range;

use super::epilogue::{Residual, Target};
use super::weights::Weights;
use super::{ConvSpec, LowConvolution};
use crate::low::layout::LowLayout;
use crate::map::MapShape;

/// A step of the reduction on a map of one layout.
#[derive(Clone, Copy)]
pub(crate) struct Offset {
    /// Bytes from a window's first pixel.
    pub(crate) bytes: usize,
    /// Runs of four bytes.
    pub(crate) runs: usize,
}

pub(crate) fn offsets(weights: &Weights, layout: &LowLayout, spec: &ConvSpec) -> Vec<Offset> {
    let offset = |step: &super::weights::Step| Offset {
        bytes: step.offset(layout, spec),
        runs: step.runs,
    };
    weights.steps.iter().map(offset).collect()
}

/// The pointers of a task reach what its convolution checked; its pixels and panels are no other task's.
pub(crate) struct Task<'a> {
    pub(crate) convolution: &'a LowConvolution,
    pub(crate) weights: &'a Weights,
    pub(crate) steps: &'a [Offset],
    /// The input's picture.
    pub(crate) input: *const u8,
    pub(crate) layout: LowLayout,
    pub(crate) output: MapShape,
    pub(crate) target: Target,
    pub(crate) residual: Option<Residual>,
    pub(crate) pixels: Range<usize>,
    pub(crate) panels: Range<usize>,
}

/// Bytes from the input's picture to the first pixel of an output pixel's window.
#[inline(always)]
pub(crate) fn window(spec: &ConvSpec, layout: &LowLayout, [row, column]: [usize; 2]) -> usize {
    let padding = spec.padding[0] * layout.pitch() + spec.padding[1];
    layout.at(row * spec.stride[0], column * spec.stride[1]) - padding * layout.pixel()
}

/// Where each pixel of a task is read and written.
pub(crate) struct Pixels {
    /// Bytes from the input's picture to the first pixel of the window.
    pub(crate) ins: Vec<usize>,
    pub(crate) outs: Vec<usize>,
    /// Bytes from the residual's picture; empty if there is none.
    pub(crate) residuals: Vec<usize>,
}

impl Task<'_> {
    pub(crate) fn pixels(&self) -> Pixels {
        let count = self.pixels.len();
        let mut pixels = Pixels {
            ins: Vec::with_capacity(count),
            outs: Vec::with_capacity(count),
            residuals: Vec::with_capacity(count),
        };
        let width = self.output.width;
        for index in self.pixels.clone() {
            let at = [index / width, index % width];
            pixels.ins.push(self.window(at));
            pixels.outs.push(self.target.at(width, at));
            if let Some(residual) = &self.residual {
                pixels.residuals.push(residual.layout.at(at[0], at[1]));
            }
        }
        pixels
    }

    /// Bytes from the input's picture to the first pixel of an output pixel's window.
    pub(crate) fn window(&self, at: [usize; 2]) -> usize {
        window(&self.convolution.spec, &self.layout, at)
    }
}
