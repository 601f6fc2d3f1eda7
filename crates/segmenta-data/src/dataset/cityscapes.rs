//! Cityscapes.

use std::path::{Path, PathBuf};

use segmenta_image::Palette;

use super::classes::{CITYSCAPES_COLOURS, CITYSCAPES_LABEL_IDS};
use super::files::{folder_named, folders_named, pictures_below};
use super::twins::{Named, pair};
use super::{CITYSCAPES_CLASSES, Classes, Listing, MaskRule, Split};
use crate::DataError;

const PICTURE: &str = "_leftImg8bit";
const MASKS: [&str; 2] = ["gtFine", "gtCoarse"];

pub(super) fn is(root: &Path) -> bool {
    root.join("leftImg8bit").is_dir() && !folders_named(root, &MASKS).is_empty()
}

/// Train ids are taken where all masks have them, label ids otherwise. The test split is left out: its masks are
/// blank.
pub(super) fn list(root: &Path) -> Result<Listing, DataError> {
    let masks = match folder_named(root, &MASKS)? {
        Some(folder) => pictures_below(&folder)?,
        None => Vec::new(),
    };
    let ending = |what: &str| -> Vec<Named> {
        let with = |(name, path): &(String, PathBuf)| {
            let stem = name.strip_suffix(what)?;
            let (stem, _) = stem.rsplit_once('_')?;
            (!is_test(stem)).then(|| (stem.to_owned(), path.clone()))
        };
        masks.iter().filter_map(with).collect()
    };
    let (label_ids, train_ids) = (ending("_labelIds"), ending("_labelTrainIds"));
    let (masks, rule) = if !train_ids.is_empty() && train_ids.len() >= label_ids.len() {
        (train_ids, MaskRule::Ids)
    } else {
        let rule = MaskRule::Listed {
            values: CITYSCAPES_LABEL_IDS.to_vec(),
            rest_ignored: true,
        };
        (label_ids, rule)
    };
    let palette = Palette::from_colors(&CITYSCAPES_COLOURS);
    let mut listing = Listing::new(Classes::with_palette(CITYSCAPES_CLASSES, palette), rule);
    let pictures = pictures_below(&root.join("leftImg8bit"))?.into_iter();
    let pictures = pictures
        .filter(|(name, _)| !is_test(name))
        .map(|(name, path)| {
            let name = name.strip_suffix(PICTURE).unwrap_or(&name);
            (name.to_owned(), path)
        });
    pair(&mut listing, pictures.collect(), masks, |name| {
        Split::of_folder(name.split('/').next()?)
    });
    Ok(listing)
}

fn is_test(name: &str) -> bool {
    name.starts_with("test/")
}
