//! Bilinear resize, of blocked and of planar maps, by PyTorch's two rules for corners.

use rayon::prelude::*;

use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut, MapShape, one_isa};
use crate::shared::{in_parallel, part, parts};
use crate::simd::Simd;

/// Where an output row or column reads: between `low[i]` and `high[i]`, `fraction[i]` of the way.
#[derive(Debug)]
pub(crate) struct Samples {
    pub(crate) low: Vec<u32>,
    pub(crate) high: Vec<u32>,
    pub(crate) fraction: Vec<f32>,
}

impl Samples {
    /// Positions of `to` samples on a side of `from` pixels, computed in f32 as PyTorch does
    /// (`area_pixel_compute_source_index`).
    pub(crate) fn new(from: usize, to: usize, align_corners: bool) -> Self {
        let scale = if align_corners {
            if to > 1 {
                (from - 1) as f32 / (to - 1) as f32
            } else {
                0.0
            }
        } else {
            from as f32 / to as f32
        };
        let position = |i: usize| {
            if align_corners {
                scale * i as f32
            } else {
                (scale * (i as f32 + 0.5) - 0.5).max(0.0)
            }
        };
        let last = from as u32 - 1;
        let low: Vec<_> = (0..to).map(|i| (position(i) as u32).min(last)).collect();
        Self {
            high: low.iter().map(|&l| (l + 1).min(last)).collect(),
            fraction: (0..to)
                .map(|i| (position(i) - low[i] as f32).clamp(0.0, 1.0))
                .collect(),
            low,
        }
    }

    pub(crate) fn at(&self, i: usize) -> (usize, usize, f32) {
        (
            self.low[i] as usize,
            self.high[i] as usize,
            self.fraction[i],
        )
    }
}

/// Resizes a blocked map to the size of `output`.
///
/// # Panics
/// If batch or channels differ.
pub fn resize_bilinear(input: Map<'_>, output: &mut MapMut<'_>, align_corners: bool) {
    let (from, to) = (input.shape(), output.shape());
    assert_eq!(
        (from.batch, from.channels),
        (to.batch, to.channels),
        "resize"
    );
    let isa = one_isa([input.isa(), output.isa()]);
    let blocks = input.blocks();
    let ys = &Samples::new(from.height, to.height, align_corners);
    let xs = &Samples::new(from.width, to.width, align_corners);
    let cuts = parts(to.height, 8);
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(to.batch * blocks * cuts, |task| {
        let (image, block) = (task / cuts / blocks, task / cuts % blocks);
        for row in part(to.height, cuts, task % cuts) {
            let (y0, y1, fraction) = ys.at(row);
            let stride = from.width * isa.lanes();
            let from = input.block_slice(image, block);
            let at = image * image_stride + block * plane + row * to.width * isa.lanes();
            isa.run(BlockedRow {
                rows: [
                    &from[y0 * stride..][..stride],
                    &from[y1 * stride..][..stride],
                ],
                fraction,
                xs,
                // SAFETY: a row of a block is written by the one task whose part it is in.
                output: unsafe { shared.at(at) },
            });
        }
    });
}

struct BlockedRow<'a> {
    rows: [&'a [f32]; 2],
    fraction: f32,
    xs: &'a Samples,
    output: *mut f32,
}

impl Kernel for BlockedRow<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the samples lie on the input's rows, which are whole slices; the output's row has as many
        // pixels as there are samples.
        unsafe {
            let down = S::splat(self.fraction);
            for x in 0..self.xs.low.len() {
                let (x0, x1, fraction) = self.xs.at(x);
                let across = S::splat(fraction);
                let pixel = |row: &[f32], x: usize| S::load(row.as_ptr().add(x * S::LANES));
                let mix = |a, b, t| S::mul_add(S::sub(b, a), t, a);
                let top = mix(pixel(self.rows[0], x0), pixel(self.rows[0], x1), across);
                let bottom = mix(pixel(self.rows[1], x0), pixel(self.rows[1], x1), across);
                S::store(self.output.add(x * S::LANES), mix(top, bottom, down));
            }
        }
    }
}

/// Resizes a planar batch, `[batch][channels][height][width]`, to `height`×`width`.
///
/// # Panics
/// If the slices do not have the lengths of the shapes.
pub fn resize_bilinear_planar(
    isa: Isa,
    input: &[f32],
    from: MapShape,
    output: &mut [f32],
    [height, width]: [usize; 2],
    align_corners: bool,
) {
    let to = MapShape {
        height,
        width,
        ..from
    };
    assert_eq!(input.len(), from.batch_len(), "a batch of {from:?}");
    assert_eq!(output.len(), to.batch_len(), "a batch of {to:?}");
    let ys = &Samples::new(from.height, height, align_corners);
    let xs = &Samples::new(from.width, width, align_corners);
    let rows = output.par_chunks_mut(width).enumerate().with_min_len(16);
    rows.for_each_init(
        || vec![0.0; from.width],
        |mixed, (index, output)| {
            isa.run(PlanarRow {
                plane: &input[index / height * from.pixels()..][..from.pixels()],
                y: ys.at(index % height),
                xs,
                mixed,
                output,
            });
        },
    );
}

struct PlanarRow<'a> {
    plane: &'a [f32],
    y: (usize, usize, f32),
    xs: &'a Samples,
    /// As wide as the plane; overwritten.
    mixed: &'a mut [f32],
    output: &'a mut [f32],
}

impl Kernel for PlanarRow<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        mix_rows(self.plane, self.mixed.len(), self.y, self.mixed);
        stretch(self.mixed, self.xs, self.output);
    }
}

/// `to = (1 − fraction) · row y0 + fraction · row y1`, over `to.len()` columns.
#[inline(always)]
pub(crate) fn mix_rows(
    plane: &[f32],
    width: usize,
    (y0, y1, fraction): (usize, usize, f32),
    to: &mut [f32],
) {
    let len = to.len();
    let (top, bottom) = (&plane[y0 * width..][..len], &plane[y1 * width..][..len]);
    for ((to, &a), &b) in to.iter_mut().zip(top).zip(bottom) {
        *to = a + (b - a) * fraction;
    }
}

/// Samples a row at `xs`.
#[inline(always)]
pub(crate) fn stretch(row: &[f32], xs: &Samples, to: &mut [f32]) {
    let samples = xs.low.iter().zip(&xs.high).zip(&xs.fraction);
    for (to, ((&low, &high), &fraction)) in to.iter_mut().zip(samples) {
        let (a, b) = (row[low as usize], row[high as usize]);
        *to = a + (b - a) * fraction;
    }
}
