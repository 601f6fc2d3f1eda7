//! What resizes and mean pools do to one side, as a matrix: for engines that have a product of matrices but
//! not these operations, or not their gradients.

use super::Reach;
use crate::pool::{PoolWindow, adaptive_spans, window_spans};
use crate::tokens;

/// What happens to the rows of a map, or to its columns. Sides do not mix: a map's rows and columns are
/// multiplied by a matrix each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SideMap {
    /// [`resize_bilinear`](crate::resize_bilinear).
    Bilinear {
        /// Whether the corners' centres stay where they are.
        align_corners: bool,
    },
    /// [`resize_nearest`](crate::resize_nearest).
    Nearest,
    /// [`resize_bicubic`](crate::resize_bicubic).
    Bicubic,
    /// What [`Embeddings`](crate::Embeddings) are resized by: PyTorch's antialiased bicubic.
    Cubic,
    /// [`adaptive_avg_pool`](crate::adaptive_avg_pool).
    AdaptiveMeans,
    /// [`avg_pool`](crate::avg_pool).
    Means {
        /// The window that moves.
        window: PoolWindow,
        /// Whether padding counts as zeros.
        count_include_pad: bool,
        /// 0 for rows, 1 for columns.
        axis: usize,
    },
}

impl SideMap {
    /// The matrix `[from, to]`, row after row: a side of `from` values times it is the side of `to` values.
    pub fn matrix(self, from: usize, to: usize) -> Vec<f32> {
        let reach = match self {
            Self::Bilinear { align_corners } => Reach::bilinear(from, to, align_corners),
            Self::Nearest => Reach::nearest(from, to),
            Self::Bicubic => Reach::bicubic(from, to, false),
            Self::Cubic => Reach::new(from, &tokens::cubic_terms(from, to)),
            Self::AdaptiveMeans => Reach::means(from, &adaptive_spans(from, to)),
            Self::Means {
                window,
                count_include_pad,
                axis,
            } => {
                let spans = window_spans(window, count_include_pad, axis, from, to);
                Reach::means(from, &spans)
            }
        };
        let mut matrix = vec![0.0; from * to];
        for (input, row) in matrix.chunks_exact_mut(to).enumerate() {
            for term in reach.terms(input) {
                // Both neighbours are one pixel at an edge.
                row[reach.outputs[term] as usize] += reach.weights[term];
            }
        }
        matrix
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::buffer::Buffer;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};
    use crate::map::{Map, MapMut, MapShape};

    /// One plane's rows times one matrix, its columns times another.
    fn product(rows: &[f32], columns: &[f32], [height, width]: [usize; 2], x: &[f32]) -> Vec<f32> {
        let (to_height, to_width) = (rows.len() / height, columns.len() / width);
        let mut y = vec![0.0; to_height * to_width];
        for (at, y) in y.iter_mut().enumerate() {
            let (to_row, to_column) = (at / to_width, at % to_width);
            for (i, x) in x.iter().enumerate() {
                let row = rows[i / width * to_height + to_row];
                *y += row * columns[i % width * to_width + to_column] * x;
            }
        }
        y
    }

    fn check(
        from: [usize; 2],
        to: [usize; 2],
        sides: [SideMap; 2],
        kernel: impl Fn(Map<'_>, &mut MapMut<'_>),
    ) {
        let isa = Isa::fastest();
        let shape = |[height, width]: [usize; 2]| MapShape::new(1, 1, height, width);
        let x: Vec<f32> = (0..from[0] * from[1]).map(|i| (i as f32).sin()).collect();
        let matrices = [0, 1].map(|axis| sides[axis].matrix(from[axis], to[axis]));
        let ours = product(&matrices[0], &matrices[1], from, &x);
        let mut y = Buffer::zeros(shape(to).blocked_len(isa));
        kernel(
            Map::whole(isa, shape(from), &blocked(isa, shape(from), &x)),
            &mut MapMut::whole(isa, shape(to), &mut y),
        );
        let mut theirs = vec![0.0; to[0] * to[1]];
        to_planar(Map::whole(isa, shape(to), &y), &mut theirs);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!((ours - theirs).abs() < 1e-5, "{sides:?} {from:?} {to:?}");
        }
    }

    proptest! {
        #![proptest_config(segmenta_properties::cases(256))]

        #[test]
        fn products_are_what_the_kernels_do(
            from in [1_usize..12, 1_usize..12],
            to in [1_usize..20, 1_usize..20],
            align_corners: bool,
            stride in 1_usize..4,
            kernel in 1_usize..4,
            ceil_mode: bool,
            count_include_pad: bool,
        ) {
            check(from, to, [SideMap::Bilinear { align_corners }; 2], |x, y| {
                crate::resize_bilinear(x, y, align_corners);
            });
            check(from, to, [SideMap::Nearest; 2], crate::resize_nearest);
            check(from, to, [SideMap::Bicubic; 2], crate::resize_bicubic);
            check(from, to, [SideMap::AdaptiveMeans; 2], crate::adaptive_avg_pool);
            let window = PoolWindow {
                stride: [stride; 2],
                padding: [kernel / 2; 2],
                ceil_mode,
                ..PoolWindow::square(kernel)
            };
            if let Some(to) = window.output(MapShape::new(1, 1, from[0], from[1])) {
                let side = |axis| SideMap::Means { window, count_include_pad, axis };
                check(from, [to.height, to.width], [side(0), side(1)], |x, y| {
                    crate::avg_pool(x, window, count_include_pad, y);
                });
            }
        }
    }
}
