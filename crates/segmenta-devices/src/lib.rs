//! Networks that learn on devices: a graph's nodes, losses and the steps of optimisers as operations of Burn.
//!
//! *In*: a [`Graph`](segmenta_graph::Graph), parameters as numbers, batches. *Out*: results, losses, gradients and
//! moved parameters, all of which stay on the device: what is read back is a loss, and what a caller asks for.
//! Definitions are those of the processor's own path (`segmenta-program`, `segmenta-losses`,
//! `segmenta_kernels::optim`), with which tests compare every kind of node, every loss and every rule.
//!
//! Without one of the features `flex`, `cuda` and `wgpu` there is nothing here.

#[cfg(feature = "flex")]
mod attention;
#[cfg(feature = "flex")]
mod engine;
#[cfg(feature = "flex")]
mod error;
#[cfg(feature = "flex")]
mod layers;
#[cfg(feature = "flex")]
mod losses;
#[cfg(feature = "flex")]
mod norms;
#[cfg(feature = "flex")]
mod numbers;
#[cfg(feature = "flex")]
mod place;
#[cfg(feature = "flex")]
mod rules;
#[cfg(feature = "flex")]
mod sides;
#[cfg(feature = "flex")]
mod tape;

#[cfg(feature = "flex")]
pub use engine::{Engine, Setup, Timing};
#[cfg(feature = "flex")]
pub use error::{DeviceError, OpenError, Pass};
#[cfg(feature = "flex")]
pub use losses::value_and_gradient;
#[cfg(feature = "flex")]
pub use numbers::Numbers;
#[cfg(feature = "flex")]
pub use place::{Kind, Place};
