//! Where the picture lies on a network's map, and the mean of two maps of which one is of the mirror image.

use std::ops::Range;

use segmenta_image::{Geometry, Rect};
use segmenta_runtime::Tensor;

/// The part of a map that shows picture, in the map's pixels. The map shows the whole input, be it as large or
/// coarser: what lies at a share of the input's side lies at the same share of the map's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Part {
    /// Left, top, width, height; edges may lie between pixels.
    pub(crate) valid: [f64; 4],
    columns: usize,
    rows: usize,
}

impl Part {
    /// Of `valid` on an input of `(width, height)`, on a map of as many `[rows, columns]`.
    pub(crate) fn new(
        valid: Rect,
        (width, height): (usize, usize),
        [rows, columns]: [usize; 2],
    ) -> Self {
        // The product first: where the quotient is whole, it is exact.
        let on_map = |at: usize, map: usize, input: usize| (at * map) as f64 / input as f64;
        Self {
            valid: [
                on_map(valid.x, columns, width),
                on_map(valid.y, rows, height),
                on_map(valid.width, columns, width),
                on_map(valid.height, rows, height),
            ],
            columns,
            rows,
        }
    }

    /// The columns that lie inside, wholly or in part.
    pub(crate) fn columns(&self) -> Range<usize> {
        covered(self.valid[0], self.valid[2], self.columns)
    }

    /// The rows that do.
    pub(crate) fn rows(&self) -> Range<usize> {
        covered(self.valid[1], self.valid[3], self.rows)
    }

    /// All of these pixels, without their fractions.
    pub(crate) fn pixels(&self) -> [f64; 4] {
        let (xs, ys) = (self.columns(), self.rows());
        [xs.start, ys.start, xs.len(), ys.len()].map(|side| side as f64)
    }
}

fn covered(start: f64, extent: f64, side: usize) -> Range<usize> {
    let first = (start as usize).min(side - 1);
    first..((start + extent).ceil() as usize).clamp(first + 1, side)
}

/// The mean of a batch's maps and of those of the mirrored pictures, mirrored back. Pictures are mirrored, not
/// canvases, so only the part that shows picture is; where its edge lies within a pixel of the map, mirrored pixels lie
/// between pixels.
pub(crate) fn average_mirrored(
    map: &mut Tensor,
    mirrored: &Tensor,
    geometries: &[Geometry],
    input: (usize, usize),
) {
    let shape = map.shape;
    let planes = map.data.chunks_exact_mut(shape.pixels());
    let mirrored = mirrored.data.chunks_exact(shape.pixels());
    for (index, (plane, mirrored)) in planes.zip(mirrored).enumerate() {
        let valid = geometries[index / shape.channels].valid;
        let part = Part::new(valid, input, [shape.height, shape.width]);
        let (xs, ys) = (part.columns(), part.rows());
        let last = (xs.end - 1) as f64;
        let back = |x: usize| {
            let at = 2.0 * part.valid[0] + part.valid[2] - (x + 1) as f64;
            let at = at.clamp(xs.start as f64, last);
            (at as usize, at.fract() as f32)
        };
        let back: Vec<(usize, f32)> = xs.clone().map(back).collect();
        let rows = plane
            .chunks_exact_mut(shape.width)
            .zip(mirrored.chunks_exact(shape.width));
        for (row, mirrored) in rows.skip(ys.start).take(ys.len()) {
            for (value, &(at, fraction)) in row[xs.clone()].iter_mut().zip(&back) {
                let mut other = mirrored[at];
                if fraction > 0.0 {
                    other += (mirrored[at + 1] - other) * fraction;
                }
                *value = 0.5 * (*value + other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use segmenta_graph::Shape;

    use super::*;

    /// A map of one row.
    fn row(values: &[f32]) -> Tensor {
        Tensor {
            shape: Shape::new(1, 1, 1, values.len()),
            data: values.to_vec(),
        }
    }

    fn geometry(valid: Rect) -> Geometry {
        Geometry {
            valid,
            covers: valid,
            picture: (valid.width, valid.height),
        }
    }

    #[test]
    fn parts_lie_at_the_same_share_of_both() {
        let part = Part::new(Rect::new(0, 4, 51, 20), (64, 32), [8, 16]);
        assert_eq!(part.valid, [0.0, 1.0, 12.75, 5.0]);
        assert_eq!((part.columns(), part.rows()), (0..13, 1..6));
        assert_eq!(part.pixels(), [0.0, 1.0, 13.0, 5.0]);
        // Sides that the stride does not divide: the whole is the whole.
        let part = Part::new(Rect::new(0, 0, 65, 33), (65, 33), [9, 17]);
        assert_eq!(part.valid, [0.0, 0.0, 17.0, 9.0]);
        // Less than a pixel of the map is one.
        let part = Part::new(Rect::new(63, 0, 1, 1), (64, 64), [2, 2]);
        assert_eq!((part.columns(), part.rows()), (1..2, 0..1));
    }

    #[test]
    fn only_the_picture_is_mirrored() {
        let mut map = row(&[1.0, 2.0, 3.0, 9.0]);
        let seen = geometry(Rect::new(0, 0, 3, 1));
        average_mirrored(&mut map, &row(&[3.0, 2.0, 1.0, 7.0]), &[seen], (4, 1));
        assert_eq!(map.data, [1.0, 2.0, 3.0, 9.0]);
        average_mirrored(&mut map, &row(&[1.0, 2.0, 3.0, 7.0]), &[seen], (4, 1));
        assert_eq!(map.data, [2.0, 2.0, 2.0, 9.0]);
    }

    #[test]
    fn an_edge_within_a_pixel_is_the_axis() {
        // Of 8 pixels 6 are picture, on a map of 4: three pixels; of 7, three and a half.
        let seen = |width| [geometry(Rect::new(0, 0, width, 1))];
        let mut map = row(&[0.0; 4]);
        average_mirrored(&mut map, &row(&[2.0, 4.0, 6.0, 8.0]), &seen(6), (8, 1));
        assert_eq!(map.data, [3.0, 2.0, 1.0, 0.0]);
        let mut map = row(&[0.0; 4]);
        average_mirrored(&mut map, &row(&[2.0, 4.0, 6.0, 8.0]), &seen(7), (8, 1));
        assert_eq!(map.data, [3.5, 2.5, 1.5, 1.0]);
    }
}
