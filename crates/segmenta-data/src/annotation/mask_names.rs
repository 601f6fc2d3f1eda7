//! What masks are called: after their pictures, and no two alike.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use segmenta_image::looks_like_picture;

use crate::DataError;

/// The name of a picture's mask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskName {
    /// Below the folder of masks: the picture's path with `.png`.
    pub path: PathBuf,
    /// Whether another mask's name differs from it in the case of letters alone: not every file system keeps both.
    pub has_twin: bool,
}

/// Names for the masks of pictures, given as their files and where each stands, in that order.
///
/// Folders are kept. The extension becomes `.png`, but what follows the last dot of a frame (`seq.0001`) is a part of
/// its name; where two pictures differ by their extension alone, both masks keep it: `a.jpg.png` and `a.png.png`.
///
/// # Errors
/// A picture without a name, and one that is there twice: both places are named.
pub fn mask_names(pictures: &[(&str, &str)]) -> Result<Vec<MaskName>, DataError> {
    let mut files = Vec::with_capacity(pictures.len());
    let mut places: HashMap<PathBuf, usize> = HashMap::new();
    for (index, (file, origin)) in pictures.iter().enumerate() {
        let path = within(file);
        if path.as_os_str().is_empty() {
            let what = format!("a picture without a file name (`{file}`)");
            return Err(DataError::data(what, origin, "name the picture's file"));
        }
        if file.contains('\0') {
            let what = format!("a picture whose name no file can have ({file:?})");
            return Err(DataError::data(
                what,
                origin,
                "correct the name of its picture",
            ));
        }
        if let Some(other) = places.insert(path.clone(), index) {
            let (before, other) = pictures[other];
            let what = if before == *file {
                format!("two annotations of the picture {file}")
            } else {
                format!("two pictures whose mask would be the same: {before}, {file}")
            };
            let place = format!("{other}, {origin}");
            return Err(DataError::data(
                what,
                place,
                "keep one of them, or correct the name of its picture",
            ));
        }
        files.push(path);
    }
    let mut short: HashMap<PathBuf, usize> = HashMap::new();
    for file in &files {
        *short.entry(without_extension(file)).or_default() += 1;
    }
    let name = |file: &PathBuf| {
        let stem = without_extension(file);
        let stem = if short[&stem] > 1 { file } else { &stem };
        let mut name = stem.clone().into_os_string();
        name.push(".png");
        PathBuf::from(name)
    };
    let names: Vec<PathBuf> = files.iter().map(name).collect();
    let mut exact: HashMap<&Path, usize> = HashMap::new();
    let mut folded: HashMap<String, usize> = HashMap::new();
    for (index, name) in names.iter().enumerate() {
        // `a.jpg` and `a.png` beside a picture that is itself called `a.jpg.webp`.
        if let Some(other) = exact.insert(name, index) {
            let what = format!("two pictures whose mask would be {}", name.display());
            let place = format!("{}, {}", pictures[other].0, pictures[index].0);
            return Err(DataError::data(
                what,
                place,
                "give one of them another name",
            ));
        }
        *folded
            .entry(name.to_string_lossy().to_lowercase())
            .or_default() += 1;
    }
    let twins: Vec<bool> = names
        .iter()
        .map(|name| folded[&name.to_string_lossy().to_lowercase()] > 1)
        .collect();
    let named = |(path, has_twin)| MaskName { path, has_twin };
    Ok(names.into_iter().zip(twins).map(named).collect())
}

/// A path without the extension of a picture, or of any other file; digits after a dot number a frame.
fn without_extension(path: &Path) -> PathBuf {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    let is_one = looks_like_picture(path)
        || extension.len() <= 5 && extension.starts_with(|c: char| c.is_ascii_alphabetic());
    if is_one && !extension.is_empty() {
        path.with_extension("")
    } else {
        path.to_path_buf()
    }
}

/// A path that stays in the folder it is joined to, whatever an annotation says: without drive, root, `.` and `..`.
fn within(file: &str) -> PathBuf {
    let file = file.replace('\\', "/");
    let drive = file.as_bytes();
    let file = match drive {
        [letter, b':', ..] if letter.is_ascii_alphabetic() => &file[2..],
        _ => &file,
    };
    Path::new(file)
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[&str]) -> Result<Vec<String>, String> {
        let pictures: Vec<(&str, &str)> = files.iter().map(|file| (*file, "doc")).collect();
        let names = mask_names(&pictures).map_err(|error| error.to_string())?;
        let text = |name: MaskName| name.path.to_string_lossy().replace('\\', "/");
        Ok(names.into_iter().map(text).collect())
    }

    #[test]
    fn every_picture_has_a_mask_of_its_own() {
        for (files, masks) in [
            (
                &["a.jpg", "b/a.jpg", "c.tar.JPG"][..],
                &["a.png", "b/a.png", "c.tar.png"][..],
            ),
            (
                &["a.jpg", "a.png", "b.png"],
                &["a.jpg.png", "a.png.png", "b.png"],
            ),
            (&["seq.0000", "seq.0001"], &["seq.0000.png", "seq.0001.png"]),
            (
                &["frame_000001", "scan.dcm"],
                &["frame_000001.png", "scan.png"],
            ),
            (&["v1.2", "v1.2.jpg"], &["v1.2.png", "v1.2.jpg.png"]),
            (
                &["../../a/b.jpg", "/etc/x.png", "./c.jpg"],
                &["a/b.png", "etc/x.png", "c.png"],
            ),
            (&[r"C:\data\a.jpg", r"..\b.jpg"], &["data/a.png", "b.png"]),
        ] {
            assert_eq!(names(files).unwrap(), masks);
        }
    }

    #[test]
    fn what_would_be_one_file_is_refused() {
        for (files, said) in [
            (
                &["a.jpg", "a.jpg"][..],
                "two annotations of the picture a.jpg",
            ),
            (
                &["a.jpg", "../a.jpg"],
                "two pictures whose mask would be the same: a.jpg, ../a.jpg",
            ),
            (&["a.jpg", "a.png", "a.jpg.webp"], "would be a.jpg.png"),
            (&[".."], "without a file name"),
            (&[""], "without a file name"),
        ] {
            let error = names(files).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        let twins = mask_names(&[("A.jpg", ""), ("a.jpg", ""), ("b.jpg", "")]).unwrap();
        assert_eq!(
            twins.iter().map(|t| t.has_twin).collect::<Vec<_>>(),
            [true, true, false]
        );
    }
}
