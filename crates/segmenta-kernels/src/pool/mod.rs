//! Pooling: the largest value or the mean of windows, and the largest put back in its place.
//!
//! Windows are PyTorch's, its rules for edges included: `max.rs`, `average.rs`, `unpool.rs`.

mod average;
mod max;
mod unpool;

use std::ops::Range;

pub use average::{adaptive_avg_pool, avg_pool, global_avg_pool};
pub(crate) use average::{adaptive_spans, window_spans};
pub use max::{as_indices, as_indices_mut, max_pool, max_pool_with_indices};
pub use unpool::{max_pool_gradient, max_unpool, max_unpool_gradient};

use crate::conv::reach;
use crate::map::MapShape;

/// A square window that moves; [`PoolWindow`] is the one with all extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Side of the window.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Padding on every edge; at most half the window.
    pub padding: usize,
}

impl PoolSpec {
    /// The shape that comes out, if the window fits (PyTorch's rule with `ceil_mode` off).
    pub fn output(&self, input: MapShape) -> Option<MapShape> {
        PoolWindow::from(*self).output(input)
    }
}

/// A window that moves, with the meaning of PyTorch's `MaxPool2d` and `AvgPool2d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolWindow {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Steps down and right.
    pub stride: [usize; 2],
    /// Padding above and below, left and right; at most half the window.
    pub padding: [usize; 2],
    /// Spread of the window's pixels down and right.
    pub dilation: [usize; 2],
    /// Whether the last window may hang over the edge.
    pub ceil_mode: bool,
}

impl PoolWindow {
    /// A square window whose steps are as large as itself, as is PyTorch's default.
    pub fn square(kernel: usize) -> Self {
        Self {
            kernel: [kernel; 2],
            stride: [kernel; 2],
            padding: [0; 2],
            dilation: [1; 2],
            ceil_mode: false,
        }
    }

    /// The shape that comes out, if there is one: every extent is at least 1, the window fits and is not half
    /// padding.
    pub fn output(&self, input: MapShape) -> Option<MapShape> {
        let side = |size: usize, axis: usize| {
            let (padding, stride) = (self.padding[axis], self.stride[axis]);
            let reach = reach(self.kernel[axis], self.dilation[axis])?;
            let hang = if self.ceil_mode {
                stride.checked_sub(1)?
            } else {
                0
            };
            let padded = padding.checked_mul(2)?.checked_add(size)?;
            let room = padded.checked_add(hang)?.checked_sub(reach)?;
            let sides = room.checked_div(stride)? + 1;
            // A window must start on the map or in the padding before it.
            let last_is_outside = (sides - 1) * stride >= size + padding;
            let sides = sides - usize::from(self.ceil_mode && last_is_outside);
            (2 * padding <= self.kernel[axis] && sides > 0).then_some(sides)
        };
        let (height, width) = (side(input.height, 0)?, side(input.width, 1)?);
        Some(MapShape::new(input.batch, input.channels, height, width))
    }

    /// The pixels of window `index` that lie on a side of `size`: every `dilation`-th of the range.
    #[inline(always)]
    pub(crate) fn pixels(&self, axis: usize, index: usize, size: usize) -> Range<usize> {
        let (padding, dilation) = (self.padding[axis], self.dilation[axis]);
        let start = index * self.stride[axis];
        let end = start + (self.kernel[axis] - 1) * dilation + 1;
        let first = if start >= padding {
            start - padding
        } else {
            let outside = padding - start;
            outside.next_multiple_of(dilation) - outside
        };
        first..end.saturating_sub(padding).min(size)
    }
}

impl From<PoolSpec> for PoolWindow {
    fn from(spec: PoolSpec) -> Self {
        Self {
            stride: [spec.stride; 2],
            padding: [spec.padding; 2],
            ..Self::square(spec.kernel)
        }
    }
}

#[cfg(test)]
mod tests;
