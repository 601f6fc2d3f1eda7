//! How the outputs of a map are divided among tiles.
//!
//! A dilation of `d` makes `d` interleaved axes (phases) of every axis, each with an ordinary
//! filter: nothing is moved, a tile steps by `d` pixels.

use super::filter::FilterKind;
use crate::conv::ConvSpec;
use crate::map::MapShape;

/// Phases shorter than seven points take one F(6, 3) instead of two F(4, 3), where the dilation is
/// at least this: a third of the products fewer, for the few layers with such rates.
const SIX_FROM_DILATION: usize = 6;

/// Part of an axis that one filter gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// First output.
    pub(super) start: usize,
    /// First input: outside the map where padding begins.
    pub(super) from: isize,
    /// Outputs that exist, a dilation apart.
    pub(super) count: usize,
}

/// The segments of one axis that one filter serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) filter: FilterKind,
    pub(super) segments: Vec<Segment>,
}

/// Divides an axis of `outputs` points.
pub(super) fn divide(outputs: usize, dilation: usize, padding: usize) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for phase in 0..dilation.min(outputs) {
        let points = (outputs - phase).div_ceil(dilation);
        let filter = choose(points, dilation, padding);
        let known = runs.iter().position(|run| run.filter == filter);
        let at = known.unwrap_or_else(|| {
            runs.push(Run {
                filter,
                segments: Vec::new(),
            });
            runs.len() - 1
        });
        for first in (0..points).step_by(filter.outputs()) {
            let start = phase + first * dilation;
            // The window's first tap, or the point itself for a filter that knows the padding.
            let back = padding as isize - (dilation * (1 - filter.before())) as isize;
            runs[at].segments.push(Segment {
                start,
                from: start as isize - back,
                count: filter.outputs().min(points - first),
            });
        }
    }
    runs
}

/// The filter for a phase of `points` points.
fn choose(points: usize, dilation: usize, padding: usize) -> FilterKind {
    // The short filters know that there is nothing but padding around the axis.
    match points {
        1 if padding == dilation => FilterKind::One,
        2 if padding == dilation => FilterKind::Two,
        3 if padding == dilation => FilterKind::Three,
        5 | 6 if dilation >= SIX_FROM_DILATION => FilterKind::Six,
        _ => FilterKind::Four,
    }
}

/// Tiles that share their filters, and so their weights: each vertical segment with each
/// horizontal one, for each picture of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TileClass {
    /// Filters down and right.
    pub(super) filters: [FilterKind; 2],
    pub(super) rows: Vec<Segment>,
    pub(super) columns: Vec<Segment>,
    pub(super) batch: usize,
}

impl TileClass {
    pub(super) fn products(&self) -> usize {
        products(self.filters)
    }

    pub(super) fn tiles(&self) -> usize {
        self.batch * self.rows.len() * self.columns.len()
    }

    /// Picture, row and column of the tiles from number `first` on, again and again.
    #[inline(always)]
    pub(super) fn from(&self, first: usize) -> TileWalk<'_> {
        let (rest, column) = (first / self.columns.len(), first % self.columns.len());
        let (image, row) = (rest / self.rows.len(), rest % self.rows.len());
        TileWalk {
            class: self,
            image,
            row,
            column,
        }
    }
}

/// A walk over tiles: right, down, to the next picture.
pub(super) struct TileWalk<'a> {
    class: &'a TileClass,
    image: usize,
    row: usize,
    column: usize,
}

impl TileWalk<'_> {
    /// The tile's picture, row and column.
    #[inline(always)]
    pub(super) fn next(&mut self) -> (usize, Segment, Segment) {
        let tile = (
            self.image,
            self.class.rows[self.row],
            self.class.columns[self.column],
        );
        self.column += 1;
        if self.column == self.class.columns.len() {
            (self.row, self.column) = (self.row + 1, 0);
        }
        if self.row == self.class.rows.len() {
            (self.image, self.row) = (self.image + 1, 0);
        }
        tile
    }
}

/// Products of a filter down and one right.
pub(super) fn products(filters: [FilterKind; 2]) -> usize {
    filters[0].products() * filters[1].products()
}

/// All tiles of an output map.
pub(super) fn classes(spec: &ConvSpec, output: MapShape) -> Vec<TileClass> {
    let axis = |outputs, axis: usize| divide(outputs, spec.dilation[axis], spec.padding[axis]);
    let columns = axis(output.width, 1);
    let rows = axis(output.height, 0);
    let pairs = rows
        .iter()
        .flat_map(|row| columns.iter().map(move |column| (row, column)));
    pairs
        .map(|(row, column)| TileClass {
            filters: [row.filter, column.filter],
            rows: row.segments.clone(),
            columns: column.segments.clone(),
            batch: output.batch,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(segmenta_properties::cases(256))]

        #[test]
        fn every_output_is_given_once(
            outputs in 1_usize..200, dilation in 1_usize..40, padding in 0_usize..40,
        ) {
            let mut given = vec![0; outputs];
            for run in divide(outputs, dilation, padding) {
                for segment in run.segments {
                    prop_assert!((1..=run.filter.outputs()).contains(&segment.count));
                    for i in 0..segment.count {
                        given[segment.start + i * dilation] += 1;
                    }
                }
            }
            prop_assert!(given.iter().all(|&n| n == 1));
        }
    }

    #[test]
    fn aspp_on_a_map_of_65() {
        let filters = |dilation| {
            let runs = divide(65, dilation, dilation);
            runs.iter().map(|r| r.filter).collect::<Vec<_>>()
        };
        assert_eq!(filters(12), [FilterKind::Six]);
        assert_eq!(filters(24), [FilterKind::Three, FilterKind::Two]);
        assert_eq!(filters(36), [FilterKind::Two, FilterKind::One]);
        assert_eq!(filters(2), [FilterKind::Four]);
    }
}
