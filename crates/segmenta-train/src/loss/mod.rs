//! Losses: how wrong logits are, with gradients.
//!
//! *In*: logits `Tensor<4>` (N, C, H, W) on any device, and a [`Target`]: label maps or masks that were checked on
//! the host. *Out*: `Tensor<1>` with one value, on the tape. Definitions are those of PyTorch and of
//! segmentation_models_pytorch, one loss a file; settings are the fields, with the libraries' names and defaults.
//!
//! A configuration names a loss, or several that are added:
//!
//! ```toml
//! loss = "cross_entropy"
//! loss = { name = "tversky", alpha = 0.3, beta = 0.7 }
//! loss = [{ name = "cross_entropy" }, { name = "dice", factor = 0.5 }]
//! ```
//!
//! An ignored pixel adds nothing to any loss and gets no gradient; a batch that teaches nothing has a loss of 0.

mod bce;
mod cross_entropy;
mod definition;
mod dice;
mod error;
mod focal;
mod gradient;
mod jaccard;
mod lovasz;
mod mcc;
mod ohem;
mod region;
mod soft_cross_entropy;
mod soft_iou;
mod spec;
mod sums;
mod target;
mod tversky;

use burn::tensor::Tensor;
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
pub use soft_cross_entropy::SoftCrossEntropy;
pub use soft_iou::SoftIou;
pub use spec::{LossSpec, Term};
pub use target::{Mode, Target};
pub use tversky::Tversky;

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

            fn value(&self, logits: Tensor<4>, target: &Target) -> Tensor<1> {
                match self {
                    $(Self::$loss(loss) => loss.value(logits, target),)*
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

impl Loss {
    /// The loss of a batch: one value, with the gradient of `logits` behind it.
    ///
    /// # Errors
    /// Logits of another shape than the target's; a loss that is not defined for the target.
    pub fn forward(&self, logits: &Tensor<4>, target: &Target) -> Result<Tensor<1>, LossError> {
        if logits.dims() != target.shape() {
            return Err(LossError::Shape {
                logits: logits.dims(),
                target: target.shape(),
            });
        }
        self.check(target.mode(), target.classes())?;
        Ok(self.value(logits.clone(), target))
    }
}
