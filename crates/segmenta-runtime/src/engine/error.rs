//! Why a network could not be run.

use segmenta_files::count;
use segmenta_graph::{GraphError, Shape};
use thiserror::Error;

/// Why a network could not be run.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The input does not fit the network.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A slice that does not have the length of its shape.
    #[error("an input of {shape} has {}; {got} came", count(*.expected, "value"))]
    Length {
        /// The shape given.
        shape: Shape,
        /// Values of that shape.
        expected: usize,
        /// Values given.
        got: usize,
    },
    /// The intermediate maps do not fit into memory.
    #[error("an input of {shape} needs {} MiB for its intermediate maps and results, more than there is", bytes >> 20)]
    Memory {
        /// Shape of the input.
        shape: Shape,
        /// Bytes of the arena and of the results.
        bytes: usize,
    },
    /// Scores of every class at a size do not fit into memory.
    #[error("scores of {} at {}×{} pixels need more memory than there is · ask for a smaller size", count(*.classes, "class"), size[1], size[0])]
    Size {
        /// Planes.
        classes: usize,
        /// Height and width.
        size: [usize; 2],
    },
    /// Weights that are NaN or infinite.
    #[error(
        "weights that are no numbers: {count} of {} of `{parameter}` {} NaN or infinite{} · save or train them again",
        values(*.of), are(*.count),
        and_others(*.others)
    )]
    WeightsNotFinite {
        /// The first parameter, in the order of the network's modules, that has them.
        parameter: String,
        /// How many of its values.
        count: usize,
        /// Its values.
        of: usize,
        /// How many parameters after it have some, too.
        others: usize,
    },
    /// A result with NaN or infinities, of weights and an input that have none.
    #[error(
        "the network's numbers end in `{layer}`, the first layer to give NaN or infinity: {count} of {} \
         of the result `{result}` {} none · the weights are broken, or the picture is not normalised as in training",
        values(*.of), are(*.count)
    )]
    NotFinite {
        /// The first layer whose output has one.
        layer: String,
        /// The result.
        result: String,
        /// How many of its values.
        count: usize,
        /// Its values.
        of: usize,
    },
    /// An input with NaN or infinities.
    #[error(
        "an input that is no numbers: {count} of {} {} NaN or infinite, the first at {first:?} (picture, \
         channel, row, column) · replace them",
        values(*.of), are(*.count)
    )]
    InputNotFinite {
        /// How many values.
        count: usize,
        /// The input's values.
        of: usize,
        /// Where the first is: picture, channel, row, column.
        first: [usize; 4],
    },
    /// No threads.
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
}

fn and_others(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => ", and 1 more tensor has such values".into(),
        n => format!(", and {n} more tensors have such values"),
    }
}

fn values(of: usize) -> String {
    count(of, "value")
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_and_several_are() {
        let weights = |count, of| RuntimeError::WeightsNotFinite {
            parameter: "head.bias".into(),
            count,
            of,
            others: 0,
        };
        for (count, of, words) in [
            (1, 1, ": 1 of 1 value of `head.bias` is NaN"),
            (1, 768, ": 1 of 768 values of `head.bias` is NaN"),
            (3, 3, ": 3 of 3 values of `head.bias` are NaN"),
        ] {
            let text = weights(count, of).to_string();
            assert!(text.contains(words), "{text}");
        }
        let size = RuntimeError::Size {
            classes: 1,
            size: [2, 3],
        };
        assert!(size.to_string().starts_with("scores of 1 class at 3×2"));
    }
}
