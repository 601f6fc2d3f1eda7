#![cfg(feature = "flex")]
//! Networks that learn on devices: a graph's nodes, losses and the steps of optimisers as operations of Burn.
//!
//! *In*: a [`Graph`](segmenta_graph::Graph), parameters as [`Numbers`], batches. *Out*: results, losses, gradients and
//! moved parameters, all of which stay on the device: what is read back is a loss, and what a caller asks for.
//! Definitions are those of the processor's own path (`segmenta-program`, `segmenta-losses`,
//! `segmenta_kernels::optim`), with which tests compare every kind of node, every loss and every rule.
//!
//! Without one of the features `flex`, `cuda` and `wgpu` there is nothing here.

mod attention;
mod engine;
mod error;
mod layers;
mod losses;
mod norms;
mod numbers;
mod place;
mod rules;
mod sides;
mod tape;

pub use engine::{Engine, Setup, Timing};
pub use error::{DeviceError, OpenError, Pass};
pub use losses::value_and_gradient;
pub use numbers::Numbers;
pub use place::{Kind, Place};
