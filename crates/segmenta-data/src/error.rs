//! The one error of this crate.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use segmenta_image::PictureError;

/// What is wrong with data or with what was asked about it. `Display` reads `what · where · how to mend`.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A picture or a mask that cannot be read or written.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A folder, list, annotation or pair that is not what it should be.
    #[error("{what} · {place} · {remedy}")]
    Data {
        /// What is wrong.
        what: String,
        /// The file or folder.
        place: String,
        /// How to mend it.
        remedy: String,
    },
    /// A folder that has none of the layouts there are.
    #[error(
        "no data set is recognised in it · {} · put pictures into images/ and masks of the same names into masks/, or say its kind",
        .0.display()
    )]
    Unrecognised(PathBuf),
    /// A setting that cannot be.
    #[error("{what} · {place} · {remedy}")]
    Setting {
        /// What is wrong.
        what: String,
        /// The setting.
        place: String,
        /// What can be.
        remedy: String,
    },
}

impl DataError {
    pub(crate) fn data(what: impl Display, place: impl Display, remedy: impl Display) -> Self {
        Self::Data {
            what: what.to_string(),
            place: place.to_string(),
            remedy: remedy.to_string(),
        }
    }

    pub(crate) fn at(what: impl Display, path: &Path, remedy: impl Display) -> Self {
        Self::data(what, path.display(), remedy)
    }

    pub(crate) fn setting(what: impl Display, place: impl Display, remedy: impl Display) -> Self {
        Self::Setting {
            what: what.to_string(),
            place: place.to_string(),
            remedy: remedy.to_string(),
        }
    }

    /// A file or folder that the system refuses to give.
    pub(crate) fn read(path: &Path, cause: &std::io::Error) -> Self {
        Self::at(
            format!("cannot read it: {}", segmenta_files::reason(cause)),
            path,
            "check the path and who may read it",
        )
    }
}
