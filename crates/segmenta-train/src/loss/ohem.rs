//! Cross entropy over hard pixels only.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::definition::{Definition, Settings};
use super::sums::{nothing, total};
use super::{LossError, Mode, Target};
use crate::tensor::values_of;

/// Online hard example mining: the mean cross entropy over the pixels whose class is given a probability below
/// `threshold`, and over the `min_kept` hardest at least. The rule is that of the pixel samplers of HRNet's and
/// OpenMMLab's segmentation code after Shrivastava et al., "Training Region-based Object Detectors with Online Hard
/// Example Mining", 2016; pixels that are as hard as the last one kept are kept too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OhemCrossEntropy {
    /// Pixels with a lower probability count, 0 to 1.
    pub threshold: f32,
    /// Pixels that count at least, for each image of the batch.
    pub min_kept: usize,
    /// A weight for each class.
    #[serde(alias = "class_weights", skip_serializing_if = "Option::is_none")]
    pub weight: Option<Vec<f32>>,
}

impl Default for OhemCrossEntropy {
    fn default() -> Self {
        Self {
            threshold: 0.7,
            min_kept: 100_000,
            weight: None,
        }
    }
}

impl Definition for OhemCrossEntropy {
    const NAME: &'static str = "ohem_cross_entropy";

    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.only_multiclass(mode, "use focal")?;
        settings.share("threshold", self.threshold)?;
        settings.weights("weight", self.weight.as_deref(), classes)
    }

    fn value(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
        let Some(ids) = target.ids() else {
            return nothing(logits);
        };
        let log_p = log_softmax(logits.clone(), 1).gather(1, ids.clone());
        let Ok(easy) = values_of(log_p.clone().detach()) else {
            // A device that gives nothing back has failed; the loss says so by being no number.
            return nothing(logits) + f32::NAN;
        };
        let least = self.min_kept.saturating_mul(target.shape()[0]);
        let (factors, kept) = self.factors(&easy, target, least);
        if kept == 0 {
            return nothing(logits);
        }
        let factors = TensorData::new(factors, ids.dims());
        total(log_p.clone() * Tensor::from_data(factors, &log_p.device())) * (-1.0 / kept as f64)
    }
}

impl OhemCrossEntropy {
    /// What each pixel's logarithm is multiplied by, and how many pixels are kept.
    fn factors(&self, log_p: &[f32], target: &Target, least: usize) -> (Vec<f32>, usize) {
        let counts = |label: u8| Some(label) != target.ignore_index();
        let labelled = log_p.iter().zip(target.values());
        let mut hardest: Vec<f32> = labelled
            .clone()
            .filter(|&(_, &label)| counts(label))
            .map(|(&x, _)| x)
            .collect();
        let bound = match least.min(hardest.len()) {
            0 => f32::NEG_INFINITY,
            n => *hardest.select_nth_unstable_by(n - 1, f32::total_cmp).1,
        };
        let mut kept = 0;
        let factors = labelled.map(|(&x, &label)| {
            // What is no number is kept: it must reach the loss.
            let easy = x.exp() >= self.threshold && x > bound;
            if easy || !counts(label) {
                return 0.0;
            }
            kept += 1;
            self.weight
                .as_ref()
                .map_or(1.0, |weights| weights[usize::from(label)])
        });
        (factors.collect(), kept)
    }
}
