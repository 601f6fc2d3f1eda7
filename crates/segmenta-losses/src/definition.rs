//! What every loss says about itself, and how settings are checked.

use segmenta_files::count;

use super::batch::Batch;
use super::{ClassWeights, LossError, Mode};

/// One loss: its settings are the fields.
pub(crate) trait Definition {
    /// As configurations name it.
    const NAME: &'static str;

    /// Where its class weights are, if it takes any.
    fn class_weights(&mut self) -> Option<&mut Option<ClassWeights>> {
        None
    }

    /// Whether it is defined for these targets, and its settings make sense.
    fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError>;

    /// The loss of a batch; every value of `gradient` is written: `factor` times the loss's. Target and settings have
    /// been checked.
    fn compute(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64;
}

/// Checks the settings of the loss with this name.
#[derive(Clone, Copy)]
pub(crate) struct Settings(pub(crate) &'static str);

impl Settings {
    pub(crate) fn wrong(
        self,
        setting: &'static str,
        problem: impl Into<String>,
        mend: &'static str,
    ) -> LossError {
        LossError::Setting {
            loss: self.0,
            setting,
            problem: problem.into(),
            mend,
        }
    }

    fn not_for(self, mode: Mode, instead: &'static str) -> LossError {
        LossError::Mode {
            loss: self.0,
            mode,
            instead,
        }
    }

    pub(crate) fn only_multiclass(
        self,
        mode: Mode,
        instead: &'static str,
    ) -> Result<(), LossError> {
        (mode == Mode::Multiclass)
            .then_some(())
            .ok_or(self.not_for(mode, instead))
    }

    pub(crate) fn only_masks(self, mode: Mode, instead: &'static str) -> Result<(), LossError> {
        (mode != Mode::Multiclass)
            .then_some(())
            .ok_or(self.not_for(mode, instead))
    }

    pub(crate) fn only_binary(self, mode: Mode, instead: &'static str) -> Result<(), LossError> {
        (mode == Mode::Binary)
            .then_some(())
            .ok_or(self.not_for(mode, instead))
    }

    /// One finite weight ≥ 0 a class, not all 0.
    pub(crate) fn weights(
        self,
        setting: &'static str,
        weights: Option<&[f32]>,
        classes: usize,
    ) -> Result<(), LossError> {
        let Some(weights) = weights else {
            return Ok(());
        };
        let problem = if weights.is_empty() {
            "they follow from the data, and none were counted".into()
        } else if weights.len() != classes {
            format!(
                "{} for {}",
                count(weights.len(), "weight"),
                count(classes, "class")
            )
        } else if let Some(wrong) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
            format!("weight {wrong}")
        } else if weights.iter().all(|&w| w == 0.0) {
            "all are 0".into()
        } else {
            return Ok(());
        };
        Err(self.wrong(setting, problem, "give one weight ≥ 0 a class, not all 0"))
    }

    /// A share, 0 to 1.
    pub(crate) fn share(self, setting: &'static str, value: f32) -> Result<(), LossError> {
        if (0.0..=1.0).contains(&value) {
            return Ok(());
        }
        Err(self.wrong(setting, value.to_string(), "give 0 to 1"))
    }

    /// A finite number ≥ 0.
    pub(crate) fn not_negative(self, setting: &'static str, value: f32) -> Result<(), LossError> {
        if value.is_finite() && value >= 0.0 {
            return Ok(());
        }
        Err(self.wrong(setting, value.to_string(), "give a number ≥ 0"))
    }

    /// A finite number > 0.
    pub(crate) fn positive(self, setting: &'static str, value: f32) -> Result<(), LossError> {
        if value.is_finite() && value > 0.0 {
            return Ok(());
        }
        Err(self.wrong(setting, value.to_string(), "give a number > 0"))
    }
}
