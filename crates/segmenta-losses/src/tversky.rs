//! Tversky loss: `TverskyLoss` of segmentation_models_pytorch; with `gamma`, focal Tversky.

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::definition::{Definition, Settings};
use super::region::Region;
use super::{ClassWeights, LossError, Mode};

/// As [`super::Dice`], false positives and false negatives weighted, the mean over classes raised to a power.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tversky {
    /// Classes that count; all if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<usize>>,
    /// `−log` of the index instead of one minus it.
    pub log_loss: bool,
    /// Added above and below the fraction line, in pixels.
    pub smooth: f32,
    /// Smallest divisor.
    pub eps: f32,
    /// What a false positive costs.
    pub alpha: f32,
    /// What a false negative costs.
    pub beta: f32,
    /// The power.
    pub gamma: f32,
    /// A weight for each class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
}

impl Default for Tversky {
    fn default() -> Self {
        Self {
            classes: None,
            log_loss: false,
            smooth: 0.0,
            eps: 1e-7,
            alpha: 0.5,
            beta: 0.5,
            gamma: 1.0,
            class_weights: None,
        }
    }
}

impl Tversky {
    /// What it has in common with the other losses of overlaps.
    pub fn region(&self) -> Region<'_> {
        Region {
            classes: self.classes.as_deref(),
            log_loss: self.log_loss,
            smooth: self.smooth,
            eps: self.eps,
            class_weights: self.class_weights.as_deref(),
            alpha: self.alpha,
            beta: self.beta,
        }
    }
}

impl Definition for Tversky {
    const NAME: &'static str = "tversky";

    fn class_weights(&mut self) -> Option<&mut Option<ClassWeights>> {
        Some(&mut self.class_weights)
    }

    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.positive("gamma", self.gamma)?;
        self.region().check(settings, mode, classes)
    }

    fn compute(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
        let power = f64::from(self.gamma);
        self.region().compute(batch, power, factor, gradient)
    }
}
