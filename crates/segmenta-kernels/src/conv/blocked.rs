//! Convolution of blocked maps as a matrix product over windows: any kernel, stride, padding,
//! dilation.
//!
//! Nothing is copied out into columns. A 1×1 convolution reads its pixels where they lie; any
//! other one keeps a pointer a pixel and tap, and a tap outside the map points at zeros (a tap
//! outside for the whole tile is skipped, which is most of them where the dilation is as large as
//! the map). The reduction is cut so that a part of the weights stays in the L2 cache while
//! a task's pixels pass by. A convolution in groups that is not depthwise runs as a dense one with
//! zeros between the groups.

use std::ops::Range;

use super::panel::{Panel, Panels};
use super::tile::{Finish, Store, reduce_block, store};
use super::{ConvSpec, Kernel2d};
use crate::activation::Activation;
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut};
use crate::shared::{Shared, in_parallel, part};
use crate::simd::Simd;

/// Steps of the reduction that are done before the next pixels: with 64 columns, 64 KiB of weights.
const REDUCTION: usize = 256;
/// Pixels of a task: with `REDUCTION` channels, about 350 KiB of input.
const PIXELS: usize = 336;

static ZEROS: [f32; 16] = [0.0; 16];

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
        let padded = spec.in_channels.div_ceil(lanes) * lanes;
        let taps = spec.taps();
        let row = |row: usize| {
            let (tap, channel) = (row / padded, row % padded);
            (channel < spec.in_channels).then_some((channel, tap))
        };
        Self {
            panels: Panels::new(isa, spec, kernel, taps.len() * padded, row),
            dense: taps.len() == 1 && spec.stride == [1, 1] && spec.padding == [0, 0],
            taps,
            in_blocks: padded / lanes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.panels.len()
    }

    pub(crate) fn is_dense(&self) -> bool {
        self.dense
    }

    pub(crate) fn run(
        &self,
        spec: &ConvSpec,
        input: Map<'_>,
        output: &mut MapMut<'_>,
        residual: Option<Map<'_>>,
        activation: Activation,
    ) {
        let isa = input.isa();
        let (batch, pixels) = (output.shape().batch, output.shape().pixels());
        let panels = self.panels.panels.len();
        let threads = rayon::current_num_threads();
        // Cut the pixels first; where there are few, cut the output channels too.
        let least = (2 * threads).div_ceil(batch);
        let cuts = pixels.div_ceil(PIXELS).max(least.min(pixels.div_ceil(24)));
        let groups = (2 * threads).div_ceil(batch * cuts).min(panels);
        let (plane, image_stride) = (output.plane(), output.image_stride());
        let width = output.shape().width;
        let shared = output.shared();
        in_parallel(batch * cuts * groups, |task| {
            let (image, rest) = (task / (cuts * groups), task % (cuts * groups));
            isa.run(Task {
                packed: self,
                spec,
                input,
                residual,
                activation,
                image,
                output: shared,
                output_offset: image * image_stride,
                output_plane: plane,
                output_width: width,
                pixels: part(pixels, cuts, rest / groups),
                panels: part(panels, groups, rest % groups),
            });
        });
    }
}

/// Some pixels of one picture by some panels.
struct Task<'a> {
    packed: &'a Packed,
    spec: &'a ConvSpec,
    input: Map<'a>,
    residual: Option<Map<'a>>,
    activation: Activation,
    image: usize,
    output: Shared<'a>,
    output_offset: usize,
    output_plane: usize,
    output_width: usize,
    pixels: Range<usize>,
    panels: Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pairs = self.packed.taps.len() * self.packed.in_blocks;
        let parts = pairs.div_ceil(REDUCTION / S::LANES);
        for index in 0..parts {
            let reduction = part(pairs, parts, index);
            for panel in &self.packed.panels.panels[self.panels.clone()] {
                // What fits the registers: sums, one row of weights, one broadcast value.
                match (S::REGISTERS, panel.vectors, self.packed.dense) {
                    (32, 4, true) => self.dense::<S, 6, 4>(panel, &reduction, pairs),
                    (32, 3, true) => self.dense::<S, 9, 3>(panel, &reduction, pairs),
                    (32, 2, true) => self.dense::<S, 14, 2>(panel, &reduction, pairs),
                    (32, 1, true) => self.dense::<S, 16, 1>(panel, &reduction, pairs),
                    (32, 4, false) => self.window::<S, 6, 4>(panel, &reduction, pairs),
                    (32, 3, false) => self.window::<S, 8, 3>(panel, &reduction, pairs),
                    (32, 2, false) => self.window::<S, 8, 2>(panel, &reduction, pairs),
                    (32, _, false) => self.window::<S, 12, 1>(panel, &reduction, pairs),
                    (_, 2, true) => self.dense::<S, 6, 2>(panel, &reduction, pairs),
                    (_, _, true) => self.dense::<S, 12, 1>(panel, &reduction, pairs),
                    (_, 2, false) => self.window::<S, 6, 2>(panel, &reduction, pairs),
                    (_, _, false) => self.window::<S, 8, 1>(panel, &reduction, pairs),
                }
            }
        }
    }
}

impl Task<'_> {
    /// Where the panel's weights for `reduction` start.
    #[inline(always)]
    unsafe fn weights<S: Simd>(&self, panel: &Panel, reduction: &Range<usize>) -> *const f32 {
        let row = reduction.start * S::LANES;
        let weights = self.packed.panels.weights.as_ptr();
        weights.add(panel.offset + row * panel.vectors * S::LANES)
    }

    #[inline(always)]
    unsafe fn store_at<S: Simd>(
        &self,
        panel: &Panel,
        reduction: &Range<usize>,
        pairs: usize,
        pixel: usize,
    ) -> Store {
        let at = panel.block * self.output_plane + pixel * S::LANES;
        let finish = (reduction.end == pairs).then(|| {
            let residual = self.residual.map(|map| {
                let block = map.block(self.image, panel.block);
                (block.add(pixel * S::LANES), map.plane())
            });
            let (residual, residual_plane) = residual.unwrap_or((std::ptr::null(), 0));
            Finish {
                bias: self.packed.panels.bias.as_ptr().add(panel.block * S::LANES),
                residual,
                residual_plane,
                activation: self.activation,
            }
        });
        Store {
            out: self.output.at(self.output_offset + at),
            out_plane: self.output_plane,
            count: self.pixels.end - pixel,
            continues: reduction.start > 0,
            finish,
        }
    }

    /// A 1×1 convolution with stride 1: pixels follow each other in memory.
    #[inline(always)]
    unsafe fn dense<S: Simd, const P: usize, const V: usize>(
        &self,
        panel: &Panel,
        reduction: &Range<usize>,
        pairs: usize,
    ) {
        let plane = self.input.plane();
        let mut pixel = self.pixels.start;
        while pixel + P <= self.pixels.end {
            let mut sums = [[S::zero(); V]; P];
            let mut weights = self.weights::<S>(panel, reduction);
            let mut from = self
                .input
                .block(self.image, reduction.start)
                .add(pixel * S::LANES);
            for _ in reduction.clone() {
                let mut pixels = [from; P];
                for (m, pixel) in pixels.iter_mut().enumerate() {
                    *pixel = from.add(m * S::LANES);
                }
                reduce_block::<S, P, V>(&mut sums, pixels, &mut weights);
                from = from.wrapping_add(plane);
            }
            store::<S, P, V>(&sums, &self.store_at::<S>(panel, reduction, pairs, pixel));
            pixel += P;
        }
        if pixel < self.pixels.end {
            self.window_tile::<S, P, V>(panel, reduction, pairs, pixel);
        }
    }

    #[inline(always)]
    unsafe fn window<S: Simd, const P: usize, const V: usize>(
        &self,
        panel: &Panel,
        reduction: &Range<usize>,
        pairs: usize,
    ) {
        for pixel in self.pixels.clone().step_by(P) {
            self.window_tile::<S, P, V>(panel, reduction, pairs, pixel);
        }
    }

    /// A tile whose pixels each have their own window.
    #[inline(always)]
    unsafe fn window_tile<S: Simd, const P: usize, const V: usize>(
        &self,
        panel: &Panel,
        reduction: &Range<usize>,
        pairs: usize,
        first: usize,
    ) {
        let shape = self.input.shape();
        let (height, width) = (shape.height as isize, shape.width as isize);
        let plane = self.input.plane();
        let image = self.input.block(self.image, 0);

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

        let mut sums = [[S::zero(); V]; P];
        let mut weights = self.weights::<S>(panel, reduction);
        let in_blocks = self.packed.in_blocks;
        let mut pair = reduction.start;
        while pair < reduction.end {
            let (tap, block) = (pair / in_blocks, pair % in_blocks);
            let blocks = (in_blocks - block).min(reduction.end - pair);
            pair += blocks;
            let [dy, dx] = *self.packed.taps.get_unchecked(tap);
            let mut pixels = [ZEROS.as_ptr(); P];
            let mut steps = [0; P];
            let mut touched = false;
            for m in 0..P {
                let [y, x] = [corners[m][0] + dy, corners[m][1] + dx];
                if (0..height).contains(&y) && (0..width).contains(&x) {
                    let offset = (y * width + x) as usize * S::LANES;
                    pixels[m] = image.add(block * plane + offset);
                    steps[m] = plane;
                    touched = true;
                }
            }
            if !touched {
                weights = weights.add(blocks * S::LANES * V * S::LANES);
                continue;
            }
            for _ in 0..blocks {
                reduce_block::<S, P, V>(&mut sums, pixels, &mut weights);
                for m in 0..P {
                    pixels[m] = pixels[m].wrapping_add(steps[m]);
                }
            }
        }
        store::<S, P, V>(&sums, &self.store_at::<S>(panel, reduction, pairs, first));
    }
}
