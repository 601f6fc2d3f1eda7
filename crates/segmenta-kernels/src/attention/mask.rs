//! Which keys queries do not see.

use super::Extents;
use crate::map::{Map, MapShape};
use crate::shared::{Shared, in_parallel};
use crate::simd::Simd;

/// A mask as what is added to products of queries and keys: for each of the first queries of a picture a value a key,
/// 0 or −∞.
#[derive(Clone, Copy)]
pub(super) struct Hidden<'a> {
    values: &'a [f32],
    /// Queries that have a row, of each picture.
    queries: usize,
    padded_keys: usize,
}

impl<'a> Hidden<'a> {
    /// Values that a mask takes.
    ///
    /// # Panics
    /// If it has more channels than there are queries, or more pixels than there are keys.
    pub(super) fn len(extents: Extents, mask: MapShape) -> usize {
        assert!(mask.channels <= extents.queries, "a channel a query");
        assert!(mask.pixels() <= extents.keys, "a pixel a key");
        mask.batch * mask.channels * extents.padded_keys
    }

    /// Packs it, at the beginning of `room`.
    ///
    /// # Panics
    /// As [`Hidden::len`], or if the room is too small or the batch another.
    pub(super) fn pack(mask: Map<'_>, extents: Extents, batch: usize, room: &'a mut [f32]) -> Self {
        let (shape, lanes) = (mask.shape(), mask.isa().lanes());
        assert_eq!(shape.batch, batch, "one batch");
        let values = &mut room[..Self::len(extents, shape)];
        let (queries, padded_keys) = (shape.channels, extents.padded_keys);
        let before = extents.keys - shape.pixels();
        let shared = Shared::new(values);
        in_parallel(batch * queries, |task| {
            let (image, query) = (task / queries, task % queries);
            // SAFETY: a query's row is packed by the one task that has its index.
            let row = unsafe {
                std::slice::from_raw_parts_mut(shared.at(task * padded_keys), padded_keys)
            };
            row.fill(0.0);
            let block = mask.block_slice(image, query / lanes);
            let masked = block.iter().skip(query % lanes).step_by(lanes);
            let mut sees = before > 0;
            for (to, &value) in row[before..].iter_mut().zip(masked) {
                if value < 0.0 {
                    *to = f32::NEG_INFINITY;
                } else {
                    sees = true;
                }
            }
            if !sees {
                row.fill(0.0);
            }
        });
        Self {
            values,
            queries,
            padded_keys,
        }
    }

    /// The rows of a picture's queries from one on, of those that have rows.
    pub(super) fn from(self, image: usize, query: usize) -> &'a [f32] {
        let rows = image * self.queries..(image + 1) * self.queries;
        let first = (rows.start + query).min(rows.end);
        &self.values[first * self.padded_keys..rows.end * self.padded_keys]
    }
}

/// Adds rows of a mask to the first of `count` rows of products.
///
/// # Safety
/// As for [`Simd`]; `products` are `count` rows of `padded_keys` values, whole vectors.
#[inline(always)]
pub(super) unsafe fn hide<S: Simd>(
    products: *mut f32,
    padded_keys: usize,
    count: usize,
    hidden: &[f32],
) {
    for (m, row) in hidden.chunks_exact(padded_keys).take(count).enumerate() {
        for key in (0..padded_keys).step_by(S::LANES) {
            // SAFETY: a row of products and one of the mask have `padded_keys` values, whole vectors.
            unsafe {
                let to = products.add(m * padded_keys + key);
                let sum = S::add(S::load(to), S::load(row.as_ptr().add(key)));
                S::store(to, sum);
            }
        }
    }
}
