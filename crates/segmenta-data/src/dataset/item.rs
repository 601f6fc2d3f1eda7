//! One picture of a data set and its mask.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use segmenta_image::{LabelMap, Picture, exif_orientation};

use super::{Classes, Split, Values};
use crate::annotation::Annotations;
use crate::{DataError, Sample};

/// One picture of a data set and its mask, not read yet.
#[derive(Clone, Debug)]
pub struct Item {
    pub(crate) name: String,
    pub(crate) source: Source,
    pub(crate) split: Option<Split>,
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

    pub(crate) fn has_mask(&self) -> bool {
        !matches!(self.source, Source::Files { mask: None, .. })
    }

    pub(crate) fn sample(
        &self,
        values: &Values,
        classes: &Classes,
        annotations: Option<&Annotations>,
    ) -> Result<Sample, DataError> {
        let (picture, mask) = match &self.source {
            Source::Memory(sample) => return Ok(Sample::clone(sample)),
            Source::Files { picture, mask } => (picture, mask),
        };
        let bytes = std::fs::read(picture).map_err(|cause| DataError::read(picture, &cause))?;
        let decoded = Picture::decode(&bytes).map_err(|error| error.at(picture))?;
        let (labels, mask_file) = match mask {
            None => {
                let what = "a picture without a mask";
                return Err(DataError::at(what, picture, "give each picture a mask"));
            }
            Some(Mask::Drawn(index)) => {
                let drawn = annotations.map(|all| all.draw(*index));
                (
                    drawn.unwrap_or_else(|| Err(no_annotations(picture)))?,
                    picture,
                )
            }
            Some(Mask::File(path)) => {
                let map = LabelMap::open(path)?;
                let map = values.apply(map).map_err(|value| {
                    let count = classes.len();
                    DataError::at(
                        format!("id {value} in a mask of {count} classes"),
                        path,
                        "look at all such masks with: segmenta data check",
                    )
                })?;
                (map, path)
            }
        };
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
