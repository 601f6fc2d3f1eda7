//! Pooling: the largest value of a window, the mean of a map.

use std::ops::Range;

use crate::isa::Kernel;
use crate::map::{Map, MapMut, MapShape};
use crate::shared::{Shared, in_parallel, part, parts};
use crate::simd::Simd;

/// A square window that moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSpec {
    /// Side of the window.
    pub kernel: usize,
    /// Step.
    pub stride: usize,
    /// Padding on every edge; less than the window.
    pub padding: usize,
}

impl PoolSpec {
    /// The shape that comes out, if the window fits (PyTorch's rule with `ceil_mode` off).
    pub fn output(&self, input: MapShape) -> Option<MapShape> {
        let side = |size: usize| {
            let room = (size + 2 * self.padding).checked_sub(self.kernel)?;
            Some(room / self.stride + 1)
        };
        let (height, width) = (side(input.height)?, side(input.width)?);
        Some(MapShape::new(input.batch, input.channels, height, width))
    }
}

/// Maximum over a moving window; padding counts as −∞.
///
/// # Panics
/// If the shapes do not fit, or a window could lie in the padding alone.
pub fn max_pool(input: Map<'_>, spec: PoolSpec, output: &mut MapMut<'_>) {
    assert!(
        2 * spec.padding <= spec.kernel,
        "a window of padding alone: {spec:?}"
    );
    assert_eq!(
        Some(output.shape()),
        spec.output(input.shape()),
        "output of {spec:?}"
    );
    let (isa, shape, blocks) = (input.isa(), output.shape(), output.blocks());
    let cuts = parts(shape.height, 8);
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(shape.batch * blocks * cuts, |task| {
        let (image, block) = (task / cuts / blocks, task / cuts % blocks);
        isa.run(MaxRows {
            input: input.block(image, block),
            size: [input.shape().height, input.shape().width],
            spec,
            output: shared,
            output_offset: image * image_stride + block * plane,
            rows: part(shape.height, cuts, task % cuts),
            width: shape.width,
        });
    });
}

struct MaxRows<'a> {
    input: *const f32,
    size: [usize; 2],
    spec: PoolSpec,
    output: Shared<'a>,
    output_offset: usize,
    rows: Range<usize>,
    width: usize,
}

impl MaxRows<'_> {
    /// The part of the window at `index` that lies on a side of `size` pixels.
    #[inline(always)]
    fn window(&self, index: usize, size: usize) -> Range<usize> {
        let start = index * self.spec.stride;
        let end = (start + self.spec.kernel).saturating_sub(self.spec.padding);
        start.saturating_sub(self.spec.padding)..end.min(size)
    }
}

impl Kernel for MaxRows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let [height, width] = self.size;
        for row in self.rows.clone() {
            let ys = self.window(row, height);
            for column in 0..self.width {
                let xs = self.window(column, width);
                let mut largest = S::splat(f32::NEG_INFINITY);
                for y in ys.clone() {
                    for x in xs.clone() {
                        let value = S::load(self.input.add((y * width + x) * S::LANES));
                        largest = S::max(largest, value);
                    }
                }
                let at = self.output_offset + (row * self.width + column) * S::LANES;
                S::store(self.output.at(at), largest);
            }
        }
    }
}

/// Mean over all pixels of each channel. Rows are summed first, then the rows' sums, so that the
/// error does not grow with the size of the map.
///
/// # Panics
/// If `output` is not 1×1 pixels of as many channels.
pub fn global_avg_pool(input: Map<'_>, output: &mut MapMut<'_>) {
    let (isa, shape, blocks) = (input.isa(), input.shape(), input.blocks());
    let expected = MapShape::new(shape.batch, shape.channels, 1, 1);
    crate::map::assert_same(expected, output.shape());
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(shape.batch * blocks, |task| {
        let (image, block) = (task / blocks, task % blocks);
        isa.run(Mean {
            input: input.block(image, block),
            rows: shape.height,
            width: shape.width,
            // SAFETY: a block of a picture is written by the one task that has its index.
            output: unsafe { shared.at(image * image_stride + block * plane) },
        });
    });
}

struct Mean {
    input: *const f32,
    rows: usize,
    width: usize,
    output: *mut f32,
}

impl Kernel for Mean {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // Independent sums, so that one addition need not wait for the one before.
        const CHAINS: usize = 4;
        let mut total = S::zero();
        for row in 0..self.rows {
            let row = self.input.add(row * self.width * S::LANES);
            let mut sums = [S::zero(); CHAINS];
            for x in 0..self.width {
                let sum = &mut sums[x % CHAINS];
                *sum = S::add(*sum, S::load(row.add(x * S::LANES)));
            }
            let [a, b, c, d] = sums;
            total = S::add(total, S::add(S::add(a, b), S::add(c, d)));
        }
        let pixels = (self.rows * self.width) as f32;
        S::store(self.output, S::mul(total, S::splat(1.0 / pixels)));
    }
}
