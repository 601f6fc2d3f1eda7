//! The Oxford-IIIT Pet data set.

use std::path::Path;

use segmenta_image::Palette;

use super::classes::PETS_COLOURS;
use super::files::pictures_below;
use super::folder::pair;
use super::open::split_by_lists;
use super::{Classes, Listing, PETS_CLASSES, Split, Values};
use crate::DataError;

pub(super) fn is(root: &Path) -> bool {
    root.join("annotations/trimaps").is_dir() && root.join("images").is_dir()
}

pub(super) fn list(root: &Path) -> Result<Listing, DataError> {
    let classes = Classes::with_palette(PETS_CLASSES, Palette::from_colors(&PETS_COLOURS));
    let mut listing = Listing::new(classes, Values::from_one(PETS_CLASSES.len(), false));
    let masks = root.join("annotations");
    let pictures = pictures_below(&root.join("images"))?;
    pair(
        &mut listing,
        pictures,
        pictures_below(&masks.join("trimaps"))?,
        |_| None,
    );
    split_by_lists(
        &mut listing,
        &[
            (Split::Train, masks.join("trainval.txt")),
            (Split::Test, masks.join("test.txt")),
        ],
    )?;
    Ok(listing)
}
