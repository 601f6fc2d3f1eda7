//! A part of the picture, with room around it where the picture is smaller.

use segmenta_image::{LabelMap, Picture, VOID};
use serde::{Deserialize, Serialize};

use super::{Sides, Step, Wrong};
use crate::Sample;
use crate::random::Random;

/// torchvision's `RandomCrop` with `pad_if_needed`: a picture that is too small gets as much room on both sides as it
/// lacks, so that it may lie anywhere in the crop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomCrop {
    /// 480 (a square) or `"320x240"` (width × height).
    pub size: Sides,
    /// The room's colour.
    #[serde(default)]
    pub fill: [u8; 3],
    /// The room's id.
    #[serde(default = "void")]
    pub fill_mask: u8,
}

/// torchvision's `CenterCrop`: the middle, with room around a picture that is smaller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CenterCrop {
    /// 480 (a square) or `"320x240"` (width × height).
    pub size: Sides,
    /// The room's colour.
    #[serde(default)]
    pub fill: [u8; 3],
    /// The room's id.
    #[serde(default = "void")]
    pub fill_mask: u8,
}

pub(super) fn void() -> u8 {
    VOID
}

impl Step for RandomCrop {
    fn p(&self) -> f64 {
        1.0
    }

    fn check(&self) -> Result<(), Wrong> {
        Ok(())
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let (width, height) = sample.size();
        // Where the picture is too small its place in the crop is drawn, otherwise the crop's place in it.
        let mut place = |side: usize, wanted: usize| {
            let drawn = random.below(side.abs_diff(wanted) + 1) as isize;
            if side < wanted { -drawn } else { drawn }
        };
        let left = place(width, self.size.width);
        let top = place(height, self.size.height);
        cut(&sample, [left, top], self.size, self.fill, self.fill_mask)
    }

    fn size(&self) -> Option<(usize, usize)> {
        Some((self.size.width, self.size.height))
    }

    fn resizes(&self) -> bool {
        true
    }
}

impl Step for CenterCrop {
    fn p(&self) -> f64 {
        1.0
    }

    fn check(&self) -> Result<(), Wrong> {
        Ok(())
    }

    fn apply(&self, sample: Sample, _: &mut Random) -> Sample {
        let place = |side: usize, wanted: usize| {
            if side < wanted {
                -(((wanted - side) / 2) as isize)
            } else {
                // Python rounds a half to the even neighbour.
                ((side - wanted) as f64 / 2.0).round_ties_even() as isize
            }
        };
        let (width, height) = sample.size();
        let at = [
            place(width, self.size.width),
            place(height, self.size.height),
        ];
        cut(&sample, at, self.size, self.fill, self.fill_mask)
    }

    fn size(&self) -> Option<(usize, usize)> {
        Some((self.size.width, self.size.height))
    }

    fn resizes(&self) -> bool {
        true
    }

    fn is_fixed(&self) -> bool {
        true
    }
}

/// The window whose top left corner lies at (left, top) of the picture, possibly outside.
fn cut(
    sample: &Sample,
    [left, top]: [isize; 2],
    sides: Sides,
    fill: [u8; 3],
    fill_mask: u8,
) -> Sample {
    let Sides { width, height } = sides;
    let (from_width, from_height) = sample.size();
    let (pixels, _) = sample.picture().pixels().as_chunks::<3>();
    let ids = sample.labels().ids();
    let mut new_pixels = vec![fill; width * height];
    let mut new_ids = vec![fill_mask; width * height];
    let span = |start: isize, wanted: usize, side: usize| {
        let first = (-start).max(0);
        let end = (side as isize - start).min(wanted as isize);
        first as usize..end.max(first) as usize
    };
    let columns = span(left, width, from_width);
    for y in span(top, height, from_height) {
        let from = (y as isize + top) as usize * from_width;
        let from = from + (columns.start as isize + left) as usize;
        let (from, to) = (from..from + columns.len(), y * width + columns.start);
        let to = to..to + columns.len();
        new_pixels[to.clone()].copy_from_slice(&pixels[from.clone()]);
        new_ids[to].copy_from_slice(&ids[from]);
    }
    let picture = Picture::from_rgb(width, height, new_pixels.into_flattened());
    let labels = LabelMap::new(width, height, new_ids);
    Sample::pair(
        picture.expect("sides of 1 or more"),
        labels.expect("sides of 1 or more"),
    )
}
