//! Gradients kept within bounds.

use serde::{Deserialize, Serialize};

use super::OptimError;

/// What gradients are limited to before a step; nothing if nothing is given. Both as in `torch.nn.utils`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clip {
    /// Largest norm of all gradients together (`clip_grad_norm_`): larger ones are scaled down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub norm: Option<f64>,
    /// Largest absolute value of a gradient (`clip_grad_value_`), after the norm has been limited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

impl Clip {
    /// # Errors
    /// A limit that is not above 0.
    pub fn check(&self) -> Result<(), OptimError> {
        for (setting, limit) in [("norm", self.norm), ("value", self.value)] {
            if let Some(wrong) = limit.filter(|limit| limit.is_nan() || *limit <= 0.0) {
                return Err(OptimError::Setting {
                    optimizer: "clip",
                    setting,
                    problem: wrong.to_string(),
                    mend: "give a number > 0",
                });
            }
        }
        Ok(())
    }

    /// What gradients of this norm are multiplied by.
    pub fn factor(&self, norm: f64) -> f64 {
        self.norm
            .map_or(1.0, |limit| (limit / (norm + 1e-6)).min(1.0))
    }
}
