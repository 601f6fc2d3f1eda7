//! Everything that is wrong with a data set, found before a network meets it.

mod find;
mod report;
mod scan;

use std::path::Path;

use crate::Dataset;

pub use report::{ClassCount, Finding, Problem, Report, Severity};
pub use scan::{Counts, count_classes};

impl Dataset {
    /// Reads all pictures and masks, on all threads, and says what is wrong with them. `advance` is called after each.
    pub fn check(&self, advance: &(dyn Fn() + Sync)) -> Report {
        find::report(self, &scan::scan(self, advance))
    }

    /// A file's path as it is seen from the data set's folder.
    fn relative(&self, path: &Path) -> String {
        let inner = path.strip_prefix(self.root()).unwrap_or(path);
        inner.to_string_lossy().into_owned()
    }
}
