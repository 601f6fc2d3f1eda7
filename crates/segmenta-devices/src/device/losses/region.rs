//! How far predicted and true regions overlap: Dice, Jaccard and Tversky losses.

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Int, Tensor, TensorData};
use segmenta_losses::{Dice, Jaccard, Mode, Region, Tversky};

use super::sums::{constants, nothing, of_classes};
use super::{OnTape, Truth};

impl OnTape for Dice {
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
        overlap(&self.region(), logits, truth)
    }
}

impl OnTape for Jaccard {
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
        overlap(&self.region(), logits, truth)
    }
}

impl OnTape for Tversky {
    fn value(&self, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
        let mean = overlap(&self.region(), logits, truth);
        if self.gamma == 1.0 || truth.target.positives().iter().all(|&n| n == 0) {
            return mean;
        }
        // Rounding may leave a perfect score a little above 1, and a negative number has no power.
        mean.clamp_min(0.0).powf_scalar(self.gamma)
    }
}

/// Class probabilities: softmax for one class a pixel, else sigmoids.
pub(super) fn probabilities(logits: Tensor<4>, mode: Mode) -> Tensor<4> {
    match mode {
        Mode::Multiclass => log_softmax(logits, 1).exp(),
        Mode::Binary | Mode::Multilabel => log_sigmoid(logits).exp(),
    }
}

/// The (weighted) mean over the chosen classes of `1 − score` or `−log score`, as `segmenta-losses` defines it.
fn overlap(region: &Region<'_>, logits: Tensor<4>, truth: &Truth<'_>) -> Tensor<1> {
    let target = truth.target;
    let positives = target.positives();
    if positives.iter().all(|&n| n == 0) {
        return nothing(logits);
    }
    let p = truth.only_valid(probabilities(logits, target.mode()));
    let intersection = of_classes(p.clone() * truth.one_hot());
    let found = of_classes(p);
    let real = constants(positives.iter().map(|&n| n as f32).collect(), &found);
    let below = intersection.clone() * (1.0 - region.alpha - region.beta)
        + found * region.alpha
        + real * region.beta
        + region.smooth;
    let score = (intersection + region.smooth) / below.clamp_min(region.eps);
    let loss = if region.log_loss {
        -score.clamp_min(region.eps).log()
    } else {
        -score + 1.0
    };
    let occurs = positives.iter().map(|&n| f32::from(u8::from(n > 0)));
    let loss = loss.clone() * constants(occurs.collect(), &loss);
    let loss = match region.classes {
        Some(chosen) => {
            let chosen: Vec<_> = chosen.iter().map(|&class| class as i32).collect();
            let len = chosen.len();
            let device = loss.device();
            let chosen = Tensor::<1, Int>::from_data(TensorData::new(chosen, [len]), &device);
            loss.select(0, chosen)
        }
        None => loss,
    };
    let weights = region.chosen_weights(target.classes());
    let whole: f32 = weights.iter().sum();
    (loss.clone() * constants(weights, &loss)).sum() / whole
}
