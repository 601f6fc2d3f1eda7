//! Pascal VOC's devkit.

use std::path::Path;

use super::files::pictures_below;
use super::folder::pair;
use super::open::split_by_lists;
use super::{Classes, Listing, Split, VOC_CLASSES, Values};
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
    let values = Values::ids(VOC_CLASSES.len(), &[]);
    let mut listing = Listing::new(Classes::new(VOC_CLASSES), values);
    let pictures = pictures_below(&root.join("JPEGImages"))?;
    pair(&mut listing, pictures, pictures_below(masks)?, |_| None);
    // Most photographs of the devkit have boxes only.
    listing
        .gaps
        .retain(|gap| !matches!(gap, super::Gap::Mask(_)));
    let lists = root.join("ImageSets/Segmentation");
    split_by_lists(
        &mut listing,
        &[
            (Split::Train, lists.join("train.txt")),
            (Split::Val, lists.join("val.txt")),
            (Split::Train, lists.join("trainval.txt")),
        ],
    )?;
    Ok(listing)
}
