//! The networks: encoders (one family a file), architectures (one a file), the registry that knows
//! them by name, and the table of published weights.
//!
//! *In*: a name and [`Options`] (classes, input channels, heads, encoder, decoder).
//! *Out*: a [`segmenta_graph::Graph`] whose parameters carry the state-dict names of torchvision or
//! segmentation_models_pytorch, so that a file written by PyTorch fits as it is.
//!
//! An architecture is a function from options to a graph; to add one, write its file and a row in
//! `registry.rs`. Those of the Hugging Face hub (`hub/`) are built by the fields of a `config.json`. Those of segmentation_models_pytorch (`smp/`) stand on any encoder (`encoders/`). Nothing here computes: engines live elsewhere.

mod answer;
mod aspp;
mod config;
mod deeplabv3;
mod deeplabv3_mobilenet_v2;
mod encoders;
mod fcn;
mod fcn_transposed;
mod gate;
mod hub;
mod lraspp;
mod options;
mod published;
mod registry;
mod segnet;
mod settings;
mod smp;
mod unet_plain;

pub use answer::{Answer, PerPixel, PerQuery, ThresholdError, Values};
pub use config::Config;
pub use encoders::{Encoder, Family, Stage, encoder_of, encoders, families, find_encoder};
pub use options::Options;
pub use published::{PublishedWeights, Score, VOC_CLASSES, published, published_weights};
pub use registry::{Architecture, Recipe, ResizeRule, ZooError, architectures, find, hub_classes};
pub use settings::{
    Attention, Channels, Interpolation, LabelHead, MergePolicy, Norm, NormKind, OutputActivation,
    Pooling, Readout, Settings,
};
