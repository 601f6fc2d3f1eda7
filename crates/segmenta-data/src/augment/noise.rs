//! Noise.

use serde::{Deserialize, Serialize};

use super::setting::check_range;
use super::{Step, Wrong};
use crate::Sample;
use crate::random::Random;

/// albumentations' `GaussNoise`: normally distributed noise of a deviation that is drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GaussNoise {
    /// Deviation, of values in 0 to 1: 0.2 to 0.44 by default, which is strong.
    pub std_range: [f64; 2],
    /// Mean, of values in 0 to 1: 0 by default.
    pub mean_range: [f64; 2],
    /// Whether each channel has its own noise, as by default, or all have the same.
    pub per_channel: bool,
    /// How often.
    pub p: f64,
}

impl Default for GaussNoise {
    fn default() -> Self {
        Self {
            std_range: [0.2, 0.44],
            mean_range: [0.0; 2],
            per_channel: true,
            p: 0.5,
        }
    }
}

impl Step for GaussNoise {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        check_range(
            "std_range",
            self.std_range,
            [0.0, 1.0],
            "give two deviations from 0 to 1",
        )?;
        check_range(
            "mean_range",
            self.mean_range,
            [-1.0, 1.0],
            "give two means from -1 to 1",
        )
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let deviation = 255.0 * random.within(self.std_range);
        let mean = 255.0 * random.within(self.mean_range);
        let mut noise = || mean + deviation * random.normal();
        // `as` saturates.
        let add = |value: u8, noise: f64| (f64::from(value) + noise + 0.5) as u8;
        sample.map_picture(|mut picture| {
            let (pixels, _) = picture.pixels_mut().as_chunks_mut::<3>();
            for pixel in pixels {
                *pixel = if self.per_channel {
                    pixel.map(|value| add(value, noise()))
                } else {
                    let noise = noise();
                    pixel.map(|value| add(value, noise))
                };
            }
            picture
        })
    }
}
