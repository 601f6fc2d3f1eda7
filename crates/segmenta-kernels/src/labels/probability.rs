//! How sure a network is: probabilities of the winner, or of every class, at any size.

use rayon::prelude::*;

use super::{Logits, ROWS};
use crate::isa::{Isa, Kernel};
use crate::map::MapShape;
use crate::resize::{Samples, mix_rows, stretch};
use crate::simd::Simd;
use crate::softmax::softmax_planar;

/// How a network's values become probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToProbability {
    /// They are.
    Identity,
    /// Each by itself: `1 / (1 + e^−v)`.
    Sigmoid,
    /// Each by itself: `e^v`.
    Exp,
    /// Over the classes: `e^v / Σ e^v`.
    Softmax,
    /// The values are hyperbolic tangents of logits, each by itself.
    SigmoidOfArtanh,
    /// The values are hyperbolic tangents of logits, over the classes.
    SoftmaxOfArtanh,
    /// The values are parts of a whole, from 0 on: `v / Σ v`; equal ones where all are 0. Of one class the value itself,
    /// at most 1.
    Share,
}

impl ToProbability {
    /// The probability that a value says by itself, and one minus it, without cancellation where that can be.
    #[inline(always)]
    fn alone(self, value: f32) -> [f32; 2] {
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        match self {
            Self::Identity => [value, 1.0 - value],
            // A part by itself has no whole: what is more than 1 is as sure as can be.
            Self::Share => {
                let value = if value > 1.0 { 1.0 } else { value };
                [value, 1.0 - value]
            }
            Self::Exp => [value.exp(), -value.exp_m1()],
            // Of one class, the softmax over a class and a background whose logit is 0.
            Self::Sigmoid | Self::Softmax => [sigmoid(value), sigmoid(-value)],
            Self::SigmoidOfArtanh | Self::SoftmaxOfArtanh => {
                let logit = artanh(value);
                [sigmoid(logit), sigmoid(-logit)]
            }
        }
    }

    /// Whether it looks at all classes of a pixel.
    fn is_over_classes(self) -> bool {
        self.logit().is_some() || self == Self::Softmax
    }

    /// What makes logits of the values whose softmax is wanted, if they are none.
    fn logit(self) -> Option<fn(f32) -> f32> {
        match self {
            Self::SoftmaxOfArtanh => Some(artanh),
            // The softmax of logarithms is the share.
            Self::Share => Some(|value| value.max(f32::MIN_POSITIVE).ln()),
            Self::Identity | Self::Sigmoid | Self::Exp | Self::Softmax | Self::SigmoidOfArtanh => {
                None
            }
        }
    }
}

/// The logit whose hyperbolic tangent is `value`, from −1 to 1; what is rounded to ±1 is ±9.01, the nearest
/// that an `f32` short of 1 says.
#[inline(always)]
fn artanh(value: f32) -> f32 {
    const NEAREST: f32 = 1.0 - f32::EPSILON / 2.0;
    let value = value.clamp(-NEAREST, NEAREST);
    0.5 * ((1.0 + value).ln() - (1.0 - value).ln())
}

/// How sure the network is of [`labels`](super::labels) at each pixel, 0 to 1: the probability of the winner, or,
/// with one class, of the label that the threshold gives.
///
/// # Panics
/// If extents do not fit.
pub fn winning_probability(
    isa: Isa,
    logits: Logits<'_>,
    how: ToProbability,
    size: [usize; 2],
    output: &mut [f32],
) {
    logits.check(output.len(), size);
    let [height, width] = size;
    let ys = &logits.rows().samples(height);
    let xs = &logits.columns().samples(width);
    let bands = output.par_chunks_mut(width).enumerate().with_min_len(ROWS);
    bands.for_each(|(row, output)| {
        let best = isa.run(Winners {
            logits,
            logit: how.logit().filter(|_| logits.classes > 1),
            y: ys.at(row),
            xs,
        });
        for (score, best) in output.iter_mut().zip(best) {
            *score = if logits.classes == 1 {
                let [yes, no] = how.alone(best.value);
                if best.value > logits.threshold {
                    yes
                } else {
                    no
                }
            } else if how.is_over_classes() {
                1.0 / best.sum
            } else {
                how.alone(best.value)[0]
            };
        }
    });
}

/// The winner at one pixel so far.
#[derive(Clone, Copy)]
struct Best {
    value: f32,
    /// Sum of `e^(value − best value)` over the classes seen.
    sum: f32,
}

/// The winners of one row.
struct Winners<'a> {
    logits: Logits<'a>,
    /// What makes logits of the values, if they are none.
    logit: Option<fn(f32) -> f32>,
    y: (usize, usize, f32),
    xs: &'a Samples,
}

impl Kernel for Winners<'_> {
    type Output = Vec<Best>;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Vec<Best> {
        let Logits { classes, width, .. } = self.logits;
        let mut mixed = vec![0.0; self.logits.columns().count];
        let mut row = vec![0.0; self.xs.low.len()];
        let start = Best {
            value: f32::NEG_INFINITY,
            sum: 0.0,
        };
        let mut best = vec![start; row.len()];
        for class in 0..classes {
            mix_rows(self.logits.plane(class), width, self.y, &mut mixed);
            stretch(&mixed, self.xs, &mut row);
            if let Some(logit) = self.logit {
                row.iter_mut().for_each(|value| *value = logit(*value));
            }
            for (best, &value) in best.iter_mut().zip(&row) {
                if value > best.value {
                    best.sum = best.sum * (best.value - value).exp() + 1.0;
                    best.value = value;
                } else {
                    best.sum += (value - best.value).exp();
                }
            }
        }
        best
    }
}

/// Every class's values at `height`×`width` pixels, the valid part being resized bilinearly
/// (`align_corners = false`): `[classes][height][width]`.
///
/// # Panics
/// If extents do not fit.
pub fn class_scores(isa: Isa, logits: Logits<'_>, size: [usize; 2], output: &mut [f32]) {
    let [height, width] = size;
    assert_eq!(
        output.len(),
        logits.classes * height * width,
        "scores of {height}×{width}"
    );
    logits.check(height * width, size);
    let columns = logits.columns().count;
    let ys = &logits.rows().samples(height);
    let xs = &logits.columns().samples(width);
    let rows = output.par_chunks_mut(width).enumerate().with_min_len(ROWS);
    rows.for_each_init(
        || vec![0.0; columns],
        |mixed, (index, output)| {
            isa.run(ScoreRow {
                plane: logits.plane(index / height),
                width: logits.width,
                y: ys.at(index % height),
                xs,
                mixed,
                output,
            });
        },
    );
}

/// One row of one class.
struct ScoreRow<'a> {
    plane: &'a [f32],
    /// From one row of the plane to the next.
    width: usize,
    y: (usize, usize, f32),
    xs: &'a Samples,
    /// Overwritten.
    mixed: &'a mut [f32],
    output: &'a mut [f32],
}

impl Kernel for ScoreRow<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        mix_rows(self.plane, self.width, self.y, self.mixed);
        stretch(self.mixed, self.xs, self.output);
    }
}

/// The probability of each id of a label map, 0 to 1, from [`class_scores`]: `[ids][pixels]`. One class gives
/// two ids, the background and it.
///
/// # Panics
/// If `scores` are not `classes` planes, or there is none.
pub fn label_probabilities(
    isa: Isa,
    mut scores: Vec<f32>,
    classes: usize,
    how: ToProbability,
) -> Vec<f32> {
    assert!(
        classes > 0 && scores.len().is_multiple_of(classes),
        "planes"
    );
    let pixels = scores.len() / classes;
    if classes == 1 {
        let mut both = vec![0.0; 2 * pixels];
        let (background, class) = both.split_at_mut(pixels);
        let of_pixel = background.par_iter_mut().zip(class).zip(&scores);
        of_pixel.for_each(|((background, class), &value)| {
            [*class, *background] = how.alone(value);
        });
        return both;
    }
    if let Some(logit) = how.logit() {
        scores
            .par_iter_mut()
            .for_each(|value| *value = logit(*value));
    }
    if how.is_over_classes() {
        let mut shares = vec![0.0; scores.len()];
        let shape = MapShape::new(1, classes, 1, pixels);
        softmax_planar(isa, &scores, shape, &mut shares);
        return shares;
    }
    if how != ToProbability::Identity {
        scores
            .par_iter_mut()
            .for_each(|value| *value = how.alone(*value)[0]);
    }
    scores
}

#[cfg(test)]
mod tests;
