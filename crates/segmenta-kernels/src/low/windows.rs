//! Pooling and resizing: what looks at several pixels of one channel.
//!
//! Contract: windows, samples and rounding of positions are those of the f32 kernels (`pool`, `resize.rs`,
//! `nearest.rs`). Largest values and nearest pixels are the stored numbers themselves, so input and output have one
//! element; means and mixtures are of real values in f32, summed row by row, and rounded once to the output's element.

use std::ops::Range;

use super::element::Element;
use super::engine::VectorKernel;
use super::layout::{LINE, LowLayout};
use super::map::{LowMap, LowMapMut, one_engine};
use super::narrow::{GROUP, Narrow};
use super::numbers::{Numbers, Reading, Writing};
use super::pointwise::for_planes;
use crate::map::{MapMut, MapShape};
use crate::nearest::sources;
use crate::pool::{PoolWindow, adaptive_spans, window_spans};
use crate::resize::Samples;
use crate::shared::in_parallel;

/// Largest value of a moving window; padding counts for nothing, and a window without a pixel gives the smallest
/// number there is.
///
/// # Panics
/// If the shapes do not fit, half a window could lie in the padding, or elements or engines differ.
pub fn max_pool(input: LowMap<'_>, window: impl Into<PoolWindow>, output: &mut LowMapMut<'_>) {
    let window = window.into();
    let engine = one_engine([input.engine(), output.engine()]);
    let (from, to) = (input.layout(), output.layout());
    let expected = window.output(from.shape());
    assert_eq!(Some(to.shape()), expected, "output of {window:?}");
    assert_same_pixels(&from, &to);
    let places = output.places();
    for_planes(&places, 0..to.planes(), |image, plane, rows| {
        engine.vectors(Largest {
            // SAFETY: a plane of the picture.
            input: unsafe { input.image(image).add(plane * from.plane()) },
            from,
            window,
            rows,
            // SAFETY: the rows of this plane are this task's.
            output: unsafe { places.image(image).add(plane * to.plane()) },
            to,
        });
    });
}

/// Nearest resize to the size of `output`.
///
/// # Panics
/// If batch or channels, elements or engines differ.
pub fn resize_nearest(input: LowMap<'_>, output: &mut LowMapMut<'_>) {
    one_engine([input.engine(), output.engine()]);
    let (from, to) = (input.layout(), output.layout());
    assert_same_channels(from.shape(), to.shape());
    assert_same_pixels(&from, &to);
    let ys = sources(from.shape().height, to.shape().height);
    let xs = sources(from.shape().width, to.shape().width);
    let places = output.places();
    for_planes(&places, 0..to.planes(), |image, plane, rows| {
        // SAFETY: sources lie on the input; the rows of this plane are this task's.
        unsafe {
            let input = input.image(image).add(plane * from.plane());
            let output = places.image(image).add(plane * to.plane());
            for row in rows {
                let source = input.add(from.at(ys[row] as usize, 0));
                let mut place = output.add(to.at(row, 0));
                for &x in &xs {
                    let pixel = source.add(x as usize * from.pixel());
                    // A constant length is one instruction.
                    if from.pixel() == LINE {
                        place.copy_from_nonoverlapping(pixel, LINE);
                    } else {
                        place.copy_from_nonoverlapping(pixel, from.pixel());
                    }
                    place = place.add(to.pixel());
                }
            }
        }
    });
}

/// Bilinear resize to the size of `output`, by either of PyTorch's rules for corners; from any element to any other.
///
/// # Panics
/// If batch or channels or engines differ.
pub fn resize_bilinear(input: LowMap<'_>, output: &mut LowMapMut<'_>, align_corners: bool) {
    let engine = one_engine([input.engine(), output.engine()]);
    let (from, to) = (input.layout(), output.layout());
    assert_same_channels(from.shape(), to.shape());
    let ys = &Samples::new(from.shape().height, to.shape().height, align_corners);
    let xs = &Samples::new(from.shape().width, to.shape().width, align_corners);
    let places = output.places();
    for_planes(&places, 0..to.planes(), |image, plane, rows| {
        for group in groups(plane, &to) {
            engine.vectors(Mixed {
                input: group_of(input, image, group),
                from,
                samples: [ys, xs],
                rows: rows.clone(),
                // SAFETY: the rows of this plane are this task's.
                output: unsafe { places.image(image).add(to.channel(group * GROUP)) },
                to,
            });
        }
    });
}

/// Means over a moving window (PyTorch's `AvgPool2d`), from any element to any other. With `count_include_pad` the
/// padding counts as zeros.
///
/// # Panics
/// If the shapes do not fit, half a window could lie in the padding, the window is dilated, or engines differ.
pub fn avg_pool(
    input: LowMap<'_>,
    window: impl Into<PoolWindow>,
    count_include_pad: bool,
    output: &mut LowMapMut<'_>,
) {
    let window = window.into();
    let engine = one_engine([input.engine(), output.engine()]);
    let (from, to) = (input.layout(), output.layout());
    let expected = window.output(from.shape());
    assert_eq!(Some(to.shape()), expected, "output of {window:?}");
    assert_eq!(window.dilation, [1, 1], "a mean over a dilated window");
    let (size, count) = (from.shape(), to.shape());
    let ys = &window_spans(window, count_include_pad, 0, size.height, count.height);
    let xs = &window_spans(window, count_include_pad, 1, size.width, count.width);
    let places = output.places();
    for_planes(&places, 0..to.planes(), |image, plane, rows| {
        for group in groups(plane, &to) {
            engine.vectors(Means {
                input: group_of(input, image, group),
                from,
                spans: [ys, xs],
                rows: rows.clone(),
                to: MeansTo::Low {
                    // SAFETY: the rows of this plane are this task's.
                    start: unsafe { places.image(image).add(to.channel(group * GROUP)) },
                    layout: to,
                },
            });
        }
    });
}

/// Means over a grid of windows that cover the map, as many as `output` has pixels (PyTorch's `AdaptiveAvgPool2d`; one
/// for the whole map): in f32, since few numbers go on from here.
///
/// # Panics
/// If batch or channels differ.
pub fn adaptive_avg_pool(input: LowMap<'_>, output: &mut MapMut<'_>) {
    let (from, to) = (input.layout(), output.shape());
    assert_same_channels(from.shape(), to);
    let ys = &adaptive_spans(from.shape().height, to.height);
    let xs = &adaptive_spans(from.shape().width, to.width);
    let (lanes, blocks) = (output.isa().lanes(), output.blocks());
    let (plane, stride) = (output.plane(), output.image_stride());
    let shared = output.shared();
    let count = to.channels.div_ceil(GROUP);
    in_parallel(to.batch * count, |task| {
        let (image, group) = (task / count, task % count);
        let first = group * (GROUP / lanes);
        input.engine().vectors(Means {
            input: group_of(input, image, group),
            from,
            spans: [ys, xs],
            rows: 0..to.height,
            to: MeansTo::Blocked {
                // SAFETY: a group is written by the one task that has it.
                start: unsafe { shared.at(image * stride + first * plane) },
                plane,
                lanes,
                blocks: (GROUP / lanes).min(blocks - first),
                width: to.width,
            },
        });
    });
}

/// Groups of a plane.
fn groups(plane: usize, layout: &LowLayout) -> Range<usize> {
    let per_plane = layout.block().div_ceil(GROUP);
    plane * per_plane..(plane + 1) * per_plane
}

/// The first byte of a group of channels; null where a map has none, whose place a wider pixel's rest takes.
fn group_of(map: LowMap<'_>, image: usize, group: usize) -> *const u8 {
    let layout = map.layout();
    if group < layout.groups().0 {
        map.image(image).wrapping_add(layout.channel(group * GROUP))
    } else {
        std::ptr::null()
    }
}

#[track_caller]
fn assert_same_channels(from: MapShape, to: MapShape) {
    assert_eq!(
        (from.batch, from.channels),
        (to.batch, to.channels),
        "batch and channels"
    );
}

#[track_caller]
fn assert_same_pixels(from: &LowLayout, to: &LowLayout) {
    let pixels = |layout: &LowLayout| (layout.element(), layout.pixel());
    assert_eq!(pixels(from), pixels(to), "elements, and bytes of a pixel");
}

/// Largest values of some rows of one plane.
struct Largest {
    input: *const u8,
    from: LowLayout,
    window: PoolWindow,
    rows: Range<usize>,
    output: *mut u8,
    to: LowLayout,
}

impl VectorKernel for Largest {
    #[inline(always)]
    unsafe fn run<S: Narrow>(self) {
        // SAFETY: windows are cut to the input's sides; the rows are this task's.
        unsafe {
            match (self.from.element(), self.from.pixel()) {
                (Element::U8(_), LINE) => self.of_bytes::<u8, LINE>(),
                (Element::I8(_), LINE) => self.of_bytes::<i8, LINE>(),
                (Element::U8(_), GROUP) => self.of_bytes::<u8, GROUP>(),
                (Element::Bf16 | Element::U8(_) | Element::I8(_), _) => self.of_numbers::<S>(),
            }
        }
    }
}

impl Largest {
    /// Bytes are compared as they are.
    ///
    /// # Safety
    /// As for [`VectorKernel::run`]; a pixel is `PIXEL` bytes.
    #[inline(always)]
    unsafe fn of_bytes<B: Byte, const PIXEL: usize>(&self) {
        // SAFETY: what the caller vouches for is read and written.
        unsafe {
            let size = self.from.shape();
            for row in self.rows.clone() {
                let ys = self.window.pixels(0, row, size.height);
                for column in 0..self.to.shape().width {
                    let xs = self.window.pixels(1, column, size.width);
                    let mut largest = [B::SMALLEST; PIXEL];
                    for y in ys.clone().step_by(self.window.dilation[0]) {
                        for x in xs.clone().step_by(self.window.dilation[1]) {
                            let from = self.input.add(self.from.at(y, x)).cast::<[B; PIXEL]>();
                            let pixel = from.read_unaligned();
                            for (largest, value) in largest.iter_mut().zip(pixel) {
                                *largest = (*largest).max(value);
                            }
                        }
                    }
                    let to = self.output.add(self.to.at(row, column));
                    to.cast::<[B; PIXEL]>().write_unaligned(largest);
                }
            }
        }
    }

    /// bf16 numbers, of which a NaN is never lost, and thin pixels.
    ///
    /// # Safety
    /// As for [`VectorKernel::run`].
    #[inline(always)]
    unsafe fn of_numbers<S: Narrow>(&self) {
        // SAFETY: what the caller vouches for is read and written.
        unsafe {
            let (size, numbers) = (self.from.shape(), Numbers::of(&self.from));
            for group in 0..self.from.block().div_ceil(GROUP) {
                let offset = group * GROUP * self.from.element().bytes();
                for row in self.rows.clone() {
                    let ys = self.window.pixels(0, row, size.height);
                    for column in 0..self.to.shape().width {
                        let xs = self.window.pixels(1, column, size.width);
                        let mut largest = S::splat(f32::NEG_INFINITY);
                        for y in ys.clone().step_by(self.window.dilation[0]) {
                            for x in xs.clone().step_by(self.window.dilation[1]) {
                                let from = self.input.add(self.from.at(y, x) + offset);
                                let value = numbers.load::<S>(from);
                                largest = S::select_larger(value, largest, value, largest);
                            }
                        }
                        numbers
                            .store::<S>(self.output.add(self.to.at(row, column) + offset), largest);
                    }
                }
            }
        }
    }
}

/// What bytes are compared as.
trait Byte: Copy + Ord {
    const SMALLEST: Self;
}

impl Byte for u8 {
    const SMALLEST: Self = Self::MIN;
}

impl Byte for i8 {
    const SMALLEST: Self = Self::MIN;
}

/// Mixtures of four pixels: some rows of one group.
struct Mixed<'a> {
    /// Null for zeros.
    input: *const u8,
    from: LowLayout,
    samples: [&'a Samples; 2],
    rows: Range<usize>,
    output: *mut u8,
    to: LowLayout,
}

impl VectorKernel for Mixed<'_> {
    #[inline(always)]
    unsafe fn run<S: Narrow>(self) {
        // SAFETY: samples lie on the input; the rows are this task's.
        unsafe {
            let (numbers, reading) = (Numbers::of(&self.from), Reading::of(self.from.element()));
            let (to_numbers, writing) = (Numbers::of(&self.to), Writing::of(self.to.element()));
            let [ys, xs] = self.samples;
            let width = self.from.shape().width;
            // Rows are mixed first: an enlarged map reads each mixture several times.
            let mut mixed = vec![0.0_f32; width * GROUP];
            for row in self.rows.clone() {
                let (y0, y1, down) = ys.at(row);
                let down = S::splat(down);
                for x in (0..width).filter(|_| !self.input.is_null()) {
                    let value = |y: usize| {
                        reading.values::<S>(numbers.load::<S>(self.input.add(self.from.at(y, x))))
                    };
                    let (top, bottom) = (value(y0), value(y1));
                    let v = S::fused(S::sub(bottom, top), down, top);
                    S::store(mixed.as_mut_ptr().add(x * GROUP), v);
                }
                for column in 0..self.to.shape().width {
                    let (x0, x1, across) = xs.at(column);
                    let left = S::load(mixed.as_ptr().add(x0 * GROUP));
                    let right = S::load(mixed.as_ptr().add(x1 * GROUP));
                    let v = S::fused(S::sub(right, left), S::splat(across), left);
                    let to = self.output.add(self.to.at(row, column));
                    to_numbers.store::<S>(to, writing.numbers::<S>(v));
                }
            }
        }
    }
}

/// Where means go.
enum MeansTo {
    Low {
        start: *mut u8,
        layout: LowLayout,
    },
    Blocked {
        start: *mut f32,
        plane: usize,
        lanes: usize,
        blocks: usize,
        width: usize,
    },
}

/// Means of one group: some rows of windows.
struct Means<'a> {
    /// Null for zeros.
    input: *const u8,
    from: LowLayout,
    /// Pixels of each window down and right, and how many they count for.
    spans: [&'a [(Range<usize>, usize)]; 2],
    rows: Range<usize>,
    to: MeansTo,
}

impl VectorKernel for Means<'_> {
    #[inline(always)]
    unsafe fn run<S: Narrow>(self) {
        // SAFETY: spans lie on the input; the rows are this task's.
        unsafe {
            let (numbers, reading) = (Numbers::of(&self.from), Reading::of(self.from.element()));
            let [ys, xs] = self.spans;
            for row in self.rows.clone() {
                let (ys, down) = &ys[row];
                for (column, (xs, across)) in xs.iter().enumerate() {
                    let mut sum = S::zero();
                    for y in ys.clone().filter(|_| !self.input.is_null()) {
                        // A row's sum by itself, so that the error does not grow with the area.
                        let mut of_row = S::zero();
                        for x in xs.clone() {
                            let value = numbers.load::<S>(self.input.add(self.from.at(y, x)));
                            of_row = S::add(of_row, reading.values::<S>(value));
                        }
                        sum = S::add(sum, of_row);
                    }
                    let mean = S::mul(sum, S::splat(1.0 / (down * across).max(1) as f32));
                    match self.to {
                        MeansTo::Low { start, layout } => {
                            let v = Writing::of(layout.element()).numbers::<S>(mean);
                            Numbers::of(&layout).store::<S>(start.add(layout.at(row, column)), v);
                        }
                        MeansTo::Blocked {
                            start,
                            plane,
                            lanes,
                            blocks,
                            width,
                        } => {
                            let mut values = [0.0; GROUP];
                            S::store(values.as_mut_ptr(), mean);
                            for block in 0..blocks {
                                let to = start.add(block * plane + (row * width + column) * lanes);
                                to.copy_from_nonoverlapping(
                                    values.as_ptr().add(block * lanes),
                                    lanes,
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
