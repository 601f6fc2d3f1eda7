//! What cannot be counted.

use segmenta_files::count;
use thiserror::Error;

/// Labels or settings from which no honest score follows.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum MetricError {
    /// Two slices that should describe the same pixels.
    #[error(
        "{} of truth, {prediction} of prediction · comparing labels · bring both to the same size first",
        count(*.truth, "value")
    )]
    Length {
        /// Values of the truth.
        truth: usize,
        /// Values of the prediction.
        prediction: usize,
    },
    /// A number of values that is no whole number of images.
    #[error(
        "{} cannot be {} of {} · counting · check the batch's shape",
        count(*.values, "value"),
        count(*.images, "image"),
        count(*.classes, "mask")
    )]
    Shape {
        /// Values given.
        values: usize,
        /// Images said to be in them.
        images: usize,
        /// Masks an image.
        classes: usize,
    },
    /// A number of counts that is no square matrix of the classes.
    #[error(
        "{} for a matrix of {} · confusion matrix · give {} of {classes}",
        count(*.values, "count"),
        count(*.classes, "class"),
        count(*.classes, "row")
    )]
    Matrix {
        /// Counts given.
        values: usize,
        /// Number of classes.
        classes: usize,
    },
    /// An id that no class has.
    #[error(
        "label {value} where classes are 0 to {last} · {whose}, value {index} · give the number of classes, or name {value} as the ignore index",
        last = classes - 1
    )]
    Label {
        /// The id.
        value: u32,
        /// Where it stands in the slice.
        index: usize,
        /// `truth` or `prediction`.
        whose: &'static str,
        /// Number of classes.
        classes: usize,
    },
    /// A mask that holds something else than 0 and 1.
    #[error("mask value {value} · truth, value {index} · a binary mask holds 0 and 1")]
    Mask {
        /// The value.
        value: u8,
        /// Where it stands in the slice.
        index: usize,
    },
    /// No classes, or too many.
    #[error("{} · confusion matrix · give 1 to {max}", count(*.0, "class"), max = crate::MAX_CLASSES)]
    Classes(usize),
    /// An ignore index that is a class.
    #[error(
        "ignore index {index} is a class, where classes are 0 to {last} · confusion matrix · ignore an id that is no class, such as 255",
        last = classes - 1
    )]
    IgnoreIndex {
        /// The id to ignore.
        index: u32,
        /// Number of classes.
        classes: usize,
    },
    /// Two counts over other classes, or with another ignore index.
    #[error(
        "{left} and {right} do not add up · merging counts · count both with the same settings"
    )]
    Merge {
        /// The one.
        left: String,
        /// The other.
        right: String,
    },
    /// Class weights that weigh nothing.
    #[error("{problem} · class weights · give one weight ≥ 0 a class, not all 0")]
    Weights {
        /// What is wrong with them.
        problem: String,
    },
    /// A threshold that nothing can be compared with.
    #[error("threshold NaN · multilabel statistics · give a number, such as 0.5")]
    Threshold,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_said_as_one() {
        let shape = |values, images, classes| MetricError::Shape {
            values,
            images,
            classes,
        };
        let matrix = |values, classes| MetricError::Matrix { values, classes };
        for (error, beginning) in [
            (shape(1, 1, 1), "1 value cannot be 1 image of 1 mask ·"),
            (shape(5, 2, 3), "5 values cannot be 2 images of 3 masks ·"),
            (matrix(2, 1), "2 counts for a matrix of 1 class ·"),
            (matrix(1, 2), "1 count for a matrix of 2 classes ·"),
            (MetricError::Classes(0), "0 classes ·"),
        ] {
            let text = error.to_string();
            assert!(text.starts_with(beginning), "{text}");
        }
        let text = matrix(2, 1).to_string();
        assert!(text.ends_with("give 1 row of 1"), "{text}");
    }
}
