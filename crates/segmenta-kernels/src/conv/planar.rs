//! The first layer: a convolution that reads the planar picture, whose three channels would leave
//! most of a block empty, and writes a blocked map.
//!
//! The picture is copied once into zero-padded planes, so that the inner loop checks nothing.

use std::ops::Range;

use super::panel::{Panel, Panels};
use super::tile::{Place, reduce_step, start, store};
use super::{ConvSpec, Kernel2d};
use crate::activation::Activation;
use crate::isa::{Isa, Kernel};
use crate::map::{MapMut, MapShape};
use crate::shared::{Shared, in_parallel, part, parts};
use crate::simd::Simd;

/// Pixels that a tile may compute beyond the end of a row, times the largest stride.
const SLACK: usize = 32;

pub(crate) fn supports(spec: &ConvSpec) -> bool {
    spec.groups == 1 && spec.in_channels <= 4 && spec.stride[1] <= 2
}

/// Height and width of a padded plane.
pub(crate) fn padded(spec: &ConvSpec, shape: MapShape) -> [usize; 2] {
    [
        shape.height + 2 * spec.padding[0],
        shape.width + 2 * spec.padding[1] + SLACK,
    ]
}

pub(crate) fn scratch_len(spec: &ConvSpec, shape: MapShape) -> usize {
    let [height, width] = padded(spec, shape);
    MapShape {
        height,
        width,
        ..shape
    }
    .batch_len()
}

/// Weights in panels whose reduction runs over channels, then taps.
#[derive(Debug)]
pub(crate) struct Packed {
    panels: Panels,
    taps: Vec<[isize; 2]>,
}

impl Packed {
    pub(crate) fn new(isa: Isa, spec: &ConvSpec, kernel: &Kernel2d<'_>) -> Self {
        let taps = spec.taps();
        let row = |_: &Panel, row: usize| Some((row / taps.len(), row % taps.len()));
        Self {
            panels: Panels::new(isa, spec, kernel, |_| spec.in_channels * taps.len(), row),
            taps,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.panels.len()
    }

    pub(crate) fn run(
        &self,
        spec: &ConvSpec,
        input: &[f32],
        shape: MapShape,
        scratch: &mut [f32],
        output: &mut MapMut<'_>,
        activation: Activation,
    ) {
        let isa = output.isa();
        let [height, width] = padded(spec, shape);
        let planes = shape.batch * shape.channels;
        let scratch = &mut scratch[..planes * height * width];
        pad(spec, input, shape, scratch);

        // Offsets of the reduction's steps from a window's corner, in padded planes.
        let steps: Vec<usize> = (0..shape.channels)
            .flat_map(|c| {
                self.taps
                    .iter()
                    .map(move |&[y, x]| (c, y as usize, x as usize))
            })
            .map(|(c, y, x)| (c * height + y) * width + x)
            .collect();
        let out = output.shape();
        let cuts = parts(out.height, 4);
        let (plane, image_stride) = (output.plane(), output.image_stride());
        let shared = output.shared();
        let scratch = &*scratch;
        in_parallel(shape.batch * cuts, |task| {
            let image = task / cuts;
            isa.run(Rows {
                packed: self,
                spec,
                activation,
                picture: &scratch[image * shape.channels * height * width..],
                padded_width: width,
                steps: &steps,
                output: shared,
                output_offset: image * image_stride,
                output_plane: plane,
                rows: part(out.height, cuts, task % cuts),
                width: out.width,
            });
        });
    }
}

/// Copies planes into zero-padded ones.
pub(crate) fn pad(spec: &ConvSpec, input: &[f32], shape: MapShape, scratch: &mut [f32]) {
    let [height, width] = padded(spec, shape);
    let planes = scratch.len() / (height * width);
    let shared = Shared::new(scratch);
    in_parallel(planes, |index| {
        // SAFETY: a plane is written by the one task that has its index.
        let plane = unsafe {
            std::slice::from_raw_parts_mut(shared.at(index * height * width), height * width)
        };
        plane.fill(0.0);
        let rows = input[index * shape.pixels()..][..shape.pixels()].chunks_exact(shape.width);
        let padded = plane.chunks_exact_mut(width).skip(spec.padding[0]);
        for (to, from) in padded.zip(rows) {
            to[spec.padding[1]..][..shape.width].copy_from_slice(from);
        }
    });
}

/// Some rows of one picture.
struct Rows<'a> {
    packed: &'a Packed,
    spec: &'a ConvSpec,
    activation: Activation,
    picture: &'a [f32],
    padded_width: usize,
    steps: &'a [usize],
    output: Shared<'a>,
    output_offset: usize,
    output_plane: usize,
    rows: Range<usize>,
    width: usize,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the picture's planes are padded for this window, and rows of a picture are written by the
        // one task that has them.
        unsafe {
            for panel in &self.packed.panels.panels {
                match (S::REGISTERS, panel.vectors, self.spec.stride[1]) {
                    (32, 4, 2) => self.panel::<S, 6, 4, 2>(panel),
                    (32, 3, 2) => self.panel::<S, 9, 3, 2>(panel),
                    (32, 2, 2) => self.panel::<S, 14, 2, 2>(panel),
                    (32, 1, 2) => self.panel::<S, 16, 1, 2>(panel),
                    (32, 4, _) => self.panel::<S, 6, 4, 1>(panel),
                    (32, 3, _) => self.panel::<S, 9, 3, 1>(panel),
                    (32, 2, _) => self.panel::<S, 14, 2, 1>(panel),
                    (32, _, _) => self.panel::<S, 16, 1, 1>(panel),
                    (_, 2, 2) => self.panel::<S, 6, 2, 2>(panel),
                    (_, _, 2) => self.panel::<S, 12, 1, 2>(panel),
                    (_, 2, _) => self.panel::<S, 6, 2, 1>(panel),
                    (_, _, _) => self.panel::<S, 12, 1, 1>(panel),
                }
            }
        }
    }
}

impl Rows<'_> {
    /// # Safety
    /// As for [`Kernel::run`]; `V` is the panel's width, `STRIDE` the step to the right.
    #[inline(always)]
    unsafe fn panel<S: Simd, const P: usize, const V: usize, const STRIDE: usize>(
        &self,
        panel: &Panel,
    ) {
        // SAFETY: a tile that hangs over the row reads into the slack behind it; what it computes there is
        // thrown away.
        unsafe {
            let weights = self.packed.panels.weights.as_ptr().add(panel.offset);
            let bias = self.packed.panels.bias.as_ptr().add(panel.block * S::LANES);
            for row in self.rows.clone() {
                let corner = self
                    .picture
                    .as_ptr()
                    .add(row * self.spec.stride[0] * self.padded_width);
                for x in (0..self.width).step_by(P) {
                    let corner = corner.add(x * STRIDE);
                    let at = panel.block * self.output_plane + (row * self.width + x) * S::LANES;
                    let place = Place {
                        out: self.output.at(self.output_offset + at),
                        out_plane: self.output_plane,
                        count: self.width - x,
                        continues: false,
                        bias,
                        residual: std::ptr::null(),
                        residual_plane: 0,
                        activation: self.activation,
                    };
                    let mut sums = start::<S, P, V>(&place);
                    let mut weights = weights;
                    for &step in self.steps {
                        let mut pixels = [corner; P];
                        for (m, pixel) in pixels.iter_mut().enumerate() {
                            *pixel = corner.add(step).add(m * STRIDE);
                        }
                        reduce_step::<S, P, V>(&mut sums, pixels, 0, weights);
                        weights = weights.add(V * S::LANES);
                    }
                    store::<S, P, V>(&sums, &place);
                }
            }
        }
    }
}
