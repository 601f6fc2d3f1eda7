//! What can go wrong with a run's folder, written for the person who has to do something about it.

use std::io;
use std::path::{Path, PathBuf};

use segmenta_files::{reason, write_remedy};
use segmenta_image::PictureError;

/// `Display` reads `what · where · remedy`.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A run would be overwritten.
    #[error(
        "a run is already there · {} · give the new run another folder, go on with the old one, or replace it",
        .0.display()
    )]
    Exists(PathBuf),
    /// A folder with files of somebody else.
    #[error("the folder has files that are no run's · {} · give the run a new folder", .0.display())]
    Occupied(PathBuf),
    /// Two runs would write one folder.
    #[error(
        "another process is writing this run · {} · wait for it or stop it, or give the new run another folder",
        .0.display()
    )]
    Busy(PathBuf),
    /// Nothing to resume or to report.
    #[error("no run is there (a run has a config.toml) · {} · check the path", .0.display())]
    NoRun(PathBuf),
    /// The system refuses to write.
    #[error("cannot write the file: {} · {} · {}", reason(cause), path.display(), write_remedy(cause))]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// The system refuses to read.
    #[error("cannot read the file: {} · {} · check the path and the disk", reason(cause), path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        cause: io::Error,
    },
    /// A file of a run that Segmenta has not written so.
    #[error("{problem} · {} · restore the file, or start a new run", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and in which line.
        problem: String,
    },
    /// What is recorded does not fit what was recorded before.
    #[error("{problem} · {} · {remedy}", path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
        /// How to mend it.
        remedy: &'static str,
    },
    /// A drawing that could not be made.
    #[error(
        "cannot draw the {drawing}: {problem} · the run's pictures · report it: this should not happen"
    )]
    Draw {
        /// The drawing.
        drawing: &'static str,
        /// What the library says.
        problem: String,
    },
    /// A picture or label map that could not be used or written.
    #[error(transparent)]
    Picture(#[from] PictureError),
}

impl ReportError {
    pub(crate) fn write(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |cause| Self::Write { path, cause }
    }

    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |cause| Self::Read { path, cause }
    }

    pub(crate) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}
