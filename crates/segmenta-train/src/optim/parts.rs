//! Parts of a network that learn at their own pace, or not at all.

use serde::{Deserialize, Serialize};

use super::OptimError;

/// What holds for the parameters under a prefix of state-dict names, such as `encoder` or `encoder.layer4`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The prefix: whole components of names. The longest that fits a parameter decides.
    pub prefix: String,
    /// Factor of the learning rate.
    #[serde(default = "one")]
    pub lr_factor: f64,
    /// Weight decay; the optimiser's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Whether these parameters stay as they are.
    #[serde(default)]
    pub frozen: bool,
}

fn one() -> f64 {
    1.0
}

impl Part {
    /// A part that differs in nothing yet.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self {
            prefix: prefix.into(),
            lr_factor: 1.0,
            weight_decay: None,
            frozen: false,
        }
    }

    fn holds(&self, name: &str) -> bool {
        let rest = name.strip_prefix(self.prefix.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || self.prefix.is_empty())
    }
}

/// Which parameters differ from the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Parts {
    /// The parts.
    pub parts: Vec<Part>,
    /// Whether vectors (batch norms' weights, all biases) are spared weight decay. PyTorch spares nothing.
    pub spare_vectors: bool,
}

/// What holds for one parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Factor of the learning rate.
    pub lr_factor: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// Whether it stays as it is.
    pub frozen: bool,
}

impl Parts {
    /// What holds for the parameter of that name and number of dimensions.
    pub fn group(&self, name: &str, rank: usize, weight_decay: f64) -> Group {
        let fitting = self.parts.iter().filter(|part| part.holds(name));
        let part = fitting.max_by_key(|part| part.prefix.len());
        let spared = self.spare_vectors && rank <= 1;
        Group {
            lr_factor: part.map_or(1.0, |part| part.lr_factor),
            weight_decay: match part.and_then(|part| part.weight_decay) {
                Some(own) => own,
                None if spared => 0.0,
                None => weight_decay,
            },
            frozen: part.is_some_and(|part| part.frozen),
        }
    }

    /// # Errors
    /// A part that no name belongs to; a factor or decay that is negative or no number.
    pub fn check<'a>(
        &self,
        names: impl Iterator<Item = &'a str> + Clone,
    ) -> Result<(), OptimError> {
        for part in &self.parts {
            let decay = part.weight_decay.unwrap_or(0.0);
            for (setting, value) in [("lr_factor", part.lr_factor), ("weight_decay", decay)] {
                if !(value.is_finite() && value >= 0.0) {
                    return Err(OptimError::PartSetting {
                        part: part.prefix.clone(),
                        setting,
                        value,
                    });
                }
            }
            if !names.clone().any(|name| part.holds(name)) {
                let mut known: Vec<_> = names.filter_map(|name| name.split('.').next()).collect();
                known.sort_unstable();
                known.dedup();
                return Err(OptimError::Part {
                    part: part.prefix.clone(),
                    known: known.join(", "),
                });
            }
        }
        Ok(())
    }
}
