//! Everything that is wrong with a data set, found before a network meets it.

mod find;
mod report;
mod scan;

use std::path::Path;

use crate::Dataset;

pub use report::{ClassCount, Finding, Problem, Report, Severity};
pub use scan::{Contents, Counts, count_classes};

impl Dataset {
    /// Reads all pictures and masks, on all threads, and says what is wrong with them. `advance` is called after each.
    pub fn check(&self, advance: &(dyn Fn() + Sync)) -> Report {
        find::report(self, &scan::scan(self, advance))
    }

    /// As [`Dataset::check`], with what each item holds, in the order of [`Dataset::items`].
    pub fn inspect(&self, advance: &(dyn Fn() + Sync)) -> (Report, Vec<Contents>) {
        let scans = scan::scan(self, advance);
        (find::report(self, &scans), scan::contents(self, &scans))
    }

    /// A file's path as it is seen from the data set's folder.
    fn relative(&self, path: &Path) -> String {
        let inner = path.strip_prefix(self.root()).unwrap_or(path);
        inner.to_string_lossy().into_owned()
    }
}
