//! Models of the Hugging Face hub.
//!
//! **In:** the name of a repository ([`RepositoryName`]), or a folder as `save_pretrained` of transformers or of
//! segmentation_models_pytorch writes it. **Out:** the files in the cache that Python's library shares, brought there
//! by a [`Client`] if they are not; what `config.json` says of the network ([`Config`]), what
//! `preprocessor_config.json` says of pictures ([`Processor`]), the licence; and a table of names to recommend
//! ([`recommended`]); for encoders, the weights that they can begin with by name
//! ([`encoder_weights`](encoder_weights())). The networks themselves belong to the zoo.
//!
//! The `hf-hub` crate is asynchronous from version 1 on and brings a second HTTP client with it; what is needed here
//! (resuming, digests, the cache without a network) are a few hundred lines over `ureq`, which is here already.

mod backbone;
mod catalogue;
mod client;
mod config;
mod encoder_weights;
mod environment;
mod error;
mod folder;
mod licence;
mod name;
mod processor;

pub use backbone::Backbone;
pub use catalogue::{Recommended, recommended, search};
pub use client::{Cached, Client};
pub use config::{Class, Config, Normalisation};
pub use encoder_weights::{
    DEFAULT_WEIGHTS, EncoderWeights, WeightsSource, encoder_weights, find_encoder_weights,
    weights_of_encoder,
};
pub use environment::Environment;
pub use error::{FolderError, RepositoryError, RepositoryFault};
pub use folder::{ModelFolder, Snapshot, SnapshotError};
pub use licence::{is_non_commercial, licence_of};
pub use name::{NameError, RepositoryName};
pub use processor::Processor;
