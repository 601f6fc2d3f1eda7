//! How far predicted and true regions overlap: what Dice, Jaccard and Tversky losses share.
//!
//! Definitions are those of segmentation_models_pytorch. It writes the intersection as
//! `(Σp + Σt − Σ|p − t|) / 2`; for targets of 0 and 1 that is `Σ p·t`, which takes fewer passes.

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Int, Tensor, TensorData};

use super::definition::Settings;
use super::sums::{constants, nothing, of_classes};
use super::{LossError, Mode, Target};

/// Settings that the three losses share.
pub(crate) struct Region<'a> {
    pub(crate) classes: Option<&'a [usize]>,
    pub(crate) log_loss: bool,
    pub(crate) smooth: f32,
    pub(crate) eps: f32,
    pub(crate) class_weights: Option<&'a [f32]>,
    /// What a false positive costs.
    pub(crate) alpha: f32,
    /// What a false negative costs.
    pub(crate) beta: f32,
}

/// Class probabilities: softmax for one class a pixel, else sigmoids.
pub(crate) fn probabilities(logits: Tensor<4>, mode: Mode) -> Tensor<4> {
    match mode {
        Mode::Multiclass => log_softmax(logits, 1).exp(),
        Mode::Binary | Mode::Multilabel => log_sigmoid(logits).exp(),
    }
}

impl Region<'_> {
    pub(crate) fn check(
        &self,
        settings: Settings,
        mode: Mode,
        classes: usize,
    ) -> Result<(), LossError> {
        const BINARY: &str = "leave it out: a binary target has one class";
        if mode == Mode::Binary {
            if self.classes.is_some() {
                return Err(settings.wrong("classes", "a choice of classes", BINARY));
            }
            if self.class_weights.is_some() {
                return Err(settings.wrong("class_weights", "weights", BINARY));
            }
        }
        if let Some(chosen) = self.classes {
            if let Some(wrong) = chosen.iter().find(|&&class| class >= classes) {
                let problem = format!("class {wrong} of {classes}");
                return Err(settings.wrong("classes", problem, "classes count from 0"));
            }
            if chosen.is_empty() {
                return Err(settings.wrong("classes", "no class", "leave it out for all classes"));
            }
        }
        settings.weights("class_weights", self.class_weights, classes)?;
        if self.chosen_weights(classes).iter().all(|&w| w == 0.0) {
            let problem = "all chosen classes weigh 0";
            return Err(settings.wrong("class_weights", problem, "give one of them a weight"));
        }
        settings.not_negative("smooth", self.smooth)?;
        settings.positive("eps", self.eps)?;
        settings.not_negative("alpha", self.alpha)?;
        settings.not_negative("beta", self.beta)
    }

    /// The weights of the chosen classes.
    fn chosen_weights(&self, classes: usize) -> Vec<f32> {
        let weight = |class: usize| self.class_weights.map_or(1.0, |weights| weights[class]);
        match self.classes {
            Some(chosen) => chosen.iter().map(|&class| weight(class)).collect(),
            None => (0..classes).map(weight).collect(),
        }
    }

    /// `1 − score` or `−log score` of each class, 0 for classes that do not occur, and their (weighted) mean over
    /// the chosen classes. Score: `(I + s) / (I + α (P − I) + β (T − I) + s)` from sums over the whole batch.
    pub(crate) fn value(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
        let positives = target.positives();
        if positives.iter().all(|&n| n == 0) {
            return nothing(logits);
        }
        let p = target.only_valid(probabilities(logits, target.mode()));
        let intersection = of_classes(p.clone() * target.one_hot());
        let found = of_classes(p);
        let real = constants(positives.iter().map(|&n| n as f32).collect(), &found);
        let below = intersection.clone() * (1.0 - self.alpha - self.beta)
            + found * self.alpha
            + real * self.beta
            + self.smooth;
        let score = (intersection + self.smooth) / below.clamp_min(self.eps);
        let loss = if self.log_loss {
            -score.clamp_min(self.eps).log()
        } else {
            -score + 1.0
        };
        let occurs = positives.iter().map(|&n| f32::from(u8::from(n > 0)));
        let loss = loss.clone() * constants(occurs.collect(), &loss);
        let loss = match self.classes {
            Some(chosen) => {
                let chosen: Vec<_> = chosen.iter().map(|&class| class as i32).collect();
                let len = chosen.len();
                let device = loss.device();
                let chosen = Tensor::<1, Int>::from_data(TensorData::new(chosen, [len]), &device);
                loss.select(0, chosen)
            }
            None => loss,
        };
        let weights = self.chosen_weights(target.classes());
        let whole: f32 = weights.iter().sum();
        (loss.clone() * constants(weights, &loss)).sum() / whole
    }
}
