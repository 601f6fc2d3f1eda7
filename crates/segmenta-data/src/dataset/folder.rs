//! Pictures in one folder and masks of the same names in another, or wherever two patterns say.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use segmenta_image::{LabelMap, VOID, looks_like_picture};

use super::files::{file_name, files_below, folder_named, folders_in, name_of, pictures_below};
use super::open::split_by_lists;
use super::{Classes, Gap, Item, Listing, Mask, Open, Split, Values, read_lines};
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
/// Classes of this name have no id of their own: nobody learns them.
const IGNORED: [&str; 7] = [
    "unlabelled",
    "unlabeled",
    "void",
    "ignore",
    "ignored",
    "ignore_index",
    "unknown",
];
/// Where no list says the classes, so many masks are looked at to find them.
const LOOKED_AT: usize = 1000;

/// The folders of pictures and masks directly in a folder.
fn pair_of(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let pictures = folder_named(folder, &PICTURES)?;
    let masks = folder_named(folder, &MASKS)?;
    Some((pictures, masks))
}

/// `root` itself, and the folders `train`, `val`, `test` in it with their split, as far as they hold such pairs.
fn pairs_in(root: &Path) -> Vec<(Option<Split>, (PathBuf, PathBuf))> {
    let below = folders_in(root).into_iter().filter_map(|folder| {
        let split = Split::of_folder(&file_name(&folder))?;
        Some((Some(split), pair_of(&folder)?))
    });
    let own = pair_of(root).map(|pair| (None, pair));
    own.into_iter().chain(below).collect()
}

pub(super) fn is(root: &Path) -> bool {
    !pairs_in(root).is_empty()
}

/// Whether there is any picture below a folder.
pub(super) fn has_pictures(root: &Path) -> bool {
    files_below(root).is_ok_and(|files| files.iter().any(looks_like_picture))
}

/// Pictures without masks.
pub(super) fn pictures(root: &Path) -> Result<Listing, DataError> {
    let mut listing = Listing::new(Classes::new([""; 0]), Values::ids(0, &[]));
    let items = pictures_below(root)?.into_iter();
    listing.items = items
        .map(|(name, path)| Item::files(name, path, None, None))
        .collect();
    Ok(listing)
}

pub(super) fn list(root: &Path, open: &Open) -> Result<Listing, DataError> {
    let mut listing = Listing::new(Classes::new([""; 0]), Values::ids(0, &[]));
    if open.images.is_some() || open.masks.is_some() {
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
        for (split, (pictures, masks)) in pairs_in(root) {
            let (pictures, masks) = (pictures_below(&pictures)?, pictures_below(&masks)?);
            let masks = without_endings(masks, &pictures);
            pair(&mut listing, pictures, masks, |name| {
                split.or_else(|| split_of(name))
            });
        }
    }
    let lists = Split::ALL.map(|split| (split, root.join(format!("{split}.txt"))));
    split_by_lists(&mut listing, &lists)?;
    name_classes(root, open, &mut listing)?;
    Ok(listing)
}

/// `train/0001` is in the training split.
fn split_of(name: &str) -> Option<Split> {
    let (folder, _) = name.split_once('/')?;
    Split::of_folder(folder)
}

/// Pictures and masks of the same name become items; what is left over on either side, gaps.
pub(super) fn pair(
    listing: &mut Listing,
    pictures: BTreeMap<String, PathBuf>,
    mut masks: BTreeMap<String, PathBuf>,
    split: impl Fn(&str) -> Option<Split>,
) {
    for (name, picture) in pictures {
        match masks.remove(&name) {
            Some(mask) => {
                let split = split(&name);
                let mask = Some(Mask::File(mask));
                listing.items.push(Item::files(name, picture, mask, split));
            }
            None => listing.gaps.push(Gap::Mask(picture)),
        }
    }
    listing.gaps.extend(masks.into_values().map(Gap::Picture));
}

/// `cat_mask.png` is the mask of `cat.jpg`, if it is no picture's by its own name.
fn without_endings(
    masks: BTreeMap<String, PathBuf>,
    pictures: &BTreeMap<String, PathBuf>,
) -> BTreeMap<String, PathBuf> {
    let shorter = |name: String| -> String {
        if pictures.contains_key(&name) {
            return name;
        }
        let stems = MASK_ENDINGS
            .iter()
            .filter_map(|ending| name.strip_suffix(ending));
        let known = stems.into_iter().find(|stem| pictures.contains_key(*stem));
        known.map_or_else(|| name.clone(), str::to_owned)
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
    fn find(&self, root: &Path, files: &[PathBuf]) -> BTreeMap<String, PathBuf> {
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

/// What the classes are called and what the masks' values mean: as the user says, as `classes.txt` in the root says,
/// or as the masks show.
fn name_classes(root: &Path, open: &Open, listing: &mut Listing) -> Result<(), DataError> {
    let list = root.join("classes.txt");
    let names = match &open.classes {
        Some(names) => Some(names.clone()),
        None if list.is_file() => Some(read_lines(&list)?),
        None => None,
    };
    let Some(mut names) = names else {
        let seen = seen_values(&listing.items);
        (listing.classes, listing.values) = if is_binary(&seen) {
            (Classes::new(["background", "foreground"]), Values::binary())
        } else {
            let ids = seen
                .iter()
                .filter(|&&value| value != VOID && !open.ignore.contains(&value));
            let count = ids.max().map_or(0, |&last| usize::from(last) + 1);
            let names = (0..count).map(|id| format!("class {id}"));
            (Classes::new(names), Values::ids(count, &open.ignore))
        };
        return Ok(());
    };
    if names.is_empty() || names.len() > 255 {
        return Err(DataError::at(
            format!("{} classes", names.len()),
            &list,
            "name 1 to 255 classes, one a line, in the order of their ids",
        ));
    }
    if names.len() <= 2 && open.ignore.is_empty() && is_binary(&seen_values(&listing.items)) {
        if names.len() == 1 {
            names.insert(0, "background".into());
        }
        (listing.classes, listing.values) = (Classes::new(names), Values::binary());
        return Ok(());
    }
    let mut ignored = open.ignore.clone();
    // Only the last can go without renumbering the others.
    if names.len() > 1 && names.last().is_some_and(|name| is_ignored(name)) {
        names.pop();
        ignored.push(names.len() as u8);
    }
    listing.values = Values::ids(names.len(), &ignored);
    listing.classes = Classes::new(names);
    Ok(())
}

fn is_ignored(name: &str) -> bool {
    IGNORED
        .iter()
        .any(|ignored| name.eq_ignore_ascii_case(ignored))
}

/// White on black: one class.
fn is_binary(values: &BTreeSet<u8>) -> bool {
    values.contains(&VOID) && values.iter().all(|&value| value == 0 || value == VOID)
}

/// The values in up to [`LOOKED_AT`] masks, spread evenly. What cannot be read is told by the check.
fn seen_values(items: &[Item]) -> BTreeSet<u8> {
    let masks: Vec<&Path> = items.iter().filter_map(Item::mask_path).collect();
    let step = masks.len().div_ceil(LOOKED_AT).max(1);
    let values = |path: &&&Path| -> BTreeSet<u8> {
        let counts = LabelMap::open(path).map(|map| map.counts());
        let counts = counts.unwrap_or([0; 256]);
        (0..=255)
            .filter(|&value: &u8| counts[usize::from(value)] > 0)
            .collect()
    };
    let chosen: Vec<&&Path> = masks.iter().step_by(step).collect();
    chosen
        .par_iter()
        .map(values)
        .reduce(BTreeSet::new, |mut all, some| {
            all.extend(some);
            all
        })
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
            found.into_keys().collect()
        };
        assert_eq!(names("a/img_{}.jpg"), ["1"]);
        assert_eq!(names("a/mask_{}"), ["1"]);
        assert_eq!(names("{}.jpg"), ["a/b/img_2", "a/img_", "a/img_1"]);
        for wrong in ["images/*.jpg", "{}/{}.jpg"] {
            assert!(Pattern::new(wrong, "images").is_err(), "{wrong}");
        }
    }
}
