//! Focal loss: `FocalLoss` of segmentation_models_pytorch.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::bce;
use super::definition::{Definition, Settings};
use super::sums::{constants, nothing, of_classes};
use super::{LossError, Mode, Target};

/// `(1 − p_t)^γ · BCE` of each class against the rest (sigmoids, for label maps as well), the mean over the pixels
/// that count, then the mean over classes. Lin et al., "Focal Loss for Dense Object Detection", 2017.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Focal {
    /// What positive pixels weigh, 0 to 1; negative ones weigh 1 − `alpha`. Both weigh 1 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f32>,
    /// The power (`γ`): how little easy pixels count.
    pub gamma: f32,
    /// Divides by the sum of `(1 − p_t)^γ` (Yun et al., "Focal Loss in 3D Object Detection", 2019).
    pub normalized: bool,
    /// Pixels with `p_t` below it count in full, others by `((1 − p_t) / reduced_threshold)^γ` (Sergievskiy and
    /// Ponamarev, "Reduced Focal Loss", 2019); 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduced_threshold: Option<f32>,
    /// A weight for each class; not for binary targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<Vec<f32>>,
}

impl Default for Focal {
    fn default() -> Self {
        Self {
            alpha: None,
            gamma: 2.0,
            normalized: false,
            reduced_threshold: None,
            class_weights: None,
        }
    }
}

/// Smallest divisor of the normalised loss.
const EPS: f32 = 1e-6;

impl Definition for Focal {
    const NAME: &'static str = "focal";

    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.not_negative("gamma", self.gamma)?;
        if let Some(alpha) = self.alpha {
            settings.share("alpha", alpha)?;
        }
        if let Some(threshold) = self.reduced_threshold {
            settings.share("reduced_threshold", threshold)?;
            settings.positive("reduced_threshold", threshold)?;
        }
        if mode == Mode::Binary && self.class_weights.is_some() {
            let mend = "leave it out: a binary target has one class";
            return Err(settings.wrong("class_weights", "weights", mend));
        }
        settings.weights("class_weights", self.class_weights.as_deref(), classes)
    }

    fn value(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
        let counted = target.counted();
        if counted.iter().all(|&n| n == 0) {
            return nothing(logits);
        }
        let truth = target.one_hot();
        let cross_entropy = bce::each(logits, truth.clone(), None);
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
            loss = loss * (truth * (2.0 * alpha - 1.0) + (1.0 - alpha));
        }
        let mut of_class = of_classes(target.only_valid(loss));
        if self.normalized {
            of_class = of_class / of_classes(target.only_valid(focus)).clamp_min(EPS);
        }
        let weights = self
            .class_weights
            .clone()
            .unwrap_or_else(|| vec![1.0; counted.len()]);
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
