//! Schedules: the learning rate over a run.
//!
//! *In*: a [`ScheduleSpec`] from the configuration, the optimiser's learning rate, the length of the run. *Out*: the
//! learning rate at any step (or epoch: whatever the caller counts), and for one-cycle the momentum. All but
//! [`Plateau`] are functions of the count alone, so that a run resumes anywhere; a plateau's state is part of the
//! checkpoint. Definitions are those of `torch.optim.lr_scheduler`.

mod error;
mod one_cycle;
mod plateau;
mod spec;

pub use error::ScheduleError;
pub use one_cycle::{Anneal, OneCycle};
pub use plateau::{Better, Plateau, PlateauState, ThresholdMode};
pub use spec::ScheduleSpec;

/// A schedule at work.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    spec: ScheduleSpec,
    lr: f64,
    plateau: Option<PlateauState>,
}

impl Schedule {
    /// For an optimiser with learning rate `lr`, over `run` steps (or epochs).
    ///
    /// # Errors
    /// A setting that is wrong.
    pub fn new(spec: ScheduleSpec, lr: f64, run: u64) -> Result<Self, ScheduleError> {
        spec.check()?;
        let plateau = spec.plateau().map(|_| PlateauState {
            lr,
            best: None,
            bad: 0,
            cooldown: 0,
        });
        Ok(Self {
            spec: spec.filled(run),
            lr,
            plateau,
        })
    }

    /// The learning rate of step `t`, from 0 on.
    pub fn lr(&self, t: u64) -> f64 {
        self.lr_of(&self.spec, t)
    }

    /// The momentum of step `t`, if the schedule moves it.
    pub fn momentum(&self, t: u64) -> Option<f64> {
        fn of(spec: &ScheduleSpec, t: u64) -> Option<f64> {
            match spec {
                ScheduleSpec::OneCycle(cycle) => cycle.momentum(t),
                ScheduleSpec::Sequential {
                    schedules,
                    milestones,
                } => {
                    let (index, start) = current(milestones, t);
                    of(&schedules[index], t - start)
                }
                _ => None,
            }
        }
        of(&self.spec, t)
    }

    /// Whether [`Schedule::observe`] changes anything.
    pub fn wants_scores(&self) -> bool {
        self.plateau.is_some()
    }

    /// Tells a plateau the score of an evaluation.
    pub fn observe(&mut self, score: f64) {
        if let (Some(plateau), Some(state)) = (self.spec.plateau(), self.plateau) {
            self.plateau = Some(plateau.observe(state, score));
        }
    }

    /// What a plateau has seen, for a checkpoint.
    pub fn state(&self) -> Option<PlateauState> {
        self.plateau
    }

    /// Takes up what a plateau had seen. Without a plateau nothing changes.
    pub fn load_state(&mut self, state: PlateauState) {
        if self.plateau.is_some() {
            self.plateau = Some(state);
        }
    }

    fn lr_of(&self, spec: &ScheduleSpec, t: u64) -> f64 {
        let base = self.lr;
        let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        match spec {
            ScheduleSpec::Step { step_size, gamma } => {
                base * gamma.powi(count((t / step_size) as usize))
            }
            ScheduleSpec::MultiStep { milestones, gamma } => {
                base * gamma.powi(count(milestones.partition_point(|&at| at <= t)))
            }
            ScheduleSpec::Exponential { gamma } => base * gamma.powf(t as f64),
            ScheduleSpec::Poly { total, power } => {
                let total = total.unwrap_or(1) as f64;
                base * (1.0 - (t as f64).min(total) / total).powf(*power)
            }
            ScheduleSpec::Cosine { total, min_lr } => {
                let way = t as f64 / total.unwrap_or(1) as f64;
                min_lr + (base - min_lr) * (1.0 + (std::f64::consts::PI * way).cos()) / 2.0
            }
            ScheduleSpec::Linear {
                start_factor,
                end_factor,
                total,
            } => {
                let way = t.min(*total) as f64 / *total as f64;
                base * (start_factor + (end_factor - start_factor) * way)
            }
            ScheduleSpec::Constant { factor, total } => {
                if t < *total {
                    base * factor
                } else {
                    base
                }
            }
            ScheduleSpec::OneCycle(cycle) => cycle.lr(t, base),
            ScheduleSpec::Plateau(_) => self.plateau.map_or(base, |state| state.lr),
            ScheduleSpec::Sequential {
                schedules,
                milestones,
            } => {
                let (index, start) = current(milestones, t);
                self.lr_of(&schedules[index], t - start)
            }
            ScheduleSpec::Chained { schedules } => {
                let factors = schedules.iter().map(|schedule| {
                    let lr = self.lr_of(schedule, t);
                    if base == 0.0 { 0.0 } else { lr / base }
                });
                base * factors.product::<f64>()
            }
        }
    }
}

/// Which of a sequence is at work, and when it began.
fn current(milestones: &[u64], t: u64) -> (usize, u64) {
    let index = milestones.partition_point(|&at| at <= t);
    (index, if index == 0 { 0 } else { milestones[index - 1] })
}
