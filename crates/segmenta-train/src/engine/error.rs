//! Why a step could not be taken.

use segmenta_files::count;
use segmenta_graph::{GraphError, NodeData, Shape};
use segmenta_kernels::OutOfMemory;
use segmenta_weights::WeightsError;
use thiserror::Error;

use super::{DeviceSpec, Phase};

/// Why the engine could not be made, or a step not be taken.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The input does not fit the network, or there is no such result.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The weights do not fit the network.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A batch norm that has to find a variance among one value a channel.
    #[error(
        "`{node}` is a batch norm of one value a channel (a map of {channels}×1×1, a batch of one): its variance is 0, so all would become the same · train with two pictures a batch or more (train.drop_last = true leaves a last batch of one out), with larger pictures, or freeze the part that `{node}` is in"
    )]
    OneValue {
        /// The batch norm.
        node: String,
        /// Its channels.
        channels: usize,
    },
    /// A NaN or an infinity, found by `debug_numerics`.
    #[error("{value} in the {phase} pass · the first node that made it is `{node}`")]
    NotFinite {
        /// The node that made it.
        node: String,
        /// In which pass.
        phase: Phase,
        /// NaN or an infinity.
        value: f32,
    },
    /// A backward pass without a forward pass before it.
    #[error("a backward pass without a forward pass before it")]
    NoForward,
    /// A parameter that the results depend on and that the backward pass found nothing for.
    #[error(
        "the backward pass has no gradient for `{parameter}`, which would not learn · report it: this should not happen"
    )]
    NoGradient {
        /// The parameter.
        parameter: String,
    },
    /// Gradients that are not of the results' number or shapes.
    #[error("gradients of {got} where the results are {expected}")]
    Results {
        /// What the results are.
        expected: String,
        /// What came.
        got: String,
    },
    /// An input without the values of its shape.
    #[error("an input of {shape} has {}; {got} came", count(*.expected, "value"))]
    Length {
        /// The shape given.
        shape: Shape,
        /// Values of that shape.
        expected: usize,
        /// Values given.
        got: usize,
    },
    /// A part of the network to freeze that there is not.
    #[error(transparent)]
    Parts(#[from] crate::optim::OptimError),
    /// Logits or a target that have no loss.
    #[error(transparent)]
    Loss(#[from] crate::loss::LossError),
    /// Not enough memory for a step.
    #[error(
        "a step needs {} MiB for what it keeps from the forward to the backward pass, more than there is · take a smaller batch or smaller pictures",
        .0.bytes >> 20
    )]
    Memory(#[from] OutOfMemory),
    /// The network could not be made ready for evaluation.
    #[error(transparent)]
    Runtime(#[from] segmenta_runtime::RuntimeError),
    /// A device's name that is none.
    #[error("no device is called `{0}` · there are {names}", names = DeviceSpec::NAMES)]
    UnknownDevice(String),
    /// A device that this program was built without.
    #[error(
        "`{device}`: built without feature `{feature}` · cargo build --release --features {feature}"
    )]
    NotBuilt {
        /// The device.
        device: DeviceSpec,
        /// Cargo's feature for it.
        feature: &'static str,
    },
    /// A device that this machine does not have.
    #[error(
        "`{device}`: devices of its kind found here, counted from 0: {found} · is its driver installed?"
    )]
    NoDevice {
        /// The device.
        device: DeviceSpec,
        /// How many there are.
        found: usize,
    },
    /// No threads.
    #[error("cannot start threads: {0}")]
    Threads(std::io::Error),
    /// What a device or its library says.
    #[error("the device: {0}")]
    Device(String),
}

impl EngineError {
    /// Whether a batch norm in training has values enough to find a variance.
    pub(super) fn check_values(norm: &NodeData, shape: Shape) -> Result<(), Self> {
        if shape.batch * shape.pixels() > 1 {
            return Ok(());
        }
        Err(Self::OneValue {
            node: norm.name.clone(),
            channels: shape.channels,
        })
    }
}

#[cfg(feature = "flex")]
impl From<segmenta_devices::DeviceError> for EngineError {
    fn from(error: segmenta_devices::DeviceError) -> Self {
        use segmenta_devices::{DeviceError, Pass};

        match error {
            DeviceError::Graph(error) => Self::Graph(error),
            DeviceError::OneValue { node, channels } => Self::OneValue { node, channels },
            DeviceError::NotFinite { node, pass, value } => Self::NotFinite {
                node,
                phase: match pass {
                    Pass::Forward => Phase::Forward,
                    Pass::Backward => Phase::Backward,
                },
                value,
            },
            DeviceError::NoForward => Self::NoForward,
            DeviceError::Threads(error) => Self::Threads(error),
            DeviceError::Device(problem) => Self::Device(problem),
        }
    }
}
