//! Cross entropy over hard pixels only.

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::definition::{Definition, Settings};
use super::{ClassWeights, LossError, Mode, Target};

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
    pub weight: Option<ClassWeights>,
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

    fn class_weights(&mut self) -> Option<&mut Option<ClassWeights>> {
        Some(&mut self.weight)
    }

    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.only_multiclass(mode, "use focal")?;
        settings.share("threshold", self.threshold)?;
        settings.weights("weight", self.weight.as_deref(), classes)
    }

    fn compute(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
        // Probabilities first; the gradient takes their place.
        let log_p = batch.by_pixels(gradient, |mut strip| {
            let mut log_p = vec![0.0; strip.len()];
            batch.softmax(&mut strip, &mut log_p);
            for (i, (log_p, &label)) in log_p.iter_mut().zip(batch.labels(&strip)).enumerate() {
                let own = batch.logit(&strip, usize::from(label), i);
                *log_p = own.map_or(0.0, |x| x - *log_p);
            }
            log_p
        });
        let log_p = log_p.concat();
        let (factors, kept) = self.factors(&log_p, batch.target);
        if kept == 0 {
            return batch.nothing(gradient);
        }
        let share = factor / kept as f64;
        let plane = batch.shape().pixels();
        batch.by_pixels(gradient, |mut strip| {
            let factors = &factors[strip.image * plane + strip.first..][..strip.len()];
            let labels = batch.labels(&strip);
            let shares: Vec<f32> = { factors.iter() }
                .map(|&factor| (f64::from(factor) * share) as f32)
                .collect();
            for (class, plane) in strip.planes.iter_mut().enumerate() {
                for (i, p) in plane.iter_mut().enumerate() {
                    let is = f32::from(u8::from(usize::from(labels[i]) == class));
                    // Of an easy pixel, or one that is ignored, nothing is left, not even of a NaN.
                    *p = if shares[i] == 0.0 {
                        0.0
                    } else {
                        (*p - is) * shares[i]
                    };
                }
            }
        });
        let terms = log_p.iter().zip(&factors);
        let sum: f64 = terms.map(|(&x, &f)| f64::from(x) * f64::from(f)).sum();
        -sum / kept as f64
    }
}

impl OhemCrossEntropy {
    /// What each pixel's `log p` of its class is multiplied by, and how many pixels are kept: `log_p` is
    /// `[image][row][column]`, and so are the factors, 0 where a pixel is not kept. Devices, too, rank pixels by it.
    pub fn factors(&self, log_p: &[f32], target: &Target) -> (Vec<f32>, usize) {
        let least = self.min_kept.saturating_mul(target.shape()[0]);
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
