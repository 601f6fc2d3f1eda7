//! Means: over a moving window, over a grid of windows, over the whole map.
//!
//! Contract: the columns of a window are summed first, then the columns' sums, so that windows that
//! overlap share work and the error does not grow with the area: relative to the mean of the
//! absolute values at most `2⁻²⁴ · (height / 4 + width / 2 + 8)`. Each window has its own divisor; the
//! division is a multiplication by its reciprocal. A row of column sums is held beside.

use std::ops::Range;

use super::PoolWindow;
use crate::isa::Kernel;
use crate::map::{Map, MapMut, MapShape, assert_same, one_isa};
use crate::shared::{in_parallel, part, parts};
use crate::simd::Simd;

/// One window on one side: the pixels that it covers, and how many it counts for.
type Span = (Range<usize>, usize);

/// The windows of one side of `size` pixels.
pub(crate) fn window_spans(
    window: PoolWindow,
    count_include_pad: bool,
    axis: usize,
    size: usize,
    windows: usize,
) -> Vec<Span> {
    let span = |index: usize| {
        let pixels = window.pixels(axis, index, size);
        let start = index * window.stride[axis];
        let end = (start + window.kernel[axis]).min(size + 2 * window.padding[axis]);
        let count = if count_include_pad {
            end - start
        } else {
            pixels.len()
        };
        (pixels, count)
    };
    (0..windows).map(span).collect()
}

/// So many windows that cover a side of `size` pixels.
pub(crate) fn adaptive_spans(size: usize, windows: usize) -> Vec<Span> {
    let span = |index: usize| {
        let pixels = index * size / windows..((index + 1) * size).div_ceil(windows);
        let count = pixels.len();
        (pixels, count)
    };
    (0..windows).map(span).collect()
}

/// Mean over a moving window (PyTorch's `AvgPool2d`). With `count_include_pad` the padding counts as
/// zeros; what hangs over it in `ceil_mode` never counts.
///
/// # Panics
/// If the shapes do not fit, half a window could lie in the padding, or the window is dilated.
pub fn avg_pool(
    input: Map<'_>,
    window: impl Into<PoolWindow>,
    count_include_pad: bool,
    output: &mut MapMut<'_>,
) {
    let window = window.into();
    let (from, to) = (input.shape(), output.shape());
    assert_eq!(Some(to), window.output(from), "output of {window:?}");
    assert_eq!(window.dilation, [1, 1], "a mean over a dilated window");
    let spans = |axis, size, count| window_spans(window, count_include_pad, axis, size, count);
    let ys = spans(0, from.height, to.height);
    let xs = spans(1, from.width, to.width);
    means(input, &ys, &xs, output);
}

/// Means over a grid of windows that cover the map, as many as `output` has pixels (PyTorch's
/// `AdaptiveAvgPool2d`): window `i` of `n` covers `⌊i · size / n⌋` to `⌈(i + 1) · size / n⌉`.
/// There may be more of them than the map has pixels.
///
/// # Panics
/// If batch or channels differ.
pub fn adaptive_avg_pool(input: Map<'_>, output: &mut MapMut<'_>) {
    let (from, to) = (input.shape(), output.shape());
    assert_same(
        MapShape::new(from.batch, from.channels, to.height, to.width),
        to,
    );
    let ys = adaptive_spans(from.height, to.height);
    let xs = adaptive_spans(from.width, to.width);
    means(input, &ys, &xs, output);
}

/// Mean over all pixels of each channel.
///
/// # Panics
/// If `output` is not 1×1 pixels of as many channels.
pub fn global_avg_pool(input: Map<'_>, output: &mut MapMut<'_>) {
    let shape = input.shape();
    assert_same(
        MapShape::new(shape.batch, shape.channels, 1, 1),
        output.shape(),
    );
    adaptive_avg_pool(input, output);
}

fn means(input: Map<'_>, ys: &[Span], xs: &[Span], output: &mut MapMut<'_>) {
    let isa = one_isa([input.isa(), output.isa()]);
    let (shape, blocks) = (output.shape(), output.blocks());
    let cuts = parts(shape.height, 8);
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let row = shape.width * isa.lanes();
    let shared = output.shared();
    in_parallel(shape.batch * blocks * cuts, |task| {
        let (image, block) = (task / cuts / blocks, task / cuts % blocks);
        let rows = part(shape.height, cuts, task % cuts);
        let at = image * image_stride + block * plane + rows.start * row;
        isa.run(Means {
            input: input.block(image, block),
            width: input.shape().width,
            ys: &ys[rows],
            xs,
            // SAFETY: rows of a block are written by the one task whose part they are in.
            output: unsafe { shared.at(at) },
        });
    });
}

/// Some rows of one block of one picture.
struct Means<'a> {
    input: *const f32,
    width: usize,
    ys: &'a [Span],
    xs: &'a [Span],
    output: *mut f32,
}

impl Kernel for Means<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: windows lie on the input's sides; the row of sums has its width; rows of the output are this
        // task's.
        unsafe {
            let row = self.width * S::LANES;
            let mut columns = vec![0.0; row];
            let columns = columns.as_mut_ptr();
            let mut to = self.output;
            for (rows, down) in self.ys {
                let from = self.input.add(rows.start * row);
                sum_rows::<S>(from, self.width, rows.len(), columns);
                for (pixels, across) in self.xs {
                    let from = columns.add(pixels.start * S::LANES);
                    let share = 1.0 / (down * across) as f32;
                    let sum = sum::<S>(from, pixels.len());
                    S::store(to, S::mul(sum, S::splat(share)));
                    to = to.add(S::LANES);
                }
            }
        }
    }
}

/// The sums of `width` columns of `rows` rows that follow each other.
///
/// # Safety
/// As for [`Simd`]; `from` reaches `rows` rows of `width` vectors, `to` one.
#[inline(always)]
unsafe fn sum_rows<S: Simd>(from: *const f32, width: usize, rows: usize, to: *mut f32) {
    // SAFETY: rows and columns stay below what the caller vouches for.
    unsafe {
        let row = width * S::LANES;
        macro_rules! columns {
            (|$at:ident| $sum:expr) => {
                for column in 0..width {
                    let at = column * S::LANES;
                    let $at = |row_of: usize| from.add(row_of * row + at);
                    S::store(to.add(at), $sum);
                }
            };
        }
        match rows {
            0 => columns!(|_at| S::zero()),
            1 => columns!(|at| S::load(at(0))),
            2 => columns!(|at| S::add(S::load(at(0)), S::load(at(1)))),
            _ => columns!(|at| S::add(S::add(S::load(at(0)), S::load(at(1))), S::load(at(2)))),
        }
        // The rest four rows at a time, which leaves a quarter of the traffic with `to`.
        let mut y = 3;
        while y + 4 <= rows {
            for column in 0..width {
                let at = column * S::LANES;
                let from = from.add(y * row + at);
                let a = S::add(S::load(from), S::load(from.add(row)));
                let b = S::add(S::load(from.add(2 * row)), S::load(from.add(3 * row)));
                S::store(to.add(at), S::add(S::load(to.add(at)), S::add(a, b)));
            }
            y += 4;
        }
        while y < rows {
            for column in 0..width {
                let at = column * S::LANES;
                let sum = S::add(S::load(to.add(at)), S::load(from.add(y * row + at)));
                S::store(to.add(at), sum);
            }
            y += 1;
        }
    }
}

/// The sum of `pixels` vectors that follow each other.
///
/// # Safety
/// As for [`Simd`]; `pixels` vectors can be read from `from` on.
#[inline(always)]
unsafe fn sum<S: Simd>(from: *const f32, pixels: usize) -> S::V {
    // SAFETY: every index is below `pixels`.
    unsafe {
        // Independent sums, so that one addition need not wait for the one before.
        let (mut even, mut odd) = (S::zero(), S::zero());
        let mut i = 0;
        while i + 1 < pixels {
            even = S::add(even, S::load(from.add(i * S::LANES)));
            odd = S::add(odd, S::load(from.add((i + 1) * S::LANES)));
            i += 2;
        }
        if i < pixels {
            even = S::add(even, S::load(from.add(i * S::LANES)));
        }
        S::add(even, odd)
    }
}
