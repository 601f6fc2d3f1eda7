//! Depthwise convolution: every channel by itself, so a block of channels is one vector and a
//! pixel is `taps` multiply-adds of whole vectors.
//!
//! Bound by memory, not arithmetic: each row is read once from the cache per row of taps, eight
//! output pixels share a row of weights, and edges run through a slower path that checks. Leading rows and
//! columns of a window that hold nothing but zeros are left out: a padding that is larger below and right
//! comes as such a window.

use std::ops::Range;

use super::{ConvSpec, Kernel2d};
use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut};
use crate::shared::{Shared, in_parallel, part, parts};
use crate::simd::Simd;

/// Pixels computed together.
const PIXELS: usize = 8;

/// Weights as `[block][tap][lanes]`, bias as `[block][lanes]`.
#[derive(Debug)]
pub(crate) struct Packed {
    weights: Buffer,
    bias: Buffer,
    /// Leading rows and columns of the window that are left out.
    skipped: [usize; 2],
    /// Rows and columns that are there.
    window: [usize; 2],
}

impl Packed {
    pub(crate) fn new(isa: Isa, spec: &ConvSpec, kernel: &Kernel2d<'_>) -> Self {
        let lanes = isa.lanes();
        let blocks = spec.out_channels.div_ceil(lanes);
        let skipped = leading_zeros(spec, kernel.weights);
        let window = [0, 1].map(|axis| spec.kernel[axis] - skipped[axis]);
        let taps = window[0] * window[1];
        let mut weights = Buffer::zeros(blocks * taps * lanes);
        let [_, columns] = spec.kernel;
        for (channel, values) in kernel
            .weights
            .chunks_exact(spec.kernel[0] * columns)
            .enumerate()
        {
            let rows = values.chunks_exact(columns).skip(skipped[0]);
            let there = rows.flat_map(|row| &row[skipped[1]..]);
            for (tap, &value) in there.enumerate() {
                weights[(channel / lanes * taps + tap) * lanes + channel % lanes] = value;
            }
        }
        let mut bias = Buffer::zeros(blocks * lanes);
        bias[..kernel.bias.len()].copy_from_slice(kernel.bias);
        Self {
            weights,
            bias,
            skipped,
            window,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.weights.len() + self.bias.len()
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
        let (shape, blocks) = (output.shape(), output.blocks());
        let planes = shape.batch * blocks;
        // Whole planes where there are enough of them; else rows, at least 16 KiB a task.
        let row_bytes = shape.width * isa.lanes() * size_of::<f32>();
        let least = (16 << 10) / row_bytes + 1;
        let cuts =
            parts(shape.height, least).min((8 * rayon::current_num_threads()).div_ceil(planes));
        let (image_stride, plane_len) = (output.image_stride(), output.plane());
        let shared = output.shared();
        in_parallel(planes * cuts, |task| {
            let plane = task / cuts;
            isa.run(Rows {
                packed: self,
                spec,
                input,
                residual,
                activation,
                output: shared,
                output_offset: plane / blocks * image_stride + plane % blocks * plane_len,
                image: plane / blocks,
                block: plane % blocks,
                rows: part(shape.height, cuts, task % cuts),
                width: shape.width,
            });
        });
    }
}

/// Leading rows and columns of the window in which no channel has a weight; one of each stays.
fn leading_zeros(spec: &ConvSpec, weights: &[f32]) -> [usize; 2] {
    let [rows, columns] = spec.kernel;
    let is_zero = |row: Range<usize>, column: Range<usize>| {
        let mut windows = weights.chunks_exact(rows * columns);
        windows.all(|window| {
            let mut taps = row
                .clone()
                .flat_map(|y| column.clone().map(move |x| (y, x)));
            taps.all(|(y, x)| window[y * columns + x] == 0.0)
        })
    };
    let above = (0..rows - 1).take_while(|&y| is_zero(y..y + 1, 0..columns));
    let left = (0..columns - 1).take_while(|&x| is_zero(0..rows, x..x + 1));
    [above.count(), left.count()]
}

/// Some rows of one block of one picture.
struct Rows<'a> {
    packed: &'a Packed,
    spec: &'a ConvSpec,
    input: Map<'a>,
    residual: Option<Map<'a>>,
    activation: Activation,
    output: Shared<'a>,
    output_offset: usize,
    image: usize,
    block: usize,
    rows: Range<usize>,
    width: usize,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the maps have the shapes that `Convolution::run` checked; rows of a block are written by the
        // one task that has them.
        unsafe {
            match (self.packed.window[1], self.spec.stride[1]) {
                (3, 1) => self.rows::<S, 3, 1>(),
                (3, 2) => self.rows::<S, 3, 2>(),
                (5, 1) => self.rows::<S, 5, 1>(),
                (5, 2) => self.rows::<S, 5, 2>(),
                _ => self.rows::<S, 0, 0>(),
            }
        }
    }
}

impl Rows<'_> {
    /// `KW` is the width of the window, `STRIDE` the pixels from one to the next; both 0 if they are only known
    /// at run time.
    ///
    /// # Safety
    /// As for [`Kernel::run`]; the constants are the window's width and the stride.
    #[inline(always)]
    unsafe fn rows<S: Simd, const KW: usize, const STRIDE: usize>(&self) {
        // SAFETY: a row outside the input has no taps, a group's columns have their whole windows inside, and
        // at the edges each column is looked at before it is read.
        unsafe {
            let spec = self.spec;
            let [kernel_height, packed_width] = self.packed.window;
            let kernel_width = if KW == 0 { packed_width } else { KW };
            let taps = kernel_height * kernel_width;
            let (height, width) = (
                self.input.shape().height as isize,
                self.input.shape().width as isize,
            );
            let [stride_y, stride_x] = spec.stride.map(|s| s as isize);
            // A constant, so that a group's pixels lie at fixed distances and need no addresses of their own.
            let stride_x = if STRIDE == 0 {
                stride_x
            } else {
                STRIDE as isize
            };
            let [dilation_y, dilation_x] = spec.dilation.map(|d| d as isize);
            // Fewer than none where a window begins inside the map.
            let [padding_y, padding_x] = [0, 1].map(|axis| {
                let skipped = self.packed.skipped[axis] * spec.dilation[axis];
                spec.padding[axis] as isize - skipped as isize
            });
            let weights = self
                .packed
                .weights
                .as_ptr()
                .add(self.block * taps * S::LANES);
            let bias = S::load(self.packed.bias.as_ptr().add(self.block * S::LANES));
            let input = self.input.block(self.image, self.block);
            let output = self.output.at(self.output_offset);

            // Output columns whose whole window lies inside the map.
            let reach = dilation_x * (kernel_width as isize - 1);
            let columns = self.width as isize;
            let first = ((padding_x.max(0) + stride_x - 1) / stride_x).min(columns);
            let last = (width - 1 + padding_x - reach).div_euclid(stride_x) + 1;
            let inside = first..last.clamp(first, columns);

            for row in self.rows.clone() {
                let top = row as isize * stride_y - padding_y;
                let live = (0..kernel_height)
                    .filter(|&ky| (0..height).contains(&(top + ky as isize * dilation_y)));
                let (ky0, ky1) =
                    live.fold((usize::MAX, 0), |(lo, hi), ky| (lo.min(ky), hi.max(ky + 1)));
                let ky0 = ky0.min(ky1);
                let out = output.add(row * self.width * S::LANES);

                let mut x = 0;
                while x < columns {
                    let in_group =
                        inside.contains(&x) && inside.end - inside.start >= PIXELS as isize;
                    if in_group {
                        // The last pixels are computed again where they fill no group.
                        x = x.min(inside.end - PIXELS as isize);
                    }
                    let left = x * stride_x - padding_x;
                    if in_group {
                        let mut sums = [bias; PIXELS];
                        for ky in ky0..ky1 {
                            let y = top + ky as isize * dilation_y;
                            let from = input.offset((y * width + left) * S::LANES as isize);
                            for kx in 0..kernel_width {
                                let weight =
                                    S::load(weights.add((ky * kernel_width + kx) * S::LANES));
                                let from =
                                    from.offset(kx as isize * dilation_x * S::LANES as isize);
                                for (m, sum) in sums.iter_mut().enumerate() {
                                    let pixel =
                                        from.offset(m as isize * stride_x * S::LANES as isize);
                                    *sum = S::mul_add(S::load(pixel), weight, *sum);
                                }
                            }
                        }
                        for (m, &sum) in sums.iter().enumerate() {
                            S::store(out.offset((x + m as isize) * S::LANES as isize), sum);
                        }
                        x += PIXELS as isize;
                    } else {
                        let mut sum = bias;
                        for ky in ky0..ky1 {
                            let y = top + ky as isize * dilation_y;
                            for kx in 0..kernel_width {
                                let column = left + kx as isize * dilation_x;
                                if (0..width).contains(&column) {
                                    let weight =
                                        S::load(weights.add((ky * kernel_width + kx) * S::LANES));
                                    let pixel =
                                        input.offset((y * width + column) * S::LANES as isize);
                                    sum = S::mul_add(S::load(pixel), weight, sum);
                                }
                            }
                        }
                        S::store(out.offset(x * S::LANES as isize), sum);
                        x += 1;
                    }
                }
                if let Some(residual) = self.residual {
                    let residual = residual
                        .block(self.image, self.block)
                        .add(row * self.width * S::LANES);
                    for x in 0..self.width {
                        let at = out.add(x * S::LANES);
                        S::store(at, S::add(S::load(at), S::load(residual.add(x * S::LANES))));
                    }
                }
                if self.activation != Activation::None {
                    self.activation.in_place::<S>(out, self.width);
                }
            }
        }
    }
}
