//! Tones by a table: brightness with contrast, gamma; and grey.

use serde::{Deserialize, Serialize};

use super::colour::{each, grey, look_up};
use super::setting::check_range;
use super::{Limit, Step, Wrong};
use crate::Sample;
use crate::random::Random;

/// albumentations' `RandomBrightnessContrast` (by the greatest value): `v · (1 + contrast) + 255 · brightness`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomBrightnessContrast {
    /// −0.2 to 0.2 by default.
    pub brightness_limit: Limit,
    /// −0.2 to 0.2 by default.
    pub contrast_limit: Limit,
    /// How often.
    pub p: f64,
}

/// albumentations' `RandomGamma`: values in 0 to 1 to the power of gamma / 100.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gamma {
    /// In hundredths: 80 to 120 by default.
    pub gamma_limit: [f64; 2],
    /// How often.
    pub p: f64,
}

/// torchvision's `RandomGrayscale`: three equal channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grayscale {
    /// How often, 0.1 by default.
    pub p: f64,
}

impl Default for RandomBrightnessContrast {
    fn default() -> Self {
        let fifth = Limit::Around(0.2);
        Self {
            brightness_limit: fifth,
            contrast_limit: fifth,
            p: 0.5,
        }
    }
}

impl Default for Gamma {
    fn default() -> Self {
        Self {
            gamma_limit: [80.0, 120.0],
            p: 0.5,
        }
    }
}

impl Default for Grayscale {
    fn default() -> Self {
        Self { p: 0.1 }
    }
}

impl Step for RandomBrightnessContrast {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        let remedy = "give a limit from 0 to 1, or two from -1 to 1";
        check_range(
            "brightness_limit",
            self.brightness_limit.around(0.0),
            [-1.0, 1.0],
            remedy,
        )?;
        check_range(
            "contrast_limit",
            self.contrast_limit.around(0.0),
            [-1.0, 1.0],
            remedy,
        )
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let contrast = 1.0 + random.within(self.contrast_limit.around(0.0));
        let brightness = random.within(self.brightness_limit.around(0.0));
        let table = straight(contrast, brightness);
        sample.map_picture(|mut picture| {
            look_up(&mut picture, &table);
            picture
        })
    }
}

impl Step for Gamma {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        let remedy = "give two numbers above 0 in hundredths, as [80, 120]";
        check_range("gamma_limit", self.gamma_limit, [1.0, 10_000.0], remedy)
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let table = power(random.within(self.gamma_limit) / 100.0);
        sample.map_picture(|mut picture| {
            look_up(&mut picture, &table);
            picture
        })
    }
}

impl Step for Grayscale {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        Ok(())
    }

    fn apply(&self, sample: Sample, _: &mut Random) -> Sample {
        sample.map_picture(|mut picture| {
            each(&mut picture, |pixel| [grey(pixel); 3]);
            picture
        })
    }
}

/// Cut off to whole numbers, as albumentations' tables are.
fn straight(contrast: f64, brightness: f64) -> [u8; 256] {
    std::array::from_fn(|value| (value as f64 * contrast + 255.0 * brightness) as u8)
}

fn power(gamma: f64) -> [u8; 256] {
    std::array::from_fn(|value| ((value as f64 / 255.0).powf(gamma) * 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::tests::{gradient, reference};

    /// `tools/augment_references.py`: albumentations' functions.
    #[test]
    fn tables_are_albumentations() {
        for (name, table) in [
            ("brightness_contrast_1.15_0.1", straight(1.15, 0.1)),
            ("brightness_contrast_0.85_-0.15", straight(0.85, -0.15)),
            ("gamma_0.8", power(0.8)),
            ("gamma_1.2", power(1.2)),
        ] {
            let (mut picture, _) = gradient(61, 47).into_parts();
            look_up(&mut picture, &table);
            reference(name).assert_close(picture.pixels(), 1, 0.98);
        }
    }
}
