//! All channels of a group into all: every phase runs as the windows of `blocked.rs` do, but writes its
//! pixels a stride apart. A pixel of a block is a cache line, or half of one, so that nothing is
//! lost by it.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::TransposedSpec;
use crate::activation::Activation;
use crate::conv::panel::{Panel, Panels};
use crate::conv::repack::Source;
use crate::conv::tile::{Place, reduce_block, start, store};
use crate::conv::{ConvSpec, Kernel2d};
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut};
use crate::shared::{Shared, in_parallel, part};
use crate::simd::Simd;

/// Steps of the reduction that are done before the next pixels: with 64 columns, 64 KiB of weights.
const REDUCTION: usize = 256;
/// Pixels of a phase in a task.
const PIXELS: usize = 336;

static ZEROS: [f32; 16] = [0.0; 16];

#[derive(Debug)]
pub(crate) struct Packed(Vec<Phase>);

/// The output pixels that are equal modulo the stride.
#[derive(Debug)]
struct Phase {
    /// Its first pixel.
    first: [usize; 2],
    /// Where its taps read, down and right from the input pixel of the same number.
    taps: Vec<[isize; 2]>,
    /// Which taps of the kernel they are.
    places: Vec<usize>,
    panels: Panels,
}

impl Packed {
    pub(crate) fn new(isa: Isa, spec: &TransposedSpec, kernel: &Kernel2d<'_>) -> Self {
        let [down, right] = spec.stride;
        let firsts = (0..down).flat_map(|y| (0..right).map(move |x| [y, x]));
        let phases = firsts.map(|first| Phase::new(isa, spec, kernel, first));
        Self(phases.collect())
    }

    /// Other weights and bias in the same panels.
    pub(crate) fn repack(&mut self, isa: Isa, spec: &TransposedSpec, kernel: &Kernel2d<'_>) {
        for phase in &mut self.0 {
            let ordinary = ordinary(spec, phase.taps.len());
            let all = spec.kernel[0] * spec.kernel[1];
            let from = Source::new(&ordinary, kernel.weights, all, true);
            let padded = spec.in_channels.next_multiple_of(isa.lanes());
            from.repack(isa, &phase.places, &mut phase.panels, |_| 0..padded);
            phase.panels.bias.fill(0.0);
            phase.panels.bias[..kernel.bias.len()].copy_from_slice(kernel.bias);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|phase| phase.panels.len()).sum()
    }

    pub(crate) fn run(
        &self,
        spec: &TransposedSpec,
        input: Map<'_>,
        output: &mut MapMut<'_>,
        activation: Activation,
    ) {
        let (isa, phases) = (input.isa(), &self.0);
        let shape = output.shape();
        let [down, right] = spec.stride;
        // The first phase has the most pixels.
        let most = shape.height.div_ceil(down) * shape.width.div_ceil(right);
        let panels = phases[0].panels.panels.len();
        let threads = rayon::current_num_threads();
        let cuts = most.div_ceil(PIXELS);
        let groups = (2 * threads)
            .div_ceil(shape.batch * cuts * phases.len())
            .min(panels);
        let (plane, image_stride) = (output.plane(), output.image_stride());
        let shared = output.shared();
        // Phases of the same pixels follow each other: they read the same, and write side by side.
        in_parallel(shape.batch * cuts * phases.len() * groups, |task| {
            let (rest, group) = (task / groups, task % groups);
            let (rest, phase) = (rest / phases.len(), &phases[rest % phases.len()]);
            let (image, cut) = (rest / cuts, rest % cuts);
            let side = |size: usize, axis: usize| {
                let first = phase.first[axis];
                size.saturating_sub(first).div_ceil(spec.stride[axis])
            };
            let (height, width) = (side(shape.height, 0), side(shape.width, 1));
            isa.run(Task {
                phase,
                in_blocks: input.shape().blocks(isa),
                stride: spec.stride,
                input,
                image,
                activation,
                output: shared,
                output_offset: image * image_stride,
                output_plane: plane,
                output_width: shape.width,
                width,
                pixels: part(height * width, cuts, cut),
                panels: part(panels, groups, group),
            });
        });
    }
}

impl Phase {
    fn new(isa: Isa, spec: &TransposedSpec, kernel: &Kernel2d<'_>, first: [usize; 2]) -> Self {
        let (mut taps, mut places) = (Vec::new(), Vec::new());
        for (ky, dy) in spec.taps(0, first[0]) {
            for (kx, dx) in spec.taps(1, first[1]) {
                taps.push([dy, dx]);
                places.push(ky * spec.kernel[1] + kx);
            }
        }
        // The kernel of these taps as an ordinary one, `[out, in / groups, taps]`.
        let (ins, outs) = (
            spec.in_channels / spec.groups,
            spec.out_channels / spec.groups,
        );
        let all = spec.kernel[0] * spec.kernel[1];
        let mut weights = Vec::with_capacity(spec.out_channels * ins * taps.len());
        for out in 0..spec.out_channels {
            for channel in 0..ins {
                let channel = out / outs * ins + channel;
                let from = (channel * outs + out % outs) * all;
                weights.extend(places.iter().map(|tap| kernel.weights[from + tap]));
            }
        }
        let ordinary = ordinary(spec, taps.len());
        let kernel = Kernel2d {
            weights: &weights,
            bias: kernel.bias,
        };
        let padded = spec.in_channels.next_multiple_of(isa.lanes());
        let row = |_: &Panel, row: usize| {
            let (tap, channel) = (row / padded, row % padded);
            (channel < spec.in_channels).then_some((channel, tap))
        };
        let panels = Panels::new(isa, &ordinary, &kernel, |_| taps.len() * padded, row);
        Self {
            first,
            taps,
            places,
            panels,
        }
    }
}

/// The convolution that so many taps make.
fn ordinary(spec: &TransposedSpec, taps: usize) -> ConvSpec {
    ConvSpec {
        in_channels: spec.in_channels,
        out_channels: spec.out_channels,
        kernel: [taps, 1],
        stride: [1; 2],
        padding: [0; 2],
        dilation: [1; 2],
        groups: spec.groups,
    }
}

/// Some pixels of one phase of one picture by some panels.
struct Task<'a> {
    phase: &'a Phase,
    in_blocks: usize,
    stride: [usize; 2],
    input: Map<'a>,
    image: usize,
    activation: Activation,
    output: Shared<'a>,
    output_offset: usize,
    output_plane: usize,
    output_width: usize,
    /// Columns of the phase.
    width: usize,
    pixels: Range<usize>,
    panels: Range<usize>,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the maps have the shapes that `TransposedConvolution::run` checked; pixels of a phase and
        // panel are written by the one task that has both.
        unsafe {
            let pairs = self.phase.taps.len() * self.in_blocks;
            // A phase that no tap reaches still has its bias.
            let parts = pairs.div_ceil(REDUCTION / S::LANES).max(1);
            for index in 0..parts {
                let reduction = part(pairs, parts, index);
                for panel in &self.phase.panels.panels[self.panels.clone()] {
                    // As `blocked.rs` has it for windows.
                    match (S::REGISTERS, panel.vectors) {
                        (32, 4) => self.tiles::<S, 6, 4>(panel, &reduction, pairs),
                        (32, 3) => self.tiles::<S, 8, 3>(panel, &reduction, pairs),
                        (32, 2) => self.tiles::<S, 8, 2>(panel, &reduction, pairs),
                        (32, _) => self.tiles::<S, 12, 1>(panel, &reduction, pairs),
                        (_, 2) => self.tiles::<S, 6, 2>(panel, &reduction, pairs),
                        (_, _) => self.tiles::<S, 8, 1>(panel, &reduction, pairs),
                    }
                }
            }
        }
    }
}

/// Room for a tile between its registers and its places in the output.
#[repr(align(64))]
struct Tile {
    _values: [f32; 28 * 16],
}

impl Task<'_> {
    /// # Safety
    /// As for [`Kernel::run`]; `V` is the panel's width.
    #[inline(always)]
    unsafe fn tiles<S: Simd, const P: usize, const V: usize>(
        &self,
        panel: &Panel,
        reduction: &Range<usize>,
        pairs: usize,
    ) {
        // SAFETY: pixels are the task's, and so are their places in the output.
        unsafe {
            for first in self.pixels.clone().step_by(P) {
                let count = P.min(self.pixels.end - first);
                // Row and column in the phase; pixels that do not exist read zeros.
                let mut pixels = [[isize::MIN / 2; 2]; P];
                let mut places = [0; P];
                let (mut y, mut x) = (first / self.width, first % self.width);
                for (pixel, place) in pixels.iter_mut().zip(&mut places).take(count) {
                    *pixel = [y as isize, x as isize];
                    let row = self.phase.first[0] + y * self.stride[0];
                    let column = self.phase.first[1] + x * self.stride[1];
                    *place = (row * self.output_width + column) * S::LANES;
                    x += 1;
                    if x == self.width {
                        (y, x) = (y + 1, 0);
                    }
                }
                self.tile::<S, P, V>(panel, reduction, pairs, &pixels, &places[..count]);
            }
        }
    }

    /// # Safety
    /// As for [`Kernel::run`]; `V` is the panel's width, the places are pixels of the output, at most `P`.
    #[inline(always)]
    unsafe fn tile<S: Simd, const P: usize, const V: usize>(
        &self,
        panel: &Panel,
        reduction: &Range<usize>,
        pairs: usize,
        corners: &[[isize; 2]; P],
        places: &[usize],
    ) {
        // SAFETY: a tap outside the map reads `ZEROS` and never moves on from there; the tile on the stack has
        // room for the largest.
        unsafe {
            let shape = self.input.shape();
            let (height, width) = (shape.height as isize, shape.width as isize);
            let plane = self.input.plane();
            let image = self.input.block(self.image, 0);
            let panels = &self.phase.panels;
            let row = reduction.start * S::LANES * V * S::LANES;
            let mut weights = panels.weights.as_ptr().add(panel.offset + row);

            // The tile is finished where its pixels lie side by side, then spread.
            let output = self.output_offset + panel.block * self.output_plane;
            let output = self.output.at(output);
            let mut tile = MaybeUninit::<Tile>::uninit();
            let tile = tile.as_mut_ptr().cast::<f32>();
            let continues = reduction.start > 0;
            if continues {
                for v in 0..V {
                    for (m, &place) in places.iter().enumerate() {
                        let from = output.add(v * self.output_plane + place);
                        S::store(tile.add((v * P + m) * S::LANES), S::load(from));
                    }
                }
            }
            let is_last = reduction.end == pairs;
            let place = Place {
                out: tile,
                out_plane: P * S::LANES,
                count: places.len(),
                continues,
                bias: panels.bias.as_ptr().add(panel.block * S::LANES),
                residual: std::ptr::null(),
                residual_plane: 0,
                activation: if is_last {
                    self.activation
                } else {
                    Activation::None
                },
            };
            let mut sums = start::<S, P, V>(&place);
            let mut pair = reduction.start;
            while pair < reduction.end {
                let (tap, block) = (pair / self.in_blocks, pair % self.in_blocks);
                let blocks = (self.in_blocks - block).min(reduction.end - pair);
                pair += blocks;
                let [dy, dx] = *self.phase.taps.get_unchecked(tap);
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

            store::<S, P, V>(&sums, &place);
            for v in 0..V {
                for (m, &place) in places.iter().enumerate() {
                    let vector = S::load(tile.add((v * P + m) * S::LANES));
                    S::store(output.add(v * self.output_plane + place), vector);
                }
            }
        }
    }
}
