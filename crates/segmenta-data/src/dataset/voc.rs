//! Pascal VOC's devkit.

use std::path::Path;

use super::files::pictures_below;
use super::lists::List;
use super::twins::pair;
use super::{Classes, Gap, Listing, MaskRule, Split, VOC_CLASSES};
use crate::DataError;

/// SBD's larger set of masks is usually laid beside the devkit's own under this name.
const MASKS: [&str; 2] = ["SegmentationClass", "SegmentationClassAug"];

pub(super) fn is(root: &Path) -> bool {
    root.join("JPEGImages").is_dir() && MASKS.iter().any(|masks| root.join(masks).is_dir())
}

pub(super) fn list(root: &Path) -> Result<Listing, DataError> {
    let masks = MASKS.map(|masks| root.join(masks));
    let masks = masks
        .iter()
        .find(|folder| folder.is_dir())
        .unwrap_or(&masks[0]);
    let mut listing = Listing::new(Classes::new(VOC_CLASSES), MaskRule::Ids);
    let pictures = pictures_below(&root.join("JPEGImages"))?;
    pair(&mut listing, pictures, pictures_below(masks)?, |_| None);
    // Most photographs of the devkit have boxes only.
    listing.gaps.retain(|gap| !matches!(gap, Gap::Mask(_)));
    Ok(listing)
}

/// `trainval` holds what is in the other two.
pub(super) fn lists(root: &Path) -> [List; 3] {
    let list = |split, name: &str| {
        let path = root.join("ImageSets/Segmentation").join(name);
        List::new(split, path).numbered()
    };
    [
        list(Split::Train, "train.txt"),
        list(Split::Val, "val.txt"),
        list(Split::Train, "trainval.txt").that_fills(),
    ]
}
