//! What is asked of a run beside what its configuration says.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::engine::DeviceSpec;

/// What is said beside the configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where the network learns.
    pub device: DeviceSpec,
    /// Threads; 0 takes one a core.
    pub threads: usize,
    /// Whether to go on from the folder's checkpoint.
    pub resume: bool,
    /// `key=value` settings that were given beside the recipe, for the run to remember; the configuration has them.
    pub given: Vec<String>,
    /// Whether every value is looked at.
    pub debug_numerics: bool,
    /// Steps after which the run stops, to be gone on with.
    pub most_steps: Option<u64>,
    /// Ends the run after the step that is being taken, when it becomes true.
    pub stop: Arc<AtomicBool>,
}
