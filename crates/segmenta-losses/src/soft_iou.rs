//! Soft IoU of each image.

use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::definition::{Definition, Settings};
use super::overlap::{Overlap, Slopes, gradient, overlaps};
use super::{LossError, Mode};

/// One minus the mean of `Σpt / (Σp + Σt − Σpt)` over the classes that each image shows: as [`super::Jaccard`],
/// image by image. Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image
/// Segmentation", 2016.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftIou {
    /// Added above and below the fraction line, in pixels.
    pub smooth: f32,
}

impl Definition for SoftIou {
    const NAME: &'static str = "soft_iou";

    fn check(&self, _mode: Mode, _classes: usize) -> Result<(), LossError> {
        Settings(Self::NAME).not_negative("smooth", self.smooth)
    }

    fn compute(&self, batch: &Batch<'_>, factor: f64, to: &mut [f32]) -> f64 {
        let target = batch.target;
        let [images, ..] = target.shape();
        let positives: Vec<u64> = (0..images)
            .flat_map(|image| target.positives_in(image))
            .copied()
            .collect();
        let shown = positives.iter().filter(|&&n| n > 0).count();
        if shown == 0 {
            return batch.nothing(to);
        }
        let smooth = f64::from(self.smooth);
        let mut loss = 0.0;
        let of_class = |(&Overlap { both, found }, &positives): (&Overlap, &u64)| {
            // What an image does not show divides by one, and is taken out by the share.
            let share = f64::from(u8::from(positives > 0)) / shown as f64;
            let union = found + positives.max(1) as f64 - both + smooth;
            let iou = (both + smooth) / union;
            loss += share * (1.0 - iou);
            Slopes {
                both: -factor * share * (1.0 + iou) / union,
                found: factor * share * iou / union,
            }
        };
        let overlaps = overlaps(batch, to);
        let slopes: Vec<Slopes> = overlaps.iter().zip(&positives).map(of_class).collect();
        gradient(batch, &slopes, to);
        loss
    }
}
