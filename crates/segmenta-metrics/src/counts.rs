//! True and false positives and negatives.

use std::ops::{Add, AddAssign};

/// Pixels of one class (in one image, or in all): what every score is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counts {
    /// Of the class, and found.
    pub true_positives: u64,
    /// Of another class, and taken for this one.
    pub false_positives: u64,
    /// Of the class, and missed.
    pub false_negatives: u64,
    /// Of another class, and not taken for this one.
    pub true_negatives: u64,
}

impl Counts {
    /// All pixels that were counted.
    pub fn pixels(&self) -> u64 {
        self.true_positives + self.false_positives + self.false_negatives + self.true_negatives
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            true_positives: self.true_positives + other.true_positives,
            false_positives: self.false_positives + other.false_positives,
            false_negatives: self.false_negatives + other.false_negatives,
            true_negatives: self.true_negatives + other.true_negatives,
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}
