//! Gradients of attention.
//!
//! With `P = softmax(S)`, `S = scale · QKᵀ`, and `dO` the gradient of the output: `dV = Pᵀ dO`,
//! `dP = dO Vᵀ`, `dS = P ∘ (dP − Σ P ∘ dP)`, `dQ = scale · dS K`, `dK = scale · dSᵀ Q`.
//!
//! Contract: `P` is computed again from queries and keys (as in Dao et al. 2022, arXiv:2205.14135), so that
//! what is kept between the passes does not grow with queries times keys. Strips of queries go through all
//! five products with their rows of `P` and `dS` in cache; each part of the queries of a picture and head has
//! its own sums for keys and values, added up in the order of the parts. How many parts there are depends on
//! the shapes alone. Lanes that fill a gradient's last block up become 0.

mod strip;
pub(super) mod windowed;

use self::strip::{Gradients, Measure, Softmax, Strip};
use super::mask::Hidden;
use super::{Extents, TILE, Target, channel_of};
use crate::isa::Isa;
use crate::map::{Map, MapMut, MapShape, assert_same, one_isa};
use crate::shared::{Shared, in_parallel, part};

/// Queries that add to the sums of keys and values together: whole tiles.
const STRIP: usize = 4 * TILE;
/// Parts that all queries of a batch are cut into, if there are enough of them.
const PARTS: usize = 32;

/// How the memory is laid out for one head of one picture.
#[derive(Clone, Copy)]
struct Rooms {
    extents: Extents,
    padded_depth: usize,
    /// Keys, filled up to whole tiles.
    rows: usize,
    /// Parts of the queries.
    parts: usize,
}

impl Rooms {
    fn new(isa: Isa, shapes: [MapShape; 3], heads: usize) -> Self {
        let extents = Extents::new(isa, shapes, heads);
        let most = extents.queries.div_ceil(4 * STRIP);
        Self {
            extents,
            padded_depth: extents.depth.next_multiple_of(super::VECTORS * isa.lanes()),
            rows: extents.keys.next_multiple_of(TILE),
            parts: PARTS.div_ceil(shapes[0].batch * heads).min(most),
        }
    }

    /// Keys by channel and by key, values by channel.
    fn packed(&self) -> [usize; 3] {
        let Extents {
            depth,
            width,
            keys,
            padded_keys,
            ..
        } = self.extents;
        [
            depth * padded_keys,
            keys * self.padded_depth,
            width * padded_keys,
        ]
    }

    /// Packs one head of one picture, of the pixels from `first` on: see `packed`.
    fn pack_head(
        self,
        [keys, values]: [Map<'_>; 2],
        [image, head]: [usize; 2],
        first: usize,
        packed: &mut [f32],
    ) {
        packed.fill(0.0);
        let [by_channel, by_key, _] = self.packed();
        let (keys_by_channel, rest) = packed.split_at_mut(by_channel);
        let (keys_by_key, values_by_channel) = rest.split_at_mut(by_key);
        let Extents {
            depth,
            width,
            keys: count,
            padded_keys,
            ..
        } = self.extents;
        let pixels = |map, channel| channel_of(map, image, channel).skip(first).take(count);
        for (i, row) in keys_by_channel.chunks_exact_mut(padded_keys).enumerate() {
            let from = || pixels(keys, head * depth + i);
            row.iter_mut()
                .zip(from())
                .for_each(|(to, from)| *to = *from);
            let column = keys_by_key.iter_mut().skip(i).step_by(self.padded_depth);
            column.zip(from()).for_each(|(to, from)| *to = *from);
        }
        for (i, row) in values_by_channel.chunks_exact_mut(padded_keys).enumerate() {
            let from = pixels(values, head * width + i);
            row.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        }
    }

    /// Sums of one part: for keys and for values.
    fn sums(&self) -> [usize; 2] {
        [self.padded_depth, self.extents.padded_width].map(|width| self.rows * width)
    }

    /// Values of one head of one picture: what is packed, then the sums of each part.
    fn each(&self) -> usize {
        self.packed().iter().sum::<usize>() + self.parts * self.sums().iter().sum::<usize>()
    }
}

/// Values of scratch memory that [`attention_gradient`] needs for maps of these shapes: queries, keys, values.
///
/// # Panics
/// If the shapes do not fit.
pub fn attention_gradient_scratch(isa: Isa, shapes: [MapShape; 3], heads: usize) -> usize {
    shapes[0].batch * heads * Rooms::new(isa, shapes, heads).each()
}

/// Values of scratch memory that [`position_attention_gradient`] needs.
///
/// # Panics
/// If the shapes do not fit.
pub fn position_attention_gradient_scratch(isa: Isa, shapes: [MapShape; 3]) -> usize {
    attention_gradient_scratch(isa, shapes, 1)
}

/// The gradients of the queries, keys and values of [`attention`](super::attention), whose output has the
/// gradient `dy`.
///
/// # Panics
/// If the shapes do not fit, or the scratch memory is too small.
pub fn attention_gradient(
    maps: [Map<'_>; 3],
    dy: Map<'_>,
    heads: usize,
    gradients: [&mut MapMut<'_>; 3],
    scratch: &mut [f32],
) {
    Pass::of_heads(maps, dy, heads).run(gradients, scratch);
}

/// Values of scratch memory that [`masked_attention_gradient`] needs.
///
/// # Panics
/// If the shapes do not fit.
pub fn masked_attention_gradient_scratch(
    isa: Isa,
    shapes: [MapShape; 3],
    mask: MapShape,
    heads: usize,
) -> usize {
    let extents = Extents::new(isa, shapes, heads);
    attention_gradient_scratch(isa, shapes, heads) + Hidden::len(extents, mask)
}

/// The gradients of the queries, keys and values of [`masked_attention`](super::masked_attention), whose output has the
/// gradient `dy`; the mask has none.
///
/// # Panics
/// If the shapes do not fit, or the scratch memory is too small.
pub fn masked_attention_gradient(
    maps: [Map<'_>; 3],
    mask: Map<'_>,
    dy: Map<'_>,
    heads: usize,
    gradients: [&mut MapMut<'_>; 3],
    scratch: &mut [f32],
) {
    one_isa([maps[0].isa(), mask.isa()]);
    let mut pass = Pass::of_heads(maps, dy, heads);
    let own = attention_gradient_scratch(pass.isa, maps.map(|map| map.shape()), heads);
    let (own, rest) = scratch.split_at_mut(own);
    let batch = maps[0].shape().batch;
    pass.hidden = Some(Hidden::pack(mask, pass.rooms.extents, batch, rest));
    pass.run(gradients, own);
}

/// The gradients of the queries, keys and values of [`position_attention`](super::position_attention), whose
/// output has the gradient `dy`.
///
/// # Panics
/// If the shapes do not fit, or the scratch memory is too small.
pub fn position_attention_gradient(
    maps: [Map<'_>; 3],
    dy: Map<'_>,
    gradients: [&mut MapMut<'_>; 3],
    scratch: &mut [f32],
) {
    Pass::new(maps, dy, 1, 1.0, true).run(gradients, scratch);
}

/// All that is read.
struct Pass<'a> {
    isa: Isa,
    maps: [Map<'a>; 3],
    dy: Map<'a>,
    heads: usize,
    scale: f32,
    /// Whether one softmax goes over all pairs of a picture, and the output is read transposed: MA-Net's.
    over_all: bool,
    /// The keys that queries do not see.
    hidden: Option<Hidden<'a>>,
    rooms: Rooms,
}

impl<'a> Pass<'a> {
    fn of_heads(maps: [Map<'a>; 3], dy: Map<'a>, heads: usize) -> Self {
        let depth = maps[0].shape().channels / heads;
        Self::new(maps, dy, heads, 1.0 / (depth as f32).sqrt(), false)
    }

    fn new(maps: [Map<'a>; 3], dy: Map<'a>, heads: usize, scale: f32, over_all: bool) -> Self {
        let [queries, keys, values] = maps.map(|m| m.isa());
        let isa = one_isa([queries, keys, values, dy.isa()]);
        let rooms = Rooms::new(isa, maps.map(|m| m.shape()), heads);
        let output = MapShape {
            channels: heads * rooms.extents.width,
            ..maps[0].shape()
        };
        assert_same(output, dy.shape());
        Self {
            isa,
            maps,
            dy,
            heads,
            scale,
            over_all,
            hidden: None,
            rooms,
        }
    }

    fn run(&self, gradients: [&mut MapMut<'_>; 3], scratch: &mut [f32]) {
        for (map, gradient) in self.maps.iter().zip(&gradients) {
            assert_same(map.shape(), gradient.shape());
            one_isa([self.isa, gradient.isa()]);
        }
        let (rooms, heads) = (self.rooms, self.heads);
        let all = self.maps[0].shape().batch * heads;
        let (packed, sums) =
            scratch[..all * rooms.each()].split_at_mut(all * rooms.packed().iter().sum::<usize>());
        self.pack(packed);
        let packed: Vec<&[f32]> = packed.chunks_exact(packed.len() / all).collect();

        let found = if self.over_all {
            self.measure(&packed)
        } else {
            Vec::new()
        };
        let [queries, keys, values] = gradients.map(|map| Target::new(map));
        let each = sums.len() / all / rooms.parts;
        let shared = Shared::new(sums);
        in_parallel(all * rooms.parts, |task| {
            let (at, index) = (task / rooms.parts, task % rooms.parts);
            let (image, head) = (at / heads, at % heads);
            // SAFETY: the sums of a part belong to the one task that has it.
            let sums = unsafe { std::slice::from_raw_parts_mut(shared.at(task * each), each) };
            sums.fill(0.0);
            let softmax = found.get(image).copied().unwrap_or(Softmax::OfQuery);
            let mut strip = Strip::new(rooms);
            self.each_strip(&mut strip, [image, head], index, |strip, query, count| {
                self.isa.run(Gradients {
                    rooms,
                    packed: packed[at],
                    strip,
                    count,
                    hidden: self
                        .hidden
                        .map_or(&[][..], |hidden| hidden.from(image, query)),
                    softmax,
                    sums,
                });
                for (m, row) in (0..count).zip(strip.queries.chunks_exact(rooms.padded_depth)) {
                    let row = row[..rooms.extents.depth].iter().map(|d| d * self.scale);
                    // SAFETY: a head's channels of a query are written by the one task that has it.
                    unsafe { queries.write(image, query + m, head * rooms.extents.depth, row) }
                }
            });
        });
        self.add_up(sums, [keys, values]);
    }

    /// Packs keys `[depth][keys]` and `[keys][depth]`, values `[width][keys]`, filled up with zeros.
    fn pack(&self, packed: &mut [f32]) {
        let [_, keys, values] = self.maps;
        let (rooms, heads) = (self.rooms, self.heads);
        let all = keys.shape().batch * heads;
        let each = packed.len() / all;
        let shared = Shared::new(packed);
        in_parallel(all, |task| {
            let (image, head) = (task / heads, task % heads);
            // SAFETY: a head of a picture is packed by the one task that has its index.
            let packed = unsafe { std::slice::from_raw_parts_mut(shared.at(task * each), each) };
            rooms.pack_head([keys, values], [image, head], 0, packed);
        });
    }

    /// Fills `strip` with each strip of a part of the queries in turn, and has `work` done on it; `work` hears
    /// which query is the first, and how many there are.
    fn each_strip(
        &self,
        strip: &mut Strip,
        [image, head]: [usize; 2],
        index: usize,
        mut work: impl FnMut(&mut Strip, usize, usize),
    ) {
        let Rooms {
            extents,
            padded_depth,
            parts,
            ..
        } = self.rooms;
        let Extents {
            depth,
            width,
            queries,
            padded_width,
            ..
        } = extents;
        for tile in part(queries.div_ceil(STRIP), parts, index) {
            let first = tile * STRIP;
            let count = STRIP.min(queries - first);
            strip.queries.fill(0.0);
            strip.output_gradients.fill(0.0);
            for (m, row) in (0..count).zip(strip.queries.chunks_exact_mut(padded_depth)) {
                for (i, to) in row.iter_mut().enumerate().take(depth) {
                    *to = value(self.maps[0], image, head * depth + i, first + m) * self.scale;
                }
            }
            for (m, row) in (0..count).zip(strip.output_gradients.chunks_exact_mut(padded_width)) {
                for (i, to) in row.iter_mut().enumerate().take(width) {
                    let [channel, pixel] = if self.over_all {
                        let place = (first + m) * width + i;
                        [place / queries, place % queries]
                    } else {
                        [head * width + i, first + m]
                    };
                    *to = value(self.dy, image, channel, pixel);
                }
            }
            work(strip, first, count);
        }
    }

    /// What the softmax over all pairs of each picture needs to know of all of them.
    fn measure(&self, packed: &[&[f32]]) -> Vec<Softmax> {
        let (rooms, batch) = (self.rooms, self.maps[0].shape().batch);
        let queries = rooms.extents.queries;
        // Of each query: the largest product, the sum of the weights about it, and the sum of weights times `dP`.
        let mut found = vec![0.0; batch * queries * 3];
        let shared = Shared::new(&mut found);
        in_parallel(batch * rooms.parts, |task| {
            let (image, index) = (task / rooms.parts, task % rooms.parts);
            let mut strip = Strip::new(rooms);
            self.each_strip(&mut strip, [image, 0], index, |strip, query, count| {
                // SAFETY: a query's place is written by the one task whose part it is in.
                let to = unsafe {
                    let start = shared.at((image * queries + query) * 3);
                    std::slice::from_raw_parts_mut(start, count * 3)
                };
                self.isa.run(Measure {
                    rooms,
                    packed: packed[image],
                    strip,
                    to,
                });
            });
        });
        let of_image = |rows: &[f32]| {
            let rows = || rows.chunks_exact(3);
            let largest = rows().fold(
                f32::NEG_INFINITY,
                |most, row| {
                    if row[0] > most { row[0] } else { most }
                },
            );
            let total = |which: usize| -> f64 {
                let weight = |row: &[f32]| f64::from(row[0] - largest).exp();
                rows().map(|row| f64::from(row[which]) * weight(row)).sum()
            };
            Softmax::OfAll {
                largest,
                share: (1.0 / total(1)) as f32,
                dot: (total(2) / total(1)) as f32,
            }
        };
        found.chunks_exact(queries * 3).map(of_image).collect()
    }

    /// Adds the parts' sums up and writes the gradients of keys and values.
    fn add_up(&self, sums: &mut [f32], targets: [Target<'_>; 2]) {
        let (rooms, heads) = (self.rooms, self.heads);
        let all = self.maps[0].shape().batch * heads;
        let each = sums.len() / all;
        let shared = Shared::new(sums);
        in_parallel(all, |task| {
            let (image, head) = (task / heads, task % heads);
            // SAFETY: a head's sums are added up by the one task that has its index.
            let sums = unsafe { std::slice::from_raw_parts_mut(shared.at(task * each), each) };
            let (total, others) = sums.split_at_mut(each / rooms.parts);
            for other in others.chunks_exact(total.len()) {
                total
                    .iter_mut()
                    .zip(other)
                    .for_each(|(to, more)| *to += more);
            }
            let (of_keys, of_values) = total.split_at(rooms.sums()[0]);
            let Extents { depth, width, .. } = rooms.extents;
            let kinds = [
                (of_keys, rooms.padded_depth, depth, targets[0]),
                (of_values, rooms.extents.padded_width, width, targets[1]),
            ];
            for (rows, padded, channels, target) in kinds {
                let rows = rows.chunks_exact(padded).take(rooms.extents.keys);
                for (key, row) in rows.enumerate() {
                    let row = row[..channels].iter().copied();
                    // SAFETY: a head's channels of a key are written by the one task that has it.
                    unsafe { target.write(image, key, head * channels, row) }
                }
            }
        });
    }
}

fn value(map: Map<'_>, image: usize, channel: usize, pixel: usize) -> f32 {
    let lanes = map.isa().lanes();
    map.block_slice(image, channel / lanes)[pixel * lanes + channel % lanes]
}
