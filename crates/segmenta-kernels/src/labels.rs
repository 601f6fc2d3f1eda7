//! From logits to label maps: bilinear resize and argmax in one pass, so that logits are never
//! held at the size of the photograph.

use rayon::prelude::*;

use crate::isa::{Isa, Kernel};
use crate::resize::{Samples, mix_rows, stretch};
use crate::simd::Simd;

/// Planar logits of one picture, `[classes][height][width]`, of which a rectangle counts.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    /// The values.
    pub values: &'a [f32],
    /// Number of classes, at most 256. One means binary: class 1 where the logit is positive.
    pub classes: usize,
    /// Rows of each plane.
    pub height: usize,
    /// Columns of each plane.
    pub width: usize,
    /// The part that shows picture: left, top, width, height.
    pub valid: [usize; 4],
}

impl Logits<'_> {
    fn check(&self, output: usize, [height, width]: [usize; 2]) {
        let [left, top, columns, rows] = self.valid;
        assert!(
            (1..=256).contains(&self.classes),
            "{} classes",
            self.classes
        );
        assert_eq!(
            self.values.len(),
            self.classes * self.height * self.width,
            "logits"
        );
        assert!(columns > 0 && left + columns <= self.width, "valid columns");
        assert!(rows > 0 && top + rows <= self.height, "valid rows");
        assert_eq!(output, height * width, "labels of {height}×{width}");
    }

    /// The plane of a class, from the first valid value on.
    #[inline(always)]
    fn plane(&self, class: usize) -> &[f32] {
        let [left, top, ..] = self.valid;
        let start = class * self.height * self.width;
        &self.values[start + top * self.width + left..start + self.height * self.width]
    }
}

/// The class of the largest logit at each of `height`×`width` pixels, the valid part being
/// resized bilinearly (`align_corners = false`). Ties go to the lower class, as in PyTorch.
///
/// # Panics
/// If extents do not fit.
pub fn labels(isa: Isa, logits: Logits<'_>, size: [usize; 2], output: &mut [u8]) {
    logits.check(output.len(), size);
    each_row(isa, logits, size, false, output, |best, label| {
        *label = best.class;
    });
}

/// How sure the network is of [`labels`]: the softmax (with one class, the sigmoid) of the winner
/// at each pixel, 0 to 1.
///
/// # Panics
/// If extents do not fit.
pub fn winning_probability(isa: Isa, logits: Logits<'_>, size: [usize; 2], output: &mut [f32]) {
    logits.check(output.len(), size);
    each_row(isa, logits, size, true, output, |best, score| {
        *score = if logits.classes == 1 {
            1.0 / (1.0 + (-best.logit.abs()).exp())
        } else {
            1.0 / best.sum
        };
    });
}

/// The winner at one pixel so far.
#[derive(Clone, Copy)]
struct Best {
    logit: f32,
    class: u8,
    /// Sum of `e^(logit − best logit)` over the classes seen.
    sum: f32,
}

/// Hands each row's winners to `finish`, rows cut over the threads.
fn each_row<T: Send>(
    isa: Isa,
    logits: Logits<'_>,
    [height, width]: [usize; 2],
    with_sum: bool,
    output: &mut [T],
    finish: impl Fn(Best, &mut T) + Sync,
) {
    const ROWS: usize = 8;
    let [_, _, columns, rows] = logits.valid;
    let ys = &Samples::new(rows, height, false);
    let xs = &Samples::new(columns, width, false);
    let bands = output.par_chunks_mut(width).enumerate().with_min_len(ROWS);
    bands.for_each(|(row, output)| {
        let best = isa.run(Winners {
            logits,
            y: ys.at(row),
            xs,
            with_sum,
        });
        for (output, best) in output.iter_mut().zip(best) {
            finish(best, output);
        }
    });
}

/// The winners of one row.
struct Winners<'a> {
    logits: Logits<'a>,
    y: (usize, usize, f32),
    xs: &'a Samples,
    with_sum: bool,
}

impl Kernel for Winners<'_> {
    type Output = Vec<Best>;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Vec<Best> {
        let Logits {
            classes,
            width,
            valid,
            ..
        } = self.logits;
        let mut mixed = vec![0.0; valid[2]];
        let mut row = vec![0.0; self.xs.low.len()];
        let start = Best {
            logit: f32::NEG_INFINITY,
            class: 0,
            sum: 0.0,
        };
        let mut best = vec![start; row.len()];
        for class in 0..classes {
            mix_rows(self.logits.plane(class), width, self.y, &mut mixed);
            stretch(&mixed, self.xs, &mut row);
            if self.with_sum {
                for (best, &logit) in best.iter_mut().zip(&row) {
                    if logit > best.logit {
                        best.sum = best.sum * (best.logit - logit).exp() + 1.0;
                        (best.logit, best.class) = (logit, class as u8);
                    } else {
                        best.sum += (logit - best.logit).exp();
                    }
                }
            } else {
                for (best, &logit) in best.iter_mut().zip(&row) {
                    let wins = logit > best.logit;
                    best.logit = if wins { logit } else { best.logit };
                    best.class = if wins { class as u8 } else { best.class };
                }
            }
        }
        if classes == 1 {
            best.iter_mut()
                .for_each(|b| b.class = u8::from(b.logit > 0.0));
        }
        best
    }
}
