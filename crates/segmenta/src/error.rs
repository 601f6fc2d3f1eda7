//! What can go wrong between a file and a label map.

use segmenta_image::PictureError;
use segmenta_runtime::RuntimeError;
use segmenta_weights::{CardError, Disorder, FindError, HubError, Mismatch, WeightsError};
use segmenta_zoo::{ThresholdError, ZooError};
use thiserror::Error;

use crate::resolve::Nearest;

/// Any error of this library. The message says what, where and how to mend it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A name or an option that the zoo does not have.
    #[error(transparent)]
    Zoo(#[from] ZooError),
    /// A file of weights that cannot be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// Weights of another network.
    #[error(transparent)]
    Mismatch(#[from] Box<Mismatch>),
    /// A model file whose description cannot be read.
    #[error(transparent)]
    Card(#[from] CardError),
    /// Published weights that cannot be had.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A picture that cannot be read or written.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A network that cannot be run on this input.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Weights with NaN or infinities.
    #[error("{}", placed(error, file))]
    Broken {
        /// Which of them.
        error: RuntimeError,
        /// Where the weights come from.
        file: String,
    },
    /// A result that is no map, of which a mask was wanted.
    #[error(
        "the result `{result}` is one row of numbers for the whole picture, not a map · no mask can be made of it · \
         ask for the network's result `out`"
    )]
    NoMap {
        /// Its name.
        result: String,
    },
    /// A threshold that cannot be.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// Names of classes that are not one for each.
    #[error("{given} names for {expected} classes · give one for each id, the background's first")]
    Names {
        /// How many were given.
        given: usize,
        /// How many ids there are.
        expected: usize,
    },
    /// It was told to stop.
    #[error("stopped before it was done")]
    Cancelled,
    /// Neither an architecture nor a file that names one.
    #[error("{0}")]
    Unspecified(String),
    /// No network here has the names of a file.
    #[error("{}", unrecognised(.file, .nearest.as_deref(), *.encoder, .names))]
    Unrecognised {
        /// The file.
        file: String,
        /// The network that comes nearest, if one does.
        nearest: Option<Box<Nearest>>,
        /// The encoder that the file holds and nothing else.
        encoder: Option<&'static str>,
        /// The first few names in the file.
        names: Vec<String>,
    },
    /// Several networks have all the names of a file.
    #[error("the names are those of several networks: {} · {file} · name the one that it is", .fits.join(", "))]
    Ambiguous {
        /// The file.
        file: String,
        /// Their architectures.
        fits: Vec<&'static str>,
    },
    /// A file holds another network than the one that was asked for.
    #[error(
        "the file holds a {found}, not a {asked} · {file} · ask for that one, or for none: the names say it"
    )]
    AnotherNetwork {
        /// The file.
        file: String,
        /// The network asked for, in words.
        asked: String,
        /// The file's, in words.
        found: String,
        /// Its architecture.
        architecture: &'static str,
        /// Its encoder, for architectures that take one.
        encoder: Option<&'static str>,
    },
    /// A key that a checkpoint does not have.
    #[error(transparent)]
    Key(FindError),
    /// Entries that do not match by order.
    #[error(transparent)]
    Order(Box<Disorder>),
    /// A setting that cannot be.
    #[error("{0}")]
    Setting(String),
}

/// What · where · how to mend.
fn placed(error: &RuntimeError, file: &str) -> String {
    let text = error.to_string();
    match text.split_once(" · ") {
        Some((what, remedy)) => format!("{what} · {file} · {remedy}"),
        None => format!("{text} · {file}"),
    }
}

impl From<FindError> for Error {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Mismatch(mismatch) => Self::Mismatch(mismatch),
            FindError::Order(disorder) => Self::Order(disorder),
            other => Self::Key(other),
        }
    }
}

/// What is said of a file whose network is not known.
fn unrecognised(
    file: &str,
    nearest: Option<&Nearest>,
    encoder: Option<&str>,
    names: &[String],
) -> String {
    if let Some(nearest) = nearest {
        return format!(
            "no network has these names; the nearest is {nearest}: {} · {}",
            nearest.mismatch.problem(),
            nearest.mismatch.cause()
        );
    }
    if let Some(encoder) = encoder {
        return format!(
            "the file holds the encoder `{encoder}` alone, no network that segments · {file} · begin a \
             training with it as the encoder's weights"
        );
    }
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!(
        "no network has names as the file's ({}, …) · {file} · if they are their author's own, name the network \
         and match them by order",
        names.join(", ")
    )
}
