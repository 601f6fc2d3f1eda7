//! A picture and the class of each of its pixels.

use segmenta_image::{LabelMap, Picture};

use crate::DataError;

/// A picture and its label map, of one size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    picture: Picture,
    labels: LabelMap,
}

impl Sample {
    /// A picture with its labels: ids of classes, 255 ([`segmenta_image::VOID`]) where none counts.
    ///
    /// # Errors
    /// Two sizes.
    pub fn new(picture: Picture, labels: LabelMap) -> Result<Self, DataError> {
        if picture.size() != labels.size() {
            let ((w, h), (mw, mh)) = (picture.size(), labels.size());
            return Err(DataError::data(
                format!("a picture of {w}×{h} and a mask of {mw}×{mh}"),
                "a sample",
                "give each picture a mask of its own size",
            ));
        }
        Ok(Self { picture, labels })
    }

    /// For two that have one size by construction.
    pub(crate) fn pair(picture: Picture, labels: LabelMap) -> Self {
        debug_assert_eq!(picture.size(), labels.size());
        Self { picture, labels }
    }

    /// The picture.
    pub fn picture(&self) -> &Picture {
        &self.picture
    }

    /// Its labels.
    pub fn labels(&self) -> &LabelMap {
        &self.labels
    }

    /// `(width, height)` in pixels.
    pub fn size(&self) -> (usize, usize) {
        self.picture.size()
    }

    /// Both, without a copy.
    pub fn into_parts(self) -> (Picture, LabelMap) {
        (self.picture, self.labels)
    }

    /// The same labels on another picture of the same size.
    pub(crate) fn map_picture(self, change: impl FnOnce(Picture) -> Picture) -> Self {
        Self::pair(change(self.picture), self.labels)
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.labels.ids().len() * 4
    }
}
