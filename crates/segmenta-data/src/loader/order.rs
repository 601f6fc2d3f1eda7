//! The order of an epoch.

use crate::random::Random;

/// Sets the order's chance apart from that of items, whose keys are longer.
const ORDER: u64 = 0x6F72_6465;

/// Indices of all items: shuffled by (seed, epoch), or as they are.
pub(super) fn order(count: usize, key: Option<(u64, u64)>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    if let Some((seed, epoch)) = key {
        Random::at(&[seed, epoch, ORDER]).shuffle(&mut order);
    }
    order
}
