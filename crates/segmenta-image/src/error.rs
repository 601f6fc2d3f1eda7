//! The one error of this crate, written for the person who has to do something about it.

use std::fmt;
use std::io;
use std::path::Path;

use segmenta_files::{reason, write_remedy};

/// What went wrong with a picture. `Display` reads `what · where · remedy`.
#[derive(Debug, thiserror::Error)]
#[error("{what} · {place} · {remedy}")]
pub struct PictureError {
    kind: ErrorKind,
    what: String,
    place: String,
    remedy: String,
}

/// The sort of a [`PictureError`], for callers who treat sorts differently
/// (a loader that skips damaged files, a server that blames the sender or itself).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file could not be read or written.
    Io,
    /// The bytes end before the picture does.
    Truncated,
    /// The bytes are broken or are no picture.
    Damaged,
    /// A picture of a sort that is not read here.
    Unsupported,
    /// More pixels than may be decoded, or than a setting may ask for.
    TooLarge,
    /// Two things that should have the same size have not.
    Mismatch,
    /// A setting that cannot be understood.
    Setting,
}

impl PictureError {
    pub(crate) fn new(
        kind: ErrorKind,
        what: impl fmt::Display,
        place: impl fmt::Display,
        remedy: impl fmt::Display,
    ) -> Self {
        Self {
            kind,
            what: what.to_string(),
            place: place.to_string(),
            remedy: remedy.to_string(),
        }
    }

    /// The sort of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The same error, said of the file that the bytes came from.
    #[must_use]
    pub fn at(mut self, path: &Path) -> Self {
        self.place = path.display().to_string();
        self
    }

    /// The same error, said of a setting: a key of a recipe, a field of a card.
    #[must_use]
    pub fn of(mut self, setting: impl fmt::Display) -> Self {
        self.place = setting.to_string();
        self
    }

    /// What went wrong, without the place and the remedy.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    pub(crate) fn mismatch(
        what: &str,
        got: (usize, usize),
        wanted: (usize, usize),
        remedy: &str,
    ) -> Self {
        Self::new(
            ErrorKind::Mismatch,
            format!("{what} of different sizes"),
            format!("{}×{} and {}×{}", got.0, got.1, wanted.0, wanted.1),
            remedy,
        )
    }

    pub(crate) fn read(path: &Path, cause: &io::Error) -> Self {
        let remedy = match cause.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "allow yourself to read it",
            io::ErrorKind::IsADirectory => "give a file of the folder, not the folder",
            _ => "check the disk and try again",
        };
        Self::new(
            ErrorKind::Io,
            format!("cannot read the file: {}", reason(cause)),
            path.display(),
            remedy,
        )
    }

    pub(crate) fn write(path: &Path, cause: &io::Error) -> Self {
        Self::new(
            ErrorKind::Io,
            format!("cannot write the file: {}", reason(cause)),
            path.display(),
            write_remedy(cause),
        )
    }
}
