//! Weights of classes: numbers, or a rule by which they are found in the data.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

/// A weight for each class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "invalid value, expected a weight for each class, `balanced` or `median_frequency`"
)]
pub enum ClassWeights {
    /// These numbers.
    Each(Vec<f32>),
    /// Numbers that whoever has the data finds by this rule ([`crate::LossSpec::find_weights`]).
    By(Balance),
}

/// A rule by which class weights follow from how often classes occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// All pixels by the number of classes and by the class's own pixels, as scikit-learn's `balanced`: every class
    /// counts as much in all.
    Balanced,
    /// The median of the classes' frequencies by the class's own, a frequency being the class's share of the pictures
    /// where it occurs (Eigen and Fergus, arXiv:1411.4734; SegNet).
    MedianFrequency,
}

impl Balance {
    /// As configurations name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Balanced => "balanced",
            Self::MedianFrequency => "median_frequency",
        }
    }
}

impl ClassWeights {
    /// The rule, where the numbers are still to be found.
    pub fn rule(&self) -> Option<Balance> {
        match self {
            Self::By(rule) => Some(*rule),
            Self::Each(_) => None,
        }
    }
}

/// The numbers; none while they are still to be found.
impl Deref for ClassWeights {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Each(weights) => weights,
            Self::By(_) => &[],
        }
    }
}

impl From<Vec<f32>> for ClassWeights {
    fn from(weights: Vec<f32>) -> Self {
        Self::Each(weights)
    }
}
