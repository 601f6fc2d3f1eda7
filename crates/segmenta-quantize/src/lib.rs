//! What a network needs to compute in 8 bits, found by watching it compute in f32.
//!
//! *In*: a graph, its parameters, and what an [`Engine`](segmenta_runtime::Engine) shows of its values
//! ([`watch`](segmenta_runtime::Engine::watch)). *Out*: the range of each value ([`Observations::ranges`]), and
//! parameters that lose less when they are rounded: [`equalise`] evens channels out that one range must hold,
//! [`correct_biases`] takes off what rounding weights adds on average ([`round_weights`] rounds them). Which pictures are
//! shown and what a score is, is the caller's.

mod bias;
mod chain;
mod equalise;
mod histogram;
mod observations;
mod weights;

pub use bias::correct_biases;
pub use equalise::{Equalised, equalise};
pub use histogram::RangeBy;
pub use observations::{Observations, Observed};
pub use weights::{Parameters, round_weights};
