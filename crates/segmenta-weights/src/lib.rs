//! Weights: from files and from the network into names and numbers, and back into files.
//!
//! **In:** `.pth` and `.pt` files of every PyTorch (nothing in them is ever executed), `.safetensors`
//! whole or in shards, and the URLs of published weights. Bytes may be anything: every fault of a
//! file is an error that says what, where and how to mend it, and none is a panic.
//! **Out:** a [`StateDict`], which gives each tensor by its state-dict name as row-major `f32`; the network
//! that [`StateDict::find`] finds in it, behind whichever prefix and beside whatever else, and a [`Mismatch`]
//! when the names or shapes are not the network's; [`Statistics`] of a tensor; the
//! [`ModelCard`] of a model file; files that [`save`] has written whole or not at all; and paths of
//! files that a [`Hub`] has downloaded once, verified by SHA-256 and kept.

mod aliases;
mod archive;
mod by_order;
mod download;
mod dtype;
mod error;
mod file_order;
mod format;
mod hub;
mod hub_error;
mod located;
mod mismatch;
mod model_file;
mod published;
mod pytorch_file;
mod safetensors_file;
mod save;
mod sharded;
mod state_dict;
mod statistics;
mod stored;
mod third_party;

pub use by_order::{Disagreement, Disorder};
pub use download::{Check, Download, agent, network, retry_after};
pub use dtype::DType;
pub use error::{Fault, WeightsError};
pub use format::Format;
pub use hub::{Hub, Progress, digest, lock_file};
pub use hub_error::{HubError, HubFault};
pub use located::{FindError, Found, Place, Search, Taken};
pub use mismatch::{Cause, Expected, Mismatch, Misshapen};
pub use model_file::{
    CARD_KEY, CARD_VERSION, CARD_VERSION_INT8, CardAnswer, CardError, CardInt8, CardValues,
    ChannelOrder, Filter, Middle, ModelCard, Pad, Preprocessing, Resize,
};
pub use published::Published;
pub use save::{Numbers, TensorView, save, save_numbers};
pub use state_dict::{StateDict, Tensor, TensorInfo};
pub use statistics::Statistics;
