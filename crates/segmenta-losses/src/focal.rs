//! Focal loss: `FocalLoss` of segmentation_models_pytorch.

use segmenta_kernels::sigmoids;
use serde::{Deserialize, Serialize};

use super::batch::{Batch, Strip, clamp_min};
use super::definition::{Definition, Settings};
use super::{ClassWeights, LossError, Mode};

/// `(1 − p_t)^γ · BCE` of each class against the rest (sigmoids, for label maps as well), the mean over the pixels
/// that count, then the mean over classes. Lin et al., "Focal Loss for Dense Object Detection", 2017.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Focal {
    /// What positive pixels weigh, 0 to 1; negative ones weigh 1 − `alpha`. Both weigh 1 if not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f32>,
    /// The power (`γ`): how little easy pixels count.
    pub gamma: f32,
    /// Divides by the sum of `(1 − p_t)^γ` (Yun et al., "Focal Loss in 3D Object Detection", 2019).
    pub normalized: bool,
    /// Pixels with `p_t` below it count in full, others by `((1 − p_t) / reduced_threshold)^γ` (Sergievskiy and
    /// Ponamarev, "Reduced Focal Loss", 2019); 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduced_threshold: Option<f32>,
    /// A weight for each class; not for binary targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<ClassWeights>,
}

impl Default for Focal {
    fn default() -> Self {
        Self {
            alpha: None,
            gamma: 2.0,
            normalized: false,
            reduced_threshold: None,
            class_weights: None,
        }
    }
}

/// Smallest divisor of the normalised loss.
const EPS: f64 = 1e-6;

impl Definition for Focal {
    const NAME: &'static str = "focal";

    fn class_weights(&mut self) -> Option<&mut Option<ClassWeights>> {
        Some(&mut self.class_weights)
    }

    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.not_negative("gamma", self.gamma)?;
        if let Some(alpha) = self.alpha {
            settings.share("alpha", alpha)?;
        }
        if let Some(threshold) = self.reduced_threshold {
            settings.share("reduced_threshold", threshold)?;
            settings.positive("reduced_threshold", threshold)?;
        }
        if mode == Mode::Binary && self.class_weights.is_some() {
            let mend = "leave it out: a binary target has one class";
            return Err(settings.wrong("class_weights", "weights", mend));
        }
        settings.weights("class_weights", self.class_weights.as_deref(), classes)
    }

    fn compute(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
        let counted = batch.target.counted();
        if counted.iter().all(|&n| n == 0) {
            return batch.nothing(gradient);
        }
        let weight = |class: usize| {
            let weights = self.class_weights.as_ref();
            weights.map_or(1.0, |weights| f64::from(weights[class]))
        };
        let whole: f64 = (0..counted.len()).map(weight).sum();
        let share = |(class, &n): (usize, &u64)| weight(class) / (whole * n.max(1) as f64);
        let shares: Vec<f64> = counted.iter().enumerate().map(share).collect();
        if !self.normalized {
            let slopes: Vec<_> = shares.iter().map(|share| [share * factor, 0.0]).collect();
            let sums = self.sums(batch, &slopes, gradient);
            let of_class = shares.iter().zip(&sums);
            return of_class.map(|(share, [loss, _])| share * loss).sum();
        }
        // The divisors are known only after a pass over all.
        let sums = self.sums(batch, &vec![[0.0; 2]; shares.len()], gradient);
        let (mut value, mut slopes) = (0.0, Vec::new());
        for (share, &[loss, focus]) in shares.iter().zip(&sums) {
            let (focus, moves) = clamp_min(focus, EPS);
            value += share * loss / focus;
            slopes
                .push([share / focus, -share * moves * loss / (focus * focus)].map(|s| s * factor));
        }
        self.sums(batch, &slopes, gradient);
        value
    }
}

impl Focal {
    /// The sums of loss and focus, `(1 − p_t)^γ`, of each class; writes their gradients, each times its slope.
    fn sums(&self, batch: &Batch<'_>, slopes: &[[f64; 2]], gradient: &mut [f32]) -> Vec<[f64; 2]> {
        let parts = batch.by_planes(gradient, |strip, gradient| {
            let class = strip.image % slopes.len();
            (class, self.of_strip(batch, &strip, slopes[class], gradient))
        });
        let mut sums = vec![[0.0; 2]; slopes.len()];
        for (class, [loss, focus]) in parts {
            sums[class][0] += loss;
            sums[class][1] += focus;
        }
        sums
    }

    fn of_strip(
        &self,
        batch: &Batch<'_>,
        strip: &Strip<'_>,
        slopes: [f64; 2],
        gradient: &mut [f32],
    ) -> [f64; 2] {
        let (x, mask) = batch.masked_as(strip, gradient.len());
        // Away from the truth: 1 − p_t is its sigmoid, −log p_t its softplus.
        let away = x
            .iter()
            .zip(&*mask)
            .map(|(&x, &value)| if value == 1 { -x } else { x });
        let away: Vec<f32> = away.collect();
        let [mut wrong, mut entropy] = [vec![0.0; x.len()], vec![0.0; x.len()]];
        sigmoids(batch.isa, &away, &mut wrong, &mut entropy);
        let [by_loss, by_focus] = slopes.map(|slope| slope as f32);
        let weights = self.alpha.map_or([1.0; 2], |alpha| [1.0 - alpha, alpha]);
        let (mut loss, mut sum) = (0.0, 0.0);
        for (i, to) in gradient.iter_mut().enumerate() {
            let Some(&weight) = weights.get(usize::from(mask[i])) else {
                *to = 0.0;
                continue;
            };
            let (wrong, entropy) = (wrong[i], entropy[i]);
            let [focus, slope] = self.focus(wrong);
            loss += f64::from(weight * focus * entropy);
            sum += f64::from(focus);
            // The slope of −log p_t is 1 − p_t.
            let of_loss = weight * (slope * entropy + focus * wrong);
            let slope = by_loss * of_loss + by_focus * slope;
            *to = if mask[i] == 1 { -slope } else { slope };
        }
        [loss, sum]
    }

    /// `(1 − p_t)^γ`, reduced where that is asked for, and its slope by the logit, away from the truth.
    fn focus(&self, wrong: f32) -> [f32; 2] {
        let right = 1.0 - wrong;
        let focus = match self.reduced_threshold {
            Some(threshold) if right < threshold => return [1.0, 0.0],
            Some(threshold) => power(wrong / threshold, self.gamma),
            None => power(wrong, self.gamma),
        };
        // `γ wrong^(γ−1)` times the sigmoid's slope `wrong · right`: nothing is divided by.
        [focus, self.gamma * focus * right]
    }
}

/// `x^gamma` for `x ≥ 0`; the two that are common without logarithms.
fn power(x: f32, gamma: f32) -> f32 {
    match gamma {
        1.0 => x,
        2.0 => x * x,
        _ => x.powf(gamma),
    }
}
