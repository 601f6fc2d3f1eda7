//! Sigmoid and binary cross entropy of each logit by itself (PyTorch's `BCEWithLogitsLoss`, reduction
//! `mean`).
//!
//! Contract: each logit and target is read once, each gradient written once; the loss is summed in f64, in
//! the order of the values, of terms with an error of 3·10⁻⁷ of their value. A NaN stays one.

use crate::derivative::sigmoid;
use crate::exp::exp;
use crate::isa::{Isa, Kernel};
use crate::map::MapShape;
use crate::shared::{Shared, in_parallel};
use crate::simd::Simd;

use super::TASK;
use super::cross_entropy::Sums;

/// How positive targets count.
#[derive(Clone, Copy, Debug, Default)]
pub struct BinaryCrossEntropy<'a> {
    /// What a positive target of each channel counts for; empty for 1.
    pub positive_weights: &'a [f32],
}

/// The loss of `logits` for `targets` (0 to 1), both `[batch][channels][height][width]`, and `factor`
/// times its gradient.
///
/// # Panics
/// If the slices do not have the lengths of the shape, or there are not as many weights as channels.
pub fn binary_cross_entropy(
    isa: Isa,
    loss: BinaryCrossEntropy<'_>,
    logits: &[f32],
    shape: MapShape,
    targets: &[f32],
    factor: f32,
    gradient: &mut [f32],
) -> f32 {
    let len = shape.batch_len();
    for of in [logits.len(), targets.len(), gradient.len()] {
        assert_eq!(of, len, "a batch of {shape:?}");
    }
    assert!(
        [0, shape.channels].contains(&loss.positive_weights.len()),
        "one weight a channel"
    );
    let (pixels, planes) = (shape.pixels(), shape.batch * shape.channels);
    let cuts = pixels.div_ceil(TASK);
    let mut sums = vec![0.0_f64; planes * cuts];
    let (out, each) = (Shared::new(gradient), Sums(sums.as_mut_ptr()));
    in_parallel(planes * cuts, |task| {
        let (plane, first) = (task / cuts, task % cuts * TASK);
        let (at, count) = (plane * pixels + first, TASK.min(pixels - first));
        let weights = loss.positive_weights;
        let sum = isa.run(Values {
            logits: &logits[at..][..count],
            targets: &targets[at..][..count],
            // SAFETY: values are written by the one task whose range they are in.
            gradient: unsafe { std::slice::from_raw_parts_mut(out.at(at), count) },
            positive: weights.get(plane % shape.channels).copied().unwrap_or(1.0),
            factor: factor / len as f32,
        });
        // SAFETY: a sum is written by the one task that has its number.
        unsafe { each.set(task, sum) }
    });
    (sums.iter().sum::<f64>() / len as f64) as f32
}

/// Some values of one plane.
struct Values<'a> {
    logits: &'a [f32],
    targets: &'a [f32],
    gradient: &'a mut [f32],
    positive: f32,
    factor: f32,
}

impl Kernel for Values<'_> {
    type Output = f64;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> f64 {
        // SAFETY: vectors are loaded from and stored to arrays that have room for the widest.
        unsafe {
            let (factor, more) = (S::splat(self.factor), S::splat(self.positive - 1.0));
            let (zero, one) = (S::zero(), S::splat(1.0));
            let (mut vector, mut loss) = ([[0.0_f32; 16]; 2], 0.0);
            let rows = self.gradient.chunks_mut(S::LANES);
            let values = self
                .logits
                .chunks(S::LANES)
                .zip(self.targets.chunks(S::LANES));
            for (gradient, (x, t)) in rows.zip(values) {
                vector[0][..x.len()].copy_from_slice(x);
                vector[1][..t.len()].copy_from_slice(t);
                let (x, t) = (S::load(vector[0].as_ptr()), S::load(vector[1].as_ptr()));
                let (minus, not) = (S::sub(zero, x), S::sub(one, t));
                let weight = S::mul_add(more, t, one);
                // −log σ(x), and −log(1 − σ(x)) is x more.
                let small = exp::<S>(S::min(x, minus));
                let positive = S::add(ln_1p::<S>(small), S::max(zero, minus));
                let term = S::mul_add(not, x, S::mul(weight, positive));
                // (1 − t) − weight · σ(−x).
                let slope = S::sub(not, S::mul(weight, sigmoid::<S>(minus)));
                S::store(vector[0].as_mut_ptr(), S::mul(slope, factor));
                S::store(vector[1].as_mut_ptr(), term);
                gradient.copy_from_slice(&vector[0][..gradient.len()]);
                for &term in &vector[1][..gradient.len()] {
                    loss += f64::from(term);
                }
            }
            loss
        }
    }
}

/// `ln(1 + x)` for `x` from 0 to 1: twice the inverse hyperbolic tangent of `x / (2 + x)`, whose series
/// is cut where its terms are below 1.5·10⁻⁸ of the sum.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub(super) unsafe fn ln_1p<S: Simd>(x: S::V) -> S::V {
    // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
    unsafe {
        let z = S::div(x, S::add(x, S::splat(2.0)));
        let square = S::mul(z, z);
        let mut sum = S::splat(1.0 / 13.0);
        for odd in [11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
            sum = S::mul_add(sum, square, S::splat(1.0 / odd));
        }
        S::mul(S::add(z, z), sum)
    }
}
