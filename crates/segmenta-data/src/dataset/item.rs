//! One picture of a data set and its mask.

use segmenta_files::count;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use segmenta_image::{LabelMap, Picture, exif_orientation};

use super::values::Broken;
use super::{Dataset, Split};
use crate::{DataError, Sample};

/// One picture of a data set and its mask, not read yet.
#[derive(Clone, Debug)]
pub struct Item {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) split: Option<Split>,
    /// Where nobody knows which picture and which mask belong together.
    pub(crate) rivals: Option<Arc<Rivals>>,
}

/// Several pictures or masks of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rivals {
    pub(crate) pictures: Vec<PathBuf>,
    pub(crate) masks: Vec<PathBuf>,
}

impl Rivals {
    /// `two masks for one picture`, and what to do about it.
    pub(crate) fn words(&self) -> (String, &'static str) {
        match (self.pictures.len(), self.masks.len()) {
            (1, masks) => (
                format!("{masks} masks for one picture"),
                "keep one of the masks",
            ),
            (pictures, 1) => (
                format!("one mask for {pictures} pictures"),
                "keep one of the pictures, or give each a mask of its whole name: a.jpg.png",
            ),
            (pictures, masks) => (
                format!("{pictures} pictures and {masks} masks of one name"),
                "give each picture a mask of its whole name: a.jpg.png",
            ),
        }
    }
}

/// Where a picture and its labels are.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Files {
        picture: PathBuf,
        mask: Option<Mask>,
    },
    Memory(Arc<Sample>),
}

/// Where labels are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// A file of ids.
    File(PathBuf),
    /// Shapes: the index of the picture in the data set's annotations.
    Drawn(usize),
}

impl Item {
    pub(crate) fn files(
        name: String,
        picture: PathBuf,
        mask: Option<Mask>,
        split: Option<Split>,
    ) -> Self {
        let source = Source::Files { picture, mask };
        Self {
            name,
            source,
            split,
            rivals: None,
        }
    }

    /// Its name in lists: the path within the folder of pictures, without extension.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its split, where the data set has any.
    pub fn split(&self) -> Option<Split> {
        self.split
    }

    /// The picture's file, if it is one.
    pub fn picture_path(&self) -> Option<&Path> {
        match &self.source {
            Source::Files { picture, .. } => Some(picture),
            Source::Memory(_) => None,
        }
    }

    /// The mask's file, if it is one.
    pub fn mask_path(&self) -> Option<&Path> {
        match &self.source {
            Source::Files {
                mask: Some(Mask::File(path)),
                ..
            } => Some(path),
            _ => None,
        }
    }

    /// The mask's file, or all files that may be it.
    pub(super) fn mask_paths(&self) -> impl Iterator<Item = &Path> {
        let rivals = self.rivals.iter().flat_map(|rivals| &rivals.masks);
        let others = rivals.map(PathBuf::as_path);
        let others = others.filter(|&path| Some(path) != self.mask_path());
        self.mask_path().into_iter().chain(others)
    }

    /// Whether it has a mask, a file or drawn.
    pub fn has_mask(&self) -> bool {
        !matches!(self.source, Source::Files { mask: None, .. })
    }

    pub(crate) fn sample(&self, dataset: &Dataset) -> Result<Sample, DataError> {
        let (picture, mask) = match &self.source {
            Source::Memory(sample) => return Ok(Sample::clone(sample)),
            Source::Files { picture, mask } => (picture, mask),
        };
        if let Some(rivals) = &self.rivals {
            let (what, remedy) = rivals.words();
            let files = rivals.pictures.iter().chain(&rivals.masks);
            let files: Vec<String> = files.map(|path| path.display().to_string()).collect();
            return Err(DataError::data(what, files.join(", "), remedy));
        }
        let bytes =
            segmenta_files::read(picture).map_err(|cause| DataError::read(picture, &cause))?;
        let decoded = Picture::decode(&bytes).map_err(|error| error.at(picture))?;
        let (labels, mask_file) = match mask {
            None => {
                let what = "a picture without a mask";
                return Err(DataError::at(what, picture, "give each picture a mask"));
            }
            Some(Mask::Drawn(index)) => {
                let drawn = dataset.annotations().map(|all| all.draw(*index));
                let drawn = drawn.unwrap_or_else(|| Err(no_annotations(picture)))?;
                (drawn, picture)
            }
            Some(Mask::File(path)) => (LabelMap::open(path)?, path),
        };
        let labels = dataset
            .values()
            .apply(labels)
            .map_err(|broken| breaks_the_rule(broken, dataset, mask_file))?;
        let labels = as_upright(labels, &decoded, &bytes);
        if labels.size() != decoded.size() {
            let ((w, h), (mw, mh)) = (decoded.size(), labels.size());
            return Err(DataError::at(
                format!("a mask of {mw}×{mh} for a picture of {w}×{h}"),
                mask_file,
                "make the mask at the picture's size (nearest pixel), or leave the pair out",
            ));
        }
        Ok(Sample::pair(decoded, labels))
    }
}

fn breaks_the_rule(broken: Broken, dataset: &Dataset, mask: &Path) -> DataError {
    DataError::at(
        format!(
            "{} where masks are {} of {}",
            broken.words(),
            dataset.meaning().rule,
            count(dataset.classes().len(), "class")
        ),
        mask,
        "correct the mask, or say which rule holds for all of them (masks); `segmenta data check` names every such mask",
    )
}

impl Source {
    pub(crate) fn picture(&self) -> Result<Picture, DataError> {
        match self {
            Self::Files { picture, .. } => Ok(Picture::open(picture)?),
            Self::Memory(sample) => Ok(sample.picture().clone()),
        }
    }
}

/// A mask that fits the picture only as it lies in its file is turned as the picture was.
pub(crate) fn as_upright(labels: LabelMap, picture: &Picture, file: &[u8]) -> LabelMap {
    let (width, height) = picture.size();
    if labels.size() != picture.size() && labels.size() == (height, width) {
        return labels.upright(exif_orientation(file));
    }
    labels
}

fn no_annotations(picture: &Path) -> DataError {
    DataError::at("no annotations", picture, "open the data set again")
}
