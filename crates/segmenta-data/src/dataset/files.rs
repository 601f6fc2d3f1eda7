//! Files below a folder, and lists of names.

use std::path::{Path, PathBuf};

use segmenta_image::looks_like_picture;
use walkdir::{DirEntry, WalkDir};

use super::twins::Named;
use crate::DataError;

/// The pictures below a folder with their names: the path from the folder on, with `/`, without extension. Links are
/// followed; one that leads back to itself is passed over, and so are hidden files.
pub(crate) fn pictures_below(folder: &Path) -> Result<Vec<Named>, DataError> {
    let pictures = files_below(folder)?.into_iter();
    let named = |path: PathBuf| {
        let relative = path.strip_prefix(folder).unwrap_or(&path);
        (name_of(&relative.with_extension("")), path)
    };
    Ok(pictures
        .filter(|path| looks_like_picture(path))
        .map(named)
        .collect())
}

/// All files below a folder but hidden ones, sorted by name.
pub(crate) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name();
    let shown = |entry: &DirEntry| {
        entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".")
    };
    for entry in walk.into_iter().filter_entry(shown) {
        match entry {
            Ok(entry) if entry.file_type().is_file() => files.push(entry.into_path()),
            Ok(_) => {}
            // What the link leads to is found by its own name.
            Err(error) if error.loop_ancestor().is_some() => {}
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_path_buf();
                let is_broken_link = path.symlink_metadata().is_ok_and(|m| m.is_symlink());
                if let (false, Some(cause)) = (is_broken_link, error.io_error()) {
                    return Err(DataError::read(&path, cause));
                }
            }
        }
    }
    Ok(files)
}

/// The folders in a folder, sorted by name, without hidden ones.
pub(crate) fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = paths
        .filter(|path| path.is_dir() && !file_name(path).starts_with('.'))
        .collect();
    folders.sort();
    folders
}

/// The folders in a folder that have the first of these names that any has, whatever the case: `images` and `Images`
/// are two where the system tells them apart.
pub(crate) fn folders_named(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    let folders = folders_in(folder);
    let named = |name: &&str| {
        let is_named = |path: &&PathBuf| file_name(path).eq_ignore_ascii_case(name);
        let found: Vec<PathBuf> = folders.iter().filter(is_named).cloned().collect();
        (!found.is_empty()).then_some(found)
    };
    names.iter().find_map(named).unwrap_or_default()
}

/// As [`folders_named`], where there may be one.
///
/// # Errors
/// Two whose names differ in the case of their letters alone.
pub(crate) fn folder_named(folder: &Path, names: &[&str]) -> Result<Option<PathBuf>, DataError> {
    let mut found = folders_named(folder, names);
    if found.len() > 1 {
        let found: Vec<String> = found
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(DataError::data(
            "two folders of one name",
            found.join(", "),
            "put what is in them into one",
        ));
    }
    Ok(found.pop())
}

/// The last part of a path.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A relative path as a name: parts joined by `/` on every system.
pub(crate) fn name_of(path: &Path) -> String {
    let parts = path.components().map(|c| c.as_os_str().to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}
