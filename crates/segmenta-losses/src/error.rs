//! What cannot be learned from.

use segmenta_files::count;
use thiserror::Error;

use super::Mode;

/// A target or a setting from which no loss follows.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum LossError {
    /// A label that no class has.
    #[error(
        "label {value} where classes are 0 to {last} · image {image} of the batch, row {row}, column {column} · give the number of classes, or name {value} as the ignore index",
        last = classes - 1
    )]
    Label {
        /// The label.
        value: u8,
        /// Image of the batch.
        image: usize,
        /// Row of the label map.
        row: usize,
        /// Column of the label map.
        column: usize,
        /// Number of classes.
        classes: usize,
    },
    /// A mask value that is neither 0 nor 1 nor ignored.
    #[error(
        "mask value {value} · image {image} of the batch, class {class}, row {row}, column {column} · a mask holds 0 and 1, or the ignore index"
    )]
    Mask {
        /// The value.
        value: u8,
        /// Image of the batch.
        image: usize,
        /// Class of the mask.
        class: usize,
        /// Row of the mask.
        row: usize,
        /// Column of the mask.
        column: usize,
    },
    /// A number of values that does not fill the shape, or a shape that holds nothing.
    #[error("{} for the shape {shape:?} · target · give one value for each pixel", count(*.values, "value"))]
    Count {
        /// Values given.
        values: usize,
        /// The shape they should fill.
        shape: Vec<usize>,
    },
    /// Fewer than two classes in label maps, or an ignore index that is a class.
    #[error("{0} · target · {1}")]
    Target(String, &'static str),
    /// Logits of another shape than the target.
    #[error(
        "logits are {logits:?}, the target is {target:?} (N, C, H, W) · computing the loss · resize the logits, or check the number of classes"
    )]
    Shape {
        /// Shape of the logits.
        logits: [usize; 4],
        /// What the target asks for.
        target: [usize; 4],
    },
    /// A loss that is not defined for this kind of target.
    #[error("loss `{loss}` is not defined for {mode} targets · checking the loss · {instead}")]
    Mode {
        /// Name of the loss.
        loss: &'static str,
        /// Kind of the target.
        mode: Mode,
        /// What to use instead.
        instead: &'static str,
    },
    /// A setting outside its range.
    #[error("{problem} · setting `{setting}` of loss `{loss}` · {mend}")]
    Setting {
        /// Name of the loss.
        loss: &'static str,
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What it should be.
        mend: &'static str,
    },
    /// A configuration that cannot be read as a loss.
    #[error("{0} · reading the loss · give a name, a table with `name`, or a list of them; names are {names}", names = super::NAMES.join(", "))]
    Spec(String),
}
