//! Matthews correlation: `MCCLoss` of segmentation_models_pytorch.

use burn::tensor::{Tensor, activation::sigmoid};
use serde::{Deserialize, Serialize};

use super::definition::{Definition, Settings};
use super::sums::{nothing, total};
use super::{LossError, Mode, Target};

/// One minus Matthews' correlation coefficient of one mask over the batch. Abhishek and Hamarneh, "Matthews
/// Correlation Coefficient Loss for Deep Convolutional Networks", 2021.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mcc {
    /// Added to each of the four counts.
    pub eps: f32,
    /// Whether a sigmoid turns the network's outputs into probabilities. The library's own loss has none and takes
    /// what comes for probabilities; `false` gives its numbers.
    pub from_logits: bool,
}

impl Default for Mcc {
    fn default() -> Self {
        Self {
            eps: 1e-5,
            from_logits: true,
        }
    }
}

impl Definition for Mcc {
    const NAME: &'static str = "mcc";

    fn check(&self, mode: Mode, _classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.only_binary(mode, "use dice, jaccard or lovasz")?;
        settings.positive("eps", self.eps)
    }

    fn value(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
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
        let found = total(target.only_valid(p.clone()));
        let tp = total(p * target.one_hot());
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
