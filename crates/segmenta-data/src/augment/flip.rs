//! Mirror images.

use serde::{Deserialize, Serialize};

use super::{Step, Wrong};
use crate::Sample;
use crate::random::Random;

/// torchvision's `RandomHorizontalFlip`, albumentations' `HorizontalFlip`: left and right exchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HorizontalFlip {
    /// How often.
    pub p: f64,
}

/// torchvision's `RandomVerticalFlip`, albumentations' `VerticalFlip`: top and bottom exchanged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerticalFlip {
    /// How often.
    pub p: f64,
}

impl Default for HorizontalFlip {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Default for VerticalFlip {
    fn default() -> Self {
        Self { p: 0.5 }
    }
}

impl Step for HorizontalFlip {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        Ok(())
    }

    fn apply(&self, sample: Sample, _: &mut Random) -> Sample {
        Sample::pair(
            sample.picture().flip_horizontal(),
            sample.labels().flip_horizontal(),
        )
    }
}

impl Step for VerticalFlip {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        Ok(())
    }

    fn apply(&self, sample: Sample, _: &mut Random) -> Sample {
        Sample::pair(
            sample.picture().flip_vertical(),
            sample.labels().flip_vertical(),
        )
    }
}
