//! How far predicted and true regions overlap: what Dice, Jaccard and Tversky losses share.
//!
//! Definitions are those of segmentation_models_pytorch. It writes the intersection as
//! `(Σp + Σt − Σ|p − t|) / 2`; for targets of 0 and 1 that is `Σ p·t`, which takes fewer passes.

use super::batch::{Batch, clamp_min};
use super::definition::Settings;
use super::overlap::{Slopes, gradient, overlaps};
use super::{LossError, Mode};

/// Settings that the three losses share; each says what they mean.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    /// Classes that count; all if not given.
    pub classes: Option<&'a [usize]>,
    /// `−log` of the score instead of one minus it.
    pub log_loss: bool,
    /// Added above and below the fraction line, in pixels.
    pub smooth: f32,
    /// Smallest divisor.
    pub eps: f32,
    /// A weight for each class.
    pub class_weights: Option<&'a [f32]>,
    /// What a false positive costs.
    pub alpha: f32,
    /// What a false negative costs.
    pub beta: f32,
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

    /// The weights of the chosen classes, in their order.
    pub fn chosen_weights(&self, classes: usize) -> Vec<f32> {
        let weight = |class: usize| self.class_weights.map_or(1.0, |weights| weights[class]);
        match self.classes {
            Some(chosen) => chosen.iter().map(|&class| weight(class)).collect(),
            None => (0..classes).map(weight).collect(),
        }
    }

    /// What each class counts for in the mean: its share of the weights, 0 if it is not chosen.
    fn shares(&self, classes: usize) -> Vec<f64> {
        let weights = self.chosen_weights(classes);
        let whole: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let mut shares = vec![0.0; classes];
        for (at, &weight) in weights.iter().enumerate() {
            let class = self.classes.map_or(at, |chosen| chosen[at]);
            shares[class] += f64::from(weight) / whole;
        }
        shares
    }

    /// `1 − score` or `−log score` of each class, 0 for classes that do not occur, and their (weighted) mean over
    /// the chosen classes, to the power of `power`. Score: `(I + s) / (I + α (P − I) + β (T − I) + s)` from sums over
    /// the whole batch.
    pub(crate) fn compute(
        &self,
        batch: &Batch<'_>,
        power: f64,
        factor: f64,
        to: &mut [f32],
    ) -> f64 {
        let positives = batch.target.positives();
        if positives.iter().all(|&n| n == 0) {
            return batch.nothing(to);
        }
        let classes = positives.len();
        let of_images = overlaps(batch, to);
        let shares = self.shares(classes);
        let (mut mean, mut slopes) = (0.0, Vec::with_capacity(classes));
        for (class, &positives) in positives.iter().enumerate() {
            let (mut both, mut found) = (0.0, 0.0);
            for overlap in of_images.iter().skip(class).step_by(classes) {
                both += overlap.both;
                found += overlap.found;
            }
            let share = shares[class] * f64::from(u8::from(positives > 0));
            let (loss, slope) = self.of_class(both, found, positives as f64);
            mean += share * loss;
            slopes.push(Slopes {
                both: share * slope.both,
                found: share * slope.found,
            });
        }
        let (loss, slope) = raised(mean, power);
        for slopes in &mut slopes {
            slopes.both *= slope * factor;
            slopes.found *= slope * factor;
        }
        gradient(batch, &slopes.repeat(of_images.len() / classes), to);
        loss
    }

    /// The loss of one class, and its slopes by the sums of probabilities.
    fn of_class(&self, both: f64, found: f64, real: f64) -> (f64, Slopes) {
        let [smooth, eps, alpha, beta] =
            [self.smooth, self.eps, self.alpha, self.beta].map(f64::from);
        let of_both = 1.0 - alpha - beta;
        let below = both * of_both + found * alpha + real * beta + smooth;
        let (below, moves) = clamp_min(below, eps);
        let score = (both + smooth) / below;
        let (loss, slope) = if self.log_loss {
            let (score, moves) = clamp_min(score, eps);
            (-score.ln(), -moves / score)
        } else {
            (1.0 - score, -1.0)
        };
        let by_below = -moves * score / below;
        let slopes = Slopes {
            both: slope * (1.0 / below + by_below * of_both),
            found: slope * by_below * alpha,
        };
        (loss, slopes)
    }
}

/// `mean^power` and its slope. Rounding may leave a perfect score a little above 1, and a negative number has no power;
/// where there is nothing to gain the slope is 0, although below a power of 1 it would be infinite.
fn raised(mean: f64, power: f64) -> (f64, f64) {
    if power == 1.0 {
        (mean, 1.0)
    } else if mean <= 0.0 {
        (0.0, 0.0)
    } else {
        (mean.powf(power), power * mean.powf(power - 1.0))
    }
}
