//! Smoothed cross entropy.

use burn::tensor::{Tensor, activation::log_softmax};
use segmenta_losses::SoftCrossEntropy;

use super::sums::total;
use super::{OnTape, Truth};

impl OnTape for SoftCrossEntropy {
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
        let target = truth.target;
        let pixels = target.len() / target.classes();
        let log_p = log_softmax(logits, 1);
        let spread = self.smooth_factor / target.classes() as f32;
        let all = log_p.clone().sum_dim(1) * spread;
        let loss = match truth.ids() {
            Some(ids) => log_p.gather(1, ids) * (1.0 - self.smooth_factor) + all,
            None => all,
        };
        total(truth.only_valid(loss)) * (-1.0 / pixels as f64)
    }
}
