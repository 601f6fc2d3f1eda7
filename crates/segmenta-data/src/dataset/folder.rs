//! Pictures in one folder and masks of the same names in another, or wherever two patterns say.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use segmenta_image::looks_like_picture;

use super::files::{
    file_name, files_below, folder_named, folders_in, folders_named, name_of, pictures_below,
};
use super::lists::List;
use super::twins::{Named, pair};
use super::{Classes, Item, Listing, Open, Split};
use crate::DataError;

/// What folders of pictures are called, the likeliest first.
const PICTURES: [&str; 8] = [
    "images",
    "imgs",
    "image",
    "img",
    "pictures",
    "photos",
    "JPEGImages",
    "x",
];
/// What folders of masks are called.
const MASKS: [&str; 10] = [
    "masks",
    "labels",
    "mask",
    "label",
    "annotations",
    "segmentation",
    "SegmentationClass",
    "ground_truth",
    "gt",
    "y",
];
/// What mask files have after the name of their picture.
const MASK_ENDINGS: [&str; 10] = [
    "_mask",
    "-mask",
    "_masks",
    "_label",
    "-label",
    "_labels",
    "_gt",
    "_seg",
    "_segmentation",
    "_L",
];
/// The folders of pictures and masks directly in a folder.
fn pair_of(folder: &Path) -> Result<Option<(PathBuf, PathBuf)>, DataError> {
    let pictures = folder_named(folder, &PICTURES)?;
    let masks = folder_named(folder, &MASKS)?;
    Ok(pictures.zip(masks))
}

/// `root` itself, and the folders `train`, `val`, `test` in it with their split.
fn places(root: &Path) -> Vec<(Option<Split>, PathBuf)> {
    let below = folders_in(root).into_iter().filter_map(|folder| {
        let split = Split::of_folder(&file_name(&folder))?;
        Some((Some(split), folder))
    });
    std::iter::once((None, root.to_path_buf()))
        .chain(below)
        .collect()
}

pub(super) fn is(root: &Path) -> bool {
    let has = |folder: &Path, names: &[&str]| !folders_named(folder, names).is_empty();
    let is_pair = |folder: &Path| has(folder, &PICTURES) && has(folder, &MASKS);
    places(root).iter().any(|(_, folder)| is_pair(folder))
}

/// Whether there is any picture below a folder.
pub(super) fn has_pictures(root: &Path) -> bool {
    files_below(root).is_ok_and(|files| files.iter().any(looks_like_picture))
}

/// Pictures without masks.
pub(super) fn pictures(root: &Path) -> Result<Listing, DataError> {
    let mut listing = Listing::unknown(Classes::unnamed(0, false));
    let items = pictures_below(root)?.into_iter();
    listing.items = items
        .map(|(name, path)| Item::files(name, path, None, None))
        .collect();
    Ok(listing)
}

pub(super) fn list(root: &Path, open: &Open) -> Result<Listing, DataError> {
    let mut listing = Listing::unknown(Classes::unnamed(0, false));
    if let Some([pictures, masks]) = &open.folders {
        let (pictures, masks) = (pictures_below(pictures)?, pictures_below(masks)?);
        let masks = without_endings(masks, &pictures);
        pair(&mut listing, pictures, masks, split_of);
    } else if open.images.is_some() || open.masks.is_some() {
        let images = Pattern::new(open.images.as_deref().unwrap_or("images/{}"), "images")?;
        let masks = Pattern::new(open.masks.as_deref().unwrap_or("masks/{}"), "masks")?;
        let files = files_below(root)?;
        pair(
            &mut listing,
            images.find(root, &files),
            masks.find(root, &files),
            split_of,
        );
    } else {
        for (split, folder) in places(root) {
            let Some((pictures, masks)) = pair_of(&folder)? else {
                continue;
            };
            let (pictures, masks) = (pictures_below(&pictures)?, pictures_below(&masks)?);
            let masks = without_endings(masks, &pictures);
            pair(&mut listing, pictures, masks, |name| {
                split.or_else(|| split_of(name))
            });
        }
    }
    Ok(listing)
}

pub(super) fn lists(root: &Path) -> [List; 3] {
    Split::ALL.map(|split| List::new(split, root.join(format!("{split}.txt"))))
}

/// `train/0001` is in the training split.
fn split_of(name: &str) -> Option<Split> {
    let (folder, _) = name.split_once('/')?;
    Split::of_folder(folder)
}

/// `cat_mask.png` is the mask of `cat.jpg`, if it is no picture's by its own name.
fn without_endings(masks: Vec<Named>, pictures: &[Named]) -> Vec<Named> {
    let mut known: BTreeSet<String> = pictures.iter().map(|(name, _)| name.clone()).collect();
    // Masks may have the whole names of pictures: `cat.jpg.png`, `cat.jpg_mask.png`.
    known.extend(pictures.iter().filter_map(|(name, path)| {
        let extension = path.extension()?.to_string_lossy();
        Some(format!("{name}.{extension}"))
    }));
    let shorter = |name: String| -> String {
        if known.contains(&name) {
            return name;
        }
        let mut stems = MASK_ENDINGS
            .iter()
            .filter_map(|ending| name.strip_suffix(ending));
        let stem = stems.find(|stem| known.contains(*stem));
        stem.map_or_else(|| name.clone(), str::to_owned)
    };
    masks
        .into_iter()
        .map(|(name, path)| (shorter(name), path))
        .collect()
}

/// A path from the root on with `{}` for the name, `/` between folders.
struct Pattern {
    before: String,
    after: String,
}

impl Pattern {
    fn new(text: &str, setting: &str) -> Result<Self, DataError> {
        let text = text.trim_start_matches("./").replace('\\', "/");
        match text.split_once("{}") {
            Some((before, after)) if !after.contains("{}") => Ok(Self {
                before: before.into(),
                after: after.into(),
            }),
            _ => Err(DataError::setting(
                format!("`{text}` is no pattern"),
                setting,
                "write {} once, where the name stands: images/img_{}.jpg",
            )),
        }
    }

    /// The files that fit, by what stands for `{}`. Without an extension in the pattern any picture's will do.
    fn find(&self, root: &Path, files: &[PathBuf]) -> Vec<Named> {
        let any_extension = Path::new(&format!("x{}", self.after)).extension().is_none();
        let name = |path: &PathBuf| {
            let relative = path.strip_prefix(root).ok()?;
            let text = if any_extension {
                name_of(&relative.with_extension(""))
            } else {
                name_of(relative)
            };
            let inner = text.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
            let named = !inner.is_empty() && looks_like_picture(path);
            named.then(|| (inner.to_owned(), path.clone()))
        };
        files.iter().filter_map(name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_what_they_find() {
        let root = Path::new("data");
        let files: Vec<PathBuf> = [
            "a/img_1.jpg",
            "a/b/img_2.jpg",
            "a/mask_1.png",
            "a/img_.jpg",
            "a/img_3.txt",
        ]
        .iter()
        .map(|name| root.join(name))
        .collect();
        let names = |pattern: &str| -> Vec<String> {
            let found = Pattern::new(pattern, "images").unwrap().find(root, &files);
            let mut names: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
            names.sort();
            names
        };
        assert_eq!(names("a/img_{}.jpg"), ["1"]);
        assert_eq!(names("a/mask_{}"), ["1"]);
        assert_eq!(names("{}.jpg"), ["a/b/img_2", "a/img_", "a/img_1"]);
        for wrong in ["images/*.jpg", "{}/{}.jpg"] {
            assert!(Pattern::new(wrong, "images").is_err(), "{wrong}");
        }
    }
}
