//! Data to learn from and to measure on.
//!
//! In: folders as people have them. Out: pictures and label maps, checked, augmented, in batches.
//!
//! - [`Dataset`]: which pictures there are, with which masks, in which split, of which classes; the layout is
//!   recognised ([`Kind`]).
//! - [`check`]: every problem of a data set with file names and counts, before a network meets it.
//! - [`augment`]: pictures and masks changed together, at random but the same on every run.
//! - [`Loader`]: batches, prepared by threads of their own, the same for any number of them.
//! - [`annotation`]: outlines and run lengths of COCO, labelme and CVAT as label maps.
//! - [`text`]: text files with or without a byte order mark, read alike everywhere.
//! - [`Scene`]: road scenes painted by a program, with the class of every pixel. They need no download and no
//!   licence, never run out, and are the same on every machine; the demonstration network was trained on them.
//!
//! Labels are ids of classes, and 255 ([`segmenta_image::VOID`]) where no class counts.

pub mod annotation;
pub mod augment;
pub mod check;
mod dataset;
mod error;
mod loader;
mod random;
mod sample;
mod scenes;
pub mod text;

pub use dataset::{
    ADE20K_CLASSES, CAMVID_CLASSES, CITYSCAPES_CLASSES, ClassMatch, Classes, ClassesDiffer,
    Dataset, Item, Kind, LearnedLists, MaskMeaning, MaskRule, MatchBy, Open, PALETTES,
    PETS_CLASSES, RuleOrigin, Shares, Split, VOC_CLASSES, are_names, palette, same_name,
};
pub use error::DataError;
pub use loader::{Batch, Batches, Loader, LoaderOptions};
pub use sample::Sample;
pub use scenes::{SCENE_CLASSES, SCENE_COLOURS, Scene};
