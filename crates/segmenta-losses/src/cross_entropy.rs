//! Cross entropy of one class a pixel: `torch.nn.CrossEntropyLoss`.

use segmenta_kernels as kernels;
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::definition::{Definition, Settings};
use super::{ClassWeights, LossError, Mode};

/// `−Σ w_y ((1 − ε) log p_y + ε/C Σ_c (w_c/w_y) log p_c) / Σ w_y` over the pixels that count, as
/// `torch.nn.CrossEntropyLoss` with class indices and the reduction `mean`. A batch in which no pixel counts gives
/// 0 (PyTorch: NaN).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropy {
    /// A weight for each class (`w`); all 1 if not given.
    #[serde(alias = "class_weights", skip_serializing_if = "Option::is_none")]
    pub weight: Option<ClassWeights>,
    /// The share of the target that is spread over all classes (`ε`), 0 to 1.
    pub label_smoothing: f32,
}

impl Definition for CrossEntropy {
    const NAME: &'static str = "cross_entropy";

    fn class_weights(&mut self) -> Option<&mut Option<ClassWeights>> {
        Some(&mut self.weight)
    }

    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.only_multiclass(mode, "use bce_with_logits")?;
        settings.weights("weight", self.weight.as_deref(), classes)?;
        settings.share("label_smoothing", self.label_smoothing)
    }

    fn compute(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
        let weights = self.weight.as_deref().unwrap_or_default();
        entropy(batch, weights, self.label_smoothing, factor, gradient)
    }
}

/// By the kernel; 0 where no pixel counts.
pub(crate) fn entropy(
    batch: &Batch<'_>,
    class_weights: &[f32],
    label_smoothing: f32,
    factor: f64,
    gradient: &mut [f32],
) -> f64 {
    let target = batch.target;
    let weight = |class: usize| f64::from(class_weights.get(class).copied().unwrap_or(1.0));
    let pixels = target.positives().into_iter().enumerate();
    let whole: f64 = pixels.map(|(class, n)| weight(class) * n as f64).sum();
    if whole == 0.0 {
        gradient.fill(0.0);
        return 0.0;
    }
    let loss = kernels::CrossEntropy {
        class_weights,
        ignore_index: target.ignore_index(),
        label_smoothing,
    };
    let (shape, labels, factor) = (batch.shape(), target.values(), factor as f32);
    let made = kernels::cross_entropy(
        batch.isa,
        loss,
        batch.logits,
        shape,
        labels,
        factor,
        gradient,
    );
    // A target has no label that is no class.
    made.map_or(f64::NAN, f64::from)
}
