//! Chance and noise from integers alone, so that a seed means the same on every machine.

/// SplitMix64 (Steele, Lea & Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Chance that belongs to these numbers together: neighbours have nothing in common.
    pub(crate) fn at(key: &[u64]) -> Self {
        key.iter().fold(Self(0), |mut state, &part| {
            state.0 = state.bits() ^ part;
            Self(state.bits())
        })
    }

    /// Fisher and Yates's shuffle.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// 0 up to, not including, 1: one of 2⁵³ values.
    pub(crate) fn unit_f64(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A value from a range, which may be a single point.
    pub(crate) fn within(&mut self, [from, to]: [f64; 2]) -> f64 {
        from + (to - from) * self.unit_f64()
    }

    /// A whole number from a range, both ends included.
    pub(crate) fn whole(&mut self, [from, to]: [usize; 2]) -> usize {
        from + self.below(to - from + 1)
    }

    /// A value from the normal distribution of mean 0 and deviation 1 (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit_f64()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit_f64()).cos()
    }

    /// 0 up to, not including, 1: one of 2²⁴ values that f32 holds exactly.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / 16_777_216.0
    }

    pub(crate) fn range(&mut self, from: f32, to: f32) -> f32 {
        from + (to - from) * self.unit()
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((self.bits() >> 32) as usize * n) >> 32
    }

    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// −1 or 1.
    pub(crate) fn side(&mut self) -> f32 {
        if self.chance(0.5) { -1.0 } else { 1.0 }
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A seed for [`noise`] and [`hash`].
    pub(crate) fn seed(&mut self) -> u32 {
        self.bits() as u32
    }
}

/// A value of 0..1 that belongs to a point of the integer grid.
pub(crate) fn hash(x: i32, y: i32, seed: u32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x85EB_CA6B) ^ (y as u32).wrapping_mul(0xC2B2_AE35) ^ seed;
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    h ^= h >> 15;
    (h >> 8) as f32 / 16_777_216.0
}

/// Value noise of 0..1: grid values, smoothly interpolated.
pub(crate) fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (i, j) = (floor(x), floor(y));
    let (u, v) = (smooth(x - i as f32), smooth(y - j as f32));
    let (i1, j1) = (i.wrapping_add(1), j.wrapping_add(1));
    let upper = lerp(hash(i, j, seed), hash(i1, j, seed), u);
    let lower = lerp(hash(i, j1, seed), hash(i1, j1, seed), u);
    lerp(upper, lower, v)
}

/// Octaves of [`noise`], each twice as fine and half as strong; 0..1.
pub(crate) fn fractal(x: f32, y: f32, seed: u32, octaves: u32) -> f32 {
    let (mut sum, mut weight, mut scale) = (0.0, 0.0, 1.0);
    for octave in 0..octaves {
        let amount = 1.0 / scale;
        sum += amount * noise(x * scale, y * scale, seed.wrapping_add(octave));
        weight += amount;
        scale *= 2.0;
    }
    sum / weight
}

/// The whole number below, without a call into the C library where the processor's base has no rounding.
pub(crate) fn floor(x: f32) -> i32 {
    let cut = x as i32;
    cut - i32::from(cut as f32 > x)
}

/// What [`floor`] leaves: 0 up to 1.
pub(crate) fn fraction(x: f32) -> f32 {
    x - floor(x) as f32
}

pub(crate) fn lerp(from: f32, to: f32, t: f32) -> f32 {
    from + (to - from) * t
}

/// 0 to 1 with flat ends, for t in 0..1.
fn smooth(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// 0 below `from`, 1 above `to`, smooth between them. `from` may be the larger: then it falls.
pub(crate) fn ramp(from: f32, to: f32, x: f32) -> f32 {
    smooth(((x - from) / (to - from)).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_is_the_published_one() {
        let mut random = Random::new(1234567);
        assert_eq!(random.bits(), 6457827717110365317);
        assert_eq!(random.bits(), 3203168211198807973);
    }

    #[test]
    fn neighbouring_keys_have_nothing_in_common() {
        let first = |key: &[u64]| Random::at(key).bits();
        let keys = [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 0]];
        for (i, a) in keys.iter().enumerate() {
            for b in &keys[..i] {
                let differing = (first(a) ^ first(b)).count_ones();
                assert!(
                    (12..52).contains(&differing),
                    "{a:?} {b:?}: {differing} bits"
                );
            }
        }
    }

    #[test]
    fn a_shuffle_keeps_everything_and_normal_values_are_normal() {
        let mut items: Vec<usize> = (0..100).collect();
        Random::new(3).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
        let mut random = Random::new(5);
        let values: Vec<f64> = (0..10_000).map(|_| random.normal()).collect();
        let mean = values.iter().sum::<f64>() / 1e4;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1e4;
        assert!(
            mean.abs() < 0.05 && (variance - 1.0).abs() < 0.05,
            "{mean} {variance}"
        );
    }

    #[test]
    fn floor_is_the_usual_one() {
        for x in [-2.0_f32, -1.5, -0.1, 0.0, 0.9, 1.0, 7.2] {
            assert_eq!(floor(x), x.floor() as i32);
        }
        assert!((fraction(-0.25) - 0.75).abs() < 1e-6);
    }

    #[test]
    fn noise_passes_through_its_grid_values() {
        assert_eq!(noise(3.0, -2.0, 7), hash(3, -2, 7));
        assert!((0..100).all(|i| (0.0..=1.0).contains(&fractal(i as f32 * 0.37, 1.1, 3, 4))));
    }
}
