//! The Oxford-IIIT Pet data set.

use std::path::Path;

use segmenta_image::Palette;

use super::classes::PETS_COLOURS;
use super::files::pictures_below;
use super::lists::List;
use super::twins::pair;
use super::{Classes, Listing, MaskRule, PETS_CLASSES, Split};
use crate::DataError;

pub(super) fn is(root: &Path) -> bool {
    root.join("annotations/trimaps").is_dir() && root.join("images").is_dir()
}

pub(super) fn list(root: &Path) -> Result<Listing, DataError> {
    let classes = Classes::with_palette(PETS_CLASSES, Palette::from_colors(&PETS_COLOURS));
    let mut listing = Listing::new(classes, MaskRule::listed(&[1, 2, 3]));
    let masks = root.join("annotations");
    let pictures = pictures_below(&root.join("images"))?;
    pair(
        &mut listing,
        pictures,
        pictures_below(&masks.join("trimaps"))?,
        |_| None,
    );
    Ok(listing)
}

pub(super) fn lists(root: &Path) -> [List; 3] {
    let list = |split, name: &str| {
        let path = root.join("annotations").join(name);
        List::new(split, path).numbered()
    };
    [
        list(Split::Train, "trainval.txt"),
        list(Split::Test, "test.txt"),
        list(Split::Val, "val.txt"),
    ]
}
