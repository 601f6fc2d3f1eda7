//! Gradients of tokens and of patches.
//!
//! A pixel's gradient is its token's, which is what [`patches`](super::patches) reads, and a patch's the
//! other way round. Embeddings have the gradients of all pictures' tokens at their position, added up in
//! f64 in the pictures' order; where they were resized, each takes its share of what it made, rows first.

use super::cubic;
use crate::map::{Map, MapMut, MapShape, assert_same, one_isa};
use crate::shared::in_parallel;

/// The gradients of the class token, `[channels]`, and the embeddings of positions, `[1 + rows · columns]
/// [channels]` for `grid`, of [`tokens`](super::tokens) from a map of `size` rows and columns, whose output
/// has the gradient `dy`.
///
/// # Panics
/// If the shapes do not fit.
pub fn embeddings_gradient(
    dy: Map<'_>,
    size: [usize; 2],
    grid: [usize; 2],
    [token, positions]: [&mut [f32]; 2],
) {
    let (shape, lanes) = (dy.shape(), dy.isa().lanes());
    let (channels, cells) = (shape.channels, grid[0] * grid[1]);
    assert_eq!(shape.pixels(), 1 + size[0] * size[1], "a token a pixel");
    assert_eq!(token.len(), channels, "one value a channel");
    assert_eq!(
        positions.len(),
        (1 + cells) * channels,
        "an embedding a position"
    );
    let taps = (size != grid).then(|| [0, 1].map(|axis| cubic(grid[axis], size[axis])));
    for channel in 0..channels {
        let mut sums = vec![0.0_f64; shape.pixels()];
        for image in 0..shape.batch {
            let block = dy.block_slice(image, channel / lanes);
            let values = block.iter().skip(channel % lanes).step_by(lanes);
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += f64::from(value);
            }
        }
        token[channel] = sums[0] as f32;
        positions[channel] = sums[0] as f32;
        let mut of_grid = vec![0.0; cells];
        match &taps {
            None => of_grid.copy_from_slice(&sums[1..]),
            Some([rows, columns]) => {
                let mut across = vec![0.0; grid[0] * size[1]];
                for (row, taps) in sums[1..].chunks_exact(size[1]).zip(rows) {
                    let each = across.chunks_exact_mut(size[1]).skip(taps.first);
                    for (to, weight) in each.zip(&taps.weights) {
                        to.iter_mut()
                            .zip(row)
                            .for_each(|(to, from)| *to += weight * from);
                    }
                }
                let rows = of_grid.chunks_exact_mut(grid[1]);
                for (to, from) in rows.zip(across.chunks_exact(size[1])) {
                    for (value, taps) in from.iter().zip(columns) {
                        let to = to[taps.first..].iter_mut();
                        to.zip(&taps.weights)
                            .for_each(|(to, weight)| *to += weight * value);
                    }
                }
            }
        }
        let to = positions[channels + channel..].iter_mut().step_by(channels);
        to.zip(of_grid).for_each(|(to, value)| *to = value as f32);
    }
}

/// The gradient of the input of [`patches`](super::patches): a row that begins with a token that nobody reads.
///
/// # Panics
/// If the shapes do not fit.
pub fn patches_gradient(dy: Map<'_>, dx: &mut MapMut<'_>) {
    let shape = dy.shape();
    let row = MapShape::new(shape.batch, shape.channels, 1, 1 + shape.pixels());
    assert_same(row, dx.shape());
    let lanes = one_isa([dy.isa(), dx.isa()]).lanes();
    let blocks = dy.blocks();
    let (image_stride, plane) = (dx.image_stride(), dx.plane());
    let shared = dx.shared();
    in_parallel(shape.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let to = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        to[..lanes].fill(0.0);
        to[lanes..].copy_from_slice(dy.block_slice(image, block));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};
    use crate::tokens::{Embeddings, patches, tokens};

    fn values(len: usize, seed: u32) -> Vec<f32> {
        let unit = |i: usize| (i as u32 ^ seed).wrapping_mul(0x9E37_79B9) as f32 / u32::MAX as f32;
        (0..len).map(|i| unit(i) - 0.5).collect()
    }

    /// Tokens are linear in the embeddings: `Σ dy · tokens(e) = Σ gradient(dy) · e` for any of them.
    #[test]
    fn embeddings_of_any_size() {
        let (grid, channels) = ([4, 5], 19);
        for size in [[4, 5], [3, 7], [9, 6], [1, 1]] {
            let shape = MapShape::new(2, channels, size[0], size[1]);
            let row = MapShape::new(2, channels, 1, 1 + shape.pixels());
            let [token, positions] = [(channels, 1), (21 * channels, 2)].map(|(n, s)| values(n, s));
            let dy = values(2 * row.planar_len(), 3);
            let embeddings = Embeddings::new(&token, &positions, grid);
            for isa in Isa::available() {
                let mut y = Buffer::zeros(row.blocked_len(isa));
                let x = Buffer::zeros(shape.blocked_len(isa));
                tokens(
                    Map::whole(isa, shape, &x),
                    &embeddings,
                    &mut MapMut::whole(isa, row, &mut y),
                );
                let mut planar = vec![0.0; dy.len()];
                to_planar(Map::whole(isa, row, &y), &mut planar);
                let mut of_token = vec![f32::NAN; token.len()];
                let mut of_positions = vec![f32::NAN; positions.len()];
                embeddings_gradient(
                    Map::whole(isa, row, &blocked(isa, row, &dy)),
                    size,
                    grid,
                    [&mut of_token, &mut of_positions],
                );
                let dot = |a: &[f32], b: &[f32]| -> f64 {
                    let pairs = a.iter().zip(b);
                    pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
                };
                let there = dot(&dy, &planar);
                let back = dot(&of_token, &token) + dot(&of_positions, &positions);
                assert!(
                    (there - back).abs() < 1e-4,
                    "{isa}, {size:?}: {there}, {back}"
                );
                // The class token's own: of all pictures.
                let first = |image: usize| dy[image * row.planar_len() + 7 * row.pixels()];
                assert!((of_token[7] - first(0) - first(1)).abs() < 1e-6, "{isa}");
            }
        }
    }

    #[test]
    fn patches_there_and_back() {
        let shape = MapShape::new(2, 19, 3, 4);
        let row = MapShape::new(2, 19, 1, 13);
        let dy = values(2 * shape.planar_len(), 5);
        for isa in Isa::available() {
            let mut dx = Buffer::zeros(row.blocked_len(isa));
            dx.fill(f32::NAN);
            let from = blocked(isa, shape, &dy);
            patches_gradient(
                Map::whole(isa, shape, &from),
                &mut MapMut::whole(isa, row, &mut dx),
            );
            let mut again = Buffer::zeros(shape.blocked_len(isa));
            patches(
                Map::whole(isa, row, &dx),
                &mut MapMut::whole(isa, shape, &mut again),
            );
            assert_eq!(again[..], from[..], "{isa}");
            let mut planar = vec![0.0; 2 * row.planar_len()];
            to_planar(Map::whole(isa, row, &dx), &mut planar);
            assert!(
                planar.iter().step_by(13).all(|&first| first == 0.0),
                "{isa}"
            );
        }
    }
}
