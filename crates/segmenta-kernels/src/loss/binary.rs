//! Sigmoid and binary cross entropy of each logit by itself (PyTorch's `BCEWithLogitsLoss`, reduction
//! `mean`).
//!
//! Contract: each logit and target is read once, each gradient written once; the loss is summed in f64, in
//! the order of the values, of terms with an error of 2⁻²³ of their value. A NaN stays one.

use crate::derivative::sigmoid;
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
    let len = shape.batch * shape.planar_len();
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
        let mut loss = 0.0;
        for (&x, &t) in self.logits.iter().zip(self.targets) {
            // −log σ(x), and −log(1 − σ(x)) is x more.
            let positive = (-x.abs()).exp().ln_1p() + 0.0_f32.max(-x);
            let weight = 1.0 + (self.positive - 1.0) * t;
            loss += f64::from((1.0 - t) * x + weight * positive);
        }
        let (factor, more) = (S::splat(self.factor), S::splat(self.positive - 1.0));
        let one = S::splat(1.0);
        let mut vector = [[0.0_f32; 16]; 2];
        let rows = self.gradient.chunks_mut(S::LANES);
        let values = self
            .logits
            .chunks(S::LANES)
            .zip(self.targets.chunks(S::LANES));
        for (gradient, (x, t)) in rows.zip(values) {
            vector[0][..x.len()].copy_from_slice(x);
            vector[1][..t.len()].copy_from_slice(t);
            let (x, t) = (S::load(vector[0].as_ptr()), S::load(vector[1].as_ptr()));
            // (1 − t) − weight · σ(−x).
            let weight = S::mul_add(more, t, one);
            let wrong = sigmoid::<S>(S::sub(S::zero(), x));
            let slope = S::sub(S::sub(one, t), S::mul(weight, wrong));
            S::store(vector[0].as_mut_ptr(), S::mul(slope, factor));
            gradient.copy_from_slice(&vector[0][..gradient.len()]);
        }
        loss
    }
}
