//! Networks that learn on devices: a graph's nodes, losses and the steps of optimisers as operations of Burn.
//!
//! *In*: a [`Graph`](segmenta_graph::Graph), parameters as numbers on a device, batches. *Out*: results, losses,
//! gradients and moved parameters, all of which stay there: what is read back is a loss, and what a caller asks for.
//! Definitions are those of the processor's own path (`segmenta-program`, `segmenta-losses`,
//! `segmenta_kernels::optim`), with which tests compare every kind of node, every loss and every rule.
//!
//! Without one of the features `flex`, `cuda` and `wgpu` there is nothing here.

#[cfg(feature = "flex")]
mod device;

#[cfg(feature = "flex")]
pub use device::{
    DeviceError, Engine, Kind, Numbers, OpenError, Pass, Place, Setup, Timing, value_and_gradient,
};
