//! Soft IoU of each image.

use burn::tensor::Tensor;
use segmenta_losses::SoftIou;

use super::region::probabilities;
use super::sums::{constants, nothing, of_images};
use super::{OnTape, Truth};

impl OnTape for SoftIou {
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
        let target = truth.target;
        let [images, classes, ..] = target.shape();
        let positives: Vec<u64> = (0..images)
            .flat_map(|image| target.positives_in(image))
            .copied()
            .collect();
        let shown = positives.iter().filter(|&&n| n > 0).count();
        if shown == 0 {
            return nothing(logits);
        }
        let p = truth.only_valid(probabilities(logits, target.mode()));
        let intersection = of_images(p.clone() * truth.one_hot());
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
