//! A last layer whose values are the network's result: planes of f32, `[batch][channels][height][width]`.
//!
//! Contract: a task computes some pixels into blocks of its own, few enough to stay in the second cache, and turns them
//! into planes from there: the map in blocks, a third larger than the result, is never written to memory nor read.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::epilogue::Target;
use super::{LowConvolution, WHOLE};
use crate::isa::Kernel;
use crate::layout::Turn;
use crate::low::engine::{Engine, VectorKernel};
use crate::low::map::{LowMap, one_engine};
use crate::low::narrow::{GROUP, Narrow};
use crate::map::MapShape;
use crate::shared::Shared;

/// Values that a task's blocks have at most.
const WAITING: usize = 64 << 10;

impl LowConvolution {
    /// As [`LowConvolution::run_to_f32`], as planes `[batch][channels][height][width]`: where a network ends. Not for
    /// groups of channels.
    ///
    /// # Panics
    /// As [`LowConvolution::run`]; if the slice does not have the length of the output's shape, or there are groups.
    pub fn run_to_planes(
        &self,
        input: LowMap<'_>,
        output: &mut [f32],
        residual: Option<LowMap<'_>>,
    ) {
        one_engine([self.engine, input.engine()]);
        assert_eq!(self.spec.groups, 1, "planes of {:?}", self.spec);
        let shape = self.spec.output(input.layout().shape());
        let shape = shape.unwrap_or_else(|| panic!("no output of {:?}", self.spec));
        self.check(input, shape, None, residual);
        assert_eq!(output.len(), shape.batch_len(), "a batch of {shape:?}");
        let planes = Planes {
            values: Shared::new(output),
            shape,
        };
        let no_target = |_| unreachable!("planes take its place");
        self.tasks(input, shape, residual, None, Some(planes), no_target);
    }
}

/// The result that several threads write, each its own pixels.
#[derive(Clone, Copy)]
pub(super) struct Planes<'a> {
    values: Shared<'a>,
    shape: MapShape,
}

/// Blocks of some pixels that wait to be turned.
pub(super) struct Waiting<'a> {
    planes: Planes<'a>,
    image: usize,
    pixels: Range<usize>,
    blocks: Box<[MaybeUninit<f32>]>,
}

impl<'a> Planes<'a> {
    /// Into how many runs of pixels a picture is cut, and that all panels are one slice.
    pub(super) fn cuts(shape: MapShape) -> [usize; 2] {
        let values = shape.pixels() * shape.channels.next_multiple_of(GROUP);
        let wanted = (4 * rayon::current_num_threads()).div_ceil(shape.batch);
        let most = shape.pixels().div_ceil(WHOLE);
        [values.div_ceil(WAITING).max(wanted).min(most), 1]
    }

    pub(super) fn waiting(self, image: usize, pixels: &Range<usize>) -> Waiting<'a> {
        let groups = self.shape.channels.div_ceil(GROUP);
        Waiting {
            planes: self,
            image,
            pixels: pixels.clone(),
            blocks: Box::new_uninit_slice(groups * pixels.len() * GROUP),
        }
    }
}

impl Waiting<'_> {
    /// Where the task writes: every value of every block.
    pub(super) fn target(&mut self) -> Target {
        Target::Blocked {
            start: self.blocks.as_mut_ptr().cast(),
            first: self.pixels.start,
            plane: self.pixels.len() * GROUP,
            lanes: GROUP,
            blocks: self.planes.shape.channels.div_ceil(GROUP),
        }
    }

    /// Writes the planes.
    pub(super) fn turn(self, engine: Engine) {
        let MapShape { channels, .. } = self.planes.shape;
        let plane = self.planes.shape.pixels();
        for first in (0..channels).step_by(GROUP) {
            let from = self.blocks[first * self.pixels.len()..].as_ptr().cast();
            let at = (self.image * channels + first) * plane + self.pixels.start;
            engine.vectors(Turn {
                from,
                from_row: GROUP,
                // SAFETY: pixels of a picture are written by the one task that has them.
                to: unsafe { self.planes.values.at(at) },
                to_row: plane,
                extents: [self.pixels.len(), GROUP.min(channels - first)],
            });
        }
    }
}

impl VectorKernel for Turn {
    #[inline(always)]
    unsafe fn run<S: Narrow>(self) {
        // SAFETY: what the caller vouches for is passed on; whoever made it vouches for its pointers.
        unsafe { Kernel::run::<S>(self) }
    }
}
