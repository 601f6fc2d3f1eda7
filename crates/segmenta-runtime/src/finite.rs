//! Numbers that are none: NaN and infinities, counted for the price of one pass over memory.

use rayon::prelude::*;

/// Values that a task looks at; what they take fits the nearest cache.
const PART: usize = 1 << 14;

/// How many of the values are NaN or infinite.
pub fn count_non_finite(values: &[f32]) -> usize {
    const EXPONENT: u32 = 0x7F80_0000;
    // Whole-number arithmetic without a way out of the loop: it becomes vector instructions.
    let count = |values: &[f32]| {
        let is_none = |value: &f32| u32::from(value.to_bits() & EXPONENT == EXPONENT);
        values.iter().map(is_none).sum::<u32>() as usize
    };
    values.chunks(PART).map(count).sum()
}

/// Whether no value is NaN or infinite; on all threads of the pool that it is called in.
pub fn all_finite(values: &[f32]) -> bool {
    // A part a cache line of work would cost more to hand out than to do.
    values
        .par_chunks(16 * PART)
        .all(|values| count_non_finite(values) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_wherever_it_is() {
        let mut values = vec![f32::MAX; 600_001];
        values[3] = f32::MIN_POSITIVE / 4.0;
        values[4] = -0.0;
        assert!(all_finite(&values) && count_non_finite(&values) == 0);
        let kinds = [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        for (at, kind) in [0, 16_383, 262_144, 600_000].into_iter().zip(kinds) {
            let before = std::mem::replace(&mut values[at], kind);
            assert!(
                !all_finite(&values) && count_non_finite(&values) == 1,
                "{at}"
            );
            values[at] = before;
        }
        assert!(all_finite(&[]));
    }
}
