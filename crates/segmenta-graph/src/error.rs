//! What can be wrong with a graph.

use thiserror::Error;

/// A graph that cannot be, or an input that it cannot take. Every message names the node.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GraphError {
    /// Two inputs of one node do not fit together.
    #[error("node `{node}` ({op}): {problem}")]
    Mismatch {
        /// Name of the node.
        node: String,
        /// Kind of the node.
        op: &'static str,
        /// What does not fit, with both shapes.
        problem: String,
    },
    /// A size that gives some node no pixel.
    #[error(
        "node `{node}` ({op}): an input of {height}×{width} pixels is too small; the map there would be \
         {got}{}", at_least(*least)
    )]
    TooSmall {
        /// Name of the node.
        node: String,
        /// Kind of the node.
        op: &'static str,
        /// Height of the network's input.
        height: usize,
        /// Width of the network's input.
        width: usize,
        /// The impossible size, as height×width.
        got: String,
        /// The side of the smallest square that the network takes.
        least: Option<usize>,
    },
    /// An input with another number of channels, or none.
    #[error("the network's input is N×{expected}×H×W; {got} does not fit")]
    Input {
        /// Channels that the network takes.
        expected: usize,
        /// What came.
        got: String,
    },
    /// Two entries of the state dict under one name.
    #[error("parameter `{0}` is defined twice")]
    DuplicateParameter(String),
    /// No output of that name.
    #[error("the network has no output `{name}`; it has {known}")]
    NoOutput {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
}

fn at_least(side: Option<usize>) -> String {
    side.map_or_else(String::new, |n| {
        format!("; give pictures of at least {n}×{n}")
    })
}
