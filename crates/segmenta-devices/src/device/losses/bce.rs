//! Binary cross entropy, and its smoothed form.

use burn::tensor::{Tensor, activation::log_sigmoid};
use segmenta_losses::{BceWithLogits, PosWeight, SoftBceWithLogits};

use super::sums::{a_class, nothing, total};
use super::{OnTape, Truth};

impl OnTape for BceWithLogits {
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
        let target = truth.target;
        let counted: u64 = target.counted().iter().sum();
        if counted == 0 {
            return nothing(logits);
        }
        let loss = each(logits, truth.one_hot(), self.pos_weight.as_ref());
        total(truth.only_valid(loss)) / counted as f64
    }
}

impl OnTape for SoftBceWithLogits {
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
        let target = truth.target;
        let soft = truth.one_hot() * (1.0 - 2.0 * self.smooth_factor) + self.smooth_factor;
        let loss = each(logits, soft, self.pos_weight.as_ref());
        total(truth.only_valid(loss)) / target.len() as f64
    }
}

/// `−(p y log σ(x) + (1 − y) log(1 − σ(x)))` of each value. With `log(1 − σ(x)) = log σ(x) − x` there is one
/// logarithm, and nothing overflows.
pub(super) fn each(logits: Tensor<4>, truth: Tensor<4>, positive: Option<&PosWeight>) -> Tensor<4> {
    let log_p = log_sigmoid(logits.clone());
    let log_p = match positive {
        None => log_p,
        Some(weight) => {
            let classes = logits.dims()[1];
            let more = a_class(weight.each(classes), &logits) - 1.0;
            log_p * (truth.clone() * more + 1.0)
        }
    };
    logits * (-truth + 1.0) - log_p
}
