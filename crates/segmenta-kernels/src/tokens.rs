//! A map's pixels as tokens of one row after a class token, and back.
//!
//! Contract: `tokens` writes token 0 as the class token plus its embedding, token `1 + i` as pixel `i` of the
//! map, row by row, plus the embedding of its position. Embeddings are a blocked map of one row themselves,
//! for the map's size: [`Embeddings`] resizes those of another size. `patches` leaves token 0 out. Lanes that
//! fill the last block up hold what the parts hold there.

mod gradient;

pub use gradient::{embeddings_gradient, patches_gradient};

use crate::buffer::Buffer;
use crate::isa::Isa;
use crate::layout::blocked;
use crate::map::{Map, MapMut, MapShape, assert_same, one_isa};
use crate::shared::in_parallel;

/// A class token and embeddings of positions, for maps of one size.
#[derive(Clone, Debug)]
pub struct Embeddings {
    /// `[channels][1 + rows · columns]`, the class token added to the first.
    planar: Vec<f32>,
    grid: [usize; 2],
    channels: usize,
}

impl Embeddings {
    /// From PyTorch's `[1, 1, channels]` and `[1, 1 + rows · columns, channels]`.
    ///
    /// # Panics
    /// If there are not as many values.
    pub fn new(token: &[f32], positions: &[f32], grid: [usize; 2]) -> Self {
        let (channels, count) = (token.len(), 1 + grid[0] * grid[1]);
        assert_eq!(positions.len(), channels * count, "an embedding a position");
        let value = |index: usize| {
            let (channel, position) = (index / count, index % count);
            let first = if position == 0 { token[channel] } else { 0.0 };
            positions[position * channels + channel] + first
        };
        Self {
            planar: (0..channels * count).map(value).collect(),
            grid,
            channels,
        }
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.planar[..])
    }

    /// For a map of `size` rows and columns, in blocked layout: as they are, or resized as PyTorch's
    /// antialiased bicubic does.
    fn blocked(&self, isa: Isa, size: [usize; 2]) -> Buffer {
        let shape = MapShape::new(1, self.channels, 1, 1 + size[0] * size[1]);
        if size == self.grid {
            return blocked(isa, shape, &self.planar);
        }
        let [rows, columns] = [0, 1].map(|axis| cubic(self.grid[axis], size[axis]));
        let mut planar = Vec::with_capacity(shape.planar_len());
        for embeddings in self.planar.chunks_exact(1 + self.grid[0] * self.grid[1]) {
            planar.push(embeddings[0]);
            let across: Vec<f64> = embeddings[1..]
                .chunks_exact(self.grid[1])
                .flat_map(|row| columns.iter().map(|taps| taps.sum(|i| f64::from(row[i]))))
                .collect();
            for taps in &rows {
                planar.extend((0..size[1]).map(|x| taps.sum(|y| across[y * size[1] + x]) as f32));
            }
        }
        blocked(isa, shape, &planar)
    }
}

/// The old values that make a new one: the first, and how much each counts.
struct Taps {
    first: usize,
    weights: Vec<f64>,
}

impl Taps {
    fn sum(&self, value: impl Fn(usize) -> f64) -> f64 {
        let weighed = self.weights.iter().enumerate();
        weighed
            .map(|(i, weight)| weight * value(self.first + i))
            .sum()
    }
}

/// Cubic convolution (Keys 1981, a = −½) from `old` values to `new`, over the whole of what a new value
/// covers.
fn cubic(old: usize, new: usize) -> Vec<Taps> {
    let filter = |x: f64| match x.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
        _ => 0.0,
    };
    let scale = old as f64 / new as f64;
    let stretch = scale.max(1.0);
    let taps = |index: usize| {
        let centre = (index as f64 + 0.5) * scale;
        let first = (centre - 2.0 * stretch + 0.5).max(0.0) as usize;
        let end = ((centre + 2.0 * stretch + 0.5) as usize).min(old);
        let weights: Vec<f64> = (first..end)
            .map(|i| filter((i as f64 - centre + 0.5) / stretch))
            .collect();
        let sum: f64 = weights.iter().sum();
        Taps {
            first,
            weights: weights.iter().map(|w| w / sum).collect(),
        }
    };
    (0..new).map(taps).collect()
}

/// The same as terms (old, new, weight), in the order of the new.
pub(crate) fn cubic_terms(old: usize, new: usize) -> Vec<(usize, usize, f32)> {
    let all = cubic(old, new).into_iter().enumerate();
    all.flat_map(|(index, Taps { first, weights })| {
        let weights = weights.into_iter().enumerate();
        weights.map(move |(i, weight)| (first + i, index, weight as f32))
    })
    .collect()
}

/// The pixels of `x` as tokens.
///
/// # Panics
/// If the shapes do not fit.
pub fn tokens(x: Map<'_>, embeddings: &Embeddings, output: &mut MapMut<'_>) {
    let isa = one_isa([x.isa(), output.isa()]);
    let shape = x.shape();
    let row = MapShape::new(shape.batch, shape.channels, 1, 1 + shape.pixels());
    assert_same(row, output.shape());
    assert_eq!(
        embeddings.channels, shape.channels,
        "channels of the embeddings"
    );
    let added = embeddings.blocked(isa, [shape.height, shape.width]);
    let (blocks, lanes) = (x.blocks(), isa.lanes());
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(shape.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let to = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        to.copy_from_slice(&added[block * plane..][..plane]);
        let pixels = to[lanes..].iter_mut().zip(x.block_slice(image, block));
        pixels.for_each(|(to, from)| *to += from);
    });
}

/// The tokens of `x` but the first, as a map.
///
/// # Panics
/// If the shapes do not fit.
pub fn patches(x: Map<'_>, output: &mut MapMut<'_>) {
    let shape = output.shape();
    let row = MapShape::new(shape.batch, shape.channels, 1, 1 + shape.pixels());
    assert_same(row, x.shape());
    let lanes = one_isa([x.isa(), output.isa()]).lanes();
    let blocks = x.blocks();
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(shape.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let to = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        to.copy_from_slice(&x.block_slice(image, block)[lanes..]);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::to_planar;

    fn run(isa: Isa, shape: MapShape, x: &[f32], embeddings: &Embeddings) -> (Vec<f32>, Vec<f32>) {
        let row = MapShape::new(shape.batch, shape.channels, 1, 1 + shape.pixels());
        let source = blocked(isa, shape, x);
        let mut buffer = Buffer::zeros(row.blocked_len(isa));
        tokens(
            Map::whole(isa, shape, &source),
            embeddings,
            &mut MapMut::whole(isa, row, &mut buffer),
        );
        let mut back = Buffer::zeros(shape.blocked_len(isa));
        patches(
            Map::whole(isa, row, &buffer),
            &mut MapMut::whole(isa, shape, &mut back),
        );
        let mut got = (
            vec![0.0; shape.batch * row.planar_len()],
            vec![0.0; x.len()],
        );
        to_planar(Map::whole(isa, row, &buffer), &mut got.0);
        to_planar(Map::whole(isa, shape, &back), &mut got.1);
        got
    }

    #[test]
    fn there_and_back() {
        let shape = MapShape::new(2, 19, 3, 4);
        let x: Vec<f32> = (0..2 * shape.planar_len()).map(|i| i as f32).collect();
        let token: Vec<f32> = (0..19).map(|c| 1000.0 + c as f32).collect();
        let positions: Vec<f32> = (0..13 * 19).map(|i| (i % 7) as f32 * 0.5).collect();
        let embeddings = Embeddings::new(&token, &positions, [3, 4]);
        for isa in Isa::available() {
            let (row, map) = run(isa, shape, &x, &embeddings);
            for (index, &value) in row.iter().enumerate() {
                let (plane, position) = (index / 13, index % 13);
                let embedding = positions[position * 19 + plane % 19];
                let before = match position {
                    0 => token[plane % 19],
                    _ => x[plane * 12 + position - 1],
                };
                assert_eq!(value, before + embedding, "{isa}");
                if position > 0 {
                    assert_eq!(map[plane * 12 + position - 1], value, "{isa}");
                }
            }
        }
    }

    /// What torch.nn.functional.interpolate(mode="bicubic", antialias=True) gives for 0, 1, 4, 9, 16.
    #[test]
    fn positions_of_another_size_as_pytorch_resizes() {
        let of = |new: usize| -> Vec<f64> {
            let squares = |i: usize| (i * i) as f64;
            cubic(5, new).iter().map(|taps| taps.sum(squares)).collect()
        };
        let close = |got: &[f64], expected: &[f64]| {
            let mut pairs = got.iter().zip(expected);
            assert!(
                pairs.all(|(g, e)| (g - e).abs() < 1e-5),
                "{got:?}, expected {expected:?}"
            );
        };
        close(&of(3), &PYTORCH_3);
        close(&of(8), &PYTORCH_8);
    }

    const PYTORCH_3: [f64; 3] = [0.16923077, 4.19534884, 13.33846154];
    const PYTORCH_8: [f64; 8] = [
        -0.07195572,
        0.24374929,
        1.12890625,
        2.84765625,
        5.34765625,
        8.62890625,
        13.48818358,
        16.50369004,
    ];
}
