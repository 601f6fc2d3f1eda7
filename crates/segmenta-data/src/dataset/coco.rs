//! COCO: annotations in JSON beside folders of pictures.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{file_name, files_below, folders_in, name_of};
use super::{Classes, Gap, Item, Listing, Mask, MaskRule, Split};
use crate::DataError;
use crate::annotation::{Annotations, coco};

/// JSON files that hold annotations of instances, each with the folder that pictures are looked for from.
fn documents(root: &Path) -> Vec<PathBuf> {
    let folders = [root.to_path_buf(), root.join("annotations")];
    let below = folders_in(root)
        .into_iter()
        .filter(|f| Split::of_folder(&file_name(f)).is_some());
    let mut found = Vec::new();
    for folder in folders.into_iter().chain(below) {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        found.extend(entries.flatten().map(|entry| entry.path()).filter(|path| {
            let name = file_name(path).to_ascii_lowercase();
            let is_instances = name.starts_with("instances")
                || name.contains("coco")
                || matches!(
                    &*name,
                    "annotations.json" | "result.json" | "train.json" | "val.json" | "test.json"
                );
            path.extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("json"))
                && is_instances
                && path.is_file()
        }));
    }
    found.sort();
    found
}

pub(super) fn is(root: &Path) -> bool {
    !documents(root).is_empty()
}

pub(super) fn list(root: &Path) -> Result<Listing, DataError> {
    let mut all = Annotations::default();
    let mut splits = Vec::new();
    for path in documents(root) {
        let split =
            Split::of_folder(file_name(&path.with_extension("")).trim_start_matches("instances_"))
                .or_else(|| Split::of_folder(&file_name(path.parent()?)));
        all.append(coco::read(&path)?).map_err(|what| {
            let remedy = "convert them one by one: segmenta data convert coco";
            DataError::at(what, &path, remedy)
        })?;
        splits.resize(all.pictures.len(), (split, path));
    }
    let files = Pictures::below(root)?;
    let classes = Classes::new(all.classes.iter().cloned());
    let mut listing = Listing::new(classes, MaskRule::Ids);
    for (index, (picture, (split, document))) in all.pictures.iter().zip(splits).enumerate() {
        match files.find(&picture.file, split)? {
            Some(path) => {
                let name = name_of(&path.strip_prefix(root).unwrap_or(path).with_extension(""));
                let mask = Some(Mask::Drawn(index));
                listing
                    .items
                    .push(Item::files(name, path.clone(), mask, split));
            }
            None => listing.gaps.push(Gap::Listed {
                list: document,
                name: picture.file.clone(),
            }),
        }
    }
    listing.annotations = Some(Arc::new(all));
    Ok(listing)
}

/// Pictures below a folder, found by the last part of their path.
pub(crate) struct Pictures(HashMap<String, Vec<PathBuf>>);

impl Pictures {
    pub(crate) fn below(root: &Path) -> Result<Self, DataError> {
        let mut by_name: HashMap<String, Vec<PathBuf>> = HashMap::new();
        for path in files_below(root)? {
            if segmenta_image::looks_like_picture(&path) {
                by_name.entry(file_name(&path)).or_default().push(path);
            }
        }
        Ok(Self(by_name))
    }

    /// The picture that an annotation calls `file`: of several with the same name the one whose path ends so, or that
    /// lies in the folder of the split.
    ///
    /// # Errors
    /// Several that it could be.
    pub(crate) fn find(
        &self,
        file: &str,
        split: Option<Split>,
    ) -> Result<Option<&PathBuf>, DataError> {
        let relative = file.replace('\\', "/");
        let name = relative.rsplit('/').next().unwrap_or(&relative);
        let Some(candidates) = self.0.get(name) else {
            return Ok(None);
        };
        let in_split = |path: &&PathBuf| {
            let mut folders = path.components().rev().skip(1);
            folders.any(|part| Split::of_folder(&part.as_os_str().to_string_lossy()) == split)
        };
        let ends = |path: &&PathBuf| relative.contains('/') && path.ends_with(&relative);
        let by_path: Vec<&PathBuf> = candidates.iter().filter(ends).collect();
        let by_split: Vec<&PathBuf> = candidates
            .iter()
            .filter(|path| split.is_some() && in_split(path))
            .collect();
        match (&by_path[..], &by_split[..], &candidates[..]) {
            ([one], ..) | ([], [one], _) => Ok(Some(one)),
            (_, _, [one]) => Ok(Some(one)),
            (_, _, several) => {
                let files: Vec<String> = several.iter().map(|p| p.display().to_string()).collect();
                Err(DataError::data(
                    format!("{} pictures called `{file}`", several.len()),
                    files.join(", "),
                    "write the folder into the annotations' file_name, or keep one of them",
                ))
            }
        }
    }
}
