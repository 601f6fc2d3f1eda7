//! Convolution of blocked maps as a matrix product over windows: any kernel, stride, padding,
//! dilation.
//!
//! Nothing is copied out into columns. A 1×1 convolution reads its pixels where they lie; any
//! other one keeps a pointer a pixel and tap, and a tap outside the map points at zeros (a tap
//! outside for the whole tile is skipped, which is most of them where the dilation is as large as
//! the map). In groups, a panel of output channels reads the blocks of input channels that its groups
//! have part in, with zeros for what is another group's.

use std::ops::Range;

use super::gemm::{Epilogue, Part, Product, Target, after, part_of, reduction_parts};
use super::panel::{Panel, Panels};
use super::repack::Source;
use super::tile::{Ahead, reduce_block, start, store};
use super::{ConvSpec, Kernel2d};
use crate::activation::Activation;
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut};
use crate::shared::{Shared, in_parallel, part, tasks};
use crate::simd::Simd;

/// Pixels of a task: with 256 channels of a part of the reduction, about 350 KiB of input.
const PIXELS: usize = 336;

/// What a pointer outside the map points at.
pub(super) static ZEROS: [f32; 16] = [0.0; 16];

/// Whether pixels are read where they lie, all of them by all panels.
pub(super) fn is_dense(spec: &ConvSpec) -> bool {
    let in_place = spec.kernel == [1, 1] && spec.stride == [1, 1] && spec.padding == [0, 0];
    in_place && spec.groups == 1
}

#[derive(Debug)]
pub(crate) struct Packed {
    panels: Panels,
    taps: Vec<[isize; 2]>,
    in_blocks: usize,
    dense: bool,
}

impl Packed {
    pub(crate) fn new(isa: Isa, spec: &ConvSpec, kernel: &Kernel2d<'_>) -> Self {
        let lanes = isa.lanes();
        let taps = spec.taps();
        let rows = |panel: &Panel| taps.len() * panel.inputs * lanes;
        let row = |panel: &Panel, row: usize| {
            let channels = panel.inputs * lanes;
            let (tap, channel) = (row / channels, panel.first_input * lanes + row % channels);
            (channel < spec.in_channels).then_some((channel, tap))
        };
        Self {
            panels: Panels::new(isa, spec, kernel, rows, row),
            dense: is_dense(spec),
            taps,
            in_blocks: spec.in_channels.div_ceil(lanes),
        }
    }

    /// Other weights and bias in the same panels.
    pub(crate) fn repack(&mut self, isa: Isa, spec: &ConvSpec, kernel: &Kernel2d<'_>) {
        let all = self.taps.len();
        let taps: Vec<usize> = (0..all).collect();
        let from = Source::new(spec, kernel.weights, all, false);
        let reads = |panel: &Panel| panel.channels(isa);
        from.repack(isa, &taps, &mut self.panels, reads);
        self.panels.bias.fill(0.0);
        self.panels.bias[..kernel.bias.len()].copy_from_slice(kernel.bias);
    }

    /// The weights of the convolution whose input gradient this is: transposed and turned.
    pub(crate) fn repack_for_gradient(&mut self, isa: Isa, spec: &ConvSpec, weights: &[f32]) {
        let all = self.taps.len();
        let taps: Vec<usize> = (0..all).rev().collect();
        let reads = |panel: &Panel| panel.channels(isa);
        let from = Source::new(spec, weights, all, true);
        from.repack(isa, &taps, &mut self.panels, reads);
    }

    pub(crate) fn len(&self) -> usize {
        self.panels.len()
    }

    pub(crate) fn panels(&self) -> &Panels {
        &self.panels
    }

    pub(crate) fn is_dense(&self) -> bool {
        self.dense
    }

    pub(crate) fn run(
        &self,
        spec: &ConvSpec,
        input: Map<'_>,
        scale: Option<Map<'_>>,
        output: &mut MapMut<'_>,
        residual: Option<Map<'_>>,
        activation: Activation,
    ) {
        let isa = input.isa();
        let (batch, pixels) = (output.shape().batch, output.shape().pixels());
        let panels = self.panels.panels.len();
        // Each piece reads all the weights of its channels. So of few pixels the output channels are cut first, and
        // pictures of few go together; of many the pixels are.
        let together = if scale.is_some() {
            1
        } else {
            PIXELS / pixels.max(1)
        };
        let pictures = batch.div_ceil(together.clamp(1, batch));
        let most = pixels.div_ceil(24);
        let (cuts, groups) = if pixels > PIXELS {
            let cuts = tasks(pictures, pixels.div_ceil(PIXELS), most);
            (cuts, tasks(pictures * cuts, 1, panels))
        } else {
            let groups = tasks(pictures, 1, panels);
            (tasks(pictures * groups, 1, most), groups)
        };
        let (plane, image_stride) = (output.plane(), output.image_stride());
        let width = output.shape().width;
        let shared = output.shared();
        in_parallel(pictures * cuts * groups, |task| {
            let (index, rest) = (task / (cuts * groups), task % (cuts * groups));
            isa.run(Task {
                packed: self,
                spec,
                input,
                scale,
                residual,
                activation,
                images: part(batch, pictures, index),
                output: shared,
                output_stride: image_stride,
                output_plane: plane,
                output_width: width,
                pixels: part(pixels, cuts, rest / groups),
                panels: part(panels, groups, rest % groups),
            });
        });
    }
}

/// Some pixels of some pictures by some panels.
struct Task<'a> {
    packed: &'a Packed,
    spec: &'a ConvSpec,
    input: Map<'a>,
    scale: Option<Map<'a>>,
    residual: Option<Map<'a>>,
    activation: Activation,
    images: Range<usize>,
    output: Shared<'a>,
    output_stride: usize,
    output_plane: usize,
    output_width: usize,
    pixels: Range<usize>,
    panels: Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the maps have the shapes that `Convolution::run` checked, of the instruction set that the
        // panels are packed for; pixels of panels are written by the one task that has both.
        unsafe {
            let panels = &self.packed.panels.panels[self.panels.clone()];
            let weights = self.packed.panels.weights.as_ptr();
            let residual = self
                .residual
                .map_or(std::ptr::null(), |map| map.block(0, 0));
            let target = Target {
                out: self.output.at(0),
                plane: self.output_plane,
                stride: self.output_stride,
                epilogue: Some(Epilogue {
                    bias: self.packed.panels.bias.as_ptr(),
                    residual,
                    residual_plane: self.residual.map_or(0, |map| map.plane()),
                    residual_stride: self.residual.map_or(0, |map| map.image_stride()),
                    activation: self.activation,
                }),
            };
            if self.packed.dense {
                let product = Product {
                    input: self.input.block(0, 0),
                    plane: self.input.plane(),
                    stride: self.input.image_stride(),
                    images: self.images.clone(),
                    blocks: self.packed.in_blocks,
                    weights,
                    panels,
                    pixels: self.pixels.clone(),
                    target,
                    scale: self
                        .scale
                        .map_or(std::ptr::null(), |scale| scale.block(self.images.start, 0)),
                };
                return product.run::<S>();
            }
            // Panels that read the same blocks take turns, so that pixels stay in the cache.
            let together = if self.spec.groups == 1 {
                panels.len()
            } else {
                1
            };
            for panels in panels.chunks(together.max(1)) {
                self.windows::<S>(panels, weights, &target);
            }
        }
    }
}

impl Task<'_> {
    /// Panels that read the same blocks of input channels.
    ///
    /// # Safety
    /// As for [`Kernel::run`]; the panels read the same blocks of input channels.
    #[inline(always)]
    unsafe fn windows<S: Simd>(&self, panels: &[Panel], weights: *const f32, target: &Target) {
        // SAFETY: parts of the reduction lie inside every panel, whose width the constants are.
        unsafe {
            for part in reduction_parts::<S>(self.packed.taps.len() * panels[0].inputs) {
                for (index, panel) in panels.iter().enumerate() {
                    let from = part_of::<S>(weights, panel, part.blocks.start);
                    let weights = [from, after::<S>(weights, panels, index, &part)];
                    match (S::REGISTERS, panel.vectors) {
                        (32, 4) => self.window::<S, 6, 4>(panel, &part, weights, target),
                        (32, 3) => self.window::<S, 8, 3>(panel, &part, weights, target),
                        (32, 2) => self.window::<S, 8, 2>(panel, &part, weights, target),
                        (32, _) => self.window::<S, 12, 1>(panel, &part, weights, target),
                        (_, 2) => self.window::<S, 6, 2>(panel, &part, weights, target),
                        _ => self.window::<S, 8, 1>(panel, &part, weights, target),
                    }
                }
            }
        }
    }

    /// # Safety
    /// As for [`Kernel::run`]; `V` is the panel's width, `weights` its weights from the part on.
    #[inline(always)]
    unsafe fn window<S: Simd, const P: usize, const V: usize>(
        &self,
        panel: &Panel,
        part: &Part,
        [weights, next]: [*const f32; 2],
        target: &Target,
    ) {
        // SAFETY: images and pixels are the task's.
        unsafe {
            let tiles = self.images.len() * self.pixels.len().div_ceil(P);
            let mut ahead = Ahead::for_few::<S>(next, [part.blocks.len(), V, tiles]);
            for image in self.images.clone() {
                for pixel in self.pixels.clone().step_by(P) {
                    let at = [image, pixel];
                    self.window_tile::<S, P, V>(panel, part, weights, target, &mut ahead, at);
                }
            }
        }
    }

    /// A tile whose pixels each have their own window.
    ///
    /// # Safety
    /// As for [`Kernel::run`]; `V` is the panel's width, `weights` its weights from the part on, and the
    /// pixel one of the task's.
    #[inline(always)]
    unsafe fn window_tile<S: Simd, const P: usize, const V: usize>(
        &self,
        panel: &Panel,
        part: &Part,
        mut weights: *const f32,
        target: &Target,
        ahead: &mut Ahead,
        [image, first]: [usize; 2],
    ) {
        // SAFETY: a tap outside the map reads `ZEROS` and never moves on from there; one inside reads blocks
        // that the panel's range of input blocks has.
        unsafe {
            let shape = self.input.shape();
            let (height, width) = (shape.height as isize, shape.width as isize);
            let plane = self.input.plane();
            let input = self.input.block(image, panel.first_input);

            // The window's corner for each pixel; one that does not exist lies outside the map.
            let mut corners = [[isize::MIN / 2; 2]; P];
            let (mut y, mut x) = (first / self.output_width, first % self.output_width);
            for corner in corners.iter_mut().take(self.pixels.end - first) {
                *corner = [
                    (y * self.spec.stride[0]) as isize - self.spec.padding[0] as isize,
                    (x * self.spec.stride[1]) as isize - self.spec.padding[1] as isize,
                ];
                x += 1;
                if x == self.output_width {
                    (y, x) = (y + 1, 0);
                }
            }

            let count = (self.pixels.end - first).min(P);
            let place = target.place::<S>(panel, part, [image, first], count);
            let mut sums = start::<S, P, V>(&place);
            let in_blocks = panel.inputs;
            let mut pair = part.blocks.start;
            while pair < part.blocks.end {
                let (tap, block) = (pair / in_blocks, pair % in_blocks);
                let blocks = (in_blocks - block).min(part.blocks.end - pair);
                pair += blocks;
                let [dy, dx] = *self.packed.taps.get_unchecked(tap);
                let mut pixels = [ZEROS.as_ptr(); P];
                let mut steps = [0; P];
                let mut touched = false;
                for m in 0..P {
                    let [y, x] = [corners[m][0] + dy, corners[m][1] + dx];
                    if (0..height).contains(&y) && (0..width).contains(&x) {
                        let offset = (y * width + x) as usize * S::LANES;
                        pixels[m] = input.add(block * plane + offset);
                        steps[m] = plane;
                        touched = true;
                    }
                }
                if !touched {
                    weights = weights.add(blocks * S::LANES * V * S::LANES);
                    continue;
                }
                for _ in 0..blocks {
                    ahead.fetch::<S, V>();
                    reduce_block::<S, P, V>(&mut sums, pixels, &mut weights);
                    for m in 0..P {
                        pixels[m] = pixels[m].wrapping_add(steps[m]);
                    }
                }
            }
            store::<S, P, V>(&sums, &place);
        }
    }
}
