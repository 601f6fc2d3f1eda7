//! Cross entropy of one class a pixel: `torch.nn.CrossEntropyLoss`.

use burn::tensor::{Tensor, activation::log_softmax};
use serde::{Deserialize, Serialize};

use super::definition::{Definition, Settings};
use super::sums::{a_class, constants, nothing, total};
use super::{LossError, Mode, Target};

/// `−Σ w_y ((1 − ε) log p_y + ε/C Σ_c (w_c/w_y) log p_c) / Σ w_y` over the pixels that count, as
/// `torch.nn.CrossEntropyLoss` with class indices and the reduction `mean`. A batch in which no pixel counts gives
/// 0 (PyTorch: NaN).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropy {
    /// A weight for each class (`w`); all 1 if not given.
    #[serde(alias = "class_weights", skip_serializing_if = "Option::is_none")]
    pub weight: Option<Vec<f32>>,
    /// The share of the target that is spread over all classes (`ε`), 0 to 1.
    pub label_smoothing: f32,
}

impl Definition for CrossEntropy {
    const NAME: &'static str = "cross_entropy";

    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        let settings = Settings(Self::NAME);
        settings.only_multiclass(mode, "use bce_with_logits")?;
        settings.weights("weight", self.weight.as_deref(), classes)?;
        settings.share("label_smoothing", self.label_smoothing)
    }

    fn value(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
        let weights = self
            .weight
            .clone()
            .unwrap_or_else(|| vec![1.0; target.classes()]);
        let counts = target.positives();
        let whole: f64 = weights
            .iter()
            .zip(counts)
            .map(|(&w, n)| f64::from(w) * n as f64)
            .sum();
        let Some(ids) = target.ids().filter(|_| whole > 0.0) else {
            return nothing(logits);
        };
        let log_p = log_softmax(logits, 1);
        let mut pixel_loss = log_p.clone().gather(1, ids.clone());
        if self.weight.is_some() {
            let of_class = constants(weights.clone(), &log_p);
            let shape = ids.dims();
            pixel_loss = pixel_loss * of_class.select(0, ids.flatten::<1>(0, 3)).reshape(shape);
        }
        if self.label_smoothing > 0.0 {
            let spread = self.label_smoothing / target.classes() as f32;
            let all = if self.weight.is_some() {
                (log_p.clone() * a_class(weights, &log_p)).sum_dim(1)
            } else {
                log_p.sum_dim(1)
            };
            pixel_loss = pixel_loss * (1.0 - self.label_smoothing) + all * spread;
        }
        total(target.only_valid(pixel_loss)) * (-1.0 / whole)
    }
}
