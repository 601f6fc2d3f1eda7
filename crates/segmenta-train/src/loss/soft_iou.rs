//! Soft IoU of each image.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::definition::{Definition, Settings};
use super::region::probabilities;
use super::sums::{constants, nothing, of_images};
use super::{LossError, Mode, Target};

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

    fn value(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
        let [images, classes, ..] = target.shape();
        let positives: Vec<u64> = (0..images)
            .flat_map(|image| target.positives_in(image))
            .copied()
            .collect();
        let shown = positives.iter().filter(|&&n| n > 0).count();
        if shown == 0 {
            return nothing(logits);
        }
        let p = target.only_valid(probabilities(logits, target.mode()));
        let intersection = of_images(p.clone() * target.one_hot());
        let found = of_images(p);
        let like = found.clone();
        let constant = |value: fn(u64) -> f32| {
            let values = positives.iter().map(|&n| value(n)).collect();
            constants(values, &like).reshape([images, classes])
        };
        // What an image does not show divides by one, and is taken out by the factor.
        let real = constant(|n| n.max(1) as f32);
        let shows = constant(|n| f32::from(u8::from(n > 0)));
        let union = found + real - intersection.clone() + self.smooth;
        let iou = (intersection + self.smooth) / union;
        ((-iou + 1.0) * shows).sum() / shown as f64
    }
}
