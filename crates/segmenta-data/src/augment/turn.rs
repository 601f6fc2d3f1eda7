//! Pictures turned, moved, enlarged and tilted.

use serde::{Deserialize, Serialize};

use super::crop::void;
use super::setting::check_range;
use super::warp::{Projection, warp};
use super::{Limit, Step, Wrong};
use crate::Sample;
use crate::random::Random;

/// albumentations' `Rotate` (torchvision's `RandomRotation`): about the centre, at the picture's own size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rotate {
    /// Degrees, −90 to 90 by default.
    pub limit: Limit,
    /// The colour of what comes in from outside.
    pub fill: [u8; 3],
    /// Its id.
    pub fill_mask: u8,
    /// How often.
    pub p: f64,
}

/// albumentations' `ShiftScaleRotate`: turned and scaled about the centre, then moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShiftScaleRotate {
    /// Parts of the width and of the height, each drawn: −0.0625 to 0.0625 by default.
    pub shift_limit: Limit,
    /// Added to a scale of 1: −0.1 to 0.1 by default.
    pub scale_limit: Limit,
    /// Degrees, −45 to 45 by default.
    pub rotate_limit: Limit,
    /// The colour of what comes in from outside.
    pub fill: [u8; 3],
    /// Its id.
    pub fill_mask: u8,
    /// How often.
    pub p: f64,
}

/// torchvision's `RandomPerspective`: each corner moves inwards by up to `distortion_scale` of half a side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Perspective {
    /// 0 (not at all) to 1 (up to the centre); 0.5 by default.
    pub distortion_scale: f64,
    /// The colour of what comes in from outside.
    pub fill: [u8; 3],
    /// Its id.
    pub fill_mask: u8,
    /// How often.
    pub p: f64,
}

impl Default for Rotate {
    fn default() -> Self {
        Self {
            limit: Limit::Around(90.0),
            fill: [0; 3],
            fill_mask: void(),
            p: 0.5,
        }
    }
}

impl Default for ShiftScaleRotate {
    fn default() -> Self {
        Self {
            shift_limit: Limit::Around(0.0625),
            scale_limit: Limit::Around(0.1),
            rotate_limit: Limit::Around(45.0),
            fill: [0; 3],
            fill_mask: void(),
            p: 0.5,
        }
    }
}

impl Default for Perspective {
    fn default() -> Self {
        Self {
            distortion_scale: 0.5,
            fill: [0; 3],
            fill_mask: void(),
            p: 0.5,
        }
    }
}

const DEGREES: [f64; 2] = [-360.0, 360.0];
const SAY_DEGREES: &str = "give degrees from -360 to 360: 15, or [-10, 30]";

impl Step for Rotate {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        check_range("limit", self.limit.around(0.0), DEGREES, SAY_DEGREES)
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let degrees = random.within(self.limit.around(0.0));
        let projection = Projection::turn(sample.size(), degrees, 1.0, [0.0; 2]);
        warp(&sample, projection, self.fill, self.fill_mask)
    }
}

impl Step for ShiftScaleRotate {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        let shift = "give parts of the sides from -1 to 1";
        let scale = "give limits above -1, at most 9: -0.1 and 0.1 are a tenth smaller and larger";
        check_range(
            "shift_limit",
            self.shift_limit.around(0.0),
            [-1.0, 1.0],
            shift,
        )?;
        check_range(
            "scale_limit",
            self.scale_limit.around(0.0),
            [-0.99, 9.0],
            scale,
        )?;
        check_range(
            "rotate_limit",
            self.rotate_limit.around(0.0),
            DEGREES,
            SAY_DEGREES,
        )
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let (width, height) = sample.size();
        let degrees = random.within(self.rotate_limit.around(0.0));
        let scale = 1.0 + random.within(self.scale_limit.around(0.0));
        let shift =
            [width, height].map(|side| side as f64 * random.within(self.shift_limit.around(0.0)));
        let projection = Projection::turn(sample.size(), degrees, scale, shift);
        warp(&sample, projection, self.fill, self.fill_mask)
    }
}

impl Step for Perspective {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        let scale = self.distortion_scale;
        check_range("distortion_scale", [scale; 2], [0.0, 1.0], "give 0 to 1")
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let (width, height) = sample.size();
        let reach =
            [width, height].map(|side| (self.distortion_scale * (side / 2) as f64) as usize);
        let (right, bottom) = (width - 1, height - 1);
        let from = [[0, 0], [right, 0], [right, bottom], [0, bottom]];
        let to = from.map(|corner: [usize; 2]| {
            [0, 1].map(|axis| {
                let inwards = random.whole([0, reach[axis]]);
                if corner[axis] == 0 {
                    inwards
                } else {
                    corner[axis] - inwards
                }
            })
        });
        let floats = |corners: [[usize; 2]; 4]| corners.map(|corner| corner.map(|v| v as f64));
        match Projection::corners(floats(from), floats(to)) {
            Some(projection) => warp(&sample, projection, self.fill, self.fill_mask),
            // Corners of a picture of a pixel's width lie on a line: there is nothing to tilt.
            None => sample,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::tests::{gradient, reference};

    /// `tools/augment_references.py`: torchvision's `affine` and `perspective` on PIL pictures.
    #[test]
    fn projections_are_pillows() {
        let sample = gradient(61, 47);
        let size = sample.size();
        let corners = |c: [[i32; 2]; 4]| c.map(|p| p.map(f64::from));
        let from = corners([[0, 0], [60, 0], [60, 46], [0, 46]]);
        let to = corners([[7, 3], [52, 9], [58, 40], [2, 44]]);
        for (name, projection) in [
            ("affine", Projection::turn(size, 23.0, 1.2, [5.0, -3.0])),
            ("rotate", Projection::turn(size, -37.5, 1.0, [0.0, 0.0])),
            ("perspective", Projection::corners(from, to).unwrap()),
        ] {
            let got = warp(&sample, projection, [9, 8, 7], 255);
            // A pixel on the border may fall on its other side: torchvision rounds to float32 on the way.
            reference(&format!("{name}.picture")).assert_close(got.picture().pixels(), 255, 0.999);
            reference(&format!("{name}.mask")).assert_close(got.labels().ids(), 255, 0.999);
        }
    }
}
