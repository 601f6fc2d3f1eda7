//! What a device cannot do.

use std::fmt;

use segmenta_graph::GraphError;
use thiserror::Error;

/// One of the two ways through a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// From the input to the results.
    Forward,
    /// From the loss to the parameters.
    Backward,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
        })
    }
}

/// Why a step was not taken.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// The input does not fit the network.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A batch norm that has to find a variance among one value a channel.
    #[error(
        "`{node}` is a batch norm of one value a channel (a map of {channels}×1×1, a batch of one) · forward pass · train with more pictures a batch, or larger ones"
    )]
    OneValue {
        /// The batch norm.
        node: String,
        /// Its channels.
        channels: usize,
    },
    /// A NaN or an infinity, where they are looked for.
    #[error("{value} in the {pass} pass · the first node that made it is `{node}`")]
    NotFinite {
        /// The node that made it.
        node: String,
        /// In which pass.
        pass: Pass,
        /// NaN or an infinity.
        value: f32,
    },
    /// A backward pass without a forward pass before it.
    #[error("a backward pass without a forward pass before it")]
    NoForward,
    /// No threads.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
    /// What a device or its library says.
    #[error("the device: {0}")]
    Device(String),
}

/// Why there is no such device.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum OpenError {
    /// Built without the feature for it.
    #[error("built without the device's feature · devices · build with it")]
    NotBuilt,
    /// A device that this machine does not have.
    #[error(
        "devices of the kind found here, counted from 0: {found} · devices · is its driver installed?"
    )]
    NoDevice {
        /// How many there are.
        found: usize,
    },
}
