//! Focal loss.

use burn::tensor::Tensor;
use segmenta_losses::Focal;

use super::bce;
use super::sums::{constants, nothing, of_classes};
use super::{OnTape, Truth};

/// Smallest divisor of the normalised loss.
const EPS: f32 = 1e-6;

impl OnTape for Focal {
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
        let target = truth.target;
        let counted = target.counted();
        if counted.iter().all(|&n| n == 0) {
            return nothing(logits);
        }
        let hot = truth.one_hot();
        let cross_entropy = bce::each(logits, hot.clone(), None);
        let p = (-cross_entropy.clone()).exp();
        let wrong = -p.clone() + 1.0;
        let focus = match self.reduced_threshold {
            None => power(wrong, self.gamma),
            Some(threshold) => {
                let below = p.lower_elem(threshold);
                power(wrong / threshold, self.gamma).mask_fill(below, 1.0)
            }
        };
        let mut loss = focus.clone() * cross_entropy;
        if let Some(alpha) = self.alpha {
            loss = loss * (hot * (2.0 * alpha - 1.0) + (1.0 - alpha));
        }
        let mut of_class = of_classes(truth.only_valid(loss));
        if self.normalized {
            of_class = of_class / of_classes(truth.only_valid(focus)).clamp_min(EPS);
        }
        let weights = self
            .class_weights
            .as_deref()
            .map_or_else(|| vec![1.0; counted.len()], <[f32]>::to_vec);
        let whole: f32 = weights.iter().sum();
        let shares = weights
            .iter()
            .zip(counted)
            .map(|(w, n)| w / (whole * n.max(1) as f32));
        (of_class.clone() * constants(shares.collect(), &of_class)).sum()
    }
}

/// `x^gamma` for `x ≥ 0`; the two that are common without logarithms.
fn power(x: Tensor<4>, gamma: f32) -> Tensor<4> {
    match gamma {
        1.0 => x,
        2.0 => x.clone() * x,
        _ => x.powf_scalar(gamma),
    }
}
