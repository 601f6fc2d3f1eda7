//! Tiles put together from the top left, their seams blended.

use std::ops::Range;

use segmenta_image::Rect;
use segmenta_runtime::Tensor;

use super::Span;
use crate::error::Error;

/// A picture being put together tile by tile, from the top left.
pub(super) struct Mosaic<F> {
    width: usize,
    /// What the tiles above say of the seam below them: `[class][row of the seam][column]`.
    below: Vec<f32>,
    /// Gets every part that is final.
    finish: F,
}

impl<F: FnMut(Tile)> Mosaic<F> {
    pub(super) fn new(width: usize, finish: F) -> Self {
        Self {
            width,
            below: Vec::new(),
            finish,
        }
    }

    /// One row of tiles; `logits` gives those of an area, as large as it.
    pub(super) fn row(
        &mut self,
        rows: &Span,
        columns: &[Span],
        mut logits: impl FnMut(Rect) -> Result<Tensor, Error>,
    ) -> Result<(), Error> {
        // What the tile to the left says of the seam between: `[class][row][column of the seam]`.
        let mut beside = Vec::new();
        for columns in columns {
            let [ys, xs] = [&rows.tile, &columns.tile];
            let logits = logits(Rect::new(xs.start, ys.start, xs.len(), ys.len()))?;
            let mut tile = Tile::cut(&logits, rows, columns);
            tile.fade_columns(columns, &mut beside);
            self.below
                .resize(tile.classes * rows.before.max(rows.after) * self.width, 0.0);
            tile.fade_rows(rows, columns.finished(), &mut self.below, self.width);
            (self.finish)(tile);
        }
        Ok(())
    }
}

/// The values of a part of the picture.
pub(super) struct Tile {
    /// `[class][row][column]`.
    pub(super) values: Vec<f32>,
    pub(super) classes: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Where its first row and column are in the picture.
    top: usize,
    left: usize,
}

/// The share of the later tile at a pixel of a seam.
fn share(pixel: usize, seam: usize) -> f32 {
    (pixel as f32 + 0.5) / seam as f32
}

impl Tile {
    /// The part of a tile's logits that is used.
    fn cut(logits: &Tensor, rows: &Span, columns: &Span) -> Self {
        let inside =
            |span: &Span| span.used.start - span.tile.start..span.used.end - span.tile.start;
        let (ys, xs) = (inside(rows), inside(columns));
        let mut values = Vec::with_capacity(logits.shape.channels * ys.len() * xs.len());
        for plane in logits.data.chunks_exact(logits.shape.pixels()) {
            for row in plane
                .chunks_exact(logits.shape.width)
                .skip(ys.start)
                .take(ys.len())
            {
                values.extend_from_slice(&row[xs.clone()]);
            }
        }
        Self {
            values,
            classes: logits.shape.channels,
            rows: ys.len(),
            columns: xs.len(),
            top: rows.finished().start,
            left: columns.finished().start,
        }
    }

    /// Copies a plane of this part to its place in one of a picture of `width` columns.
    pub(super) fn paste<T: Copy>(&self, plane: &[T], whole: &mut [T], width: usize) {
        for (row, values) in plane.chunks_exact(self.columns).enumerate() {
            whole[(self.top + row) * width + self.left..][..self.columns].copy_from_slice(values);
        }
    }

    /// Adds what the tile to the left said, and keeps for the one to the right what it shares.
    fn fade_columns(&mut self, span: &Span, beside: &mut Vec<f32>) {
        let said = std::mem::take(beside);
        let kept = self.columns - span.after;
        let mut values = Vec::with_capacity(self.classes * self.rows * kept);
        for (index, row) in self.values.chunks_exact_mut(self.columns).enumerate() {
            let said = said.iter().skip(index * span.before);
            for (x, (value, said)) in row[..span.before].iter_mut().zip(said).enumerate() {
                *value = said + *value * share(x, span.before);
            }
            let (finished, shared) = row.split_at(kept);
            values.extend_from_slice(finished);
            let fading = shared.iter().enumerate();
            beside.extend(fading.map(|(x, value)| value * (1.0 - share(x, span.after))));
        }
        self.values = values;
        self.columns = kept;
    }

    /// The same with the tiles above and below, whose seam runs across the whole picture.
    fn fade_rows(&mut self, span: &Span, xs: Range<usize>, below: &mut [f32], width: usize) {
        let seam_rows = span.before.max(span.after);
        let kept = self.rows - span.after;
        let mut values = Vec::with_capacity(self.classes * kept * self.columns);
        for (class, plane) in self
            .values
            .chunks_exact_mut(self.rows * self.columns)
            .enumerate()
        {
            let at = |y: usize| (class * seam_rows + y) * width + xs.start;
            for (y, row) in plane
                .chunks_exact_mut(self.columns)
                .take(span.before)
                .enumerate()
            {
                for (value, said) in row.iter_mut().zip(&below[at(y)..]) {
                    *value = said + *value * share(y, span.before);
                }
            }
            let (finished, shared) = plane.split_at(kept * self.columns);
            values.extend_from_slice(finished);
            for (y, row) in shared.chunks_exact(self.columns).enumerate() {
                for (said, value) in below[at(y)..].iter_mut().zip(row) {
                    *said = value * (1.0 - share(y, span.after));
                }
            }
        }
        self.values = values;
        self.rows = kept;
    }
}
