//! Smoothed cross entropy: `SoftCrossEntropyLoss` of segmentation_models_pytorch.

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::cross_entropy::entropy;
use super::definition::{Definition, Settings};
use super::{LossError, Mode};

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

    fn compute(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
        // The mean over the pixels that count, made one over all.
        let pixels = batch.target.len() / batch.target.classes();
        let counted: u64 = batch.target.positives().iter().sum();
        let share = counted as f64 / pixels as f64;
        share * entropy(batch, &[], self.smooth_factor, factor * share, gradient)
    }
}
