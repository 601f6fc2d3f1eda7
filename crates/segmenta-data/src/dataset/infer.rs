//! The rule of a folder's masks, found from the values in all of them.
//!
//! A folder of masks does not say whether 255 is a class or none. Each mask speaks for one reading by which values lie
//! in it together; the majority makes the rule of the whole set, and masks that speak otherwise break it: they are
//! errors that name the file, never another reading.

use segmenta_files::count;
use std::path::Path;

use rayon::prelude::*;
use segmenta_image::LabelMap;

use super::{Item, MaskRule};

/// So many unused values may lie below an id. Beyond a wider gap values are no ids but grey levels or mistakes.
const WIDEST_GAP: usize = 32;
/// From here on, greys of a white-on-black mask that went through JPEG; ids of one class's masks are far below.
const NEARLY_WHITE: usize = 192;
/// Up to here, likewise of black.
const NEARLY_BLACK: usize = 32;

/// The values in all masks that can be read.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Masks that were read.
    masks: usize,
    /// 0 and 255 and nothing else.
    white: usize,
    /// 255 and nothing else.
    only_255: usize,
    /// Values from 1 to 254, no 255.
    numbers: usize,
    /// Both.
    both: usize,
    /// Pixels of each value in all masks.
    pixels: [u64; 256],
}

/// What the values say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) rule: MaskRule,
    /// How many classes the values show under this rule.
    pub(super) classes: usize,
    pub(super) evidence: String,
}

impl Seen {
    /// Reads all masks, values in `ignored` passed over. What cannot be read is told by the check.
    pub(super) fn of(items: &[Item], ignored: &[u8]) -> Self {
        let masks: Vec<&Path> = items.iter().flat_map(Item::mask_paths).collect();
        let one = |path: &&Path| match LabelMap::open(path) {
            Ok(map) => Self::one(&map.counts(), ignored),
            Err(_) => Self::nothing(),
        };
        masks
            .par_iter()
            .map(one)
            .reduce(Self::nothing, |a, b| a.and(&b))
    }

    fn nothing() -> Self {
        Self {
            masks: 0,
            white: 0,
            only_255: 0,
            numbers: 0,
            both: 0,
            pixels: [0; 256],
        }
    }

    fn one(counts: &[u64; 256], ignored: &[u8]) -> Self {
        let mut pixels = *counts;
        for &value in ignored {
            pixels[usize::from(value)] = 0;
        }
        let (black, white) = (pixels[0] > 0, pixels[255] > 0);
        let numbers = pixels[1..255].iter().any(|&n| n > 0);
        Self {
            masks: 1,
            white: usize::from(black && white && !numbers),
            only_255: usize::from(!black && white && !numbers),
            numbers: usize::from(numbers && !white),
            both: usize::from(numbers && white),
            pixels,
        }
    }

    fn and(mut self, other: &Self) -> Self {
        self.masks += other.masks;
        self.white += other.white;
        self.only_255 += other.only_255;
        self.numbers += other.numbers;
        self.both += other.both;
        self.pixels
            .iter_mut()
            .zip(other.pixels)
            .for_each(|(a, b)| *a += b);
        self
    }

    /// Whether 255 lies in masks only where no class but 0 does: then it may be a class after all.
    pub(super) fn has_white_apart(&self) -> bool {
        self.white > 0 && self.both == 0
    }

    /// One more than the largest value that is a class by `rule`, whatever gaps lie below it.
    pub(super) fn classes_of(&self, rule: &MaskRule) -> usize {
        match rule {
            MaskRule::Listed { values, .. } => values.len(),
            rule => {
                let ids = (0..=254).filter(|&value| self.pixels[usize::from(value)] > 0);
                let ids = ids.filter(|&value| !rule.ignores(value));
                let last: Option<u8> = ids.max();
                last.and_then(|value| rule.id(value, 255))
                    .map_or(0, |id| usize::from(id) + 1)
            }
        }
    }

    /// As [`Seen::classes_of`] for ids, but up to the first gap that is too wide.
    fn believed(&self) -> usize {
        let mut count = 0;
        for value in (0..255).filter(|&value| self.pixels[value] > 0) {
            if value > count + WIDEST_GAP {
                break;
            }
            count = value + 1;
        }
        count
    }

    /// Whether greys at both ends say that black and white were smeared by a lossy format.
    fn is_smeared(&self) -> bool {
        let sum = |values: std::ops::Range<usize>| self.pixels[values].iter().sum::<u64>();
        let greys = self.pixels[NEARLY_WHITE..255].iter().filter(|&&n| n > 0);
        // One or two such values are ids gone wrong.
        greys.count() > 2 && sum(NEARLY_WHITE..256) > sum(NEARLY_BLACK..NEARLY_WHITE)
    }

    /// Whether 255 is one class before a background.
    fn is_white_on_black(&self) -> bool {
        let numbers: u64 = self.pixels[1..255].iter().sum();
        let of_one_class = self.believed() <= 2;
        // Most masks, or a tie with masks of 0 and 1.
        self.white > self.numbers + self.both
            || self.white > 0 && self.white >= self.numbers && self.both == 0 && of_one_class
            // Stray pixels in every mask.
            || self.both > 0 && self.numbers == 0 && numbers * 100 < self.pixels[255]
            || self.is_smeared()
    }

    /// The rule that the most masks speak for, for `named` classes, where 0 stands for an unknown number.
    pub(super) fn rule(&self, named: usize) -> Found {
        let evidence = self.words();
        if named <= 2 && self.is_white_on_black() {
            return Found {
                rule: MaskRule::white_on_black(),
                classes: 2,
                evidence,
            };
        }
        let believed = self.believed();
        // Masks of 0 and 1 beside masks of 0 and 255: 255 is no void where the same class is white elsewhere.
        let mixed = named <= 2 && believed == 2 && self.numbers > 0 && self.has_white_apart();
        let rule = if mixed {
            MaskRule::listed(&[0, 1])
        } else {
            MaskRule::Ids
        };
        Found {
            rule,
            classes: believed,
            evidence,
        }
    }

    /// `found: 7 of 8 masks hold 0 and 255 alone, 1 holds 255 beside other values`.
    fn words(&self) -> String {
        if self.masks == 0 {
            return "no mask could be read".into();
        }
        let zero = self.masks - self.white - self.only_255 - self.numbers - self.both;
        let parts = [
            (self.white, "0 and 255 alone"),
            (self.numbers, "ids without 255"),
            (self.both, "ids and 255"),
            (self.only_255, "255 alone"),
            (zero, "0 alone"),
        ];
        let mut parts: Vec<(usize, &str)> = parts.into_iter().filter(|&(n, _)| n > 0).collect();
        parts.sort_by_key(|&(n, _)| std::cmp::Reverse(n));
        let said = |(n, what): (usize, &str)| format!("{n} of {what}");
        let parts: Vec<String> = parts.into_iter().map(said).collect();
        format!(
            "found in {}: {}",
            count(self.masks, "mask"),
            parts.join(", ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Masks given by the pixels of each of their values.
    fn found(masks: &[&[(u8, u64)]], named: usize) -> (String, usize) {
        let seen = masks.iter().map(|mask| {
            let mut counts = [0; 256];
            for &(value, pixels) in *mask {
                counts[usize::from(value)] = pixels;
            }
            Seen::one(&counts, &[])
        });
        let found = seen.fold(Seen::nothing(), |a, b| a.and(&b)).rule(named);
        (found.rule.to_string(), found.classes)
    }

    #[test]
    fn the_majority_makes_the_rule() {
        let white: &[(u8, u64)] = &[(0, 128), (255, 64)];
        let stray: &[(u8, u64)] = &[(0, 127), (1, 1), (255, 64)];
        let ones: &[(u8, u64)] = &[(0, 90), (1, 10)];
        let void: &[(u8, u64)] = &[(0, 50), (1, 40), (255, 10)];
        let binary = ("0/255".to_string(), 2);
        let ids = |n| ("ids".to_string(), n);
        assert_eq!(found(&[white, white], 0), binary);
        assert_eq!(found(&[white, white, stray], 0), binary);
        assert_eq!(
            found(&[white, white, &[(0, 9), (254, 1), (255, 8)]], 2),
            binary
        );
        assert_eq!(found(&[white, white, &[(0, 9)], &[(255, 9)]], 1), binary);
        // A pixel of 1 in every mask is still a stray one.
        assert_eq!(found(&[&[(0, 900), (1, 1), (255, 200)]], 0), binary);
        assert_eq!(found(&[ones, void, white], 0), ids(2));
        assert_eq!(found(&[void], 2), ids(2));
        assert_eq!(found(&[&[(255, 9)]], 0), ids(0));
        assert_eq!(found(&[&[(0, 9)]], 0), ids(1));
        // Mixed encodings: whichever has more masks; the others break the rule.
        assert_eq!(found(&[ones, ones, white], 0), ("0/1".into(), 2));
        assert_eq!(found(&[ones, white], 0), binary);
        // Three names are ids, whatever the values.
        assert_eq!(found(&[white], 3).0, "ids");
    }

    #[test]
    fn ids_have_no_wide_gaps() {
        let masks = |values: &[u8]| -> Vec<(u8, u64)> { values.iter().map(|&v| (v, 10)).collect() };
        let classes = |values: &[u8]| found(&[&masks(values)], 0);
        assert_eq!(classes(&[0, 5, 15]), ("ids".into(), 16));
        assert_eq!(classes(&[7, 26, 33]), ("ids".into(), 34));
        assert_eq!(classes(&[0, 1, 200]), ("ids".into(), 2));
        assert_eq!(classes(&[0, 85, 170]), ("ids".into(), 1));
        assert_eq!(classes(&[0, 254]), ("ids".into(), 1));
    }

    #[test]
    fn what_jpeg_smeared_is_white_on_black_that_is_broken() {
        let smeared: Vec<(u8, u64)> = (0..=255)
            .map(|v: u8| match v {
                0 | 255 => (v, 80),
                1..=9 | 247..=254 => (v, 12),
                v if v % 17 == 0 => (v, 1),
                v => (v, 0),
            })
            .collect();
        assert_eq!(found(&[&smeared, &smeared], 0), ("0/255".into(), 2));
        assert_eq!(found(&[&smeared[..255]], 0), ("0/255".into(), 2));
        let many: Vec<(u8, u64)> = (0..=220).map(|v: u8| (v, 5)).collect();
        assert_eq!(found(&[&many], 0), ("ids".into(), 221));
    }
}
