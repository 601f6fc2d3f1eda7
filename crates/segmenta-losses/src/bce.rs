//! Binary cross entropy: `torch.nn.BCEWithLogitsLoss`, and its smoothed form.

use segmenta_kernels::{BinaryCrossEntropy, binary_cross_entropy, sigmoids};
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::definition::{Definition, Settings};
use super::{LossError, Mode};

/// One positive weight for all classes, or one for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "invalid value, expected a weight, or one for each class"
)]
pub enum PosWeight {
    /// For all classes.
    All(f32),
    /// For each class.
    Each(Vec<f32>),
}

impl PosWeight {
    /// One for each class.
    pub fn each(&self, classes: usize) -> Vec<f32> {
        match self {
            Self::All(weight) => vec![*weight; classes],
            Self::Each(weights) => weights.clone(),
        }
    }

    fn check(&self, settings: Settings, classes: usize) -> Result<(), LossError> {
        settings.weights("pos_weight", Some(&self.each(classes)), classes)
    }
}

/// The mean over values that count, as `torch.nn.BCEWithLogitsLoss`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BceWithLogits {
    /// What positive pixels weigh (`p`); 1 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pos_weight: Option<PosWeight>,
}

impl Definition for BceWithLogits {
    const NAME: &'static str = "bce_with_logits";

    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.only_masks(mode, "use cross_entropy")?;
        self.pos_weight
            .as_ref()
            .map_or(Ok(()), |w| w.check(settings, classes))
    }

    fn compute(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
        let counted: u64 = batch.target.counted().iter().sum();
        if counted == 0 {
            return batch.nothing(gradient);
        }
        let entropy = Entropy {
            targets: [0.0, 1.0],
            pos_weight: self.pos_weight.as_ref(),
            whole: counted as f64,
        };
        entropy.compute(batch, factor, gradient)
    }
}

/// `SoftBCEWithLogitsLoss` of segmentation_models_pytorch: targets moved towards each other; the mean is over all
/// values, ignored ones being 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftBceWithLogits {
    /// A target of 1 becomes 1 − `smooth_factor`, one of 0 `smooth_factor`; 0 to 1.
    pub smooth_factor: f32,
    /// What positive pixels weigh; 1 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pos_weight: Option<PosWeight>,
}

impl Definition for SoftBceWithLogits {
    const NAME: &'static str = "soft_bce_with_logits";

    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.only_masks(mode, "use soft_cross_entropy")?;
        settings.share("smooth_factor", self.smooth_factor)?;
        self.pos_weight
            .as_ref()
            .map_or(Ok(()), |w| w.check(settings, classes))
    }

    fn compute(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
        let entropy = Entropy {
            targets: [self.smooth_factor, 1.0 - self.smooth_factor],
            pos_weight: self.pos_weight.as_ref(),
            whole: batch.target.len() as f64,
        };
        entropy.compute(batch, factor, gradient)
    }
}

/// `−(w y log σ(x) + (1 − y) log(1 − σ(x)))` of each value that counts, added up and divided by `whole`.
struct Entropy<'a> {
    /// What masks' 0 and 1 stand for (`y`).
    targets: [f32; 2],
    /// What positive pixels weigh (`w`).
    pos_weight: Option<&'a PosWeight>,
    whole: f64,
}

impl Entropy<'_> {
    fn compute(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
        let target = batch.target;
        let classes = target.classes();
        let weights = self.pos_weight.map_or_else(Vec::new, |w| w.each(classes));
        if target.ignored().is_none() {
            // The kernel's mean is over all values.
            let truth = target
                .values()
                .iter()
                .map(|&v| self.targets[usize::from(v)]);
            let (truth, loss): (Vec<f32>, _) = (
                truth.collect(),
                BinaryCrossEntropy {
                    positive_weights: &weights,
                },
            );
            let (shape, factor) = (batch.shape(), factor as f32);
            let (isa, logits) = (batch.isa, batch.logits);
            let mean = binary_cross_entropy(isa, loss, logits, shape, &truth, factor, gradient);
            return f64::from(mean);
        }
        let factor = (factor / self.whole) as f32;
        let sums = batch.by_planes(gradient, |strip, gradient| {
            let (x, mask) = batch.masked(&strip, gradient.len());
            let weight = weights.get(strip.image % classes).copied().unwrap_or(1.0);
            let minus: Vec<f32> = x.iter().map(|x| -x).collect();
            // −log σ(x), and −log(1 − σ(x)) is x more.
            let mut surprise = vec![0.0; x.len()];
            sigmoids(batch.isa, &minus, gradient, &mut surprise);
            let mut loss = 0.0;
            for (i, &value) in mask.iter().enumerate() {
                let Some(&y) = self.targets.get(usize::from(value)) else {
                    gradient[i] = 0.0;
                    continue;
                };
                let weight = y * (weight - 1.0) + 1.0;
                loss += f64::from((1.0 - y) * x[i] + weight * surprise[i]);
                gradient[i] = (1.0 - y - weight * gradient[i]) * factor;
            }
            loss
        });
        sums.iter().sum::<f64>() / self.whole
    }
}
