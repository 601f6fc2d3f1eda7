//! One strip of queries: its softmax, and its five products.

use super::super::{Extents, TILE, across, mask, product};
use super::{Rooms, STRIP};
use crate::exp::exp;
use crate::isa::Kernel;
use crate::simd::Simd;

/// Over which pairs of a query and a key one softmax goes.
#[derive(Clone, Copy)]
pub(super) enum Softmax {
    /// Those of each query.
    OfQuery,
    /// All of a picture: the largest product, one over the sum of the weights about it, and `Σ P ∘ dP`.
    OfAll { largest: f32, share: f32, dot: f32 },
}

/// Room for one strip of queries.
pub(super) struct Strip {
    /// `[STRIP][padded_depth]`, scaled; afterwards their gradients, not scaled.
    pub(super) queries: Vec<f32>,
    /// `[STRIP][padded_width]`: the gradients of their outputs.
    pub(super) output_gradients: Vec<f32>,
    /// `[STRIP][padded_keys]`, and room for a tile that hangs over: `P`.
    weights: Vec<f32>,
    /// The same: `dP`, then `dS`.
    pub(super) slopes: Vec<f32>,
    /// `[STRIP][padded_keys]`, added to the products; empty where nothing is.
    pub(super) biases: Vec<f32>,
    /// `[STRIP][padded_depth]`.
    moved: Vec<f32>,
}

impl Strip {
    pub(super) fn new(rooms: Rooms) -> Self {
        let pairs = STRIP * rooms.extents.padded_keys + TILE;
        Self {
            queries: vec![0.0; STRIP * rooms.padded_depth],
            output_gradients: vec![0.0; STRIP * rooms.extents.padded_width],
            weights: vec![0.0; pairs],
            slopes: vec![0.0; pairs],
            biases: Vec::new(),
            moved: vec![0.0; STRIP * rooms.padded_depth],
        }
    }

    /// `S = QKᵀ` into the weights, `dP = dO Vᵀ` into the slopes; `hidden` are the queries' rows of a mask.
    ///
    /// # Safety
    /// As for [`Simd`]; `packed` is what `Pass::pack` wrote for the same rooms.
    #[inline(always)]
    unsafe fn products<S: Simd>(&mut self, rooms: Rooms, packed: &[f32], hidden: &[f32]) {
        // SAFETY: `Strip::new` made rows of the same rooms: `STRIP` of them, whole tiles; `packed` has the
        // three parts that `Rooms::packed` says.
        unsafe {
            let Extents {
                depth,
                width,
                keys,
                padded_keys,
                padded_width,
                ..
            } = rooms.extents;
            let [by_channel, by_key, _] = rooms.packed();
            for first in (0..STRIP).step_by(TILE) {
                product::<S>(
                    (
                        self.queries.as_ptr().add(first * rooms.padded_depth),
                        1,
                        rooms.padded_depth,
                    ),
                    depth,
                    (packed.as_ptr(), padded_keys),
                    self.weights.as_mut_ptr().add(first * padded_keys),
                    false,
                );
                product::<S>(
                    (
                        self.output_gradients.as_ptr().add(first * padded_width),
                        1,
                        padded_width,
                    ),
                    width,
                    (packed[by_channel + by_key..].as_ptr(), padded_keys),
                    self.slopes.as_mut_ptr().add(first * padded_keys),
                    false,
                );
            }
            let biases = self.biases.iter().zip(&mut self.weights);
            biases.for_each(|(bias, weight)| *weight += bias);
            mask::hide::<S>(self.weights.as_mut_ptr(), padded_keys, STRIP, hidden);
            let rows = self.weights.chunks_exact_mut(padded_keys);
            rows.for_each(|row| row[keys..].fill(f32::NEG_INFINITY));
        }
    }

    /// Replaces the products of one row by its weights `e^(S − max S)`, and returns the largest product, the sum of the
    /// weights, and the sum of weights times `dP`.
    ///
    /// # Safety
    /// As for [`Simd`]; `row` is below `STRIP`, `padded_keys` that of the rooms.
    #[inline(always)]
    unsafe fn weigh<S: Simd>(&mut self, row: usize, padded_keys: usize) -> [f32; 3] {
        // SAFETY: a row of weights and one of slopes has `padded_keys` values, whole vectors.
        unsafe {
            let weights = self.weights.as_mut_ptr().add(row * padded_keys);
            let slopes = self.slopes.as_ptr().add(row * padded_keys);
            let mut most = S::splat(f32::NEG_INFINITY);
            for key in (0..padded_keys).step_by(S::LANES) {
                let x = S::load(weights.add(key));
                most = S::select_larger(x, most, x, most);
            }
            let most = across::<S>(most, |a, b| if b > a || b.is_nan() { b } else { a });
            let (largest, mut sum, mut dot) = (S::splat(most), S::zero(), S::zero());
            for key in (0..padded_keys).step_by(S::LANES) {
                let weight = exp::<S>(S::sub(S::load(weights.add(key)), largest));
                sum = S::add(sum, weight);
                dot = S::mul_add(weight, S::load(slopes.add(key)), dot);
                S::store(weights.add(key), weight);
            }
            let [sum, dot] = [sum, dot].map(|x| across::<S>(x, |a, b| a + b));
            [most, sum, dot]
        }
    }
}

/// Three numbers of each query of a strip, as [`Strip::weigh`] finds them.
pub(super) struct Measure<'a> {
    pub(super) rooms: Rooms,
    pub(super) packed: &'a [f32],
    pub(super) strip: &'a mut Strip,
    pub(super) to: &'a mut [f32],
}

impl Kernel for Measure<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: the caller vouches for the instruction set; strip and packed values are of the same rooms,
        // and there are no more threes of results than rows.
        unsafe {
            self.strip.products::<S>(self.rooms, self.packed, &[]);
            for (row, to) in self.to.chunks_exact_mut(3).enumerate() {
                let padded_keys = self.rooms.extents.padded_keys;
                to.copy_from_slice(&self.strip.weigh::<S>(row, padded_keys));
            }
        }
    }
}

/// The gradients of a strip's queries, in their place, and what they add to those of keys and values.
pub(super) struct Gradients<'a> {
    pub(super) rooms: Rooms,
    pub(super) packed: &'a [f32],
    pub(super) strip: &'a mut Strip,
    /// Queries that there are.
    pub(super) count: usize,
    /// Rows of a mask, for those that have one.
    pub(super) hidden: &'a [f32],
    pub(super) softmax: Softmax,
    pub(super) sums: &'a mut [f32],
}

impl Kernel for Gradients<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: strip, packed values and sums are of the same rooms, at most `STRIP` queries are there; a
        // tile of keys that hangs over reads the room behind the rows and writes rows that `Rooms::sums`
        // counts.
        unsafe {
            let (rooms, strip) = (self.rooms, self.strip);
            let Extents {
                keys,
                padded_keys,
                padded_width,
                ..
            } = rooms.extents;
            strip.products::<S>(rooms, self.packed, self.hidden);
            for row in 0..self.count {
                let (share, dot, about) = match self.softmax {
                    Softmax::OfQuery => {
                        let [_, sum, dot] = strip.weigh::<S>(row, padded_keys);
                        (1.0 / sum, dot / sum, None)
                    }
                    Softmax::OfAll {
                        largest,
                        share,
                        dot,
                    } => (share, dot, Some(S::splat(largest))),
                };
                let (share, dot) = (S::splat(share), S::splat(dot));
                let weights = strip.weights.as_mut_ptr().add(row * padded_keys);
                let slopes = strip.slopes.as_mut_ptr().add(row * padded_keys);
                for key in (0..padded_keys).step_by(S::LANES) {
                    let mut weight = S::load(weights.add(key));
                    if let Some(largest) = about {
                        weight = exp::<S>(S::sub(weight, largest));
                    }
                    let weight = S::mul(weight, share);
                    let slope = S::mul(weight, S::sub(S::load(slopes.add(key)), dot));
                    S::store(weights.add(key), weight);
                    S::store(slopes.add(key), slope);
                }
            }
            // Queries that do not exist.
            strip.weights[self.count * padded_keys..].fill(0.0);
            strip.slopes[self.count * padded_keys..].fill(0.0);

            let keys_by_key = self.packed[rooms.packed()[0]..].as_ptr();
            for first in (0..STRIP).step_by(TILE) {
                product::<S>(
                    (
                        strip.slopes.as_ptr().add(first * padded_keys),
                        1,
                        padded_keys,
                    ),
                    keys,
                    (keys_by_key, rooms.padded_depth),
                    strip.moved.as_mut_ptr().add(first * rooms.padded_depth),
                    false,
                );
            }
            let (of_keys, of_values) = self.sums.split_at_mut(rooms.sums()[0]);
            for key in (0..keys).step_by(TILE) {
                product::<S>(
                    (strip.slopes.as_ptr().add(key), padded_keys, 1),
                    STRIP,
                    (strip.queries.as_ptr(), rooms.padded_depth),
                    of_keys.as_mut_ptr().add(key * rooms.padded_depth),
                    true,
                );
                product::<S>(
                    (strip.weights.as_ptr().add(key), padded_keys, 1),
                    STRIP,
                    (strip.output_gradients.as_ptr(), padded_width),
                    of_values.as_mut_ptr().add(key * padded_width),
                    true,
                );
            }
            std::mem::swap(&mut strip.queries, &mut strip.moved);
        }
    }
}
