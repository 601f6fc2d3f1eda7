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
mod infer;
mod item;
mod kind;
mod learned;
mod lists;
mod matching;
mod open;
mod palettes;
mod pets;
mod rule;
mod settle;
mod split;
mod twins;
mod values;
mod voc;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use segmenta_image::Picture;

use crate::annotation::{Annotations, Remark};
use crate::{DataError, Sample};

pub use classes::{
    ADE20K_CLASSES, CAMVID_CLASSES, CITYSCAPES_CLASSES, Classes, PETS_CLASSES, VOC_CLASSES,
};
pub use item::Item;
pub(crate) use item::as_upright;
pub(crate) use item::{Mask, Rivals, Source};
pub use kind::{Kind, Split};
pub use learned::LearnedLists;
pub use matching::{ClassMatch, ClassesDiffer, MatchBy, are_names, same_name};
pub use open::Open;
pub use palettes::{PALETTES, palette};
pub use rule::{MaskMeaning, MaskRule, RuleOrigin};
pub use split::Shares;
pub(crate) use values::Values;

/// A data set as it lies on disk (or in memory). Pictures and masks are read when they are asked for.
#[derive(Clone, Debug)]
pub struct Dataset {
    kind: Kind,
    root: PathBuf,
    classes: Classes,
    meaning: MaskMeaning,
    values: Values,
    notes: Vec<ClassNote>,
    items: Vec<Item>,
    gaps: Vec<Gap>,
    annotations: Option<Arc<Annotations>>,
}

/// What a class's name does to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClassNote {
    /// The last class, whose name says that it is none: it was taken out, its id counts nowhere.
    TakenOut { id: u8, name: String },
    /// Another such class, which is one like any other.
    Kept { id: u8, name: String },
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
    /// A name that stands in a list more than once.
    Again { list: PathBuf, name: String },
}

/// What a layout finds in its folder. Without a rule, classes and rule are what the user says or the masks show.
pub(crate) struct Listing {
    classes: Classes,
    rule: Option<MaskRule>,
    /// Values of the layout's masks that count nowhere.
    ignored: Vec<u8>,
    items: Vec<Item>,
    gaps: Vec<Gap>,
    annotations: Option<Arc<Annotations>>,
}

impl Listing {
    fn new(classes: Classes, rule: MaskRule) -> Self {
        Self {
            rule: Some(rule),
            ..Self::unknown(classes)
        }
    }

    fn unknown(classes: Classes) -> Self {
        Self {
            classes,
            rule: None,
            ignored: Vec::new(),
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
            rivals: None,
        };
        let meaning = MaskMeaning {
            rule: MaskRule::Ids,
            ignored: Vec::new(),
            by: RuleOrigin::Layout,
            evidence: "made by a program".into(),
        };
        Self {
            kind: Kind::Memory,
            root: PathBuf::new(),
            values: Values::new(&meaning, classes.len()),
            meaning,
            notes: Vec::new(),
            classes,
            items: samples.into_iter().map(item).collect(),
            gaps: Vec::new(),
            annotations: None,
        }
    }

    /// Pictures with their masks, files that a program named; masks are ids of `classes`, 255 where none counts. A picture is
    /// called by its path as given, without what `root` has.
    pub fn from_files(
        root: impl AsRef<Path>,
        pairs: impl IntoIterator<Item = (PathBuf, Option<PathBuf>)>,
        classes: Classes,
    ) -> Self {
        let root = root.as_ref();
        let item = |(picture, mask): (PathBuf, Option<PathBuf>)| {
            let name = picture.strip_prefix(root).unwrap_or(&picture);
            let name = name.to_string_lossy().into_owned();
            Item::files(name, picture, mask.map(Mask::File), None)
        };
        Self {
            root: root.to_path_buf(),
            items: pairs.into_iter().map(item).collect(),
            ..Self::from_samples([], classes, None)
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

    /// What the values of its masks mean, and how that is known.
    pub fn meaning(&self) -> &MaskMeaning {
        &self.meaning
    }

    /// Whether any mask is a file, whose values a rule explains.
    pub fn has_mask_files(&self) -> bool {
        self.items.iter().any(|item| item.mask_path().is_some())
    }

    /// Whether any value of a mask stands for a class, so that it can have pixels.
    pub fn counts_class(&self, id: usize) -> bool {
        let stands = |value| self.values.id(value).map(usize::from) == Some(id);
        id < self.classes.len() && (0..=255).any(stands)
    }

    /// How many pictures were left out for want of a mask, or names of lists for want of a picture, and the first of
    /// them.
    pub fn left_out(&self) -> (usize, Option<String>) {
        let name = |gap: &Gap| match gap {
            Gap::Mask(picture) => Some(picture.display().to_string()),
            Gap::Listed { name, .. } => Some(name.clone()),
            Gap::Picture(_) | Gap::Again { .. } => None,
        };
        let mut names = self.gaps.iter().filter_map(name);
        let first = names.next();
        (usize::from(first.is_some()) + names.count(), first)
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

    /// What its documents of annotations have that gives no pixels, or say in two ways. Layouts of masks have none.
    pub fn remarks(&self) -> impl Iterator<Item = Remark> {
        self.annotations()
            .into_iter()
            .flat_map(Annotations::remarks)
    }

    pub(crate) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    pub(crate) fn notes(&self) -> &[ClassNote] {
        &self.notes
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
    /// A file that cannot be read, two sizes, no mask or several, or a value that breaks the rule of the masks. `index`
    /// must be below [`Dataset::len`].
    pub fn sample(&self, index: usize) -> Result<Sample, DataError> {
        self.items[index].sample(self)
    }
}
