//! Names of pictures, and what to do where two files share one.
//!
//! A name is a path without extension. Where two pictures have the same, each gets the shortest longer name that no
//! other has: the path from the data set's folder, or the name with its extension.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{file_name, name_of};
use super::item::Rivals;
use super::{Gap, Item, Listing, Mask, Split};
use crate::DataError;

/// A file and its name.
pub(super) type Named = (String, PathBuf);

/// Pictures and masks of the same name become items; what is left over on either side, gaps. Where a name has several
/// pictures or masks, a mask that has the whole name of a picture's file (`a.jpg.png`) is that picture's; otherwise
/// nobody knows which belong together, and the items say so.
pub(super) fn pair(
    listing: &mut Listing,
    pictures: Vec<Named>,
    masks: Vec<Named>,
    split: impl Fn(&str) -> Option<Split>,
) {
    let mut masks = grouped(masks);
    let stems: BTreeSet<String> = pictures.iter().map(|(name, _)| name.clone()).collect();
    for (name, pictures) in grouped(pictures) {
        let (mut own, mut rest) = (Vec::new(), Vec::new());
        for picture in pictures {
            let extension = picture.extension().unwrap_or_default().to_string_lossy();
            let whole = format!("{name}.{extension}");
            let its_own = if stems.contains(&whole) {
                None
            } else {
                masks.remove(&whole)
            };
            match its_own {
                Some(masks) => own.push((picture, masks)),
                None => rest.push(picture),
            }
        }
        let shared = masks.remove(&name).unwrap_or_default();
        if rest.is_empty() {
            // A mask by the whole name and one by the stem: either may be the picture's.
            own.iter_mut()
                .for_each(|(_, masks)| masks.extend(shared.iter().cloned()));
        }
        let split = split(&name);
        let mut add = |picture: PathBuf, masks: &[PathBuf], pictures: &[PathBuf]| {
            let Some(first) = masks.first() else {
                listing.gaps.push(Gap::Mask(picture));
                return;
            };
            let mask = Some(Mask::File(first.clone()));
            let mut item = Item::files(name.clone(), picture, mask, split);
            if masks.len() > 1 || pictures.len() > 1 {
                item.rivals = Some(Arc::new(Rivals {
                    pictures: pictures.to_vec(),
                    masks: masks.to_vec(),
                }));
            }
            listing.items.push(item);
        };
        for (picture, masks) in own {
            add(picture.clone(), &masks, &[picture]);
        }
        for picture in &rest {
            add(picture.clone(), &shared, &rest);
        }
    }
    let left = masks.into_values().flatten();
    listing.gaps.extend(left.map(Gap::Picture));
}

fn grouped(files: Vec<Named>) -> BTreeMap<String, Vec<PathBuf>> {
    let mut groups: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (name, path) in files {
        groups.entry(name).or_default().push(path);
    }
    groups
}

/// A longer name for an item.
type Longer<'a> = &'a dyn Fn(&Item) -> Option<String>;

/// Gives items that share a name longer ones.
pub(super) fn tell_apart(root: &Path, items: &mut [Item]) -> Result<(), DataError> {
    let from_root = |item: &Item| {
        let path = item.picture_path()?;
        Some(path.strip_prefix(root).unwrap_or(path).to_path_buf())
    };
    let with_extension = |item: &Item| {
        let extension = item.picture_path()?.extension()?.to_string_lossy();
        Some(format!("{}.{extension}", item.name))
    };
    let longer: [Longer<'_>; 3] = [
        &with_extension,
        &|item| Some(name_of(&from_root(item)?.with_extension(""))),
        &|item| Some(name_of(&from_root(item)?)),
    ];
    for name in longer {
        let groups = shared_names(items);
        if groups.is_empty() {
            return Ok(());
        }
        for places in groups {
            let names: Option<Vec<String>> = places.iter().map(|&at| name(&items[at])).collect();
            let Some(names) = names else { continue };
            let mut different: Vec<&String> = names.iter().collect();
            different.sort();
            different.dedup();
            if different.len() == names.len() {
                for (&at, name) in places.iter().zip(&names) {
                    items[at].name.clone_from(name);
                }
            }
        }
    }
    let Some(places) = shared_names(items).into_iter().next() else {
        return Ok(());
    };
    let paths: Vec<String> = places
        .iter()
        .filter_map(|&at| Some(items[at].picture_path()?.display().to_string()))
        .collect();
    Err(DataError::data(
        format!(
            "{} pictures called `{}`",
            places.len(),
            items[places[0]].name
        ),
        paths.join(", "),
        "leave one of them out, or give it another name",
    ))
}

/// The places of items that have one name, in the order of names.
fn shared_names(items: &[Item]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, item) in items.iter().enumerate() {
        groups.entry(&item.name).or_default().push(at);
    }
    groups
        .into_values()
        .filter(|group| group.len() > 1)
        .collect()
}

/// Items by every name that a list may give them.
pub(super) struct Index {
    /// By the name that the data set gives.
    names: HashMap<String, usize>,
    /// By what else a list may say: the name with its extension, the path from the root.
    others: HashMap<String, Vec<usize>>,
}

impl Index {
    pub(super) fn of(root: &Path, items: &[Item]) -> Self {
        let names = items.iter().enumerate();
        let names = names.map(|(at, item)| (item.name.clone(), at)).collect();
        let mut others: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, item) in items.iter().enumerate() {
            let Some(path) = item.picture_path() else {
                continue;
            };
            let relative = path.strip_prefix(root).unwrap_or(path);
            let stem = Path::new(&item.name).with_file_name(file_name(path));
            let mut all = vec![
                name_of(&stem),
                name_of(&stem.with_extension("")),
                name_of(relative),
                name_of(&relative.with_extension("")),
            ];
            all.sort();
            all.dedup();
            for name in all {
                others.entry(name).or_default().push(at);
            }
        }
        Self { names, others }
    }

    /// The item that a list calls so.
    ///
    /// # Errors
    /// Several that it could be.
    pub(super) fn find(&self, name: &str) -> Result<Option<usize>, Vec<usize>> {
        if let Some(&at) = self.names.get(name) {
            return Ok(Some(at));
        }
        match self.others.get(name).map(Vec::as_slice) {
            None => Ok(None),
            Some(&[at]) => Ok(Some(at)),
            Some(several) => Err(several.to_vec()),
        }
    }
}
