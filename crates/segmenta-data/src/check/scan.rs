//! One pass over all files.

use rayon::prelude::*;
use segmenta_image::{ErrorKind, LabelMap, Notice, Picture, PictureError, VOID};
use sha2::{Digest, Sha256};

use super::ClassCount;
use crate::dataset::{Mask, Source};
use crate::{DataError, Dataset, Item};

/// What was found at one item.
pub(super) struct Scan {
    /// The item's, in the data set.
    pub(super) index: usize,
    pub(super) picture: Result<Seen, String>,
    /// `None` where there is no mask.
    pub(super) mask: Option<Result<Marks, Unread>>,
}

/// A picture that could be read.
pub(super) struct Seen {
    pub(super) size: (usize, usize),
    /// Of the file.
    pub(super) hash: [u8; 16],
    /// What is to be known of how it was read.
    pub(super) notices: Vec<Notice>,
}

/// A mask that could be read.
pub(super) struct Marks {
    pub(super) size: (usize, usize),
    /// Whether it was turned as its photograph was.
    pub(super) turned: bool,
    /// Pixels of each value, as in the file.
    pub(super) values: [u64; 256],
}

/// Why a mask could not be read.
pub(super) enum Unread {
    /// It has colours instead of ids.
    Colours,
    Other(String),
}

pub(super) fn scan(dataset: &Dataset, advance: &(dyn Fn() + Sync)) -> Vec<Scan> {
    let scanned = |(index, item): (usize, &Item)| {
        let scan = item_scan(dataset, index, item);
        advance();
        scan
    };
    let items = dataset.items().par_iter().enumerate();
    items.map(scanned).collect()
}

fn item_scan(dataset: &Dataset, index: usize, item: &Item) -> Scan {
    let (path, mask) = match &item.source {
        Source::Files { picture, mask } => (picture, mask),
        Source::Memory(sample) => {
            let hash = hash(sample.picture().pixels());
            let (size, values) = (sample.size(), sample.labels().counts());
            let marks = Marks {
                size,
                turned: false,
                values,
            };
            return Scan {
                index,
                picture: Ok(Seen {
                    size,
                    hash,
                    notices: Vec::new(),
                }),
                mask: Some(Ok(marks)),
            };
        }
    };
    let bytes = segmenta_files::read(path).map_err(|cause| {
        let text = DataError::read(path, &cause).to_string();
        text.split(" · ").next().unwrap_or_default().to_owned()
    });
    let picture = bytes.and_then(|bytes| match Picture::decode_with_notices(&bytes) {
        Ok((picture, notices)) => Ok((picture, notices, bytes)),
        Err(error) => Err(what(&error)),
    });
    let mask = mask.as_ref().map(|mask| {
        let mut map = read(dataset, mask)?;
        let before = map.size();
        if let Ok((picture, _, bytes)) = &picture {
            map = crate::dataset::as_upright(map, picture, bytes);
        }
        let (size, values) = (map.size(), map.counts());
        Ok(Marks {
            size,
            turned: size != before,
            values,
        })
    });
    let seen = |(picture, notices, bytes): (Picture, Vec<Notice>, Vec<u8>)| Seen {
        size: picture.size(),
        hash: hash(&bytes),
        notices,
    };
    Scan {
        index,
        picture: picture.map(seen),
        mask,
    }
}

fn read(dataset: &Dataset, mask: &Mask) -> Result<LabelMap, Unread> {
    let path = match mask {
        Mask::File(path) => path,
        Mask::Drawn(index) => {
            let drawn = dataset.annotations().map(|all| all.draw(*index));
            return match drawn {
                Some(Ok(map)) => Ok(map),
                Some(Err(error)) => Err(Unread::Other(error.to_string())),
                None => Err(Unread::Other("no annotations".into())),
            };
        }
    };
    LabelMap::open(path).map_err(|error| {
        let text = what(&error);
        if error.kind() == ErrorKind::Unsupported && text.contains("colours") {
            Unread::Colours
        } else {
            Unread::Other(text)
        }
    })
}

/// What is wrong, without where and how to mend it: those are said once for all files.
fn what(error: &PictureError) -> String {
    let text = error.to_string();
    text.split(" · ").next().unwrap_or_default().to_owned()
}

fn hash(bytes: &[u8]) -> [u8; 16] {
    let digest = Sha256::digest(bytes);
    std::array::from_fn(|i| digest[i])
}

/// Each item's size and classes, as far as they could be read.
pub(super) fn contents(dataset: &Dataset, scans: &[Scan]) -> Vec<Contents> {
    let of = |scan: &Scan| {
        let mut contents = Contents {
            size: scan.picture.as_ref().ok().map(|seen| seen.size),
            ..Contents::default()
        };
        let Some(Ok(marks)) = &scan.mask else {
            return contents;
        };
        let mut ids = [0u64; 256];
        for (value, &pixels) in marks.values.iter().enumerate() {
            if let Some(id) = dataset.values().id(value as u8) {
                ids[usize::from(id)] += pixels;
            }
        }
        contents.ignored = ids[usize::from(VOID)];
        let found = (0..VOID).map(|id| (id, ids[usize::from(id)]));
        contents.classes = found.filter(|&(_, pixels)| pixels > 0).collect();
        contents
    };
    scans.iter().map(of).collect()
}

/// What one picture and its mask hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// `(width, height)` of the picture, upright; `None` where it cannot be read.
    pub size: Option<(usize, usize)>,
    /// The classes that occur in its mask, by id, with their pixels.
    pub classes: Vec<(u8, u64)>,
    /// Pixels that no class counts.
    pub ignored: u64,
}

/// Pixels and pictures of each class in all masks, and which masks could not be counted. `advance` is called after
/// each picture.
pub fn count_classes(dataset: &Dataset, advance: &(dyn Fn() + Sync)) -> Counts {
    let count = |item: &Item| {
        let counted = counts_of(dataset, item);
        advance();
        counted
    };
    let all: Vec<Option<Result<[u64; 256], String>>> =
        dataset.items().par_iter().map(count).collect();
    let read = all.iter().flatten().filter_map(|mask| mask.as_ref().ok());
    let mut counts = Counts::of(dataset, read);
    counts.wrong = all
        .iter()
        .flatten()
        .filter_map(|mask| mask.as_ref().err().cloned())
        .collect();
    counts
}

/// Pixels of each value in an item's mask, if it has one; what is wrong with it, which names it.
fn counts_of(dataset: &Dataset, item: &Item) -> Option<Result<[u64; 256], String>> {
    let mask = match &item.source {
        Source::Memory(sample) => return Some(Ok(sample.labels().counts())),
        Source::Files { mask, .. } => mask.as_ref()?,
    };
    let place = item.mask_path().or(item.picture_path());
    let place = place.map_or_else(|| item.name().to_owned(), |path| dataset.relative(path));
    let told = |what: &str| Some(Err(format!("{place}: {what}")));
    if let Some(rivals) = &item.rivals {
        return told(&rivals.words().0);
    }
    let counts = match read(dataset, mask) {
        Ok(map) => map.counts(),
        Err(Unread::Colours) => return told("colours where ids are wanted"),
        Err(Unread::Other(what)) => return told(&what),
    };
    match dataset.values().broken(&counts) {
        Some(broken) => told(&format!(
            "{} where masks are {}",
            broken.words(),
            dataset.meaning().rule
        )),
        None => Some(Ok(counts)),
    }
}

/// How the pixels of a data set's masks are shared out.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts {
    /// Of each class, in the order of ids.
    pub classes: Vec<ClassCount>,
    /// Pixels that no class counts.
    pub ignored: u64,
    /// Masks that were counted.
    pub masks: usize,
    /// What was not: masks that cannot be read or break the rule, each with what is wrong.
    pub wrong: Vec<String>,
}

impl Counts {
    pub(super) fn of<'a>(dataset: &Dataset, masks: impl Iterator<Item = &'a [u64; 256]>) -> Self {
        let classes = dataset.classes();
        let class = |id| ClassCount {
            id,
            name: classes.name(id),
            pixels: 0,
            of_pixels: 0,
            pictures: 0,
        };
        let mut counts = Self {
            classes: (0..classes.len()).map(class).collect(),
            ignored: 0,
            masks: 0,
            wrong: Vec::new(),
        };
        for values in masks {
            counts.masks += 1;
            let mut ids = [0u64; 256];
            for (value, &pixels) in values.iter().enumerate() {
                if let Some(id) = dataset.values().id(value as u8) {
                    ids[usize::from(id)] += pixels;
                }
            }
            counts.ignored += ids[usize::from(VOID)];
            let counted: u64 = ids[..usize::from(VOID)].iter().sum();
            for class in &mut counts.classes {
                if ids[class.id] > 0 {
                    class.pixels += ids[class.id];
                    class.of_pixels += counted;
                    class.pictures += 1;
                }
            }
        }
        counts
    }

    /// All pixels of classes.
    pub fn pixels(&self) -> u64 {
        self.classes.iter().map(|class| class.pixels).sum()
    }

    /// Weights for a loss that make every class count as much in all, as scikit-learn's `balanced`: all pixels by the
    /// number of classes that occur and by the class's own. `None` for a class without pixels.
    pub fn balanced_weights(&self) -> Vec<Option<f64>> {
        let occur = self.classes.iter().filter(|class| class.pixels > 0).count();
        let share = self.pixels() as f64 / occur.max(1) as f64;
        let weight = |class: &ClassCount| (class.pixels > 0).then(|| share / class.pixels as f64);
        self.classes.iter().map(weight).collect()
    }

    /// Weights for a loss by median frequency balancing (Eigen & Fergus 2015, arXiv:1411.4734, as SegNet takes it):
    /// a class's frequency is its pixels by all that count in the pictures where it occurs, its weight the median of
    /// all frequencies by its own. `None` for a class without pixels.
    pub fn weights(&self) -> Vec<Option<f64>> {
        let frequency = |class: &ClassCount| {
            (class.pixels > 0).then(|| class.pixels as f64 / class.of_pixels as f64)
        };
        let frequencies: Vec<Option<f64>> = self.classes.iter().map(frequency).collect();
        let mut known: Vec<f64> = frequencies.iter().flatten().copied().collect();
        known.sort_by(f64::total_cmp);
        let median = match known.len() {
            0 => return frequencies,
            n if n % 2 == 1 => known[n / 2],
            n => f64::midpoint(known[n / 2 - 1], known[n / 2]),
        };
        frequencies
            .into_iter()
            .map(|f| f.map(|f| median / f))
            .collect()
    }
}
