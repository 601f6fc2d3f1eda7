//! Pixel by pixel: conversions, sums of two maps, non-linearities, factors a channel.
//!
//! Contract: inputs are read and outputs written once. In f32: `x = (number − zero point) · scale` of each
//! input; the operation; `x / scale + zero point` of the output, rounded once, then to the nearest whole
//! (or bf16) number, of two the even one, and clamped. A NaN stays one in bf16 and becomes the number 0 in 8 bits.

use std::ops::Range;

use super::element::Element;
use super::engine::{Engine, VectorKernel};
use super::layout::LowLayout;
use super::map::{LowMap, LowMapMut, Places, one_engine};
use super::narrow::{GROUP, Narrow};
use super::numbers::{Numbers, Reading, Writing};
use crate::activation::{Activation, clamp};
use crate::map::{Map, MapMut, MapShape, assert_same};
use crate::shared::{in_parallel, part, parts};

/// Any element to any other, rounded; what a non-linearity by itself is, too: `output = activation(input)`.
///
/// # Panics
/// If the shapes differ, or the engines.
pub fn apply(input: LowMap<'_>, activation: Activation, output: &mut LowMapMut<'_>) {
    let engine = one_engine([input.engine(), output.engine()]);
    assert_same(input.layout().shape(), output.layout().shape());
    run(
        engine,
        [Source::Low(input), Source::None],
        activation,
        false,
        output,
    );
}

/// `output = activation(a + b)`; each map with a scale of its own.
///
/// # Panics
/// If the shapes differ, or the engines.
pub fn add(a: LowMap<'_>, b: LowMap<'_>, activation: Activation, output: &mut LowMapMut<'_>) {
    let engine = one_engine([a.engine(), b.engine(), output.engine()]);
    assert_same(a.layout().shape(), output.layout().shape());
    assert_same(b.layout().shape(), output.layout().shape());
    run(
        engine,
        [Source::Low(a), Source::Low(b)],
        activation,
        false,
        output,
    );
}

/// `output = input · factors`, a factor a channel and picture: `factors` is one pixel, as squeeze-and-excitation has it.
///
/// # Panics
/// If the shapes do not fit, or the engines differ.
pub fn scale(input: LowMap<'_>, factors: Map<'_>, output: &mut LowMapMut<'_>) {
    let engine = one_engine([input.engine(), output.engine()]);
    let shape = output.layout().shape();
    assert_same(input.layout().shape(), shape);
    let one_pixel = MapShape {
        height: 1,
        width: 1,
        ..shape
    };
    assert_same(factors.shape(), one_pixel);
    run(
        engine,
        [Source::Low(input), Source::Blocked(factors)],
        Activation::None,
        true,
        output,
    );
}

/// A blocked f32 map, of any instruction set, in low precision.
///
/// # Panics
/// If the shapes differ.
pub fn from_blocked(input: Map<'_>, output: &mut LowMapMut<'_>) {
    assert_same(input.shape(), output.layout().shape());
    run(
        output.engine(),
        [Source::Blocked(input), Source::None],
        Activation::None,
        false,
        output,
    );
}

/// A low-precision map as a blocked f32 one, of any instruction set.
///
/// # Panics
/// If the shapes differ.
pub fn to_blocked(input: LowMap<'_>, output: &mut MapMut<'_>) {
    let (layout, shape) = (input.layout(), output.shape());
    assert_same(layout.shape(), shape);
    let (lanes, blocks) = (output.isa().lanes(), output.blocks());
    let (plane, stride) = (output.plane(), output.image_stride());
    let shared = output.shared();
    let (groups, _) = layout.groups();
    let cuts = parts(shape.height, 8);
    in_parallel(shape.batch * groups * cuts, |task| {
        let (image, group) = (task / cuts / groups, task / cuts % groups);
        let first = group * (GROUP / lanes);
        if first >= blocks {
            return;
        }
        input.engine().vectors(ToBlocked {
            // SAFETY: a group of the picture's channels.
            input: unsafe { input.image(image).add(layout.channel(group * GROUP)) },
            layout,
            rows: part(shape.height, cuts, task % cuts),
            // SAFETY: rows of a group are written by the one task that has them.
            output: unsafe { shared.at(image * stride + first * plane) },
            plane,
            lanes,
            blocks: (GROUP / lanes).min(blocks - first),
        });
    });
}

/// Planar pictures `[batch][channels][height][width]` of f32 in low precision: what the first layer reads.
///
/// # Panics
/// If the slice does not have the length of the map's shape.
pub fn from_planar(planar: &[f32], output: &mut LowMapMut<'_>) {
    let layout = output.layout();
    let shape = layout.shape();
    assert_eq!(planar.len(), shape.batch_len(), "a batch of {shape:?}");
    let writing = Writing::of(layout.element());
    let engine = output.engine();
    let places = output.places();
    for_planes(&places, 0..layout.planes(), |image, plane, rows| {
        if matches!(layout.element(), Element::Bf16 | Element::U8(_)) && layout.block() == THIN {
            engine.vectors(ThinPixels {
                planar: &planar[image * shape.channels * shape.pixels()..],
                layout,
                rows,
                // SAFETY: the pixels of these rows are this task's.
                output: unsafe { places.image(image) },
            });
            return;
        }
        // SAFETY: the pixels of these rows and this plane are this task's.
        unsafe {
            let (block, bytes) = (layout.block(), layout.element().bytes());
            let start = places.image(image).add(plane * layout.plane());
            for row in rows {
                for value in 0..block {
                    let channel = plane * block + value;
                    let to = start.add(layout.at(row, 0) + value * bytes);
                    let from = (channel < shape.channels).then(|| {
                        let at = (image * shape.channels + channel) * shape.pixels();
                        &planar[at + row * shape.width..][..shape.width]
                    });
                    for column in 0..shape.width {
                        let x = writing.number(from.map_or(0.0, |from| from[column]));
                        let to = to.add(column * layout.pixel());
                        match layout.element().range() {
                            None => to.cast::<u16>().write_unaligned(super::bf16(x)),
                            Some([low, high]) => {
                                *to = x.clamp(low, high).round_ties_even() as i32 as u8;
                            }
                        }
                    }
                }
            }
        }
    });
}

/// Channels of the thinnest pixel: a picture's.
const THIN: usize = 4;

/// Rows of a planar picture as pixels of four channels, of bf16 numbers or of bytes.
struct ThinPixels<'a> {
    /// From the picture's first value on.
    planar: &'a [f32],
    layout: LowLayout,
    rows: Range<usize>,
    /// The picture's first byte.
    output: *mut u8,
}

impl VectorKernel for ThinPixels<'_> {
    #[inline(always)]
    unsafe fn run<S: Narrow>(self) {
        // SAFETY: numbers of the element have the type's size; the caller vouches for the instruction set.
        unsafe {
            match self.layout.element() {
                Element::Bf16 => self.rows::<S, u16>(),
                Element::U8(_) | Element::I8(_) => self.rows::<S, u8>(),
            }
        }
    }
}

impl ThinPixels<'_> {
    /// # Safety
    /// As for [`VectorKernel::run`]; `N` is as large as a number of the element.
    #[inline(always)]
    unsafe fn rows<S: Narrow, N: Copy + Default>(&self) {
        let shape = self.layout.shape();
        let element = self.layout.element();
        let writing = Writing::of(element);
        for row in self.rows.clone() {
            for first in (0..shape.width).step_by(GROUP) {
                let count = GROUP.min(shape.width - first);
                let mut numbers = [[N::default(); GROUP]; THIN];
                for (channel, numbers) in numbers.iter_mut().enumerate() {
                    let mut values = [0.0; GROUP];
                    if channel < shape.channels {
                        let at = channel * shape.pixels() + row * shape.width + first;
                        values[..count].copy_from_slice(&self.planar[at..][..count]);
                    }
                    // SAFETY: a group is read from, and written to, arrays of its size.
                    unsafe {
                        let v = writing.numbers::<S>(S::load(values.as_ptr()));
                        let to = numbers.as_mut_ptr().cast();
                        match element.range() {
                            None => S::store_bf16(to, v),
                            Some([low, high]) => {
                                let v = clamp::<S>(v, S::splat(low), S::splat(high));
                                S::store_bytes(to, v);
                            }
                        }
                    };
                }
                // SAFETY: the pixels are this task's.
                let to = unsafe { self.output.add(self.layout.at(row, first)) };
                let mut pixels = [[N::default(); THIN]; GROUP];
                for (column, pixel) in pixels.iter_mut().enumerate() {
                    *pixel = [0, 1, 2, 3].map(|channel: usize| numbers[channel][column]);
                }
                let bytes = count * size_of::<[N; THIN]>();
                // SAFETY: as above.
                unsafe { to.copy_from_nonoverlapping(pixels.as_ptr().cast(), bytes) };
            }
        }
    }
}

/// Runs `work` for each picture, plane of a range and run of rows of an output, and clears the halos.
pub(crate) fn for_planes(
    places: &Places<'_>,
    range: Range<usize>,
    work: impl Fn(usize, usize, Range<usize>) + Send + Sync,
) {
    let layout = *places.layout();
    let (shape, planes) = (layout.shape(), range.len());
    let cuts = parts(shape.height, 8);
    in_parallel(shape.batch * planes * cuts, |task| {
        let (image, plane) = (task / cuts / planes, range.start + task / cuts % planes);
        if task % cuts == 0 {
            // SAFETY: a plane's halo is written by the first of its tasks.
            unsafe { places.clear_halo(image, plane) };
        }
        work(image, plane, part(shape.height, cuts, task % cuts));
    });
}

/// What a group of a pixel is computed from.
#[derive(Clone, Copy)]
enum Source<'a> {
    None,
    Low(LowMap<'a>),
    Blocked(Map<'a>),
}

/// A source's group of channels in one picture.
#[derive(Clone, Copy)]
enum Group {
    /// Zeros.
    None,
    Low {
        start: *const u8,
        layout: LowLayout,
        numbers: Numbers,
        reading: Reading,
    },
    Blocked {
        /// The blocks of the group; null where there is none.
        blocks: [*const f32; GROUP / 8],
        lanes: usize,
        width: usize,
        /// Whether all pixels read the first.
        is_one: bool,
    },
}

impl Source<'_> {
    fn group(&self, image: usize, group: usize, output: MapShape) -> Group {
        match self {
            Self::Low(map) if group < map.layout().groups().0 => {
                let layout = map.layout();
                Group::Low {
                    // SAFETY: a group of the picture's channels.
                    start: unsafe { map.image(image).add(layout.channel(group * GROUP)) },
                    layout,
                    numbers: Numbers::of(&layout),
                    reading: Reading::of(layout.element()),
                }
            }
            Self::Blocked(map) => {
                let lanes = map.isa().lanes();
                let first = group * (GROUP / lanes);
                let block = |i: usize| {
                    let is_there = i < GROUP / lanes && first + i < map.blocks();
                    if is_there {
                        map.block(image, first + i)
                    } else {
                        std::ptr::null()
                    }
                };
                Group::Blocked {
                    blocks: [block(0), block(1)],
                    lanes,
                    width: map.shape().width,
                    is_one: map.shape().pixels() == 1 && output.pixels() > 1,
                }
            }
            Self::None | Self::Low(_) => Group::None,
        }
    }
}

impl Group {
    /// The real values of a pixel.
    ///
    /// # Safety
    /// As for [`Narrow`]; there is such a pixel.
    #[inline(always)]
    unsafe fn load<S: Narrow>(&self, row: usize, column: usize) -> S::V {
        // SAFETY: the caller vouches for the pixel.
        unsafe {
            match *self {
                Self::None => S::zero(),
                Self::Low {
                    start,
                    layout,
                    numbers,
                    reading,
                } => reading.values::<S>(numbers.load::<S>(start.add(layout.at(row, column)))),
                Self::Blocked {
                    blocks,
                    lanes,
                    width,
                    is_one,
                } => {
                    let pixel = if is_one { 0 } else { row * width + column };
                    if lanes == GROUP && !blocks[0].is_null() {
                        return S::load(blocks[0].add(pixel * lanes));
                    }
                    let mut values = [0.0_f32; GROUP];
                    for (half, block) in blocks.iter().enumerate().filter(|b| !b.1.is_null()) {
                        let to = values.as_mut_ptr().add(half * lanes);
                        to.copy_from_nonoverlapping(block.add(pixel * lanes), lanes);
                    }
                    S::load(values.as_ptr())
                }
            }
        }
    }
}

fn run(
    engine: Engine,
    sources: [Source<'_>; 2],
    activation: Activation,
    multiplies: bool,
    output: &mut LowMapMut<'_>,
) {
    let layout = output.layout();
    let places = output.places();
    for_planes(&places, 0..layout.planes(), |image, plane, rows| {
        let per_plane = layout.block().div_ceil(GROUP);
        for group in plane * per_plane..(plane + 1) * per_plane {
            engine.vectors(Pointwise {
                sources: sources.map(|source| source.group(image, group, layout.shape())),
                activation,
                multiplies,
                rows: rows.clone(),
                // SAFETY: the rows of this plane are this task's.
                output: unsafe { places.image(image).add(layout.channel(group * GROUP)) },
                layout,
            });
        }
    });
}

/// Some rows of one group of one picture.
struct Pointwise {
    sources: [Group; 2],
    activation: Activation,
    /// Whether the sources are multiplied, not added.
    multiplies: bool,
    rows: Range<usize>,
    output: *mut u8,
    layout: LowLayout,
}

impl VectorKernel for Pointwise {
    #[inline(always)]
    unsafe fn run<S: Narrow>(self) {
        // SAFETY: sources have the output's pixels; the rows are this task's.
        unsafe {
            let (numbers, writing) = (
                Numbers::of(&self.layout),
                Writing::of(self.layout.element()),
            );
            let is_one = matches!(self.sources[1], Group::None);
            for row in self.rows.clone() {
                for column in 0..self.layout.shape().width {
                    let mut v = self.sources[0].load::<S>(row, column);
                    if !is_one {
                        let other = self.sources[1].load::<S>(row, column);
                        v = if self.multiplies {
                            S::mul(v, other)
                        } else {
                            S::add(v, other)
                        };
                    }
                    if self.activation != Activation::None {
                        let mut values = [0.0; GROUP];
                        S::store(values.as_mut_ptr(), v);
                        self.activation.in_place::<S>(values.as_mut_ptr(), 1);
                        v = S::load(values.as_ptr());
                    }
                    numbers.store::<S>(
                        self.output.add(self.layout.at(row, column)),
                        writing.numbers::<S>(v),
                    );
                }
            }
        }
    }
}

/// Some rows of one group of one picture, to f32.
struct ToBlocked {
    input: *const u8,
    layout: LowLayout,
    rows: Range<usize>,
    output: *mut f32,
    plane: usize,
    lanes: usize,
    blocks: usize,
}

impl VectorKernel for ToBlocked {
    #[inline(always)]
    unsafe fn run<S: Narrow>(self) {
        // SAFETY: the rows are this task's, and `blocks` blocks of the group are there.
        unsafe {
            let (numbers, reading) = (
                Numbers::of(&self.layout),
                Reading::of(self.layout.element()),
            );
            let width = self.layout.shape().width;
            for row in self.rows.clone() {
                for column in 0..width {
                    let v = reading.values::<S>(
                        numbers.load::<S>(self.input.add(self.layout.at(row, column))),
                    );
                    let to = self.output.add((row * width + column) * self.lanes);
                    if self.lanes == GROUP {
                        S::store(to, v);
                        continue;
                    }
                    let mut values = [0.0; GROUP];
                    S::store(values.as_mut_ptr(), v);
                    for block in 0..self.blocks {
                        let from = values.as_ptr().add(block * self.lanes);
                        to.add(block * self.plane)
                            .copy_from_nonoverlapping(from, self.lanes);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
