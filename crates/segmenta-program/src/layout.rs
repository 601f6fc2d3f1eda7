//! Where in the arena each buffer lies: buffers that are never in use together share memory.

use std::ops::{Range, RangeInclusive};

/// A buffer's size in bytes and the steps from its first to its last use.
#[derive(Clone, Debug)]
pub(crate) struct Demand {
    /// Bytes.
    pub(crate) bytes: usize,
    /// Steps.
    pub(crate) live: RangeInclusive<usize>,
}

/// Places of all buffers, and the length of the arena, in bytes.
///
/// Largest first, each at the lowest place that is free for as long as it lives; the usual greedy
/// answer to a problem whose best answer costs too much to find.
pub(crate) fn lay_out(demands: &[Demand]) -> (Vec<Range<usize>>, usize) {
    /// Places start at multiples of a cache line.
    const ALIGN: usize = 64;
    let mut order: Vec<usize> = (0..demands.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(demands[i].bytes), i));

    let mut places = vec![0..0; demands.len()];
    let mut placed: Vec<usize> = Vec::new();
    for index in order {
        let demand = &demands[index];
        let mut neighbours: Vec<Range<usize>> = placed
            .iter()
            .filter(|&&other| lives_with(demand, &demands[other]))
            .map(|&other| places[other].clone())
            .collect();
        neighbours.sort_by_key(|place| place.start);
        let mut start = 0;
        for taken in neighbours {
            if start + demand.bytes <= taken.start {
                break;
            }
            start = start.max(taken.end.next_multiple_of(ALIGN));
        }
        places[index] = start..start + demand.bytes;
        placed.push(index);
    }
    let len = places.iter().map(|place| place.end).max().unwrap_or(0);
    (places, len)
}

fn lives_with(a: &Demand, b: &Demand) -> bool {
    a.live.start() <= b.live.end() && b.live.start() <= a.live.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(segmenta_properties::cases(256))]

        #[test]
        fn what_lives_together_lies_apart(
            demands in prop::collection::vec((1_usize..2000, 0_usize..50, 0_usize..10), 1..60),
        ) {
            let demands: Vec<Demand> = demands
                .into_iter()
                .map(|(bytes, from, steps)| Demand { bytes, live: from..=from + steps })
                .collect();
            let (places, len) = lay_out(&demands);
            for (i, a) in places.iter().enumerate() {
                prop_assert!(a.end <= len && a.len() == demands[i].bytes);
                for (j, b) in places.iter().enumerate().skip(i + 1) {
                    let apart = a.end <= b.start || b.end <= a.start;
                    prop_assert!(apart || !lives_with(&demands[i], &demands[j]), "{i} and {j}");
                }
            }
        }
    }

    #[test]
    fn a_chain_needs_two_neighbours_at_a_time() {
        let chain: Vec<_> = (0..10)
            .map(|i| Demand {
                bytes: 640,
                live: i..=i + 1,
            })
            .collect();
        assert_eq!(lay_out(&chain).1, 1280);
    }
}
