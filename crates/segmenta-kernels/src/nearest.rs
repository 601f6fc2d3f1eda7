//! Nearest resize of blocked maps.
//!
//! Contract: output pixel `i` of a side reads `⌊i · from / to⌋`, computed in f32 as PyTorch does
//! (`interpolate(mode = "nearest")` to a size). Each input row that is read is widened once; the
//! rows below that repeat it are copied from it while it is in the cache. Exact.

use std::ops::Range;

use crate::isa::Kernel;
use crate::map::{Map, MapMut, one_isa};
use crate::shared::{in_parallel, part, parts};
use crate::simd::Simd;

/// What each of `to` output rows or columns reads on a side of `from` pixels.
pub(crate) fn sources(from: usize, to: usize) -> Vec<u32> {
    let scale = from as f32 / to as f32;
    let source = |i: usize| {
        // PyTorch knows these two cases, too; in the others its rounding is part of the result.
        if to == from {
            i
        } else if to == 2 * from {
            i / 2
        } else {
            ((i as f32 * scale) as usize).min(from - 1)
        }
    };
    (0..to).map(|i| source(i) as u32).collect()
}

/// Resizes a blocked map to the size of `output`, each pixel a copy of the nearest one above
/// and to the left.
///
/// # Panics
/// If batch or channels differ.
pub fn resize_nearest(input: Map<'_>, output: &mut MapMut<'_>) {
    let (from, to) = (input.shape(), output.shape());
    assert_eq!(
        (from.batch, from.channels),
        (to.batch, to.channels),
        "resize"
    );
    let isa = one_isa([input.isa(), output.isa()]);
    let blocks = input.blocks();
    let ys = &sources(from.height, to.height);
    let xs = &sources(from.width, to.width);
    let cuts = parts(to.height, 8);
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(to.batch * blocks * cuts, |task| {
        let (image, block) = (task / cuts / blocks, task / cuts % blocks);
        isa.run(Rows {
            input: input.block(image, block),
            width: from.width,
            ys,
            xs,
            rows: part(to.height, cuts, task % cuts),
            // SAFETY: rows of a block are written by the one task whose part they are in.
            output: unsafe { shared.at(image * image_stride + block * plane) },
        });
    });
}

/// Some rows of one block of one picture.
struct Rows<'a> {
    input: *const f32,
    width: usize,
    ys: &'a [u32],
    xs: &'a [u32],
    rows: Range<usize>,
    output: *mut f32,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: sources lie on the input's sides, rows are this task's; a row that is copied is one that
        // this task has written.
        unsafe {
            let len = self.xs.len() * S::LANES;
            for row in self.rows.clone() {
                let to = self.output.add(row * len);
                if row > self.rows.start && self.ys[row] == self.ys[row - 1] {
                    to.copy_from_nonoverlapping(to.sub(len), len);
                    continue;
                }
                let from = self
                    .input
                    .add(self.ys[row] as usize * self.width * S::LANES);
                for (x, &source) in self.xs.iter().enumerate() {
                    let pixel = S::load(from.add(source as usize * S::LANES));
                    S::store(to.add(x * S::LANES), pixel);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::buffer::Buffer;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};
    use crate::map::MapShape;
    use crate::reference;
    use crate::threads::Threads;

    fn run(isa: Isa, threads: usize, input: &[f32], from: MapShape, to: MapShape) -> Vec<f32> {
        let input = blocked(isa, from, input);
        let mut output = Buffer::zeros(to.blocked_len(isa));
        output.fill(f32::NAN);
        Threads::new(threads).unwrap().run(|| {
            let mut output = MapMut::whole(isa, to, &mut output);
            resize_nearest(Map::whole(isa, from, &input), &mut output);
        });
        let mut planar = vec![0.0; to.batch * to.planar_len()];
        to_planar(Map::whole(isa, to, &output), &mut planar);
        planar
    }

    proptest! {
        #![proptest_config(segmenta_properties::cases(96))]

        #[test]
        fn any_size(
            batch in 1_usize..3,
            channels in 1_usize..36,
            from in [1_usize..20, 1_usize..20],
            to in [1_usize..50, 1_usize..50],
            factor in 0_usize..5,
            threads in 1_usize..4,
        ) {
            // Most sizes are no multiple of the input's: every other case is.
            let to = if factor > 0 { from.map(|side| side * factor) } else { to };
            let input: Vec<f32> = (0..batch * channels * from[0] * from[1]).map(|i| i as f32).collect();
            let shape = |[height, width]: [usize; 2]| MapShape::new(batch, channels, height, width);
            let expected = reference::resize_nearest(&input, from, to);
            for isa in Isa::available() {
                let got = run(isa, threads, &input, shape(from), shape(to));
                prop_assert_eq!(&got, &expected, "{}", isa);
            }
        }
    }

    #[test]
    fn nan_is_copied() {
        let shape = MapShape::new(1, 1, 1, 1);
        for isa in Isa::available() {
            let got = run(isa, 1, &[f32::NAN], shape, MapShape::new(1, 1, 2, 3));
            assert!(got.iter().all(|x| x.is_nan()), "{isa}");
        }
    }
}
