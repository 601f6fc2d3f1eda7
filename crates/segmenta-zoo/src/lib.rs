//! The networks: encoders (one family a file), architectures (one a file), the registry that knows
//! them by name, and the table of published weights.
//!
//! *In*: a name and [`Options`] (classes, input channels, auxiliary head, width).
//! *Out*: a [`segmenta_graph::Graph`] whose parameters carry torchvision's state-dict names, so
//! that a file written by PyTorch fits as it is.
//!
//! An architecture is a function from options to a graph; to add one, write its file and a row in
//! `registry.rs`. Nothing here computes: engines live elsewhere.

mod deeplabv3;
mod deeplabv3_mobilenet_v2;
mod fcn;
mod lraspp;
mod mobilenet_v2;
mod mobilenet_v3;
mod published;
mod registry;
mod resnet;

pub use published::{PublishedWeights, Score, VOC_CLASSES, published, published_weights};
pub use registry::{Architecture, Options, Recipe, ResizeRule, ZooError, architectures, find};
