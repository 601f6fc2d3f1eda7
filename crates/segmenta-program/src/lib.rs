//! A network as a program: steps over values in one arena, for one pass or for both.
//!
//! *In*: a [`segmenta_graph::Graph`]. *Out*: a [`Program`], for each input size a [`Plan`], and [`run`], which
//! runs the one by the other.
//!
//! [`Draft::lower`] gives each node a step. An engine's passes fuse and fold steps: inference's are in `segmenta-runtime`,
//! training's in `segmenta-train`, and what both do is a method of [`Draft`]. [`Draft::place`] gives every value a
//! place in a [`Buffer`]; [`backward`] writes the steps of the backward pass; a [`Plan`] lays buffers out for one input
//! size, so that those that are never in use together share memory. An operation is a file in `ops`: what it computes,
//! its scratch memory, its weights and its gradient.

mod backward;
mod draft;
mod layers;
mod layout;
mod ops;
mod place;
mod plan;
mod program;
mod run;
pub mod terms;
mod value;
mod work;

pub use backward::{Learning, backward};
pub use draft::{Branch, ConvDraft, Draft, DraftResult, DraftStep, Emission, NormDraft};
pub use layers::{
    ConvLayer, ConvLearning, Layers, NormLayer, NormLearning, NormNumbers, Packed, TransposedLayer,
    TransposedLearning,
};
pub use ops::*;
pub use place::Placed;
pub use plan::Plan;
pub use program::Program;
pub use run::{LayersIn, NotFinite, Pass, Surroundings, Watch, run};
pub use value::{Buffer, Buffers, Element, Storage, Value};
pub use work::{Step, Work};
