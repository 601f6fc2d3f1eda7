//! What can go wrong between a file and a label map.

use segmenta_image::PictureError;
use segmenta_runtime::RuntimeError;
use segmenta_weights::{CardError, HubError, Mismatch, WeightsError};
use segmenta_zoo::ZooError;
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
    /// Neither an architecture nor a file that names one.
    #[error("{0}")]
    Unspecified(String),
    /// A setting that cannot be.
    #[error("{0}")]
    Setting(String),
}
