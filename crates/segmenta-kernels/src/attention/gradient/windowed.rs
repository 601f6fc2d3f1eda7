//! Gradients of attention within windows: those of [`attention`](super::super::attention), window by window, and of
//! the table of biases, to which each window and picture adds in their order.

use super::super::windowed::{TOKEN_BIASES, Windows};
use super::{Extents, Gradients, Rooms, STRIP, Softmax, Strip, TILE, Target, value};
use crate::isa::Isa;
use crate::map::{Map, MapMut, MapShape, assert_same, one_isa};
use crate::shared::{Shared, in_parallel};

impl Rooms {
    fn of_window(isa: Isa, shapes: [MapShape; 3], heads: usize, pixels: usize) -> Self {
        let extents = Extents::of_window(isa, shapes, heads, pixels);
        Self {
            extents,
            padded_depth: extents
                .depth
                .next_multiple_of(super::super::VECTORS * isa.lanes()),
            rows: pixels.next_multiple_of(TILE),
            parts: 1,
        }
    }
}

/// Values of scratch memory that [`window_attention_gradient`] needs for queries of this shape and such a table.
pub fn window_attention_gradient_scratch(queries: MapShape, table: MapShape) -> usize {
    queries.batch * queries.height * table.channels * (table.pixels() + TOKEN_BIASES)
}

/// The gradients of the queries, keys, values and biases of [`window_attention`](super::super::window_attention),
/// whose output has the gradient `dy`. Those of biases are the first picture's; those of others become 0.
///
/// # Panics
/// If the shapes do not fit, or the scratch memory is too small.
pub fn window_attention_gradient(
    maps: [Map<'_>; 3],
    biases: (Map<'_>, Option<Map<'_>>),
    dy: Map<'_>,
    [heads, shift]: [usize; 2],
    gradients: [&mut MapMut<'_>; 3],
    of_biases: (&mut MapMut<'_>, Option<&mut MapMut<'_>>),
    scratch: &mut [f32],
) {
    let [queries, keys, values] = maps.map(|m| m.isa());
    let (table, tokens) = biases;
    let (to_table, to_tokens) = of_biases;
    let isa = one_isa([queries, keys, values, table.isa(), dy.isa()]);
    for (map, gradient) in maps.iter().zip(&gradients) {
        assert_same(map.shape(), gradient.shape());
        one_isa([isa, gradient.isa()]);
    }
    assert_same(table.shape(), to_table.shape());
    one_isa([isa, to_table.isa()]);
    assert_eq!(tokens.is_some(), to_tokens.is_some(), "a token's gradient");
    if let (Some(tokens), Some(to)) = (tokens, &to_tokens) {
        assert_same(tokens.shape(), to.shape());
        one_isa([isa, tokens.isa(), to.isa()]);
    }
    let windows = Windows::new(maps[0].shape(), biases, heads, shift);
    let rooms = Rooms::of_window(isa, maps.map(|m| m.shape()), heads, windows.pixels());
    let extents = rooms.extents;
    let expected = MapShape {
        channels: heads * extents.width,
        ..maps[0].shape()
    };
    assert_same(expected, dy.shape());
    let scale = 1.0 / (extents.depth as f32).sqrt();
    let [grid_rows, grid_columns] = windows.grid;
    let of_token = if tokens.is_some() { TOKEN_BIASES } else { 0 };
    let entries = table.shape().pixels() + of_token;
    let batch = maps[0].shape().batch;
    // `[picture][head][row of windows][entry]`, reversed tables with a token's biases behind them.
    let tables = &mut scratch[..batch * heads * grid_rows * entries];
    tables.fill(0.0);
    let of_tables = Shared::new(tables);
    let [to_queries, to_keys, to_values] = gradients.map(|m| Target::new(m));
    in_parallel(batch * heads * grid_rows, |task| {
        let (image, head) = (task / grid_rows / heads, task / grid_rows % heads);
        let grid_row = task % grid_rows;
        // SAFETY: a task's own sums are written by it alone.
        let table =
            unsafe { std::slice::from_raw_parts_mut(of_tables.at(task * entries), entries) };
        let mut packed = vec![0.0; rooms.packed().iter().sum()];
        let mut sums = vec![0.0; rooms.sums().iter().sum()];
        let mut strip = Strip::new(rooms);
        strip.biases = vec![0.0; STRIP * extents.padded_keys];
        for column in 0..grid_columns {
            let start = (grid_row * grid_columns + column) * windows.pixels();
            rooms.pack_head([maps[1], maps[2]], [image, head], start, &mut packed);
            sums.fill(0.0);
            for first in (0..extents.queries).step_by(STRIP) {
                let count = STRIP.min(extents.queries - first);
                strip.queries.fill(0.0);
                strip.output_gradients.fill(0.0);
                for m in 0..count {
                    let pixel = start + first + m;
                    let row = &mut strip.queries[m * rooms.padded_depth..];
                    for (i, to) in row.iter_mut().enumerate().take(extents.depth) {
                        *to = value(maps[0], image, head * extents.depth + i, pixel) * scale;
                    }
                    let row = &mut strip.output_gradients[m * extents.padded_width..];
                    for (i, to) in row.iter_mut().enumerate().take(extents.width) {
                        *to = value(dy, image, head * extents.width + i, pixel);
                    }
                    let row = &mut strip.biases[m * extents.padded_keys..];
                    windows.biases(head, [grid_row, column], first + m, row);
                }
                isa.run(Gradients {
                    rooms,
                    packed: &packed,
                    strip: &mut strip,
                    count,
                    hidden: &[],
                    softmax: Softmax::OfQuery,
                    sums: &mut sums,
                });
                for m in 0..count {
                    let slopes = &strip.slopes[m * extents.padded_keys..];
                    windows.give(first + m, slopes, table);
                    let row = &strip.queries[m * rooms.padded_depth..][..extents.depth];
                    let row = row.iter().map(|d| d * scale);
                    let pixel = start + first + m;
                    // SAFETY: a head's channels of a pixel are written by the one task that has its window.
                    unsafe { to_queries.write(image, pixel, head * extents.depth, row) }
                }
            }
            let (of_keys, of_values) = sums.split_at(rooms.sums()[0]);
            for key in 0..extents.keys {
                let row = of_keys[key * rooms.padded_depth..][..extents.depth].iter();
                // SAFETY: as above.
                unsafe { to_keys.write(image, start + key, head * extents.depth, row.copied()) }
                let row = of_values[key * extents.padded_width..][..extents.width].iter();
                // SAFETY: as above.
                unsafe { to_values.write(image, start + key, head * extents.width, row.copied()) }
            }
        }
    });
    let all = Given {
        sums: tables,
        entries,
        heads,
        grid_rows,
    };
    let last = table.shape().pixels() - 1;
    all.give(to_table, |entry| last - entry);
    if let Some(to) = to_tokens {
        all.give(to, |bias| last + 1 + bias);
    }
}

/// What windows gave, `[picture][head][row of windows][entry]`.
struct Given<'a> {
    sums: &'a [f32],
    entries: usize,
    heads: usize,
    grid_rows: usize,
}

impl Given<'_> {
    /// Adds up, in f64 in their order, what was given to the entry that each pixel of `to` is.
    fn give(&self, to: &mut MapMut<'_>, entry: impl Fn(usize) -> usize) {
        let shape = to.shape();
        let target = Target::new(to);
        for (image, pixel) in
            (0..shape.batch).flat_map(|n| (0..shape.pixels()).map(move |p| (n, p)))
        {
            let sum = |head: usize| {
                let tasks = self.sums.chunks_exact(self.entries).enumerate();
                let own = tasks.filter(|(task, _)| task / self.grid_rows % self.heads == head);
                own.map(|(_, sums)| f64::from(sums[entry(pixel)]))
                    .sum::<f64>() as f32
            };
            let of_head = |head| if image == 0 { sum(head) } else { 0.0 };
            // SAFETY: no other thread writes.
            unsafe { target.write(image, pixel, 0, (0..self.heads).map(of_head)) }
        }
    }
}
