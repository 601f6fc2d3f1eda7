//! What cannot be counted.

use thiserror::Error;

/// Labels or settings from which no honest score follows.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum MetricError {
    /// Two slices that should describe the same pixels.
    #[error(
        "{truth} values of truth, {prediction} of prediction · comparing labels · bring both to the same size first"
    )]
    Length {
        /// Values of the truth.
        truth: usize,
        /// Values of the prediction.
        prediction: usize,
    },
    /// A number of values that is no whole number of images.
    #[error(
        "{values} values cannot be {images} images of {classes} masks · counting · check the batch's shape"
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
        "{values} counts for a matrix of {classes} classes · confusion matrix · give {classes} rows of {classes}"
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
    #[error("{0} classes · confusion matrix · give 1 to {max}", max = crate::MAX_CLASSES)]
    Classes(usize),
    /// An ignore index that is a class.
    #[error(
        "ignore index {index} is one of the {classes} classes · confusion matrix · ignore an id that is no class, such as 255"
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
