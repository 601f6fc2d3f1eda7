//! Filters of three taps along one axis that need fewer products than three an output.
//!
//! A filter turns inputs `d` into `products` values, multiplies each by a transformed weight, and
//! turns the products into outputs: `o = A (G g ⊙ B d)`. The long ones slide along an axis
//! (Winograd, *Arithmetic Complexity of Computations*, 1980; Lavin and Gray, *Fast Algorithms for
//! Convolutional Neural Networks*, 2016). The short ones are for an axis that ends after one, two or
//! three points with nothing but padding around it, which is what a large dilation leaves: there
//! the taps outside cost no products either.

use crate::simd::Simd;

/// The most inputs or products of a filter.
pub(super) const MOST: usize = 8;

/// Values of one line, as many as the filter has; the rest is not used.
pub(super) type Line<V> = [V; MOST];

/// Which filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FilterKind {
    /// A whole axis of one point.
    One,
    /// A whole axis of two points.
    Two,
    /// A whole axis of three points.
    Three,
    /// F(4, 3): four outputs of six inputs.
    Four,
    /// F(6, 3): six outputs of eight inputs. Errs two to three times more than F(4, 3).
    Six,
}

/// What a filter kind answers by asking its filter.
macro_rules! ask {
    ($kind:expr, $filter:ident => $answer:expr) => {
        match $kind {
            FilterKind::One => ask!(@ One, $filter => $answer),
            FilterKind::Two => ask!(@ Two, $filter => $answer),
            FilterKind::Three => ask!(@ Three, $filter => $answer),
            FilterKind::Four => ask!(@ Four, $filter => $answer),
            FilterKind::Six => ask!(@ Six, $filter => $answer),
        }
    };
    (@ $type:ty, $filter:ident => $answer:expr) => {{
        type $filter = $type;
        $answer
    }};
}

/// Where the kind is a constant the optimiser sees through the choice.
impl FilterKind {
    /// Inputs of one application.
    #[inline(always)]
    pub(super) fn inputs(self) -> usize {
        ask!(self, F => F::INPUTS)
    }

    /// Inputs before the first output.
    pub(super) fn before(self) -> usize {
        ask!(self, F => F::BEFORE)
    }

    /// Outputs of one application.
    #[inline(always)]
    pub(super) fn outputs(self) -> usize {
        ask!(self, F => F::OUTPUTS)
    }

    /// Transformed weights, a row of three factors each.
    pub(super) fn weights(self) -> &'static [[f64; 3]] {
        ask!(self, F => F::WEIGHTS)
    }

    /// Products of one application.
    #[inline(always)]
    pub(super) fn products(self) -> usize {
        ask!(self, F => F::WEIGHTS.len())
    }

    /// `B d`.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn input<S: Simd>(self, d: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe { ask!(self, F => F::input::<S>(d)) }
    }

    /// `A m`.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn output<S: Simd>(self, m: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe { ask!(self, F => F::output::<S>(m)) }
    }

    /// `Aᵀ o`.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[inline(always)]
    pub(super) unsafe fn gradient<S: Simd>(self, o: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe { ask!(self, F => F::gradient::<S>(o)) }
    }
}

/// One filter.
trait Filter {
    /// Inputs that it reads.
    const INPUTS: usize;
    /// Inputs before the first output.
    const BEFORE: usize;
    /// Outputs that it gives.
    const OUTPUTS: usize;
    /// `G`: a row a product.
    const WEIGHTS: &'static [[f64; 3]];

    /// `B d`.
    ///
    /// # Safety
    /// As for [`Simd`].
    unsafe fn input<S: Simd>(d: &Line<S::V>) -> Line<S::V>;

    /// `A m`.
    ///
    /// # Safety
    /// As for [`Simd`].
    unsafe fn output<S: Simd>(m: &Line<S::V>) -> Line<S::V>;

    /// `Aᵀ o`: what each product adds to a loss whose gradient at the outputs is `o`.
    ///
    /// # Safety
    /// As for [`Simd`].
    unsafe fn gradient<S: Simd>(o: &Line<S::V>) -> Line<S::V>;
}

/// `a + factor · b`.
#[inline(always)]
unsafe fn plus<S: Simd>(a: S::V, factor: f32, b: S::V) -> S::V {
    // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
    unsafe { S::mul_add(S::splat(factor), b, a) }
}

struct One;

impl Filter for One {
    const INPUTS: usize = 1;
    const BEFORE: usize = 0;
    const OUTPUTS: usize = 1;
    const WEIGHTS: &'static [[f64; 3]] = &[[0.0, 1.0, 0.0]];

    #[inline(always)]
    unsafe fn input<S: Simd>(d: &Line<S::V>) -> Line<S::V> {
        *d
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: &Line<S::V>) -> Line<S::V> {
        *m
    }

    #[inline(always)]
    unsafe fn gradient<S: Simd>(o: &Line<S::V>) -> Line<S::V> {
        *o
    }
}

struct Two;

impl Filter for Two {
    const INPUTS: usize = 2;
    const BEFORE: usize = 0;
    const OUTPUTS: usize = 2;
    const WEIGHTS: &'static [[f64; 3]] = &[[0.0, 1.0, 0.0], [0.0, -1.0, 1.0], [1.0, -1.0, 0.0]];

    #[inline(always)]
    unsafe fn input<S: Simd>(d: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let mut t = [S::zero(); MOST];
            t[0] = S::add(d[0], d[1]);
            t[1] = d[1];
            t[2] = d[0];
            t
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let mut o = [S::zero(); MOST];
            o[0] = S::add(m[0], m[1]);
            o[1] = S::add(m[0], m[2]);
            o
        }
    }

    #[inline(always)]
    unsafe fn gradient<S: Simd>(o: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let mut m = [S::zero(); MOST];
            m[0] = S::add(o[0], o[1]);
            m[1] = o[0];
            m[2] = o[1];
            m
        }
    }
}

struct Three;

/// Points 0, 1, −1, 2 and infinity.
impl Filter for Three {
    const INPUTS: usize = 3;
    const BEFORE: usize = 0;
    const OUTPUTS: usize = 3;
    const WEIGHTS: &'static [[f64; 3]] = &[
        [0.5, 0.0, 0.0],
        [-0.5, -0.5, -0.5],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 6.0, 1.0 / 3.0, 2.0 / 3.0],
        [0.0, 0.0, 1.0],
    ];

    #[inline(always)]
    unsafe fn input<S: Simd>(d: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let mut t = [S::zero(); MOST];
            let sum = S::sub(d[2], d[0]);
            t[0] = plus::<S>(sum, -2.0, d[1]);
            t[1] = S::sub(plus::<S>(d[2], -2.0, d[0]), d[1]);
            t[2] = plus::<S>(plus::<S>(d[2], 2.0, d[0]), -3.0, d[1]);
            t[3] = sum;
            t[4] = plus::<S>(S::sub(S::add(d[0], d[0]), d[1]), -2.0, d[2]);
            t
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let mut o = [S::zero(); MOST];
            let (sum, difference) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            o[0] = S::add(S::add(m[0], sum), m[3]);
            o[1] = plus::<S>(difference, 2.0, m[3]);
            o[2] = S::add(plus::<S>(sum, 4.0, m[3]), m[4]);
            o
        }
    }

    #[inline(always)]
    unsafe fn gradient<S: Simd>(o: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let mut m = [S::zero(); MOST];
            let even = S::add(o[0], o[2]);
            m[0] = o[0];
            (m[1], m[2]) = (S::add(even, o[1]), S::sub(even, o[1]));
            m[3] = plus::<S>(plus::<S>(o[0], 2.0, o[1]), 4.0, o[2]);
            m[4] = o[2];
            m
        }
    }
}

struct Four;

/// Points 0, ±1, ±2 and infinity.
impl Filter for Four {
    const INPUTS: usize = 6;
    const BEFORE: usize = 1;
    const OUTPUTS: usize = 4;
    const WEIGHTS: &'static [[f64; 3]] = &[
        [0.25, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];

    #[inline(always)]
    unsafe fn input<S: Simd>(d: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let mut t = [S::zero(); MOST];
            t[0] = plus::<S>(plus::<S>(d[4], 4.0, d[0]), -5.0, d[2]);
            t[5] = plus::<S>(plus::<S>(d[5], 4.0, d[1]), -5.0, d[3]);
            let (even, odd) = (plus::<S>(d[4], -4.0, d[2]), plus::<S>(d[3], -4.0, d[1]));
            (t[1], t[2]) = (S::add(even, odd), S::sub(even, odd));
            let (even, odd) = (S::sub(d[4], d[2]), S::sub(d[3], d[1]));
            (t[3], t[4]) = (plus::<S>(even, 2.0, odd), plus::<S>(even, -2.0, odd));
            t
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let mut o = [S::zero(); MOST];
            let (even1, odd1) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (even2, odd2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            o[0] = S::add(S::add(m[0], even1), even2);
            o[1] = plus::<S>(odd1, 2.0, odd2);
            o[2] = plus::<S>(even1, 4.0, even2);
            o[3] = S::add(plus::<S>(odd1, 8.0, odd2), m[5]);
            o
        }
    }

    #[inline(always)]
    unsafe fn gradient<S: Simd>(o: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let mut m = [S::zero(); MOST];
            let (even, odd) = (S::add(o[0], o[2]), S::add(o[1], o[3]));
            m[0] = o[0];
            (m[1], m[2]) = (S::add(even, odd), S::sub(even, odd));
            let even = plus::<S>(o[0], 4.0, o[2]);
            let odd = plus::<S>(S::add(o[1], o[1]), 8.0, o[3]);
            (m[3], m[4]) = (S::add(even, odd), S::sub(even, odd));
            m[5] = o[3];
            m
        }
    }
}

struct Six;

/// Points 0, ±1, ±2, ±1/2 and infinity.
impl Filter for Six {
    const INPUTS: usize = 8;
    const BEFORE: usize = 1;
    const OUTPUTS: usize = 6;
    const WEIGHTS: &'static [[f64; 3]] = &[
        [1.0, 0.0, 0.0],
        [-2.0 / 9.0, -2.0 / 9.0, -2.0 / 9.0],
        [-2.0 / 9.0, 2.0 / 9.0, -2.0 / 9.0],
        [1.0 / 90.0, 1.0 / 45.0, 2.0 / 45.0],
        [1.0 / 90.0, -1.0 / 45.0, 2.0 / 45.0],
        [32.0 / 45.0, 16.0 / 45.0, 8.0 / 45.0],
        [32.0 / 45.0, -16.0 / 45.0, 8.0 / 45.0],
        [0.0, 0.0, 1.0],
    ];

    #[inline(always)]
    unsafe fn input<S: Simd>(d: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let mut t = [S::zero(); MOST];
            t[0] = plus::<S>(S::sub(d[0], d[6]), 5.25, S::sub(d[4], d[2]));
            t[7] = plus::<S>(S::sub(d[7], d[1]), 5.25, S::sub(d[3], d[5]));
            let even = plus::<S>(S::add(d[2], d[6]), -4.25, d[4]);
            let odd = plus::<S>(S::add(d[1], d[5]), -4.25, d[3]);
            (t[1], t[2]) = (S::add(even, odd), S::sub(even, odd));
            let even = plus::<S>(plus::<S>(d[6], 0.25, d[2]), -1.25, d[4]);
            let odd = plus::<S>(S::mul(S::splat(0.5), d[1]), -2.5, d[3]);
            let odd = plus::<S>(odd, 2.0, d[5]);
            (t[3], t[4]) = (S::add(even, odd), S::sub(even, odd));
            let even = plus::<S>(plus::<S>(d[6], 4.0, d[2]), -5.0, d[4]);
            let odd = plus::<S>(S::add(d[1], d[1]), -2.5, d[3]);
            let odd = plus::<S>(odd, 0.5, d[5]);
            (t[5], t[6]) = (S::add(even, odd), S::sub(even, odd));
            t
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let mut o = [S::zero(); MOST];
            let (even1, odd1) = (S::add(m[1], m[2]), S::sub(m[1], m[2]));
            let (even2, odd2) = (S::add(m[3], m[4]), S::sub(m[3], m[4]));
            let (even3, odd3) = (S::add(m[5], m[6]), S::sub(m[5], m[6]));
            o[0] = S::add(S::add(m[0], even1), S::add(even2, even3));
            o[1] = plus::<S>(plus::<S>(odd1, 2.0, odd2), 0.5, odd3);
            o[2] = plus::<S>(plus::<S>(even1, 4.0, even2), 0.25, even3);
            o[3] = plus::<S>(plus::<S>(odd1, 8.0, odd2), 0.125, odd3);
            o[4] = plus::<S>(plus::<S>(even1, 16.0, even2), 1.0 / 16.0, even3);
            let odd = plus::<S>(plus::<S>(odd1, 32.0, odd2), 1.0 / 32.0, odd3);
            o[5] = S::add(odd, m[7]);
            o
        }
    }

    #[inline(always)]
    unsafe fn gradient<S: Simd>(o: &Line<S::V>) -> Line<S::V> {
        // SAFETY: nothing but arithmetic of vectors: the caller vouches for the instruction set.
        unsafe {
            let mut m = [S::zero(); MOST];
            let even = S::add(o[0], S::add(o[2], o[4]));
            let odd = S::add(o[1], S::add(o[3], o[5]));
            m[0] = o[0];
            (m[1], m[2]) = (S::add(even, odd), S::sub(even, odd));
            let even = plus::<S>(plus::<S>(o[0], 4.0, o[2]), 16.0, o[4]);
            let odd = plus::<S>(plus::<S>(S::add(o[1], o[1]), 8.0, o[3]), 32.0, o[5]);
            (m[3], m[4]) = (S::add(even, odd), S::sub(even, odd));
            let even = plus::<S>(plus::<S>(o[0], 0.25, o[2]), 1.0 / 16.0, o[4]);
            let odd = plus::<S>(S::mul(S::splat(0.5), o[1]), 0.125, o[3]);
            let odd = plus::<S>(odd, 1.0 / 32.0, o[5]);
            (m[5], m[6]) = (S::add(even, odd), S::sub(even, odd));
            m[7] = o[5];
            m
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Portable;

    /// Every input, output and weight by itself: the filter is bilinear, so this is all it can do.
    fn check<F: Filter>() {
        assert!(F::INPUTS <= MOST && F::WEIGHTS.len() <= MOST);
        for input in 0..F::INPUTS {
            for tap in 0..3 {
                // SAFETY: the portable vectors need nothing of the processor.
                let outputs = unsafe {
                    let mut d = [Portable::zero(); MOST];
                    d[input] = Portable::splat(1.0);
                    let t = F::input::<Portable>(&d);
                    let mut m = [Portable::zero(); MOST];
                    for (p, row) in F::WEIGHTS.iter().enumerate() {
                        m[p] = Portable::mul(t[p], Portable::splat(row[tap] as f32));
                    }
                    F::output::<Portable>(&m)
                };
                for output in 0..F::OUTPUTS {
                    let expected = f32::from(u8::from(input + 1 == output + tap + F::BEFORE));
                    let got = outputs[output][0];
                    assert!(
                        (got - expected).abs() < 1e-5,
                        "input {input}, tap {tap}, output {output}: {got}"
                    );
                }
            }
        }
    }

    /// Every entry of `Aᵀ` is that of `A`.
    fn check_gradient<F: Filter>() {
        let unit = |i: usize| {
            let mut line = [[0.0; Portable::LANES]; MOST];
            line[i] = [1.0; Portable::LANES];
            line
        };
        for product in 0..F::WEIGHTS.len() {
            for output in 0..F::OUTPUTS {
                // SAFETY: the portable vectors need nothing of the processor.
                let (forward, back) = unsafe {
                    let forward = F::output::<Portable>(&unit(product));
                    (forward, F::gradient::<Portable>(&unit(output)))
                };
                assert_eq!(forward[output], back[product], "{product}, {output}");
            }
        }
    }

    #[test]
    fn gradients_are_transposed_outputs() {
        check_gradient::<One>();
        check_gradient::<Two>();
        check_gradient::<Three>();
        check_gradient::<Four>();
        check_gradient::<Six>();
    }

    #[test]
    fn filters_are_what_they_say() {
        check::<One>();
        check::<Two>();
        check::<Three>();
        check::<Four>();
        check::<Six>();
    }
}
