//! Samples kept for the next epoch.

use std::sync::{Mutex, OnceLock, PoisonError};

use crate::{DataError, Sample};

/// The first samples that fit the budget. Every epoch asks for each sample once, so throwing one out for another would
/// gain nothing.
pub(super) struct Cache {
    kept: Vec<OnceLock<Sample>>,
    budget: usize,
    /// Bytes.
    used: Mutex<usize>,
}

impl Cache {
    pub(super) fn new(items: usize, budget: usize) -> Self {
        let kept = (0..if budget > 0 { items } else { 0 })
            .map(|_| OnceLock::new())
            .collect();
        Self {
            kept,
            budget,
            used: Mutex::new(0),
        }
    }

    /// A sample, kept or made by `read`.
    pub(super) fn get(
        &self,
        item: usize,
        read: impl FnOnce() -> Result<Sample, DataError>,
    ) -> Result<Sample, DataError> {
        let Some(place) = self.kept.get(item) else {
            return read();
        };
        if let Some(sample) = place.get() {
            return Ok(sample.clone());
        }
        let sample = read()?;
        // Locked while it is kept, or two workers would both fill the last place.
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if *used + sample.bytes() <= self.budget && place.set(sample.clone()).is_ok() {
            *used += sample.bytes();
        }
        drop(used);
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use segmenta_image::{LabelMap, Picture};

    #[test]
    fn what_fits_is_read_once() {
        let sample = || {
            let labels = LabelMap::new(4, 4, vec![0; 16]).unwrap();
            Ok(Sample::pair(Picture::filled(4, 4, [0; 3]), labels))
        };
        let reads = |budget: usize| {
            let cache = Cache::new(3, budget);
            let mut reads = 0;
            for item in [0, 1, 2, 0, 1, 2] {
                let read = || {
                    reads += 1;
                    sample()
                };
                cache.get(item, read).unwrap();
            }
            reads
        };
        assert_eq!(
            (reads(0), reads(64), reads(128), reads(1 << 20)),
            (6, 5, 4, 3)
        );
    }
}
