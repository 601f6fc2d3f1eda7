//! Cityscapes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use segmenta_image::Palette;

use super::classes::{CITYSCAPES_COLOURS, CITYSCAPES_LABEL_IDS};
use super::files::{folder_named, pictures_below};
use super::folder::pair;
use super::{CITYSCAPES_CLASSES, Classes, Listing, Split, Values};
use crate::DataError;

const PICTURE: &str = "_leftImg8bit";

pub(super) fn is(root: &Path) -> bool {
    root.join("leftImg8bit").is_dir() && masks_of(root).is_some()
}

fn masks_of(root: &Path) -> Option<PathBuf> {
    folder_named(root, &["gtFine", "gtCoarse"])
}

/// Train ids are taken where all masks have them, label ids otherwise. The test split is left out: its masks are
/// blank.
pub(super) fn list(root: &Path) -> Result<Listing, DataError> {
    let masks = match masks_of(root) {
        Some(folder) => pictures_below(&folder)?,
        None => BTreeMap::new(),
    };
    let ending = |what: &str| -> BTreeMap<String, PathBuf> {
        let with = |(name, path): (&String, &PathBuf)| {
            let stem = name.strip_suffix(what)?;
            let (stem, _) = stem.rsplit_once('_')?;
            Some((stem.to_owned(), path.clone()))
        };
        masks
            .iter()
            .filter_map(with)
            .filter(|(name, _)| !is_test(name))
            .collect()
    };
    let (label_ids, train_ids) = (ending("_labelIds"), ending("_labelTrainIds"));
    let (masks, values) = if !train_ids.is_empty() && train_ids.len() >= label_ids.len() {
        (train_ids, Values::ids(CITYSCAPES_CLASSES.len(), &[]))
    } else {
        (label_ids, Values::listed(&CITYSCAPES_LABEL_IDS))
    };
    let palette = Palette::from_colors(&CITYSCAPES_COLOURS);
    let mut listing = Listing::new(Classes::with_palette(CITYSCAPES_CLASSES, palette), values);
    let pictures = pictures_below(&root.join("leftImg8bit"))?.into_iter();
    let pictures = pictures
        .filter(|(name, _)| !is_test(name))
        .map(|(name, path)| (name.trim_end_matches(PICTURE).to_owned(), path));
    pair(&mut listing, pictures.collect(), masks, |name| {
        Split::of_folder(name.split('/').next()?)
    });
    Ok(listing)
}

fn is_test(name: &str) -> bool {
    name.starts_with("test/")
}
