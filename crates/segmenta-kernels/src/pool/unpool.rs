//! Values put back to where their maxima were found: unpooling, and the gradients of both pools.
//!
//! Contract: every output pixel is 0 but those that an index names; where two values have one
//! index, the later pixel's is kept (as PyTorch does on one thread), or, in a gradient, they are added in
//! the order of pixels. The output is zeroed a few rows ahead of what is written, while it is in the
//! cache. Exact.

use std::ops::Range;

use crate::isa::Kernel;
use crate::map::{Map, MapMut, one_isa};
use crate::shared::{in_parallel, part, parts};
use crate::simd::Simd;

/// Puts each value of `input` to its index in `output`, zeros elsewhere (PyTorch's `MaxUnpool2d`).
/// `indices` are `row · width + column` in the output's plane, laid out as
/// [`max_pool_with_indices`](crate::max_pool_with_indices) writes them.
///
/// # Panics
/// If batch or channels differ, there are not as many indices as values, or one lies outside
/// the output.
pub fn max_unpool(input: Map<'_>, indices: &[u32], output: &mut MapMut<'_>) {
    scatter(input, indices, output, false);
}

/// The gradient of a maximum pool's input: each value of `dy` is added where its maximum was found.
///
/// # Panics
/// If batch or channels differ, there are not as many indices as values, or one lies outside `dx`.
pub fn max_pool_gradient(dy: Map<'_>, indices: &[u32], dx: &mut MapMut<'_>) {
    scatter(dy, indices, dx, true);
}

/// The gradient of [`max_unpool`]'s input: each value is read from where its value was put.
///
/// # Panics
/// If batch or channels differ, there are not as many indices as values, or one lies outside `dy`.
pub fn max_unpool_gradient(dy: Map<'_>, indices: &[u32], dx: &mut MapMut<'_>) {
    let isa = one_isa([dy.isa(), dx.isa()]);
    let (from, to) = (dy.shape(), dx.shape());
    assert_eq!(
        (from.batch, from.channels),
        (to.batch, to.channels),
        "unpooled channels"
    );
    assert_eq!(indices.len(), to.blocked_len(isa), "indices of {to:?}");
    let (blocks, lanes) = (dx.blocks(), isa.lanes());
    let (image_stride, plane) = (dx.image_stride(), dx.plane());
    let shared = dx.shared();
    in_parallel(to.batch * blocks, |task| {
        let (image, block) = (task / blocks, task % blocks);
        let at = image * image_stride + block * plane;
        // SAFETY: a block of a picture is written by the one task that has its index.
        let dx = unsafe { std::slice::from_raw_parts_mut(shared.at(at), plane) };
        let dy = dy.block_slice(image, block);
        let indices = &indices[task * plane..][..plane];
        for (i, (dx, &index)) in dx.iter_mut().zip(indices).enumerate() {
            *dx = dy[index as usize * lanes + i % lanes];
        }
    });
}

fn scatter(input: Map<'_>, indices: &[u32], output: &mut MapMut<'_>, add: bool) {
    let (from, to) = (input.shape(), output.shape());
    assert_eq!(
        (from.batch, from.channels),
        (to.batch, to.channels),
        "unpooled channels"
    );
    let isa = one_isa([input.isa(), output.isa()]);
    let blocks = input.blocks();
    assert!(u32::try_from(to.pixels()).is_ok(), "indices into {to:?}");
    assert_eq!(indices.len(), from.blocked_len(isa), "indices of {from:?}");
    // A task reads all indices of its block, so blocks are cut only where they are too few.
    let planes = from.batch * blocks;
    let cuts = (2 * rayon::current_num_threads())
        .div_ceil(planes)
        .min(parts(to.height, 16));
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(planes * cuts, |task| {
        let (image, block) = (task / cuts / blocks, task / cuts % blocks);
        let rows = part(to.height, cuts, task % cuts);
        isa.run(Scatter {
            input: input.block_slice(image, block),
            indices: &indices[(image * blocks + block) * input.plane()..][..input.plane()],
            width: from.width,
            // SAFETY: rows of a block are written by the one task whose part they are in.
            output: unsafe { shared.at(image * image_stride + block * plane) },
            part: (rows.start * to.width) as u32..(rows.end * to.width) as u32,
            pixels: to.pixels(),
            add,
        });
    });
}

/// Some rows of the output of one block of one picture.
struct Scatter<'a> {
    input: &'a [f32],
    indices: &'a [u32],
    /// Columns of the input.
    width: usize,
    output: *mut f32,
    /// The pixels of the output that are this task's.
    part: Range<u32>,
    /// All pixels of the output.
    pixels: usize,
    /// Whether values are added to what is there.
    add: bool,
}

impl Kernel for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: every index of a row was compared with the output's pixels, and only those of this task's
        // part are written to.
        unsafe {
            let row = self.width * S::LANES;
            let rows = self.input.chunks_exact(row);
            let mut zeroed = self.part.start;
            for (values, indices) in rows.zip(self.indices.chunks_exact(row)) {
                let (mut least, mut most) = (u32::MAX, 0);
                for &index in indices {
                    least = least.min(index);
                    most = most.max(index);
                }
                assert!(
                    (most as usize) < self.pixels,
                    "index {most} in a plane of {} pixels",
                    self.pixels
                );
                if most < self.part.start || least >= self.part.end {
                    continue;
                }
                let ahead = (most + 1).min(self.part.end);
                self.zero::<S>(zeroed..ahead);
                zeroed = zeroed.max(ahead);
                let (output, part) = (self.output, self.part.clone());
                if least >= part.start && most < part.end {
                    for pixel in (0..row).step_by(S::LANES) {
                        for lane in 0..S::LANES {
                            let index = *indices.get_unchecked(pixel + lane) as usize;
                            let value = *values.get_unchecked(pixel + lane);
                            let to = output.add(index * S::LANES + lane);
                            *to = if self.add { *to + value } else { value };
                        }
                    }
                } else {
                    for (i, (&value, &index)) in values.iter().zip(indices).enumerate() {
                        if part.contains(&index) {
                            let to = output.add(index as usize * S::LANES + i % S::LANES);
                            *to = if self.add { *to + value } else { value };
                        }
                    }
                }
            }
            self.zero::<S>(zeroed..self.part.end);
        }
    }
}

impl Scatter<'_> {
    /// # Safety
    /// As for [`Kernel::run`]; the pixels are this task's.
    #[inline(always)]
    unsafe fn zero<S: Simd>(&self, pixels: Range<u32>) {
        // SAFETY: pixels of the output's block.
        unsafe {
            let at = self.output.add(pixels.start as usize * S::LANES);
            at.write_bytes(0, pixels.len() * S::LANES);
        }
    }
}
