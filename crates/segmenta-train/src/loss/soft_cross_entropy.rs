//! Smoothed cross entropy: `SoftCrossEntropyLoss` of segmentation_models_pytorch.

use burn::tensor::{Tensor, activation::log_softmax};
use serde::{Deserialize, Serialize};

use super::definition::{Definition, Settings};
use super::sums::total;
use super::{LossError, Mode, Target};

/// `−(1 − ε) log p_y − ε/C Σ_c log p_c`, the mean over all pixels, ignored ones being 0. (Where nothing is
/// ignored this is [`super::CrossEntropy`] with label smoothing.)
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftCrossEntropy {
    /// The share of the target that is spread over all classes (`ε`), 0 to 1.
    pub smooth_factor: f32,
}

impl Definition for SoftCrossEntropy {
    const NAME: &'static str = "soft_cross_entropy";

    fn check(&self, mode: Mode, _classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.only_multiclass(mode, "use soft_bce_with_logits")?;
        settings.share("smooth_factor", self.smooth_factor)
    }

    fn value(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
        let pixels = target.len() / target.classes();
        let log_p = log_softmax(logits, 1);
        let spread = self.smooth_factor / target.classes() as f32;
        let all = log_p.clone().sum_dim(1) * spread;
        let loss = match target.ids() {
            Some(ids) => log_p.gather(1, ids) * (1.0 - self.smooth_factor) + all,
            None => all,
        };
        total(target.only_valid(loss)) * (-1.0 / pixels as f64)
    }
}
