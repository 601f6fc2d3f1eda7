//! Matthews correlation: `MCCLoss` of segmentation_models_pytorch.

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::definition::{Definition, Settings};
use super::overlap::{Slopes, clear_ignored, gradient, of_mask, overlaps};
use super::{LossError, Mode};

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

    fn compute(&self, batch: &Batch<'_>, factor: f64, to: &mut [f32]) -> f64 {
        let target = batch.target;
        let (counted, positives) = (target.counted()[0], target.positives()[0]);
        if counted == 0 {
            return batch.nothing(to);
        }
        let all = if self.from_logits {
            overlaps(batch, to)
        } else {
            as_they_are(batch, to)
        };
        let tp: f64 = all.iter().map(|of_image| of_image.both).sum();
        let found: f64 = all.iter().map(|of_image| of_image.found).sum();
        let (loss, slopes) = self.of_counts(tp, found, positives as f64, counted as f64);
        let slopes = Slopes {
            both: factor * slopes.both,
            found: factor * slopes.found,
        };
        if self.from_logits {
            gradient(batch, &vec![slopes; all.len()], to);
            return loss;
        }
        let of_value = [slopes.found as f32, (slopes.found + slopes.both) as f32];
        for (to, &value) in to.iter_mut().zip(target.values()) {
            *to = of_value.get(usize::from(value)).copied().unwrap_or(0.0);
        }
        loss
    }
}

/// The sums of values that are taken for probabilities.
fn as_they_are(batch: &Batch<'_>, to: &mut [f32]) -> Vec<Slopes> {
    batch.by_planes(to, |strip, plane| {
        let (values, mask) = batch.masked(&strip, plane.len());
        plane.copy_from_slice(values);
        clear_ignored(plane, mask, batch.target.ignored());
        of_mask(plane, mask)
    })
}

impl Mcc {
    /// The loss, and its slopes by `Σ p·t` (`tp`) and `Σ p` (`found`), where `real` of `counted` pixels are of the class.
    fn of_counts(&self, tp: f64, found: f64, real: f64, counted: f64) -> (f64, Slopes) {
        let eps = f64::from(self.eps);
        // The other three follow from the sums of p and of the truth.
        let (fp, fn_) = (found - tp, real - tp);
        let tn = counted - real - fp;
        let [tp, fp, fn_, tn] = [tp, fp, fn_, tn].map(|count| count + eps);
        let above = tp * tn - fp * fn_;
        // Root by root: the product of four sums over many pixels is large.
        let (says, denies) = (tp + fp, tn + fn_);
        let below = says.sqrt() * (tp + fn_).sqrt() * (tn + fp).sqrt() * denies.sqrt();
        let score = above / below;
        let slopes = Slopes {
            both: -(tp + fp + fn_ + tn) / below,
            found: (tp + fn_) / below + score * 0.5 * (1.0 / says - 1.0 / denies),
        };
        (1.0 - score, slopes)
    }
}
