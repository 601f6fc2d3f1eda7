//! CamVid, as SegNet's authors gave it out and most tutorials have it.

use std::path::Path;

use segmenta_image::Palette;

use super::classes::CAMVID_COLOURS;
use super::files::pictures_below;
use super::twins::pair;
use super::{CAMVID_CLASSES, Classes, Listing, MaskRule, Split};
use crate::DataError;

/// The id of pixels without a class.
const UNLABELLED: u8 = 11;

/// The two ways in which a split's pictures and masks lie.
fn folders(split: Split) -> [(String, String); 2] {
    [
        (split.to_string(), format!("{split}annot")),
        (format!("images/{split}"), format!("labels/{split}")),
    ]
}

pub(super) fn is(root: &Path) -> bool {
    Split::ALL
        .iter()
        .any(|split| root.join(format!("{split}annot")).is_dir())
}

pub(super) fn list(root: &Path) -> Result<Listing, DataError> {
    let classes = Classes::with_palette(CAMVID_CLASSES, Palette::from_colors(&CAMVID_COLOURS));
    let mut listing = Listing::new(classes, MaskRule::Ids);
    listing.ignored.push(UNLABELLED);
    for split in Split::ALL {
        for (pictures, masks) in folders(split) {
            let (pictures, masks) = (root.join(pictures), root.join(masks));
            if pictures.is_dir() && masks.is_dir() {
                let (pictures, masks) = (pictures_below(&pictures)?, pictures_below(&masks)?);
                pair(&mut listing, pictures, masks, |_| Some(split));
            }
        }
    }
    Ok(listing)
}
