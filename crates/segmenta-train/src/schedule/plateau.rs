//! Down when nothing gets better: `torch.optim.lr_scheduler.ReduceLROnPlateau`.

use serde::{Deserialize, Serialize};

/// Which way is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Lower, as losses.
    #[default]
    Min,
    /// Higher, as mIoU.
    Max,
}

/// How a threshold is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdMode {
    /// As a share of the best.
    #[default]
    Rel,
    /// In the score's own unit.
    Abs,
}

/// Times `factor` when the score has not got better for more than `patience` observations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Plateau {
    /// Which way is better.
    pub mode: Better,
    /// Factor, below 1.
    pub factor: f64,
    /// Observations without progress that are let pass.
    pub patience: u64,
    /// What counts as progress.
    pub threshold: f64,
    /// How the threshold is meant.
    pub threshold_mode: ThresholdMode,
    /// Observations after a reduction that do not count.
    pub cooldown: u64,
    /// The lowest learning rate.
    pub min_lr: f64,
    /// Smaller changes are left out.
    pub eps: f64,
}

impl Default for Plateau {
    fn default() -> Self {
        Self {
            mode: Better::Min,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
        }
    }
}

/// What a plateau has seen; part of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlateauState {
    /// The learning rate now.
    pub lr: f64,
    /// The best score so far; `None` before the first.
    pub best: Option<f64>,
    /// Observations since.
    pub bad: u64,
    /// Observations that do not count yet.
    pub cooldown: u64,
}

impl Plateau {
    pub(super) fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        if !(self.factor > 0.0 && self.factor < 1.0) {
            return Err((
                "factor",
                self.factor.to_string(),
                "give a number between 0 and 1",
            ));
        }
        for (setting, value) in [
            ("threshold", self.threshold),
            ("min_lr", self.min_lr),
            ("eps", self.eps),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return Err((setting, value.to_string(), "give a number ≥ 0"));
            }
        }
        Ok(())
    }

    fn is_better(&self, score: f64, best: f64) -> bool {
        let relative = match self.threshold_mode {
            ThresholdMode::Rel => self.threshold,
            ThresholdMode::Abs => 0.0,
        };
        let absolute = match self.threshold_mode {
            ThresholdMode::Rel => 0.0,
            ThresholdMode::Abs => self.threshold,
        };
        match self.mode {
            Better::Min => score < best * (1.0 - relative) - absolute,
            Better::Max => score > best * (1.0 + relative) + absolute,
        }
    }

    /// The state after one more score. A NaN is no progress.
    pub(super) fn observe(&self, mut state: PlateauState, score: f64) -> PlateauState {
        let better = match state.best {
            None => !score.is_nan(),
            Some(best) => self.is_better(score, best),
        };
        if better {
            (state.best, state.bad) = (Some(score), 0);
        } else {
            state.bad += 1;
        }
        if state.cooldown > 0 {
            (state.cooldown, state.bad) = (state.cooldown - 1, 0);
        }
        if state.bad > self.patience {
            let lower = (state.lr * self.factor).max(self.min_lr);
            if state.lr - lower > self.eps {
                state.lr = lower;
            }
            (state.cooldown, state.bad) = (self.cooldown, 0);
        }
        state
    }
}
