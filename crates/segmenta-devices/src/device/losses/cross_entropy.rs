//! Cross entropy of one class a pixel.

use burn::tensor::{Tensor, activation::log_softmax};
use segmenta_losses::CrossEntropy;

use super::sums::{a_class, constants, nothing, total};
use super::{OnTape, Truth};

impl OnTape for CrossEntropy {
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
        let target = truth.target;
        let weights = self
            .weight
            .as_deref()
            .map_or_else(|| vec![1.0; target.classes()], <[f32]>::to_vec);
        let counts = target.positives();
        let whole: f64 = weights
            .iter()
            .zip(counts)
            .map(|(&w, n)| f64::from(w) * n as f64)
            .sum();
        let Some(ids) = truth.ids().filter(|_| whole > 0.0) else {
            return nothing(logits);
        };
        let log_p = log_softmax(logits, 1);
        let mut pixel_loss = log_p.clone().gather(1, ids.clone());
        if self.weight.is_some() {
            let of_class = constants(weights.clone(), &log_p);
            let shape = ids.dims();
            pixel_loss = pixel_loss * of_class.select(0, ids.flatten::<1>(0, 3)).reshape(shape);
        }
        if self.label_smoothing > 0.0 {
            let spread = self.label_smoothing / target.classes() as f32;
            let all = if self.weight.is_some() {
                (log_p.clone() * a_class(weights, &log_p)).sum_dim(1)
            } else {
                log_p.sum_dim(1)
            };
            pixel_loss = pixel_loss * (1.0 - self.label_smoothing) + all * spread;
        }
        total(truth.only_valid(pixel_loss)) * (-1.0 / whole)
    }
}
