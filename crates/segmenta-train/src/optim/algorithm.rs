//! The optimisers and their settings: names and defaults are those of `torch.optim`.

use serde::{Deserialize, Serialize};

use super::OptimError;

/// `torch.optim.SGD`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// What the momentum buffer keeps, 0 to 1.
    pub momentum: f64,
    /// What of the gradient does not enter the buffer, 0 to 1.
    pub dampening: f64,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
}

impl Default for Sgd {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
        }
    }
}

/// `torch.optim.Adam`: weight decay is added to the gradient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the running means of gradients and of their squares, 0 to 1.
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    pub eps: f64,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }
}

/// `torch.optim.AdamW`: weights decay by themselves, by learning rate times weight decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the running means of gradients and of their squares, 0 to 1.
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    pub eps: f64,
    /// What weights lose in a step, times the learning rate.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 1e-2,
        }
    }
}

/// `torch.optim.RMSprop`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RmsProp {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the mean square, 0 to 1.
    pub alpha: f64,
    /// Added to the root of the mean square.
    pub eps: f64,
    /// Added to the gradient, times the parameter.
    pub weight_decay: f64,
    /// What the momentum buffer keeps, 0 to 1.
    pub momentum: f64,
    /// Whether the squared mean is subtracted from the mean square.
    pub centered: bool,
}

impl Default for RmsProp {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            centered: false,
        }
    }
}

/// Any of the optimisers, with its settings; a configuration has its `name` among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is the optimiser of its name")]
pub enum Algorithm {
    #[serde(alias = "SGD")]
    Sgd(Sgd),
    #[serde(alias = "Adam")]
    Adam(Adam),
    #[serde(alias = "AdamW")]
    AdamW(AdamW),
    #[serde(alias = "RMSprop")]
    RmsProp(RmsProp),
}

/// The names of the optimisers, as configurations have them.
pub const NAMES: &[&str] = &["sgd", "adam", "adamw", "rmsprop"];

impl Algorithm {
    /// The optimiser of that name with torch's defaults, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "sgd" => Self::Sgd(Sgd::default()),
            "adam" => Self::Adam(Adam::default()),
            "adamw" => Self::AdamW(AdamW::default()),
            "rmsprop" => Self::RmsProp(RmsProp::default()),
            _ => return None,
        })
    }

    /// Its name in configurations.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sgd(_) => NAMES[0],
            Self::Adam(_) => NAMES[1],
            Self::AdamW(_) => NAMES[2],
            Self::RmsProp(_) => NAMES[3],
        }
    }

    /// The learning rate that schedules start from.
    pub fn lr(&self) -> f64 {
        match self {
            Self::Sgd(settings) => settings.lr,
            Self::Adam(settings) => settings.lr,
            Self::AdamW(settings) => settings.lr,
            Self::RmsProp(settings) => settings.lr,
        }
    }

    /// The weight decay of parameters for which nothing else is said.
    pub fn weight_decay(&self) -> f64 {
        match self {
            Self::Sgd(settings) => settings.weight_decay,
            Self::Adam(settings) => settings.weight_decay,
            Self::AdamW(settings) => settings.weight_decay,
            Self::RmsProp(settings) => settings.weight_decay,
        }
    }

    /// The momentum that one-cycle schedules move: SGD's and RMSprop's momentum, or the first beta.
    pub fn momentum(&self) -> f64 {
        match self {
            Self::Sgd(settings) => settings.momentum,
            Self::Adam(settings) => settings.betas[0],
            Self::AdamW(settings) => settings.betas[0],
            Self::RmsProp(settings) => settings.momentum,
        }
    }

    /// Sets what [`Algorithm::momentum`] gives.
    pub fn set_momentum(&mut self, momentum: f64) {
        match self {
            Self::Sgd(settings) => settings.momentum = momentum,
            Self::Adam(settings) => settings.betas[0] = momentum,
            Self::AdamW(settings) => settings.betas[0] = momentum,
            Self::RmsProp(settings) => settings.momentum = momentum,
        }
    }

    /// The state of a parameter beside its count of steps, named as torch names it.
    pub fn state_names(&self) -> Vec<&'static str> {
        match self {
            Self::Sgd(settings) if settings.momentum == 0.0 => vec![],
            Self::Sgd(_) => vec!["momentum_buffer"],
            Self::Adam(_) | Self::AdamW(_) => vec!["exp_avg", "exp_avg_sq"],
            Self::RmsProp(settings) => {
                let mut names = vec!["square_avg"];
                if settings.momentum != 0.0 {
                    names.push("momentum_buffer");
                }
                if settings.centered {
                    names.push("grad_avg");
                }
                names
            }
        }
    }

    /// # Errors
    /// The first setting that is wrong.
    pub fn check(&self) -> Result<(), OptimError> {
        let wrong = |setting, problem: String, mend| {
            Err(OptimError::Setting {
                optimizer: self.name(),
                setting,
                problem,
                mend,
            })
        };
        let not_negative = |setting, value: f64| {
            if value.is_finite() && value >= 0.0 {
                return Ok(());
            }
            wrong(setting, value.to_string(), "give a number ≥ 0")
        };
        let share = |setting, value: f64| {
            if (0.0..1.0).contains(&value) {
                return Ok(());
            }
            wrong(setting, value.to_string(), "give 0 or more, below 1")
        };
        not_negative("lr", self.lr())?;
        not_negative("weight_decay", self.weight_decay())?;
        match self {
            Self::Sgd(settings) => {
                not_negative("momentum", settings.momentum)?;
                not_negative("dampening", settings.dampening)?;
                if settings.nesterov && (settings.momentum == 0.0 || settings.dampening != 0.0) {
                    let mend = "Nesterov's momentum takes a momentum above 0 and no dampening";
                    return wrong("nesterov", "true".into(), mend);
                }
                Ok(())
            }
            Self::Adam(Adam { betas, eps, .. }) | Self::AdamW(AdamW { betas, eps, .. }) => {
                betas.iter().try_for_each(|&beta| share("betas", beta))?;
                not_negative("eps", *eps)
            }
            Self::RmsProp(settings) => {
                share("alpha", settings.alpha)?;
                not_negative("eps", settings.eps)?;
                not_negative("momentum", settings.momentum)
            }
        }
    }
}
