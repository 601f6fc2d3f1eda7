//! Matthews correlation.

use burn::tensor::{Tensor, activation::sigmoid};
use segmenta_losses::Mcc;

use super::sums::{nothing, total};
use super::{OnTape, Truth};

impl OnTape for Mcc {
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
        let target = truth.target;
        let (counted, positives) = (target.counted()[0], target.positives()[0]);
        if counted == 0 {
            return nothing(logits);
        }
        let (real, rest) = (positives as f64, (counted - positives) as f64);
        let p = if self.from_logits {
            sigmoid(logits)
        } else {
            logits
        };
        let found = total(truth.only_valid(p.clone()));
        let tp = total(p * truth.one_hot());
        // The other three follow from the sums of p and of the truth.
        let fp = found - tp.clone();
        let (fn_, tn) = (-tp.clone() + real, -fp.clone() + rest);
        let [tp, fp, fn_, tn] = [tp, fp, fn_, tn].map(|count| count + self.eps);
        let above = tp.clone() * tn.clone() - fp.clone() * fn_.clone();
        // Root by root: the product of four sums over many pixels may leave the range of a float.
        let root = |a: &Tensor<1>, b: &Tensor<1>| (a.clone() + b.clone()).sqrt();
        let below = root(&tp, &fp) * root(&tp, &fn_) * root(&tn, &fp) * root(&tn, &fn_);
        -(above / below) + 1.0
    }
}
