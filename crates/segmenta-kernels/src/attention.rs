//! Attention: each query takes the mean of all values, weighted by how well their keys fit it.
//!
//! Contract: queries `[heads · d]` and keys `[heads · d]` channels, values and output `[heads · e]`; as many
//! values as keys, as many outputs as queries. For each head, `softmax(scale · qᵀk)` over the keys weighs the
//! values. Keys are packed `[d][keys]` and values `[keys][e]`, so that vectors run over keys in the first
//! product and over channels in the second; tiles of queries go through both with their weights in cache.
//! Scratch memory of [`attention_scratch`] values holds what is packed. Sums over channels and keys run in
//! their order: relative error at most `2⁻²⁴ · (d + keys + 16)` of the sums of absolute values. Lanes that fill
//! the output's last block up become 0.

mod gradient;
mod mask;
mod windowed;

pub use windowed::{
    window_attention, window_attention_gradient, window_attention_gradient_scratch,
};

pub use gradient::{
    attention_gradient, attention_gradient_scratch, masked_attention_gradient,
    masked_attention_gradient_scratch, position_attention_gradient,
    position_attention_gradient_scratch,
};

use self::mask::Hidden;
use crate::exp::exp;
use crate::isa::{Isa, Kernel};
use crate::map::{Map, MapMut, MapShape, one_isa};
use crate::shared::{Shared, in_parallel, part, parts};
use crate::simd::Simd;

/// Queries that go through both products together.
const TILE: usize = 6;
/// Vectors of keys, or of channels, beside them.
const VECTORS: usize = 2;

/// One head's extents.
#[derive(Clone, Copy)]
struct Extents {
    /// Channels of a query and a key.
    depth: usize,
    /// Channels of a value.
    width: usize,
    queries: usize,
    keys: usize,
    /// Keys and channels of a value, filled up to whole tiles of vectors.
    padded_keys: usize,
    padded_width: usize,
}

impl Extents {
    fn new(isa: Isa, [queries, keys, values]: [MapShape; 3], heads: usize) -> Self {
        assert_eq!(
            queries.channels, keys.channels,
            "channels of queries and keys"
        );
        assert_eq!(keys.pixels(), values.pixels(), "as many values as keys");
        assert_eq!([queries.batch; 2], [keys.batch, values.batch], "one batch");
        let divides = |n: usize| heads > 0 && n.is_multiple_of(heads);
        assert!(
            divides(keys.channels) && divides(values.channels),
            "channels in heads"
        );
        let width = values.channels / heads;
        let tile = VECTORS * isa.lanes();
        Self {
            depth: keys.channels / heads,
            width,
            queries: queries.pixels(),
            keys: keys.pixels(),
            padded_keys: keys.pixels().next_multiple_of(tile),
            padded_width: width.next_multiple_of(tile),
        }
    }

    /// Values that one head's packed keys and values take.
    fn packed(&self) -> usize {
        self.depth * self.padded_keys + self.keys * self.padded_width
    }
}

/// Values of scratch memory that [`attention`] needs for maps of these shapes: queries, keys, values.
///
/// # Panics
/// If the shapes do not fit.
pub fn attention_scratch(isa: Isa, shapes: [MapShape; 3], heads: usize) -> usize {
    shapes[0].batch * heads * Extents::new(isa, shapes, heads).packed()
}

/// `output[q] = Σ softmax(q · k / √d) v` for each of `heads` runs of channels.
///
/// # Panics
/// If the shapes do not fit, or the scratch memory is too small.
pub fn attention(maps: [Map<'_>; 3], heads: usize, output: &mut MapMut<'_>, scratch: &mut [f32]) {
    attend(maps, None, heads, output, scratch);
}

/// Values of scratch memory that [`masked_attention`] needs for maps of these shapes and a mask of that one.
///
/// # Panics
/// If the shapes do not fit.
pub fn masked_attention_scratch(
    isa: Isa,
    shapes: [MapShape; 3],
    mask: MapShape,
    heads: usize,
) -> usize {
    let extents = Extents::new(isa, shapes, heads);
    attention_scratch(isa, shapes, heads) + Hidden::len(extents, mask)
}

/// As [`attention`], where queries do not see all keys. The mask has a channel for each of the first queries and a
/// pixel for each of the last keys; where it is below zero the query does not see the key. A query that would see
/// nothing sees everything.
///
/// # Panics
/// If the shapes do not fit, or the scratch memory is too small.
pub fn masked_attention(
    maps: [Map<'_>; 3],
    mask: Map<'_>,
    heads: usize,
    output: &mut MapMut<'_>,
    scratch: &mut [f32],
) {
    one_isa([maps[0].isa(), mask.isa()]);
    attend(maps, Some(mask), heads, output, scratch);
}

fn attend(
    maps: [Map<'_>; 3],
    mask: Option<Map<'_>>,
    heads: usize,
    output: &mut MapMut<'_>,
    scratch: &mut [f32],
) {
    let [queries, keys, values] = maps.map(|m| m.isa());
    let isa = one_isa([queries, keys, values, output.isa()]);
    let extents = Extents::new(isa, maps.map(|m| m.shape()), heads);
    let shape = output.shape();
    let expected = MapShape {
        channels: heads * extents.width,
        ..maps[0].shape()
    };
    assert_eq!(shape, expected, "output of an attention");
    let (scratch, rest) = scratch.split_at_mut(shape.batch * heads * extents.packed());
    pack(maps, heads, extents, scratch);
    let hidden = mask.map(|mask| Hidden::pack(mask, extents, shape.batch, rest));

    let scale = 1.0 / (extents.depth as f32).sqrt();
    let cuts = parts(extents.queries.div_ceil(TILE), 4);
    let target = Target::new(output);
    in_parallel(shape.batch * heads * cuts, |task| {
        let (image, head) = (task / cuts / heads, task / cuts % heads);
        let packed = &scratch[(image * heads + head) * extents.packed()..][..extents.packed()];
        let first = head * extents.width;
        let tiles = part(extents.queries.div_ceil(TILE), cuts, task % cuts);
        let mut rows = Rows::new(extents);
        for query in tiles.map(|tile| tile * TILE) {
            let count = TILE.min(extents.queries - query);
            let hidden = hidden.map_or(&[][..], |hidden| hidden.from(image, query));
            rows.compute(maps[0], [image, head], query, scale, packed, hidden);
            for m in 0..count {
                let share = 1.0 / rows.sums[m];
                let row = &rows.values[m * extents.padded_width..][..extents.width];
                let row = row.iter().map(|value| value * share);
                // SAFETY: a head's channels of a pixel are written by the one task that has it.
                unsafe { target.write(image, query + m, first, row) }
            }
        }
    });
}

/// Values of scratch memory that [`position_attention`] needs.
///
/// # Panics
/// If the shapes do not fit.
pub fn position_attention_scratch(isa: Isa, shapes: [MapShape; 3]) -> usize {
    let extents = Extents::new(isa, shapes, 1);
    shapes[0].batch * (extents.packed() + extents.queries * (extents.padded_width + 2))
}

/// MA-Net's attention as SMP computes it: one head, no scale, the softmax over all pairs of a query and a
/// key of a picture, and the result, which lies `[query][channel]`, read as `[channel][query]`.
///
/// # Panics
/// If the shapes do not fit, or the scratch memory is too small.
pub fn position_attention(maps: [Map<'_>; 3], output: &mut MapMut<'_>, scratch: &mut [f32]) {
    let [queries, keys, values] = maps.map(|m| m.isa());
    let isa = one_isa([queries, keys, values, output.isa()]);
    let batch = maps[0].shape().batch;
    let extents = Extents::new(isa, maps.map(|m| m.shape()), 1);
    let shape = output.shape();
    let expected = MapShape {
        channels: extents.width,
        ..maps[0].shape()
    };
    assert_eq!(shape, expected, "output of an attention");
    let (packed, rest) = scratch.split_at_mut(batch * extents.packed());
    pack(maps, 1, extents, packed);

    // For each query its largest product, the sum of its weights about it, and its unscaled mean.
    let each = extents.padded_width + 2;
    let cuts = parts(extents.queries.div_ceil(TILE), 4);
    let found = Shared::new(&mut rest[..batch * extents.queries * each]);
    in_parallel(batch * cuts, |task| {
        let image = task / cuts;
        let packed = &packed[image * extents.packed()..][..extents.packed()];
        let mut rows = Rows::new(extents);
        for query in part(extents.queries.div_ceil(TILE), cuts, task % cuts).map(|t| t * TILE) {
            rows.compute(maps[0], [image, 0], query, 1.0, packed, &[]);
            for m in 0..TILE.min(extents.queries - query) {
                let at = (image * extents.queries + query + m) * each;
                // SAFETY: a query's place is written by the one task whose part it is in.
                let row = unsafe { std::slice::from_raw_parts_mut(found.at(at), each) };
                (row[0], row[1]) = (rows.largest[m], rows.sums[m]);
                row[2..].copy_from_slice(&rows.values[m * (each - 2)..][..each - 2]);
            }
        }
    });

    let rows = &rest[..batch * extents.queries * each];
    let (lanes, blocks, plane) = (isa.lanes(), output.blocks(), output.plane());
    let image_stride = output.image_stride();
    let shared = output.shared();
    in_parallel(batch * blocks, |task| {
        let (image, block) = (task / blocks, task % blocks);
        let rows = &rows[image * extents.queries * each..][..extents.queries * each];
        let all = || rows.chunks_exact(each);
        let largest = all().fold(
            f32::NEG_INFINITY,
            |most, row| if row[0] > most { row[0] } else { most },
        );
        let sum: f64 = all()
            .map(|row| f64::from(row[1]) * f64::from(row[0] - largest).exp())
            .sum();
        for (lane, pixel) in (0..lanes).flat_map(|l| (0..extents.queries).map(move |p| (l, p))) {
            let channel = block * lanes + lane;
            let value = if channel < extents.width {
                let index = channel * extents.queries + pixel;
                let row = &rows[index / extents.width * each..][..each];
                let weight = f64::from(row[0] - largest).exp() / sum;
                (f64::from(row[2 + index % extents.width]) * weight) as f32
            } else {
                0.0
            };
            // SAFETY: a block of a picture is written by the one task that has its index.
            unsafe {
                *shared.at(image * image_stride + block * plane + pixel * lanes + lane) = value;
            }
        }
    });
}

/// A map that heads write their channels of.
#[derive(Clone, Copy)]
struct Target<'a> {
    values: Shared<'a>,
    lanes: usize,
    plane: usize,
    image_stride: usize,
    channels: usize,
}

impl<'a> Target<'a> {
    fn new(map: &'a mut MapMut<'_>) -> Self {
        Self {
            lanes: map.isa().lanes(),
            plane: map.plane(),
            image_stride: map.image_stride(),
            channels: map.shape().channels,
            values: map.shared(),
        }
    }

    /// Writes channels of a pixel from `first` on; with the last one, zeros to what fills its block up.
    ///
    /// # Safety
    /// The map has the pixel and the channels, and nobody else writes them meanwhile.
    unsafe fn write(
        self,
        image: usize,
        pixel: usize,
        first: usize,
        values: impl ExactSizeIterator<Item = f32>,
    ) {
        // SAFETY: the caller vouches for the pixel and the channels; what fills the last block up is inside
        // it.
        unsafe {
            let end = first + values.len();
            let filler = if end == self.channels {
                end.next_multiple_of(self.lanes) - end
            } else {
                0
            };
            let values = values.chain(std::iter::repeat_n(0.0, filler));
            for (channel, value) in (first..).zip(values) {
                let in_block = pixel * self.lanes + channel % self.lanes;
                let at = image * self.image_stride + channel / self.lanes * self.plane + in_block;
                *self.values.at(at) = value;
            }
        }
    }
}

/// Packs keys `[depth][keys]` and values `[keys][width]` of each picture and head, filled up with zeros.
fn pack([_, keys, values]: [Map<'_>; 3], heads: usize, extents: Extents, scratch: &mut [f32]) {
    let batch = keys.shape().batch;
    let shared = Shared::new(&mut scratch[..batch * heads * extents.packed()]);
    in_parallel(batch * heads, |task| {
        let (image, head) = (task / heads, task % heads);
        // SAFETY: a head of a picture is packed by the one task that has its index.
        let packed = unsafe {
            std::slice::from_raw_parts_mut(shared.at(task * extents.packed()), extents.packed())
        };
        pack_head([keys, values], [image, head], 0, extents, packed);
    });
}

/// Packs one head of one picture, of the pixels from `first` on.
fn pack_head(
    [keys, values]: [Map<'_>; 2],
    [image, head]: [usize; 2],
    first: usize,
    extents: Extents,
    packed: &mut [f32],
) {
    let Extents {
        depth,
        width,
        keys: count,
        padded_keys,
        padded_width,
        ..
    } = extents;
    packed.fill(0.0);
    let (packed_keys, packed_values) = packed.split_at_mut(depth * padded_keys);
    let pixels = |map, channel| channel_of(map, image, channel).skip(first).take(count);
    for (i, row) in packed_keys.chunks_exact_mut(padded_keys).enumerate() {
        let from = pixels(keys, head * depth + i);
        row.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }
    for i in 0..width {
        let from = pixels(values, head * width + i);
        let to = packed_values.iter_mut().skip(i).step_by(padded_width);
        to.zip(from).for_each(|(to, from)| *to = *from);
    }
}

/// A channel's values, pixel by pixel.
fn channel_of(map: Map<'_>, image: usize, channel: usize) -> impl Iterator<Item = &f32> {
    let lanes = map.isa().lanes();
    let block = map.block_slice(image, channel / lanes);
    block.iter().skip(channel % lanes).step_by(lanes)
}

/// Room for one tile of queries, and what comes of it.
struct Rows {
    extents: Extents,
    /// `[depth][TILE]`, scaled.
    queries: Vec<f32>,
    /// `[TILE][padded_keys]`.
    weights: Vec<f32>,
    /// `[TILE][padded_width]`: sums of values by weights that are not divided by their sum.
    values: Vec<f32>,
    /// `[TILE][padded_keys]`, added to the products; empty where nothing is.
    biases: Vec<f32>,
    /// The map's pixel that the first query is.
    start: usize,
    largest: [f32; TILE],
    sums: [f32; TILE],
}

impl Rows {
    fn new(extents: Extents) -> Self {
        Self {
            extents,
            queries: vec![0.0; extents.depth * TILE],
            weights: vec![0.0; TILE * extents.padded_keys],
            values: vec![0.0; TILE * extents.padded_width],
            biases: Vec::new(),
            start: 0,
            largest: [0.0; TILE],
            sums: [0.0; TILE],
        }
    }

    /// The queries from `first` on; `hidden` are their rows of a mask, for those that have one.
    fn compute(
        &mut self,
        queries: Map<'_>,
        [image, head]: [usize; 2],
        first: usize,
        scale: f32,
        packed: &[f32],
        hidden: &[f32],
    ) {
        let (lanes, depth) = (queries.isa().lanes(), self.extents.depth);
        for (i, row) in self.queries.chunks_exact_mut(TILE).enumerate() {
            let channel = head * depth + i;
            let block = queries.block_slice(image, channel / lanes);
            for (m, to) in row.iter_mut().enumerate() {
                // Beyond the last query, it once more.
                let pixel = self.start + (first + m).min(self.extents.queries - 1);
                *to = block[pixel * lanes + channel % lanes] * scale;
            }
        }
        let isa = queries.isa();
        isa.run(Tile {
            rows: self,
            packed,
            hidden,
        });
    }
}

/// Both products of one tile.
struct Tile<'a> {
    rows: &'a mut Rows,
    packed: &'a [f32],
    /// Rows of a mask, for as many queries as there are.
    hidden: &'a [f32],
}

impl Kernel for Tile<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: `Rows::new` and `pack_head` made every row as long as the extents, filled up to whole tiles of
        // vectors, and biases, where there are any, have as many rows; the products stay inside them.
        unsafe {
            let Extents {
                depth,
                keys,
                padded_keys,
                padded_width,
                ..
            } = self.rows.extents;
            let (packed_keys, packed_values) = self.packed.split_at(depth * padded_keys);
            let weights = self.rows.weights.as_mut_ptr();
            product::<S>(
                (self.rows.queries.as_ptr(), TILE, 1),
                depth,
                (packed_keys.as_ptr(), padded_keys),
                weights,
                false,
            );
            mask::hide::<S>(weights, padded_keys, TILE, self.hidden);
            for m in 0..TILE {
                let row = weights.add(m * padded_keys);
                if !self.rows.biases.is_empty() {
                    let biases = self.rows.biases.as_ptr().add(m * padded_keys);
                    for key in (0..padded_keys).step_by(S::LANES) {
                        let sum = S::add(S::load(row.add(key)), S::load(biases.add(key)));
                        S::store(row.add(key), sum);
                    }
                }
                for key in keys..padded_keys {
                    *row.add(key) = f32::NEG_INFINITY;
                }
                let mut most = S::splat(f32::NEG_INFINITY);
                for key in (0..padded_keys).step_by(S::LANES) {
                    let x = S::load(row.add(key));
                    most = S::select_larger(x, most, x, most);
                }
                let most = across::<S>(most, |a, b| if b > a || b.is_nan() { b } else { a });
                let (largest, mut sum) = (S::splat(most), S::zero());
                for key in (0..padded_keys).step_by(S::LANES) {
                    let weight = exp::<S>(S::sub(S::load(row.add(key)), largest));
                    sum = S::add(sum, weight);
                    S::store(row.add(key), weight);
                }
                self.rows.largest[m] = most;
                self.rows.sums[m] = across::<S>(sum, |a, b| a + b);
            }
            product::<S>(
                (weights, 1, padded_keys),
                keys,
                (packed_values.as_ptr(), padded_width),
                self.rows.values.as_mut_ptr(),
                false,
            );
        }
    }
}

/// `to[m][n] = Σ a[k][m] b[k][n]` for a tile of rows, or with `adds` that much more: `a` with its distances from
/// one `k` and from one row to the next, `b` with its columns, which are whole tiles of vectors.
///
/// # Safety
/// As for [`Simd`]. `a` reaches `TILE` rows of `depth` values at their distances, `b` `depth` rows and `to`
/// `TILE` rows of `columns` values, which are whole tiles of vectors; `to` overlaps neither.
#[inline(always)]
unsafe fn product<S: Simd>(
    (a, next, row): (*const f32, usize, usize),
    depth: usize,
    (b, columns): (*const f32, usize),
    to: *mut f32,
    adds: bool,
) {
    // SAFETY: `k`, `m` and `column` stay inside the extents that the caller vouches for.
    unsafe {
        for column in (0..columns).step_by(VECTORS * S::LANES) {
            let mut sums = [[S::zero(); VECTORS]; TILE];
            if adds {
                for (m, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = S::load(to.add(m * columns + column + v * S::LANES));
                    }
                }
            }
            for k in 0..depth {
                let b = b.add(k * columns + column);
                let mut vectors = [S::zero(); VECTORS];
                for (v, vector) in vectors.iter_mut().enumerate() {
                    *vector = S::load(b.add(v * S::LANES));
                }
                for (m, sums) in sums.iter_mut().enumerate() {
                    let a = S::broadcast(a.add(k * next + m * row));
                    for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                        *sum = S::mul_add(a, vector, *sum);
                    }
                }
            }
            for (m, sums) in sums.iter().enumerate() {
                for (v, &sum) in sums.iter().enumerate() {
                    S::store(to.add(m * columns + column + v * S::LANES), sum);
                }
            }
        }
    }
}

/// All lanes as one value, halves first.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
unsafe fn across<S: Simd>(x: S::V, f: impl Fn(f32, f32) -> f32) -> f32 {
    // SAFETY: a vector has no more lanes than the array that it is stored to.
    unsafe {
        let mut lanes = [0.0; 16];
        S::store(lanes.as_mut_ptr(), x);
        let mut half = S::LANES / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] = f(lanes[i], lanes[i + half]);
            }
            half /= 2;
        }
        lanes[0]
    }
}

#[cfg(test)]
mod tests;
