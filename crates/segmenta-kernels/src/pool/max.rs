//! Maximum over a moving window, with or without where it was found.
//!
//! Contract: reads each pixel of a window in row-major order, padding counts as −∞; a value takes
//! the place of the largest so far if it is larger or a NaN (PyTorch's rule: of equals the first
//! wins, of NaNs the last, and a NaN is never lost). A window without a pixel, which dilation can
//! make, gives −∞ and index 0. Exact.

use std::ops::Range;

use super::PoolWindow;
use crate::isa::Kernel;
use crate::map::{Map, MapMut, one_isa};
use crate::shared::{Shared, in_parallel, part, parts};
use crate::simd::Simd;

/// Maximum over a moving window; padding counts as −∞.
///
/// # Panics
/// If the shapes do not fit, or half a window could lie in the padding.
pub fn max_pool(input: Map<'_>, window: impl Into<PoolWindow>, output: &mut MapMut<'_>) {
    pool(input, window.into(), output, None);
}

/// Maximum over a moving window, and where it was found: `indices` become `row · width + column` in
/// the input's plane, laid out as the blocked map `output` is when it is a whole buffer
/// (PyTorch's `return_indices`).
///
/// # Panics
/// If the shapes do not fit, or half a window could lie in the padding.
pub fn max_pool_with_indices(
    input: Map<'_>,
    window: impl Into<PoolWindow>,
    output: &mut MapMut<'_>,
    indices: &mut [u32],
) {
    let expected = output.shape().blocked_len(output.isa());
    assert_eq!(indices.len(), expected, "indices of {:?}", output.shape());
    pool(input, window.into(), output, Some(indices));
}

/// Part of an arena as the place of indices.
pub fn as_indices_mut(values: &mut [f32]) -> &mut [u32] {
    // SAFETY: both types have the same size and alignment, and every bit pattern is one of each.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), values.len()) }
}

/// Part of an arena as the indices that were put there.
pub fn as_indices(values: &[f32]) -> &[u32] {
    // SAFETY: as in `as_indices_mut`.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

fn pool(input: Map<'_>, window: PoolWindow, output: &mut MapMut<'_>, indices: Option<&mut [u32]>) {
    let shape = output.shape();
    assert_eq!(
        Some(shape),
        window.output(input.shape()),
        "output of {window:?}"
    );
    let isa = one_isa([input.isa(), output.isa()]);
    let blocks = output.blocks();
    let cuts = parts(shape.height, 8);
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    let indices = indices.map(|indices| {
        // SAFETY: as in `as_indices`; vectors carry the bits and compute nothing with them.
        let bits = unsafe {
            std::slice::from_raw_parts_mut(indices.as_mut_ptr().cast::<f32>(), indices.len())
        };
        Shared::new(bits)
    });
    in_parallel(shape.batch * blocks * cuts, |task| {
        let (image, block) = (task / cuts / blocks, task / cuts % blocks);
        let rows = Rows {
            input: input.block(image, block),
            size: [input.shape().height, input.shape().width],
            window,
            rows: part(shape.height, cuts, task % cuts),
            width: shape.width,
            // SAFETY: rows of a block are written by the one task whose part they are in.
            output: unsafe { shared.at(image * image_stride + block * plane) },
            // SAFETY: as above.
            indices: indices.map(|to| unsafe { to.at((image * blocks + block) * plane) }),
        };
        isa.run(rows);
    });
}

/// Some rows of one block of one picture.
struct Rows {
    input: *const f32,
    size: [usize; 2],
    window: PoolWindow,
    rows: Range<usize>,
    width: usize,
    output: *mut f32,
    indices: Option<*mut f32>,
}

impl Kernel for Rows {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: what the caller vouches for is passed on.
        unsafe {
            match self.indices {
                None => self.values::<S>(),
                Some(indices) => self.with_indices::<S>(indices),
            }
        }
    }
}

impl Rows {
    /// The largest of each column first, which windows that overlap share.
    ///
    /// # Safety
    /// As for [`Kernel::run`].
    #[inline(always)]
    unsafe fn values<S: Simd>(&self) {
        // SAFETY: windows are cut to the input's sides; the row of maxima has its width; rows of the output
        // are this task's.
        unsafe {
            let [height, width] = self.size;
            let [down, right] = self.window.dilation;
            let mut columns = vec![0.0; width * S::LANES];
            let columns = columns.as_mut_ptr();
            let mut to = self.output.add(self.rows.start * self.width * S::LANES);
            for row in self.rows.clone() {
                let ys = self.window.pixels(0, row, height);
                for x in 0..width {
                    let mut largest = S::splat(f32::NEG_INFINITY);
                    let mut y = ys.start;
                    while y < ys.end {
                        let value = S::load(self.input.add((y * width + x) * S::LANES));
                        largest = S::select_larger(value, largest, value, largest);
                        y += down;
                    }
                    S::store(columns.add(x * S::LANES), largest);
                }
                for column in 0..self.width {
                    let xs = self.window.pixels(1, column, width);
                    let mut largest = S::splat(f32::NEG_INFINITY);
                    let mut x = xs.start;
                    while x < xs.end {
                        let value = S::load(columns.add(x * S::LANES));
                        largest = S::select_larger(value, largest, value, largest);
                        x += right;
                    }
                    S::store(to, largest);
                    to = to.add(S::LANES);
                }
            }
        }
    }

    /// # Safety
    /// As for [`Kernel::run`]; `indices` is laid out as the output's block.
    #[inline(always)]
    unsafe fn with_indices<S: Simd>(&self, indices: *mut f32) {
        // SAFETY: windows are cut to the input's sides; rows of the output and of the indices are this task's.
        unsafe {
            let [height, width] = self.size;
            let [down, right] = self.window.dilation;
            for row in self.rows.clone() {
                let ys = self.window.pixels(0, row, height);
                for column in 0..self.width {
                    let xs = self.window.pixels(1, column, width);
                    let mut largest = S::splat(f32::NEG_INFINITY);
                    let exists = !ys.is_empty() && !xs.is_empty();
                    let first = if exists {
                        ys.start * width + xs.start
                    } else {
                        0
                    };
                    let mut found = index::<S>(first);
                    let mut y = ys.start;
                    while y < ys.end {
                        let mut x = xs.start;
                        while x < xs.end {
                            let pixel = y * width + x;
                            let value = S::load(self.input.add(pixel * S::LANES));
                            found = S::select_larger(value, largest, index::<S>(pixel), found);
                            largest = S::select_larger(value, largest, value, largest);
                            x += right;
                        }
                        y += down;
                    }
                    let at = (row * self.width + column) * S::LANES;
                    S::store(self.output.add(at), largest);
                    S::store(indices.add(at), found);
                }
            }
        }
    }
}

/// An index as the bits of each lane.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn index<S: Simd>(pixel: usize) -> S::V {
    // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
    unsafe { S::splat(f32::from_bits(pixel as u32)) }
}
