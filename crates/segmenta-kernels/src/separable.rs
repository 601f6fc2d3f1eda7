//! Gradients of resizes and mean pools, and bicubic resizes: linear, and one side at a time.
//!
//! Contract: each pixel of the input's gradient is a weighted sum of pixels of the output's, over rows
//! first, then over columns, each in its order; every pixel is written once, the output's gradient is
//! read about twice, a row of sums is held beside.

mod side;

use std::ops::Range;

pub use side::SideMap;

use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut, MapShape, one_isa};
use crate::nearest;
use crate::pool::{PoolWindow, adaptive_spans, window_spans};
use crate::resize::Samples;
use crate::shared::{Shared, in_parallel, part, parts};
use crate::simd::Simd;

/// For each row (or column) of the input, the output's rows that it reaches, and how much of it.
#[derive(Debug)]
struct Reach {
    /// Where the terms of each begin; one more than there are.
    starts: Vec<u32>,
    outputs: Vec<u32>,
    weights: Vec<f32>,
}

impl Reach {
    /// From terms (input, output, weight) in the order of outputs.
    fn new(inputs: usize, terms: &[(usize, usize, f32)]) -> Self {
        let mut starts = vec![0; inputs + 1];
        for &(input, ..) in terms {
            starts[input + 1] += 1;
        }
        for i in 0..inputs {
            starts[i + 1] += starts[i];
        }
        let (mut outputs, mut weights) = (vec![0; terms.len()], vec![0.0; terms.len()]);
        let mut next = starts.clone();
        for &(input, output, weight) in terms {
            let at = next[input] as usize;
            (outputs[at], weights[at]) = (output as u32, weight);
            next[input] += 1;
        }
        Self {
            starts,
            outputs,
            weights,
        }
    }

    fn bilinear(from: usize, to: usize, align_corners: bool) -> Self {
        let samples = Samples::new(from, to, align_corners);
        let terms = (0..to).flat_map(|i| {
            let (low, high, fraction) = samples.at(i);
            [(low, i, 1.0 - fraction), (high, i, fraction)]
        });
        Self::new(from, &terms.collect::<Vec<_>>())
    }

    /// Of the output's rows the input's; or with `gathers` of the input's the output's, for the gradient.
    fn bicubic(from: usize, to: usize, gathers: bool) -> Self {
        let terms = bicubic_terms(from, to);
        if gathers {
            let turned = terms
                .into_iter()
                .map(|(input, output, w)| (output, input, w));
            return Self::new(to, &turned.collect::<Vec<_>>());
        }
        Self::new(from, &terms)
    }

    fn nearest(from: usize, to: usize) -> Self {
        let sources = nearest::sources(from, to).into_iter().enumerate();
        let terms = sources.map(|(i, source)| (source as usize, i, 1.0));
        Self::new(from, &terms.collect::<Vec<_>>())
    }

    /// Of means over pixels, each divided by a count.
    fn means(inputs: usize, spans: &[(Range<usize>, usize)]) -> Self {
        let terms = spans.iter().enumerate().flat_map(|(i, (pixels, count))| {
            let share = 1.0 / *count as f32;
            pixels.clone().map(move |pixel| (pixel, i, share))
        });
        Self::new(inputs, &terms.collect::<Vec<_>>())
    }

    fn terms(&self, input: usize) -> Range<usize> {
        self.starts[input] as usize..self.starts[input + 1] as usize
    }
}

/// The gradient of [`resize_bilinear`](crate::resize_bilinear)'s input.
///
/// # Panics
/// If batch or channels differ.
pub fn resize_bilinear_gradient(dy: Map<'_>, dx: &mut MapMut<'_>, align_corners: bool) {
    let (from, to) = (dx.shape(), dy.shape());
    let ys = Reach::bilinear(from.height, to.height, align_corners);
    let xs = Reach::bilinear(from.width, to.width, align_corners);
    spread(dy, &ys, &xs, dx);
}

/// Cubic convolution (Keys 1981, a = −¾) as PyTorch's `bicubic` has it, neither with aligned corners nor antialiased:
/// terms (input, output, weight) in the order of the outputs. Beyond an edge stands its last pixel.
fn bicubic_terms(from: usize, to: usize) -> Vec<(usize, usize, f32)> {
    const A: f64 = -0.75;
    let near = |x: f64| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f64| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let scale = from as f64 / to as f64;
    let terms = (0..to).flat_map(|output| {
        let place = (output as f64 + 0.5) * scale - 0.5;
        let first = place.floor();
        let t = place - first;
        let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)];
        weights.into_iter().enumerate().map(move |(tap, weight)| {
            let input = (first as isize + tap as isize - 1).clamp(0, from as isize - 1);
            (input as usize, output, weight as f32)
        })
    });
    terms.collect()
}

/// A map resized as PyTorch's `bicubic` does it.
///
/// # Panics
/// If batch or channels differ.
pub fn resize_bicubic(x: Map<'_>, y: &mut MapMut<'_>) {
    let (from, to) = (x.shape(), y.shape());
    let ys = Reach::bicubic(from.height, to.height, true);
    let xs = Reach::bicubic(from.width, to.width, true);
    spread(x, &ys, &xs, y);
}

/// The gradient of [`resize_bicubic`]'s input.
///
/// # Panics
/// If batch or channels differ.
pub fn resize_bicubic_gradient(dy: Map<'_>, dx: &mut MapMut<'_>) {
    let (from, to) = (dx.shape(), dy.shape());
    let ys = Reach::bicubic(from.height, to.height, false);
    let xs = Reach::bicubic(from.width, to.width, false);
    spread(dy, &ys, &xs, dx);
}

/// The gradient of [`resize_nearest`](crate::resize_nearest)'s input.
///
/// # Panics
/// If batch or channels differ.
pub fn resize_nearest_gradient(dy: Map<'_>, dx: &mut MapMut<'_>) {
    let (from, to) = (dx.shape(), dy.shape());
    let ys = Reach::nearest(from.height, to.height);
    let xs = Reach::nearest(from.width, to.width);
    spread(dy, &ys, &xs, dx);
}

/// The gradient of [`avg_pool`](crate::avg_pool)'s input.
///
/// # Panics
/// If the shapes do not fit, half a window could lie in the padding, or the window is dilated.
pub fn avg_pool_gradient(
    dy: Map<'_>,
    window: impl Into<PoolWindow>,
    count_include_pad: bool,
    dx: &mut MapMut<'_>,
) {
    let window = window.into();
    let (from, to) = (dx.shape(), dy.shape());
    assert_eq!(Some(to), window.output(from), "output of {window:?}");
    assert_eq!(window.dilation, [1, 1], "a mean over a dilated window");
    let spans = |axis, size, count| window_spans(window, count_include_pad, axis, size, count);
    let ys = Reach::means(from.height, &spans(0, from.height, to.height));
    let xs = Reach::means(from.width, &spans(1, from.width, to.width));
    spread(dy, &ys, &xs, dx);
}

/// The gradient of [`adaptive_avg_pool`](crate::adaptive_avg_pool)'s input, and, for one pixel a channel,
/// of [`global_avg_pool`](crate::global_avg_pool)'s.
///
/// # Panics
/// If batch or channels differ.
pub fn adaptive_avg_pool_gradient(dy: Map<'_>, dx: &mut MapMut<'_>) {
    let (from, to) = (dx.shape(), dy.shape());
    let ys = Reach::means(from.height, &adaptive_spans(from.height, to.height));
    let xs = Reach::means(from.width, &adaptive_spans(from.width, to.width));
    spread(dy, &ys, &xs, dx);
}

fn spread(dy: Map<'_>, ys: &Reach, xs: &Reach, dx: &mut MapMut<'_>) {
    let isa = one_isa([dy.isa(), dx.isa()]);
    let (from, to, blocks) = (dx.shape(), dy.shape(), dy.blocks());
    assert_eq!(
        (from.batch, from.channels),
        (to.batch, to.channels),
        "channels of a gradient"
    );
    let cuts = parts(from.height, 4);
    let (image_stride, plane) = (dx.image_stride(), dx.plane());
    let shared = dx.shared();
    in_parallel(from.batch * blocks * cuts, |task| {
        let (image, block) = (task / cuts / blocks, task / cuts % blocks);
        isa.run(Blocked {
            dy: dy.block(image, block),
            width: to.width,
            ys,
            xs,
            rows: part(from.height, cuts, task % cuts),
            // SAFETY: rows of a block are written by the one task whose part they are in.
            dx: unsafe { shared.at(image * image_stride + block * plane) },
        });
    });
}

/// Some rows of the input of one block of one picture.
struct Blocked<'a> {
    dy: *const f32,
    /// Columns of the output.
    width: usize,
    ys: &'a Reach,
    xs: &'a Reach,
    rows: Range<usize>,
    dx: *mut f32,
}

impl Kernel for Blocked<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: every term's output lies on the output's sides; the row of sums has its width; rows of the
        // input's gradient are this task's.
        unsafe {
            let columns = self.xs.starts.len() - 1;
            let mut held = vec![0.0; self.width * S::LANES];
            let sums = held.as_mut_ptr();
            for row in self.rows.clone() {
                let terms = self.ys.terms(row);
                for x in 0..self.width {
                    let mut sum = S::zero();
                    for term in terms.clone() {
                        let y = *self.ys.outputs.get_unchecked(term) as usize;
                        let weight = S::splat(*self.ys.weights.get_unchecked(term));
                        let dy = S::load(self.dy.add((y * self.width + x) * S::LANES));
                        sum = S::mul_add(dy, weight, sum);
                    }
                    S::store(sums.add(x * S::LANES), sum);
                }
                for column in 0..columns {
                    let mut sum = S::zero();
                    for term in self.xs.terms(column) {
                        let x = *self.xs.outputs.get_unchecked(term) as usize;
                        let weight = S::splat(*self.xs.weights.get_unchecked(term));
                        sum = S::mul_add(S::load(sums.add(x * S::LANES)), weight, sum);
                    }
                    S::store(self.dx.add((row * columns + column) * S::LANES), sum);
                }
            }
        }
    }
}

/// The gradient of [`resize_bilinear_planar`](crate::resize_bilinear_planar)'s input, a planar batch of
/// shape `from`; `dy` has `height`×`width` pixels.
///
/// # Panics
/// If the slices do not have the lengths of the shapes.
pub fn resize_bilinear_planar_gradient(
    isa: Isa,
    dy: &[f32],
    [height, width]: [usize; 2],
    dx: &mut [f32],
    from: MapShape,
    align_corners: bool,
) {
    let to = MapShape {
        height,
        width,
        ..from
    };
    assert_eq!(dx.len(), from.batch_len(), "a batch of {from:?}");
    assert_eq!(dy.len(), to.batch_len(), "a batch of {to:?}");
    let planes = from.batch * from.channels;
    let ys = &Reach::bilinear(from.height, height, align_corners);
    let xs = &Reach::bilinear(from.width, width, align_corners);
    let shared = Shared::new(dx);
    let cuts = parts(from.height, 8);
    in_parallel(planes * cuts, |task| {
        let (plane, rows) = (task / cuts, part(from.height, cuts, task % cuts));
        let at = plane * from.pixels() + rows.start * from.width;
        isa.run(Planar {
            dy: &dy[plane * height * width..][..height * width],
            sums: &mut vec![0.0; width],
            ys,
            xs,
            // SAFETY: rows of a plane are written by the one task whose part they are in.
            dx: unsafe { std::slice::from_raw_parts_mut(shared.at(at), rows.len() * from.width) },
            rows,
        });
    });
}

/// Some rows of one plane of the input.
struct Planar<'a> {
    dy: &'a [f32],
    /// As wide as the output; overwritten.
    sums: &'a mut [f32],
    ys: &'a Reach,
    xs: &'a Reach,
    rows: Range<usize>,
    dx: &'a mut [f32],
}

impl Kernel for Planar<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let width = self.sums.len();
        let rows = self.dx.chunks_exact_mut(self.xs.starts.len() - 1);
        for (row, dx) in self.rows.clone().zip(rows) {
            self.sums.fill(0.0);
            for term in self.ys.terms(row) {
                let weight = self.ys.weights[term];
                let dy = &self.dy[self.ys.outputs[term] as usize * width..][..width];
                for (sum, &dy) in self.sums.iter_mut().zip(dy) {
                    *sum += dy * weight;
                }
            }
            for (column, dx) in dx.iter_mut().enumerate() {
                let mut sum = 0.0;
                for term in self.xs.terms(column) {
                    sum += self.sums[self.xs.outputs[term] as usize] * self.xs.weights[term];
                }
                *dx = sum;
            }
        }
    }
}

#[cfg(test)]
mod tests;
