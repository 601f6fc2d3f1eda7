//! Data sets: which pictures there are, with which masks, in which split, of which classes.
//!
//! A layout a file: each lists its files as [`Listing`] and says what the values of its masks mean. From then on all
//! are one [`Dataset`], whose labels are ids of its classes and 255 where no class counts.

mod ade20k;
mod camvid;
mod cityscapes;
mod classes;
mod coco;
mod files;
mod folder;
mod item;
mod kind;
mod open;
mod pets;
mod split;
mod values;
mod voc;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use segmenta_image::Picture;

use crate::annotation::Annotations;
use crate::{DataError, Sample};

pub use classes::{
    ADE20K_CLASSES, CAMVID_CLASSES, CITYSCAPES_CLASSES, Classes, PETS_CLASSES, VOC_CLASSES,
};
pub(crate) use files::read_lines;
pub use item::Item;
pub(crate) use item::as_upright;
pub(crate) use item::{Mask, Source};
pub use kind::{Kind, Split};
pub use open::Open;
pub use split::Shares;
pub(crate) use values::Values;

/// A data set as it lies on disk (or in memory). Pictures and masks are read when they are asked for.
#[derive(Clone, Debug)]
pub struct Dataset {
    kind: Kind,
    root: PathBuf,
    classes: Classes,
    values: Values,
    items: Vec<Item>,
    gaps: Vec<Gap>,
    annotations: Option<Arc<Annotations>>,
}

/// What was found missing when the files were listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// A picture without a mask.
    Mask(PathBuf),
    /// A mask without a picture.
    Picture(PathBuf),
    /// A name in a list for which there is no pair of files.
    Listed { list: PathBuf, name: String },
}

/// What a layout finds in its folder.
pub(crate) struct Listing {
    classes: Classes,
    values: Values,
    items: Vec<Item>,
    gaps: Vec<Gap>,
    annotations: Option<Arc<Annotations>>,
}

impl Listing {
    fn new(classes: Classes, values: Values) -> Self {
        Self {
            classes,
            values,
            items: Vec::new(),
            gaps: Vec::new(),
            annotations: None,
        }
    }
}

impl Dataset {
    /// Lists the data set in a folder; its layout is recognised. [`Open`] has settings.
    ///
    /// # Errors
    /// A folder in which no layout is recognised, or which holds no picture.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, DataError> {
        Open::default().open(root)
    }

    /// Samples that a program made, with their names, all in one split or in none.
    pub fn from_samples(
        samples: impl IntoIterator<Item = (String, Sample)>,
        classes: Classes,
        split: Option<Split>,
    ) -> Self {
        let item = |(name, sample)| Item {
            name,
            source: Source::Memory(Arc::new(sample)),
            split,
        };
        Self {
            kind: Kind::Memory,
            root: PathBuf::new(),
            values: Values::ids(classes.len(), &[]),
            classes,
            items: samples.into_iter().map(item).collect(),
            gaps: Vec::new(),
            annotations: None,
        }
    }

    /// Its layout.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The folder that the layout was found in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its classes.
    pub fn classes(&self) -> &Classes {
        &self.classes
    }

    /// What is in it, sorted by name.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// How many pictures.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    pub(crate) fn annotations(&self) -> Option<&Annotations> {
        self.annotations.as_deref()
    }

    pub(crate) fn values(&self) -> &Values {
        &self.values
    }

    /// The pictures of one split.
    #[must_use]
    pub fn only(&self, split: Split) -> Self {
        self.filtered(|item| item.split == Some(split))
    }

    /// Whether any picture belongs to a split.
    pub fn has(&self, split: Split) -> bool {
        self.items.iter().any(|item| item.split == Some(split))
    }

    /// The pictures for which `keep` is true.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&Item) -> bool) -> Self {
        Self {
            items: self
                .items
                .iter()
                .filter(|item| keep(item))
                .cloned()
                .collect(),
            ..self.clone()
        }
    }

    /// Reads a picture, upright.
    ///
    /// # Errors
    /// A file that cannot be read. `index` must be below [`Dataset::len`].
    pub fn picture(&self, index: usize) -> Result<Picture, DataError> {
        self.items[index].source.picture()
    }

    /// Reads a picture and its labels.
    ///
    /// A mask drawn on a photograph as it lies in its file is turned upright with it where their sizes say so.
    ///
    /// # Errors
    /// A file that cannot be read, two sizes, no mask, or a value that stands for no class. `index` must be below
    /// [`Dataset::len`].
    pub fn sample(&self, index: usize) -> Result<Sample, DataError> {
        self.items[index].sample(&self.values, &self.classes, self.annotations())
    }
}
