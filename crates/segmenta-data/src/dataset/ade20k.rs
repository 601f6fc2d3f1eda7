//! ADE20K as the scene parsing benchmark has it.

use std::path::Path;

use super::files::pictures_below;
use super::twins::pair;
use super::{ADE20K_CLASSES, Classes, Listing, MaskRule, Split};
use crate::DataError;

pub(super) fn is(root: &Path) -> bool {
    ["images", "annotations"]
        .iter()
        .all(|folder| root.join(folder).join("training").is_dir())
}

/// 0 in the files is what has no class; 1 to 150 are ids 0 to 149.
pub(super) fn list(root: &Path) -> Result<Listing, DataError> {
    let mut listing = Listing::new(Classes::new(ADE20K_CLASSES), MaskRule::FromOne);
    let pictures = pictures_below(&root.join("images"))?;
    let masks = pictures_below(&root.join("annotations"))?;
    pair(&mut listing, pictures, masks, |name| {
        Split::of_folder(name.split('/').next()?)
    });
    Ok(listing)
}
