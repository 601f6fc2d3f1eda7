//! Runs a network on the CPU.
//!
//! *In*: a [`segmenta_graph::Graph`], a function that reads a parameter by its state-dict name,
//! and NCHW pictures. *Out*: logits, or label maps.
//!
//! Once for a network, `passes` lowers the graph to a `segmenta-program` and shortens it: batch norms are folded into
//! convolutions, non-linearities and residual sums fused into what makes them; `pack` reads the weights and
//! packs them. [`Engine`] has plans of that program for the input sizes that it has seen, runs them, and is safe to share
//! between threads.

mod arenas;
mod engine;
mod finite;
mod int8;
mod memory;
#[cfg(feature = "ndarray")]
mod nd;
mod pack;
mod passes;
mod precision;

pub use engine::{
    Engine, EngineOptions, Int8Layer, Memory, RuntimeError, StepTime, Tensor, check_input,
};
pub use finite::{all_finite, count_non_finite};
pub use int8::{Int8, MOST, quantisation, quantise_weights, value_names};
pub use precision::{Precision, UnknownPrecision};
pub use segmenta_kernels::low::Engine as LowEngine;
pub use segmenta_kernels::{Isa, Logits, ToProbability, WeightMemory};
