//! Losses: how wrong logits are, with gradients.
//!
//! *In*: logits as slices, `[image][class][row][column]`, and a [`Target`]: label maps or masks that were checked.
//! *Out*: the loss, and its gradient by every logit. Definitions are those of PyTorch and of
//! segmentation_models_pytorch, one loss a file; settings are the fields, with the libraries' names and defaults.
//!
//! A configuration names a loss, or several that are added ([`LossSpec`]):
//!
//! ```toml
//! loss = "cross_entropy"
//! loss = { name = "tversky", alpha = 0.3, beta = 0.7 }
//! loss = [{ name = "cross_entropy" }, { name = "dice", factor = 0.5 }]
//! ```
//!
//! An ignored pixel adds nothing to any loss and gets no gradient; a batch that teaches nothing has a loss of 0. A
//! NaN among logits that count makes the loss NaN. Work is cut into strips of a fixed number of pixels, whose sums
//! are added in order and in f64: values and gradients are the same bits for any number of threads.

mod batch;
mod bce;
mod cross_entropy;
mod definition;
mod dice;
mod error;
mod focal;
mod jaccard;
mod lovasz;
mod mcc;
mod ohem;
mod overlap;
mod region;
mod soft_cross_entropy;
mod soft_iou;
mod spec;
mod target;
mod tversky;
mod weights;

use serde::{Deserialize, Serialize};

pub use bce::{BceWithLogits, PosWeight, SoftBceWithLogits};
pub use cross_entropy::CrossEntropy;
pub use dice::Dice;
pub use error::LossError;
pub use focal::Focal;
pub use jaccard::Jaccard;
pub use lovasz::Lovasz;
pub use mcc::Mcc;
pub use ohem::OhemCrossEntropy;
pub use region::Region;
pub use soft_cross_entropy::SoftCrossEntropy;
pub use soft_iou::SoftIou;
pub use spec::{LossSpec, Term};
pub use target::{Mode, Target};
pub use tversky::Tversky;
pub use weights::{Balance, ClassWeights};

use batch::Batch;
use definition::Definition;

macro_rules! losses {
    ($($(#[$meta:meta])* $loss:ident,)*) => {
        /// Any of the losses, with its settings.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "name", rename_all = "snake_case")]
        #[expect(missing_docs, reason = "each variant is the loss of its name")]
        pub enum Loss {
            $($(#[$meta])* $loss($loss),)*
        }

        /// The names of the losses, as configurations have them.
        pub const NAMES: &[&str] = &[$($loss::NAME,)*];

        impl Loss {
            /// Its name in configurations.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$loss(_) => $loss::NAME,)*
                }
            }

            /// Whether it is defined for targets of this kind, and its settings make sense.
            ///
            /// # Errors
            /// The setting that is wrong, or what to use instead.
            pub fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
                match self {
                    $(Self::$loss(loss) => loss.check(mode, classes),)*
                }
            }

            fn class_weights(&mut self) -> Option<&mut Option<ClassWeights>> {
                match self {
                    $(Self::$loss(loss) => loss.class_weights(),)*
                }
            }

            fn compute(&self, batch: &Batch<'_>, factor: f64, gradient: &mut [f32]) -> f64 {
                match self {
                    $(Self::$loss(loss) => loss.compute(batch, factor, gradient),)*
                }
            }
        }
    };
}

losses! {
    #[serde(alias = "CrossEntropyLoss", alias = "ce")]
    CrossEntropy,
    #[serde(alias = "BCEWithLogitsLoss", alias = "bce")]
    BceWithLogits,
    #[serde(alias = "DiceLoss")]
    Dice,
    #[serde(alias = "JaccardLoss", alias = "iou")]
    Jaccard,
    #[serde(alias = "TverskyLoss")]
    Tversky,
    #[serde(alias = "FocalLoss")]
    Focal,
    #[serde(alias = "LovaszLoss")]
    Lovasz,
    #[serde(alias = "SoftCrossEntropyLoss")]
    SoftCrossEntropy,
    #[serde(alias = "SoftBCEWithLogitsLoss")]
    SoftBceWithLogits,
    #[serde(alias = "MCCLoss")]
    Mcc,
    #[serde(alias = "OhemCrossEntropyLoss")]
    OhemCrossEntropy,
    #[serde(alias = "SoftIoULoss")]
    SoftIou,
}
