//! Another size, fixed or drawn. Pictures are resized bilinearly with antialiasing, masks by the nearest pixel, both
//! to the bit as Pillow does it.

use segmenta_image::{Filter, Resize as Rule, Size};
use serde::{Deserialize, Serialize};

use super::setting::check_range;
use super::{Limit, SizeRule, Step, Wrong};
use crate::Sample;
use crate::random::Random;

/// torchvision's `Resize` (and albumentations', with both sides given): always applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// 520 (short side), `"long:513"` or `"256x192"` (width × height).
    pub size: SizeRule,
}

/// torchvision's `RandomResize`: the short side is drawn from `min_size` up to, not including, `max_size`; proportions
/// are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomResize {
    /// The least short side in pixels.
    pub min_size: usize,
    /// What the short side stays below, in pixels.
    pub max_size: usize,
}

/// albumentations' `RandomScale`: both sides times 1 + a number drawn from `scale_limit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomScale {
    /// −0.1 to 0.1 by default.
    pub scale_limit: Limit,
    /// How often.
    pub p: f64,
}

impl Default for RandomScale {
    fn default() -> Self {
        Self {
            scale_limit: Limit::Around(0.1),
            p: 0.5,
        }
    }
}

fn resized(sample: &Sample, width: usize, height: usize) -> Sample {
    let picture = sample.picture().resize(width, height, Filter::Bilinear);
    Sample::pair(picture, sample.labels().resize_nearest(width, height))
}

fn by_rule(sample: Sample, rule: Rule) -> Sample {
    let (width, height) = sample.size();
    let (w, h) = rule.size_of(width, height);
    if (w, h) == (width, height) {
        return sample;
    }
    resized(&sample, w, h)
}

/// A size scaled, as far as a network may be given it.
fn scaled((width, height): (usize, usize), scale: f64) -> (usize, usize) {
    let side = |side: usize| (side as f64 * scale) as usize;
    Size::fitted(side(width), side(height))
}

impl Step for Resize {
    fn p(&self) -> f64 {
        1.0
    }

    fn check(&self) -> Result<(), Wrong> {
        Ok(())
    }

    fn apply(&self, sample: Sample, _: &mut Random) -> Sample {
        by_rule(sample, self.size.0)
    }

    fn size(&self) -> Option<(usize, usize)> {
        match self.size.0 {
            Rule::Exact { width, height } => Some((width, height)),
            _ => None,
        }
    }

    fn resizes(&self) -> bool {
        true
    }

    fn is_fixed(&self) -> bool {
        true
    }
}

impl Step for RandomResize {
    fn p(&self) -> f64 {
        1.0
    }

    fn check(&self) -> Result<(), Wrong> {
        let (min, max) = (self.min_size, self.max_size);
        if 0 < min && min < max && max <= 1 << 14 {
            return Ok(());
        }
        let remedy = "give min_size and a larger max_size, at most 16384";
        Err(Wrong::new("min_size, max_size", [min, max], remedy))
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let side = random.whole([self.min_size, self.max_size - 1]);
        by_rule(sample, Rule::ShortSide(side))
    }

    fn resizes(&self) -> bool {
        true
    }
}

impl Step for RandomScale {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        let remedy = "give limits above -1, at most 9: -0.1 and 0.1 are a tenth smaller and larger";
        check_range(
            "scale_limit",
            self.scale_limit.around(0.0),
            [-0.99, 9.0],
            remedy,
        )
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let scale = 1.0 + random.within(self.scale_limit.around(0.0));
        let (width, height) = scaled(sample.size(), scale);
        resized(&sample, width, height)
    }

    fn resizes(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_never_makes_more_than_a_network_may_be_given() {
        assert_eq!(scaled((640, 480), 0.5), (320, 240));
        for size in [(8192, 8192), (1 << 20, 256), (3, 1 << 20)] {
            for scale in [0.01, 1.0, 10.0] {
                let (width, height) = scaled(size, scale);
                assert!(width > 0 && height > 0);
                assert!(
                    width * height <= Size::MAX_INPUT_PIXELS,
                    "{size:?} × {scale}"
                );
            }
        }
        // Proportions are kept.
        assert_eq!(scaled((8192, 4096), 10.0), (11585, 5792));
    }
}
