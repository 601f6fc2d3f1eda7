//! What is no schedule.

use thiserror::Error;

/// A setting from which no learning rate follows.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{problem} · setting `{setting}` of schedule `{schedule}` · {mend}")]
pub struct ScheduleError {
    /// Name of the schedule.
    pub schedule: &'static str,
    /// Name of the setting.
    pub setting: &'static str,
    /// What is wrong with it.
    pub problem: String,
    /// What it should be.
    pub mend: &'static str,
}
