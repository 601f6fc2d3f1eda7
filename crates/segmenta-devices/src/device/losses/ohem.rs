//! Cross entropy over hard pixels only, which are found on the host.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use segmenta_losses::OhemCrossEntropy;

use super::sums::{nothing, total};
use super::{OnTape, Truth};
use crate::device::numbers::values_of;

impl OnTape for OhemCrossEntropy {
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
        let target = truth.target;
        let Some(ids) = truth.ids() else {
            return nothing(logits);
        };
        let log_p = log_softmax(logits.clone(), 1).gather(1, ids.clone());
        let Ok(easy) = values_of(log_p.clone().detach()) else {
            // A device that gives nothing back has failed; the loss says so by being no number.
            return nothing(logits) + f32::NAN;
        };
        let (factors, kept) = self.factors(&easy, target);
        if kept == 0 {
            return nothing(logits);
        }
        let factors = TensorData::new(factors, ids.dims());
        total(log_p.clone() * Tensor::from_data(factors, &log_p.device())) * (-1.0 / kept as f64)
    }
}
