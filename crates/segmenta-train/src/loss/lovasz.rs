//! Lovász losses: `LovaszLoss` of segmentation_models_pytorch.
//!
//! The loss is a sum over pixels of an error times a weight; the weight depends on the pixel's rank among the errors
//! and has no gradient. So the ranks are found on the host, and the device computes errors and their sum.

use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Tensor, TensorData};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::definition::Definition;
use super::sums::{nothing, total};
use super::{LossError, Mode, Target};
use crate::tensor::values_of;

/// The Lovász extension of the Jaccard loss: Lovász-Softmax over the classes that occur for label maps, the Lovász
/// hinge over all values together for masks. Berman et al., "The Lovász-Softmax loss", 2018.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lovasz {
    /// The mean over images instead of one set of pixels.
    pub per_image: bool,
}

impl Definition for Lovasz {
    const NAME: &'static str = "lovasz";

    fn check(&self, _mode: Mode, _classes: usize) -> Result<(), LossError> {
        Ok(())
    }

    fn value(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
        let truth = target.one_hot();
        let errors = match target.mode() {
            // 1 − p where the class is, p where it is not.
            Mode::Multiclass => {
                let sign = truth.clone() * -2.0 + 1.0;
                softmax(logits.clone(), 1) * sign + truth
            }
            Mode::Binary | Mode::Multilabel => {
                let sign = truth * -2.0 + 1.0;
                relu(logits.clone() * sign + 1.0)
            }
        };
        let Ok(values) = values_of(errors.clone().detach()) else {
            // A device that gives nothing back has failed; the loss says so by being no number.
            return nothing(logits) + f32::NAN;
        };
        let mut weights = vec![0.0; values.len()];
        weigh(&values, target, self.per_image, &mut weights);
        let weights = TensorData::new(weights, target.shape());
        total(errors.clone() * Tensor::from_data(weights, &errors.device()))
    }
}

/// Writes each value's weight, `[N][C][H][W]`, all means included; 0 for what does not count.
fn weigh(errors: &[f32], target: &Target, per_image: bool, weights: &mut [f32]) {
    let [images, classes, height, width] = target.shape();
    let plane = height * width;
    let multiclass = target.mode() == Mode::Multiclass;
    // What is ranked together: a class or all of them, in an image or in all.
    let image_sets: Vec<_> = if per_image {
        (0..images).map(|image| image..image + 1).collect()
    } else {
        vec![0..images; 1]
    };
    let share = 1.0 / image_sets.len() as f64;
    for set in image_sets {
        let class_sets: Vec<_> = if multiclass {
            let occurs = |&class: &usize| set.clone().any(|i| target.positives_in(i)[class] > 0);
            (0..classes)
                .filter(occurs)
                .map(|class| class..class + 1)
                .collect()
        } else {
            vec![0..classes; 1]
        };
        let share = share / class_sets.len().max(1) as f64;
        let ranked: Vec<_> = class_sets
            .into_par_iter()
            .flat_map_iter(|chosen| {
                let planes = set
                    .clone()
                    .flat_map(|i| chosen.clone().map(move |c| (i, c)));
                let pixels = planes.flat_map(|(i, c)| (0..plane).map(move |pixel| (i, c, pixel)));
                let counted = pixels.filter_map(|(image, class, pixel)| {
                    let at = (image * classes + class) * plane + pixel;
                    let value = target.values()[if multiclass {
                        image * plane + pixel
                    } else {
                        at
                    }];
                    let is = usize::from(value) == if multiclass { class } else { 1 };
                    (Some(value) != target.ignore_index()).then_some((errors[at], at, is))
                });
                ranks(counted.collect(), share)
            })
            .collect();
        for (at, weight) in ranked {
            weights[at] = weight;
        }
    }
}

/// The gradient of the Lovász extension at (error, index, positive) (Berman et al., algorithm 1): by how much the
/// Jaccard loss grows when this pixel joins those with larger errors. Equal errors keep their order.
fn ranks(mut pixels: Vec<(f32, usize, bool)>, share: f64) -> impl Iterator<Item = (usize, f32)> {
    pixels.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = pixels.iter().filter(|pixel| pixel.2).count() as f64;
    let (mut missed, mut mistaken, mut before) = (0.0, 0.0, 0.0);
    pixels.into_iter().map(move |(_, at, positive)| {
        if positive {
            missed += 1.0;
        } else {
            mistaken += 1.0;
        }
        let jaccard = 1.0 - (positives - missed) / (positives + mistaken);
        let weight = (jaccard - before) * share;
        before = jaccard;
        (at, weight as f32)
    })
}
