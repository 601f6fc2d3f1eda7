//! The gradient of a bias: the sum over all pixels of a channel.
//!
//! Contract: sums of rows of eight pixels, then of the rows of a picture, then of the pictures.

use crate::isa::Kernel;
use crate::map::Map;
use crate::shared::{Shared, in_parallel};
use crate::simd::Simd;

/// `gradient[c] = Σ dy[c]` over the pixels of all pictures.
///
/// # Panics
/// If there are not as many values as channels.
pub fn bias_gradient(dy: Map<'_>, gradient: &mut [f32]) {
    let (shape, isa) = (dy.shape(), dy.isa());
    assert_eq!(gradient.len(), shape.channels, "one value a channel");
    let lanes = isa.lanes();
    let shared = Shared::new(gradient);
    in_parallel(dy.blocks(), |block| {
        let mut sum = [0.0; 16];
        for image in 0..shape.batch {
            isa.run(Add {
                from: dy.block_slice(image, block),
                to: &mut sum,
            });
        }
        let first = block * lanes;
        for (lane, &sum) in sum
            .iter()
            .enumerate()
            .take((shape.channels - first).min(lanes))
        {
            // SAFETY: a channel is written by the one task that has its block.
            unsafe { *shared.at(first + lane) = sum }
        }
    });
}

/// Adds the pixels of one block of one picture.
struct Add<'a> {
    from: &'a [f32],
    to: &'a mut [f32; 16],
}

impl Kernel for Add<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: pixels are counted from the slice's own length; `to` has room for the widest vector.
        unsafe {
            const TOGETHER: usize = 8;
            const RUN: usize = 32;
            let pixels = self.from.len() / S::LANES;
            let at = |pixel: usize| self.from.as_ptr().add(pixel * S::LANES);
            let mut total = S::load(self.to.as_ptr());
            let mut pixel = 0;
            while pixel < pixels {
                let end = (pixel + TOGETHER * RUN).min(pixels);
                let mut sums = [S::zero(); TOGETHER];
                while pixel + TOGETHER <= end {
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = S::add(*sum, S::load(at(pixel + i)));
                    }
                    pixel += TOGETHER;
                }
                while pixel < end {
                    sums[0] = S::add(sums[0], S::load(at(pixel)));
                    pixel += 1;
                }
                let mut sum = sums[0];
                for &other in &sums[1..] {
                    sum = S::add(sum, other);
                }
                total = S::add(total, sum);
            }
            S::store(self.to.as_mut_ptr(), total);
        }
    }
}
