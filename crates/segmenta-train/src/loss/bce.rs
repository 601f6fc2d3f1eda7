//! Binary cross entropy: `torch.nn.BCEWithLogitsLoss`, and its smoothed form.

use burn::tensor::{Tensor, activation::log_sigmoid};
use serde::{Deserialize, Serialize};

use super::definition::{Definition, Settings};
use super::sums::{a_class, nothing, total};
use super::{LossError, Mode, Target};

/// One positive weight for all classes, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PosWeight {
    /// For all classes.
    All(f32),
    /// For each class.
    Each(Vec<f32>),
}

impl PosWeight {
    fn check(&self, settings: Settings, classes: usize) -> Result<(), LossError> {
        let each = match self {
            Self::All(weight) => vec![*weight; classes],
            Self::Each(weights) => weights.clone(),
        };
        settings.weights("pos_weight", Some(&each), classes)
    }

    /// Broadcast over N×C×H×W.
    fn tensor(&self, like: &Tensor<4>) -> Tensor<4> {
        match self {
            Self::All(weight) => a_class(vec![*weight], like),
            Self::Each(weights) => a_class(weights.clone(), like),
        }
    }
}

/// `−(p y log σ(x) + (1 − y) log(1 − σ(x)))` of each value. With `log(1 − σ(x)) = log σ(x) − x` there is one
/// logarithm, and nothing overflows.
pub(crate) fn each(logits: Tensor<4>, truth: Tensor<4>, positive: Option<&PosWeight>) -> Tensor<4> {
    let log_p = log_sigmoid(logits.clone());
    let log_p = match positive {
        None => log_p,
        Some(weight) => {
            let more = weight.tensor(&logits) - 1.0;
            log_p * (truth.clone() * more + 1.0)
        }
    };
    logits * (-truth + 1.0) - log_p
}

/// The mean over values that count, as `torch.nn.BCEWithLogitsLoss`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BceWithLogits {
    /// What positive pixels weigh (`p`); 1 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pos_weight: Option<PosWeight>,
}

impl Definition for BceWithLogits {
    const NAME: &'static str = "bce_with_logits";

    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.only_masks(mode, "use cross_entropy")?;
        self.pos_weight
            .as_ref()
            .map_or(Ok(()), |w| w.check(settings, classes))
    }

    fn value(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
        let counted: u64 = target.counted().iter().sum();
        if counted == 0 {
            return nothing(logits);
        }
        let loss = each(logits, target.one_hot(), self.pos_weight.as_ref());
        total(target.only_valid(loss)) / counted as f64
    }
}

/// `SoftBCEWithLogitsLoss` of segmentation_models_pytorch: targets moved towards each other; the mean is over all
/// values, ignored ones being 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftBceWithLogits {
    /// A target of 1 becomes 1 − `smooth_factor`, one of 0 `smooth_factor`; 0 to 1.
    pub smooth_factor: f32,
    /// What positive pixels weigh; 1 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pos_weight: Option<PosWeight>,
}

impl Definition for SoftBceWithLogits {
    const NAME: &'static str = "soft_bce_with_logits";

    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.only_masks(mode, "use soft_cross_entropy")?;
        settings.share("smooth_factor", self.smooth_factor)?;
        self.pos_weight
            .as_ref()
            .map_or(Ok(()), |w| w.check(settings, classes))
    }

    fn value(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
        let soft = target.one_hot() * (1.0 - 2.0 * self.smooth_factor) + self.smooth_factor;
        let loss = each(logits, soft, self.pos_weight.as_ref());
        total(target.only_valid(loss)) / target.len() as f64
    }
}
