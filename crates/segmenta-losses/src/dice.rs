//! Dice loss: `DiceLoss` of segmentation_models_pytorch.

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::definition::{Definition, Settings};
use super::region::Region;
use super::{ClassWeights, LossError, Mode};

/// One minus the Dice coefficient `2 Σpt / (Σp + Σt)` of each class over the batch, averaged; classes that do not
/// occur in the batch cost nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dice {
    /// Classes that count; all if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<usize>>,
    /// `−log` of the coefficient instead of one minus it.
    pub log_loss: bool,
    /// Added above and below the fraction line, in pixels.
    pub smooth: f32,
    /// Smallest divisor.
    pub eps: f32,
    /// A weight for each class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
}

impl Default for Dice {
    fn default() -> Self {
        Self {
            classes: None,
            log_loss: false,
            smooth: 0.0,
            eps: 1e-7,
            class_weights: None,
        }
    }
}

impl Dice {
    /// What it has in common with the other losses of overlaps.
    pub fn region(&self) -> Region<'_> {
        Region {
            classes: self.classes.as_deref(),
            log_loss: self.log_loss,
            smooth: self.smooth,
            eps: self.eps,
            class_weights: self.class_weights.as_deref(),
            alpha: 0.5,
            beta: 0.5,
        }
    }
}

impl Definition for Dice {
    const NAME: &'static str = "dice";

    fn class_weights(&mut self) -> Option<&mut Option<ClassWeights>> {
        Some(&mut self.class_weights)
    }

    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        self.region().check(Settings(Self::NAME), mode, classes)
    }

    fn compute(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
        self.region().compute(batch, 1.0, factor, gradient)
    }
}
