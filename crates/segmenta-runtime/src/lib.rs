//! Runs a network on the CPU.
//!
//! *In*: a [`segmenta_graph::Graph`], a function that reads a parameter by its state-dict name,
//! and NCHW pictures. *Out*: logits, or label maps.
//!
//! Three stages, a file each. `compile` turns graph and weights into steps, once: batch norms are
//! folded into convolutions, non-linearities and residual sums fused into what makes them,
//! concatenations become places to write to, what no wanted output needs is dropped, weights are
//! packed. `plan` lays the steps' maps out in one arena for one input size. `execute` runs them.
//! [`Engine`] is the three together, and safe to share between threads. What training does the same way is
//! public: [`lower`], [`layout`].

mod arenas;
mod compile;
mod engine;
mod execute;
mod finite;
pub mod layout;
pub mod lower;
mod memory;
mod plan;
mod program;

pub use engine::{Engine, EngineOptions, Memory, RuntimeError, StepTime, Tensor, check_input};
pub use finite::{all_finite, count_non_finite};
pub use segmenta_kernels::{Isa, Logits, ToProbability, WeightMemory};
