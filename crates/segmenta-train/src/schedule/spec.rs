//! Schedules as a configuration says them: names, settings and defaults of `torch.optim.lr_scheduler`.

use segmenta_files::count;
use serde::{Deserialize, Serialize};

use super::ScheduleError;
use super::one_cycle::OneCycle;
use super::plateau::Plateau;

/// How the learning rate changes. Counts are in whatever the caller counts, steps or epochs; a `total` that is not
/// given is the length of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleSpec {
    /// `StepLR`: times `gamma` every `step_size`.
    #[serde(alias = "StepLR")]
    Step {
        /// How often.
        step_size: u64,
        /// Factor.
        #[serde(default = "tenth")]
        gamma: f64,
    },
    /// `MultiStepLR`: times `gamma` at each milestone.
    #[serde(alias = "MultiStepLR")]
    MultiStep {
        /// When, in rising order.
        milestones: Vec<u64>,
        /// Factor.
        #[serde(default = "tenth")]
        gamma: f64,
    },
    /// `ExponentialLR`: times `gamma` each time.
    #[serde(alias = "ExponentialLR")]
    Exponential {
        /// Factor.
        gamma: f64,
    },
    /// `PolynomialLR`: to 0 by `(1 − t/total)^power`. Segmentation mostly takes the power 0.9.
    #[serde(alias = "PolynomialLR")]
    Poly {
        /// When 0 is reached.
        #[serde(
            default,
            alias = "total_iters",
            skip_serializing_if = "Option::is_none"
        )]
        total: Option<u64>,
        /// The power.
        #[serde(default = "one")]
        power: f64,
    },
    /// `CosineAnnealingLR`: half a cosine down to `min_lr`; beyond `total` up again.
    #[serde(alias = "CosineAnnealingLR")]
    Cosine {
        /// When the lowest is reached.
        #[serde(default, alias = "T_max", skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
        /// The lowest learning rate.
        #[serde(default, alias = "eta_min")]
        min_lr: f64,
    },
    /// `LinearLR`: the factor goes from `start_factor` to `end_factor` in a line, a warm-up by default.
    #[serde(alias = "LinearLR")]
    Linear {
        /// Factor at first.
        #[serde(default = "third")]
        start_factor: f64,
        /// Factor at last.
        #[serde(default = "one")]
        end_factor: f64,
        /// How long the way is.
        #[serde(default = "five", alias = "total_iters")]
        total: u64,
    },
    /// `ConstantLR`: times `factor` until `total`, a warm-up by default. A `factor` of 1 is no schedule.
    #[serde(alias = "ConstantLR")]
    Constant {
        /// Factor.
        #[serde(default = "third")]
        factor: f64,
        /// How long.
        #[serde(default = "five", alias = "total_iters")]
        total: u64,
    },
    /// `OneCycleLR`: up to the learning rate and far down.
    #[serde(alias = "OneCycleLR")]
    OneCycle(OneCycle),
    /// `ReduceLROnPlateau`: down when a score stops getting better.
    #[serde(alias = "ReduceLROnPlateau")]
    Plateau(Plateau),
    /// `SequentialLR`: one after the other, each counting from 0 where it begins.
    #[serde(alias = "SequentialLR")]
    Sequential {
        /// The schedules.
        schedules: Vec<ScheduleSpec>,
        /// When each but the first begins, in rising order.
        milestones: Vec<u64>,
    },
    /// `ChainedScheduler`: all at once, their factors multiplied.
    #[serde(alias = "ChainedScheduler")]
    Chained {
        /// The schedules: those that are factors.
        schedules: Vec<ScheduleSpec>,
    },
}

fn tenth() -> f64 {
    0.1
}

fn third() -> f64 {
    1.0 / 3.0
}

fn one() -> f64 {
    1.0
}

fn five() -> u64 {
    5
}

impl Default for ScheduleSpec {
    /// The learning rate as it is.
    fn default() -> Self {
        Self::Constant {
            factor: 1.0,
            total: 0,
        }
    }
}

impl ScheduleSpec {
    /// Its name in configurations.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Step { .. } => "step",
            Self::MultiStep { .. } => "multi_step",
            Self::Exponential { .. } => "exponential",
            Self::Poly { .. } => "poly",
            Self::Cosine { .. } => "cosine",
            Self::Linear { .. } => "linear",
            Self::Constant { .. } => "constant",
            Self::OneCycle(_) => "one_cycle",
            Self::Plateau(_) => "plateau",
            Self::Sequential { .. } => "sequential",
            Self::Chained { .. } => "chained",
        }
    }

    fn wrong(
        &self,
        setting: &'static str,
        problem: impl Into<String>,
        mend: &'static str,
    ) -> ScheduleError {
        ScheduleError {
            schedule: self.name(),
            setting,
            problem: problem.into(),
            mend,
        }
    }

    fn not_negative(&self, setting: &'static str, value: f64) -> Result<(), ScheduleError> {
        if value.is_finite() && value >= 0.0 {
            return Ok(());
        }
        Err(self.wrong(setting, value.to_string(), "give a number ≥ 0"))
    }

    fn rising(&self, setting: &'static str, at: &[u64]) -> Result<(), ScheduleError> {
        if at.is_sorted_by(|a, b| a < b) {
            return Ok(());
        }
        Err(self.wrong(setting, format!("{at:?}"), "give them in rising order"))
    }

    /// # Errors
    /// The first setting that is wrong.
    pub fn check(&self) -> Result<(), ScheduleError> {
        const SOME: &str = "give 1 or more";
        match self {
            Self::Step { step_size, gamma } => {
                if *step_size == 0 {
                    return Err(self.wrong("step_size", "0", SOME));
                }
                self.not_negative("gamma", *gamma)
            }
            Self::MultiStep { milestones, gamma } => {
                self.rising("milestones", milestones)?;
                self.not_negative("gamma", *gamma)
            }
            Self::Exponential { gamma } => self.not_negative("gamma", *gamma),
            Self::Poly { total, power } => {
                if *total == Some(0) {
                    return Err(self.wrong("total", "0", SOME));
                }
                self.not_negative("power", *power)
            }
            Self::Cosine { total, min_lr } => {
                if *total == Some(0) {
                    return Err(self.wrong("total", "0", SOME));
                }
                self.not_negative("min_lr", *min_lr)
            }
            Self::Linear {
                start_factor,
                end_factor,
                total,
            } => {
                if *total == 0 {
                    return Err(self.wrong("total", "0", SOME));
                }
                self.not_negative("start_factor", *start_factor)?;
                self.not_negative("end_factor", *end_factor)
            }
            Self::Constant { factor, .. } => self.not_negative("factor", *factor),
            Self::OneCycle(cycle) => cycle
                .check()
                .map_err(|(setting, problem, mend)| self.wrong(setting, problem, mend)),
            Self::Plateau(plateau) => plateau
                .check()
                .map_err(|(setting, problem, mend)| self.wrong(setting, problem, mend)),
            Self::Sequential {
                schedules,
                milestones,
            } => {
                self.rising("milestones", milestones)?;
                if schedules.len() != milestones.len() + 1 {
                    let counts = format!(
                        "{} for {}",
                        milestones.len(),
                        count(schedules.len(), "schedule")
                    );
                    return Err(self.wrong("milestones", counts, "give one less than schedules"));
                }
                schedules.iter().try_for_each(Self::check)
            }
            Self::Chained { schedules } => {
                let factor = |schedule: &&Self| match schedule {
                    Self::Cosine { min_lr, .. } => *min_lr != 0.0,
                    Self::OneCycle(_) | Self::Plateau(_) | Self::Sequential { .. } => true,
                    _ => false,
                };
                if let Some(other) = schedules.iter().find(factor) {
                    let mend = "chain schedules that are factors; put this one in a sequence";
                    return Err(self.wrong("schedules", format!("`{}`", other.name()), mend));
                }
                schedules.iter().try_for_each(Self::check)
            }
        }
    }

    /// Totals that were left out become the length of the run, or what is left of it.
    pub(super) fn filled(mut self, run: u64) -> Self {
        let fill = |total: &mut Option<u64>| *total = Some(total.unwrap_or(run.max(1)));
        match &mut self {
            Self::Poly { total, .. } | Self::Cosine { total, .. } => fill(total),
            Self::OneCycle(cycle) => fill(&mut cycle.total),
            Self::Sequential {
                schedules,
                milestones,
            } => {
                let starts = std::iter::once(0).chain(milestones.iter().copied());
                let ends = milestones.iter().copied().chain([run]);
                for ((schedule, start), end) in schedules.iter_mut().zip(starts).zip(ends) {
                    *schedule = std::mem::take(schedule).filled(end.saturating_sub(start));
                }
            }
            Self::Chained { schedules } => {
                for schedule in schedules {
                    *schedule = std::mem::take(schedule).filled(run);
                }
            }
            _ => {}
        }
        self
    }

    /// The plateau in it, if there is one.
    pub(super) fn plateau(&self) -> Option<&Plateau> {
        match self {
            Self::Plateau(plateau) => Some(plateau),
            Self::Sequential { schedules, .. } => schedules.iter().find_map(Self::plateau),
            _ => None,
        }
    }
}
