//! What can go wrong between a file and a label map.

use segmenta_image::PictureError;
use segmenta_runtime::RuntimeError;
use segmenta_weights::{CardError, HubError, Mismatch, WeightsError};
use segmenta_zoo::{ThresholdError, ZooError};
use thiserror::Error;

/// Any error of this library. The message says what, where and how to mend it.
#[derive(Debug, Error)]
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
