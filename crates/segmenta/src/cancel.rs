//! A wish to stop, from one thread to another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stops work on another thread: clones are one switch. Once thrown it stays.
///
/// ```
/// let cancel = segmenta::Cancel::new();
/// let elsewhere = cancel.clone();
/// elsewhere.cancel();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A switch that is not thrown.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks whoever looks at this switch to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The switch as a training session looks at it.
    #[cfg(feature = "train")]
    pub(crate) fn switch(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}
