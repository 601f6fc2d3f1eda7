//! What cannot be stepped.

use segmenta_files::count;
use thiserror::Error;

/// Settings, gradients or state that do not fit the parameters.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum OptimError {
    /// A setting outside its range.
    #[error("{problem} · setting `{setting}` of optimiser `{optimizer}` · {mend}")]
    Setting {
        /// Name of the optimiser.
        optimizer: &'static str,
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What it should be.
        mend: &'static str,
    },
    /// Two parameters under one name.
    #[error("parameter `{0}` comes twice · optimiser · give each parameter a name of its own")]
    Duplicate(String),
    /// A parameter that the optimiser was not told of.
    #[error(
        "there is no parameter `{name}` · {place} · the optimiser was made for other parameters"
    )]
    Unknown {
        /// The name.
        name: String,
        /// Where it came up.
        place: &'static str,
    },
    /// A setting for a part that no parameter belongs to.
    #[error("no parameter belongs to `{part}` · parts of the network · parts are {known}")]
    Part {
        /// The prefix given.
        part: String,
        /// First components of the parameters' names.
        known: String,
    },
    /// A factor or a decay of a part that is negative or no number.
    #[error("{value} · `{setting}` of part `{part}` · give a number ≥ 0")]
    PartSetting {
        /// The prefix.
        part: String,
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        value: f64,
    },
    /// A learning rate that is negative or no number.
    #[error("learning rate {0} · step · give a number ≥ 0")]
    LearningRate(f64),
    /// Numbers of another length.
    #[error(
        "{what} of `{name}` has {}, the parameter {expected} · {place} · they belong to different networks",
        count(*.got, "value")
    )]
    Length {
        /// Gradient, or the name of the state.
        what: String,
        /// Name of the parameter.
        name: String,
        /// Values given.
        got: usize,
        /// Values of the parameter.
        expected: usize,
        /// Where it came up.
        place: &'static str,
    },
    /// A gradient that is no number or infinite.
    #[error(
        "the gradient of `{0}` is NaN or infinite · step · nothing was changed; try a lower learning rate or clipping"
    )]
    NotFinite(String),
    /// State that lacks a part of what the optimiser needs.
    #[error(
        "`{parameter}` has no `{state}` · optimiser state · the checkpoint is incomplete or of another optimiser"
    )]
    Missing {
        /// Name of the parameter.
        parameter: String,
        /// Name of the state.
        state: &'static str,
    },
    /// A device that does not answer.
    #[error("{0} · reading from the device · see the device's own messages")]
    Device(String),
}
