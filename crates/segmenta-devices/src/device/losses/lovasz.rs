//! Lovász losses: the device computes errors and their sum; the host ranks them.

use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Tensor, TensorData};
use segmenta_losses::{Lovasz, Mode};

use super::sums::{nothing, total};
use super::{OnTape, Truth};
use crate::device::numbers::values_of;

impl OnTape for Lovasz {
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
        let target = truth.target;
        let hot = truth.one_hot();
        let errors = match target.mode() {
            // 1 − p where the class is, p where it is not.
            Mode::Multiclass => {
                let sign = hot.clone() * -2.0 + 1.0;
                softmax(logits.clone(), 1) * sign + hot
            }
            Mode::Binary | Mode::Multilabel => {
                let sign = hot * -2.0 + 1.0;
                relu(logits.clone() * sign + 1.0)
            }
        };
        let Ok(values) = values_of(errors.clone().detach()) else {
            // A device that gives nothing back has failed; the loss says so by being no number.
            return nothing(logits) + f32::NAN;
        };
        let weights = TensorData::new(self.weights(&values, target), target.shape());
        total(errors.clone() * Tensor::from_data(weights, &errors.device()))
    }
}
