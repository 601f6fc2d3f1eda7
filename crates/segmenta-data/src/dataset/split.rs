//! Pictures dealt out to splits at random.

use super::{Dataset, Split};
use crate::DataError;
use crate::random::Random;

/// What parts of a data set become which split; [`Shares::new`] fills in those that are not given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// To learn from, above 0.
    pub train: f64,
    /// To choose by.
    pub val: f64,
    /// To measure on.
    pub test: f64,
}

impl Shares {
    /// Three shares: those not given are the rest (`val` before `test`).
    ///
    /// # Errors
    /// Shares outside 0 to 1, or more than 1 in all.
    pub fn new(train: f64, val: Option<f64>, test: Option<f64>) -> Result<Self, DataError> {
        let given = train + val.unwrap_or(0.0) + test.unwrap_or(0.0);
        let inside = |share: &f64| (0.0..=1.0).contains(share);
        // Decimal shares such as 0.7 + 0.2 + 0.1 do not add up to 1 exactly.
        let sound = train > 0.0 && [Some(train), val, test].iter().flatten().all(inside);
        if !sound || given > 1.0 + 1e-9 {
            return Err(DataError::setting(
                format!(
                    "shares of {train}, {} and {}",
                    val.unwrap_or(0.0),
                    test.unwrap_or(0.0)
                ),
                "train, val, test",
                "give shares from 0 to 1, together at most 1, that of train above 0",
            ));
        }
        let rest = (1.0 - given).max(0.0);
        let (val, test) = match (val, test) {
            (None, test) => (rest, test.unwrap_or(0.0)),
            (Some(val), None) => (val, if rest > 1e-9 { rest } else { 0.0 }),
            (Some(val), Some(test)) => (val, test),
        };
        Ok(Self { train, val, test })
    }
}

impl Dataset {
    /// The same pictures, dealt out anew: shuffled by `seed` and cut at the shares, counts rounded. The same names and
    /// seed give the same splits on every machine, whatever split they had before.
    #[must_use]
    pub fn split(&self, shares: Shares, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..self.len()).collect();
        Random::new(seed).shuffle(&mut order);
        let count = |share: f64| (share * self.len() as f64).round() as usize;
        let train = count(shares.train).min(self.len());
        let val = count(shares.train + shares.val).clamp(train, self.len());
        let test = count(shares.train + shares.val + shares.test).clamp(val, self.len());
        let mut dealt = self.clone();
        for (place, &index) in order.iter().enumerate() {
            dealt.items[index].split = match place {
                _ if place < train => Some(Split::Train),
                _ if place < val => Some(Split::Val),
                _ if place < test => Some(Split::Test),
                _ => None,
            };
        }
        dealt
    }
}
