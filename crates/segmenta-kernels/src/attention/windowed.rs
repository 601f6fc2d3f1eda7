//! Attention within windows, with a bias for each distance (Liu et al. 2021, arXiv:2103.14030).
//!
//! Contract: maps as [`to_windows`](crate::to_windows) lays them out, a run of as many pixels as a window has after
//! another, rows of windows as rows. Biases are a map of as many channels as heads, `2 · rows − 1` by `2 · columns − 1`
//! pixels, of which the first picture is read. A window's pixels attend to each other as in
//! [`attention`](super::attention), with the bias of each query's and key's distance added before the softmax; where
//! the map was rolled, with 100 less for those that only the roll brought together. A window may begin with a class
//! token, which has three biases: as a query, as a key, and for itself. Of an error and what fills blocks up, `attention`
//! says the same.

pub use super::gradient::windowed::{window_attention_gradient, window_attention_gradient_scratch};

use super::{Extents, Rows, TILE, Target, VECTORS, channel_of, pack_head};
use crate::isa::Isa;
use crate::map::{Map, MapMut, MapShape, one_isa};
use crate::shared::in_parallel;

/// Biases of a class token.
pub(super) const TOKEN_BIASES: usize = 3;
/// What is taken off where two pixels are neighbours only by the roll: as much as Swin's code takes.
const APART: f32 = 100.0;

/// Windows, and what each query's and key's places add.
pub(super) struct Windows {
    /// Of a window.
    pub(super) rows: usize,
    pub(super) columns: usize,
    shift: usize,
    /// Windows each way.
    pub(super) grid: [usize; 2],
    /// A table a head, its values from the last to the first: those of a query stand in the order of keys then.
    tables: Vec<Vec<f32>>,
    /// A class token's biases for each head: of it as a query, of it as a key, and of it for itself.
    tokens: Option<Vec<[f32; 3]>>,
}

impl Windows {
    /// # Panics
    /// If maps of that shape are no windows of what the table has distances for.
    pub(super) fn new(
        map: MapShape,
        (table, tokens): (Map<'_>, Option<Map<'_>>),
        heads: usize,
        shift: usize,
    ) -> Self {
        let of_table = table.shape();
        assert_eq!(of_table.channels, heads, "biases for each head");
        let [rows, columns] = [of_table.height, of_table.width].map(|side| {
            assert!(side % 2 == 1, "distances both ways");
            side.div_ceil(2)
        });
        let pixels = rows * columns + usize::from(tokens.is_some());
        assert!(map.width.is_multiple_of(pixels), "rows of whole windows");
        let table_of = |head| {
            let mut values: Vec<f32> = channel_of(table, 0, head).copied().collect();
            values.reverse();
            values
        };
        Self {
            rows,
            columns,
            shift,
            grid: [map.height, map.width / pixels],
            tables: (0..heads).map(table_of).collect(),
            tokens: tokens.map(|tokens| {
                let shape = tokens.shape();
                let expected = (heads, TOKEN_BIASES);
                assert_eq!(
                    (shape.channels, shape.pixels()),
                    expected,
                    "biases of a token"
                );
                assert_eq!(shift, 0, "windows with a token are not rolled");
                let of = |head| {
                    let mut values = channel_of(tokens, 0, head).copied();
                    [(); TOKEN_BIASES].map(|()| values.next().unwrap_or_default())
                };
                (0..heads).map(of).collect()
            }),
        }
    }

    /// Pixels of a window.
    pub(super) fn pixels(&self) -> usize {
        self.rows * self.columns + self.lead()
    }

    /// Pixels before those of the map: a class token.
    fn lead(&self) -> usize {
        usize::from(self.tokens.is_some())
    }

    /// The place in a reversed table of a query's bias for the first key of a row of keys.
    fn first(&self, query: usize, row: usize) -> usize {
        let (y, x) = (query / self.columns, query % self.columns);
        (self.rows - 1 - y + row) * (2 * self.columns - 1) + self.columns - 1 - x
    }

    /// Which side of the roll's seams a pixel of a window is on.
    fn region(&self, window: [usize; 2], pixel: usize) -> [bool; 2] {
        let (y, x) = (pixel / self.columns, pixel % self.columns);
        let beyond = |axis: usize, at: usize, side: usize| {
            window[axis] + 1 == self.grid[axis] && at + self.shift >= side
        };
        [beyond(0, y, self.rows), beyond(1, x, self.columns)]
    }

    /// Writes the biases of a query for all keys of its window.
    pub(super) fn biases(&self, head: usize, window: [usize; 2], query: usize, to: &mut [f32]) {
        let table = &self.tables[head];
        let (of_token, to) = to[..self.pixels()].split_at_mut(self.lead());
        if let (Some(tokens), [of_token]) = (&self.tokens, of_token) {
            let [as_query, as_key, own] = tokens[head];
            if query == 0 {
                *of_token = own;
                to.fill(as_query);
                return;
            }
            *of_token = as_key;
        }
        let query = query - self.lead();
        for (row, to) in to.chunks_exact_mut(self.columns).enumerate() {
            to.copy_from_slice(&table[self.first(query, row)..][..self.columns]);
        }
        if self.shift > 0 {
            let own = self.region(window, query);
            for (key, to) in to.iter_mut().enumerate() {
                if self.region(window, key) != own {
                    *to -= APART;
                }
            }
        }
    }

    /// Adds a query's gradients of its biases to those of a reversed table, and of a token behind it.
    pub(super) fn give(&self, query: usize, slopes: &[f32], sums: &mut [f32]) {
        let (table, token) = sums.split_at_mut(self.tables[0].len());
        let (of_token, slopes) = slopes[..self.pixels()].split_at(self.lead());
        if let ([of_token], [as_query, as_key, own]) = (of_token, token) {
            if query == 0 {
                *own += of_token;
                *as_query += slopes.iter().sum::<f32>();
                return;
            }
            *as_key += of_token;
        }
        let query = query - self.lead();
        for (row, slopes) in slopes.chunks_exact(self.columns).enumerate() {
            let to = &mut table[self.first(query, row)..][..self.columns];
            to.iter_mut()
                .zip(slopes)
                .for_each(|(to, slope)| *to += slope);
        }
    }
}

impl Extents {
    /// Of one window.
    pub(super) fn of_window(isa: Isa, shapes: [MapShape; 3], heads: usize, pixels: usize) -> Self {
        let all = Self::new(isa, shapes, heads);
        assert_eq!(all.queries, all.keys, "as many queries as keys");
        Self {
            queries: pixels,
            keys: pixels,
            padded_keys: pixels.next_multiple_of(VECTORS * isa.lanes()),
            ..all
        }
    }
}

/// Attention within windows; see the contract above. `biases` are those of distances and, where windows begin with a
/// class token, its own, three pixels of them; `shift` is what the map was rolled by.
///
/// # Panics
/// If the shapes do not fit.
pub fn window_attention(
    maps: [Map<'_>; 3],
    biases: (Map<'_>, Option<Map<'_>>),
    [heads, shift]: [usize; 2],
    output: &mut MapMut<'_>,
) {
    let [queries, keys, values] = maps.map(|m| m.isa());
    let (table, tokens) = biases;
    let isa = one_isa([queries, keys, values, table.isa(), output.isa()]);
    one_isa([isa, tokens.map_or(isa, |tokens| tokens.isa())]);
    let windows = Windows::new(maps[0].shape(), biases, heads, shift);
    let extents = Extents::of_window(isa, maps.map(|m| m.shape()), heads, windows.pixels());
    let shape = output.shape();
    let expected = MapShape {
        channels: heads * extents.width,
        ..maps[0].shape()
    };
    assert_eq!(shape, expected, "output of an attention");
    let scale = 1.0 / (extents.depth as f32).sqrt();
    let [grid_rows, grid_columns] = windows.grid;
    let target = Target::new(output);
    in_parallel(shape.batch * heads * grid_rows, |task| {
        let (image, head) = (task / grid_rows / heads, task / grid_rows % heads);
        let grid_row = task % grid_rows;
        let mut packed = vec![0.0; extents.packed()];
        let mut rows = Rows::new(extents);
        rows.biases = vec![0.0; TILE * extents.padded_keys];
        for column in 0..grid_columns {
            rows.start = (grid_row * grid_columns + column) * windows.pixels();
            let own = [maps[1], maps[2]];
            pack_head(own, [image, head], rows.start, extents, &mut packed);
            for query in (0..extents.queries).step_by(TILE) {
                let count = TILE.min(extents.queries - query);
                for (m, to) in rows
                    .biases
                    .chunks_exact_mut(extents.padded_keys)
                    .enumerate()
                {
                    // Beyond the last query, it once more.
                    let query = (query + m).min(extents.queries - 1);
                    windows.biases(head, [grid_row, column], query, to);
                }
                rows.compute(maps[0], [image, head], query, scale, &packed, &[]);
                for m in 0..count {
                    let share = 1.0 / rows.sums[m];
                    let row = &rows.values[m * extents.padded_width..][..extents.width];
                    let row = row.iter().map(|value| value * share);
                    let pixel = rows.start + query + m;
                    // SAFETY: a head's channels of a pixel are written by the one task that has its window.
                    unsafe { target.write(image, pixel, head * extents.width, row) }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests;
