//! Holes.

use serde::{Deserialize, Serialize};

use super::setting::check_range;
use super::{Step, Wrong};
use crate::Sample;
use crate::random::Random;

/// albumentations' `CoarseDropout` (DeVries & Taylor 2017, arXiv:1708.04552): rectangles of one colour.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoarseDropout {
    /// How many: 1 to 2 by default.
    pub num_holes_range: [usize; 2],
    /// Parts of the height: 0.1 to 0.2 by default.
    pub hole_height_range: [f64; 2],
    /// Parts of the width: 0.1 to 0.2 by default.
    pub hole_width_range: [f64; 2],
    /// Their colour, black by default.
    pub fill: [u8; 3],
    /// Their id; without it, as by default, the mask stays: the network has to guess.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill_mask: Option<u8>,
    /// How often.
    pub p: f64,
}

impl Default for CoarseDropout {
    fn default() -> Self {
        Self {
            num_holes_range: [1, 2],
            hole_height_range: [0.1, 0.2],
            hole_width_range: [0.1, 0.2],
            fill: [0; 3],
            fill_mask: None,
            p: 0.5,
        }
    }
}

impl Step for CoarseDropout {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        let [from, to] = self.num_holes_range;
        if !(1 <= from && from <= to && to <= 1000) {
            let remedy = "give two numbers from 1 to 1000, as [1, 2]";
            return Err(Wrong::new("num_holes_range", self.num_holes_range, remedy));
        }
        let remedy = "give two parts of the side from 0 to 1, as [0.1, 0.2]";
        check_range(
            "hole_height_range",
            self.hole_height_range,
            [0.0, 1.0],
            remedy,
        )?;
        check_range(
            "hole_width_range",
            self.hole_width_range,
            [0.0, 1.0],
            remedy,
        )
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let (width, height) = sample.size();
        let (mut picture, mut labels) = sample.into_parts();
        let count = random.whole(self.num_holes_range);
        let mut span = |side: usize, range: [f64; 2]| {
            let length = ((side as f64 * random.within(range)) as usize).clamp(1, side);
            let first = random.below(side - length + 1);
            first..first + length
        };
        for _ in 0..count {
            let rows = span(height, self.hole_height_range);
            let columns = span(width, self.hole_width_range);
            for y in rows {
                let row = y * width + columns.start..y * width + columns.end;
                let (pixels, _) = picture.pixels_mut().as_chunks_mut::<3>();
                pixels[row.clone()].fill(self.fill);
                if let Some(id) = self.fill_mask {
                    labels.ids_mut()[row].fill(id);
                }
            }
        }
        Sample::pair(picture, labels)
    }
}
