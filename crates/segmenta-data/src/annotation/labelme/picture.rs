//! The picture that a document is about: its file and its size.

use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use segmenta_image::exif_orientation;

use super::{below, sound};
use crate::DataError;

/// The picture's size as the document has it, which must be that of the picture, where it lies beside the document or
/// in it. Documents without a size take the picture's.
pub(super) fn size(
    document: &Path,
    named: Option<&str>,
    embedded: Option<&str>,
    claimed: Option<(f64, f64)>,
) -> Result<(usize, usize), DataError> {
    let wrong = |what: String, remedy: &str| DataError::at(what, document, remedy);
    let claimed = claimed
        .map(|(width, height)| sound::size(width, height))
        .transpose()
        .map_err(|what| wrong(what, "correct imageWidth and imageHeight"))?;
    let real = beside(document, named).or_else(|| {
        let bytes = BASE64_STANDARD.decode(embedded?).ok()?;
        Some((upright(&bytes)?, "its imageData".into()))
    });
    match (claimed, real) {
        (Some(size), Some((real, picture))) if size != real => {
            let what = format!(
                "imageWidth and imageHeight are {}×{}, and {picture} has {}×{}",
                size.0, size.1, real.0, real.1
            );
            Err(wrong(
                what,
                "open the picture in labelme and save the annotation again",
            ))
        }
        (Some(size), _) => Ok(size),
        (None, Some(((width, height), _))) => sound::size(width as f64, height as f64)
            .map_err(|what| wrong(what, "annotate a smaller picture")),
        (None, None) => Err(wrong(
            "no imageWidth and imageHeight, and no picture to read them from".into(),
            "put the picture beside the document, or save it again in labelme",
        )),
    }
}

/// The size of the picture that a document names, where it is there.
fn beside(document: &Path, named: Option<&str>) -> Option<((usize, usize), String)> {
    let path = document.parent()?.join(named?);
    let size = imagesize::size(&path).ok()?;
    let (width, height) = (size.width, size.height);
    // labelme turns photographs upright. Only a size that may need it is worth reading the file for.
    let turned = width != height && is_turned(&segmenta_files::read(&path).ok()?);
    let size = if turned {
        (height, width)
    } else {
        (width, height)
    };
    Some((size, path.display().to_string()))
}

fn upright(bytes: &[u8]) -> Option<(usize, usize)> {
    let size = imagesize::blob_size(bytes).ok()?;
    let (width, height) = (size.width, size.height);
    Some(if is_turned(bytes) {
        (height, width)
    } else {
        (width, height)
    })
}

/// Orientations that exchange width and height.
fn is_turned(bytes: &[u8]) -> bool {
    exif_orientation(bytes) >= 5
}

/// The picture's path from the root of all documents on, or as the document has it. A document that does not name its
/// picture has that picture's name.
pub(super) fn file(document: &Path, named: Option<&str>, root: Option<&Path>) -> String {
    let stem = document.file_stem().unwrap_or_default().to_string_lossy();
    let own = format!("{stem}.png");
    let named = named.unwrap_or(&own);
    let is_absolute = named.starts_with('/') || named.as_bytes().get(1) == Some(&b':');
    let Some(root) = root.filter(|_| !is_absolute) else {
        return named.to_owned();
    };
    let mut path = PathBuf::new();
    for part in below(document, root).join(named).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => path.push(name),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    path.to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_found_from_their_document() {
        let named = |document: &str, name: Option<&str>| {
            file(Path::new(document), name, Some(Path::new("set")))
        };
        assert_eq!(named("set/a.json", Some("a.jpg")), "a.jpg");
        assert_eq!(named("set/val/a.json", Some("a.jpg")), "val/a.jpg");
        assert_eq!(named("set/val/a.json", Some("../a.jpg")), "a.jpg");
        assert_eq!(named("set/a.json", Some("../images/a.jpg")), "images/a.jpg");
        assert_eq!(named("set/a.json", Some("/pics/a.jpg")), "/pics/a.jpg");
        assert_eq!(named("set/val/a.json", None), "val/a.png");
        assert_eq!(
            file(Path::new("x/a.json"), Some("../a.jpg"), None),
            "../a.jpg"
        );
    }
}
