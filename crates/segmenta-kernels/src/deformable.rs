//! Deformable attention over maps of several sizes (Zhu et al. 2021, arXiv:2010.04159).
//!
//! Contract: the pixels of all maps lie in one row, map after map. Each of them, a query, takes of each map `points`
//! values per head, weighed by a softmax over all maps' points together: `Σ a · v(p)`. A point is the query's own place,
//! as a share of its map, in pixels of the other map, plus its offset there; between pixels values are interpolated
//! linearly, and outside the map they are 0. Offsets are `[heads][maps][points][x, y]`, logits of weights
//! `[heads][maps][points]`, `v` and the result `[heads][d]` channels. Sums run in the order of maps, points and corners:
//! relative error at most `2⁻²⁴ · (4 · maps · points + 16)` of the sums of absolute values. Lanes that fill the last
//! block up become 0.

mod gradient;

pub use gradient::deformable_attention_gradient;

use crate::isa::Kernel;
use crate::map::{Map, MapMut, MapShape, assert_same, one_isa};
use crate::shared::{in_parallel, part, parts};
use crate::simd::Simd;

/// Extents of deformable attention.
#[derive(Clone, Debug)]
pub struct Deformable {
    /// Runs of channels that attend by themselves.
    pub heads: usize,
    /// Points of each map, head and query.
    pub points: usize,
    /// Rows and columns of each map.
    pub sizes: Vec<[usize; 2]>,
}

/// A corner of a point between pixels: its token, and how much of the value it has.
#[derive(Clone, Copy, Debug, Default)]
struct Corner {
    token: usize,
    share: f32,
    /// The slope of the share, across and down.
    slope: [f32; 2],
}

impl Deformable {
    fn check(&self, values: MapShape, offsets: MapShape, logits: MapShape) {
        let all = self.heads * self.sizes.len() * self.points;
        assert!(
            all > 0 && values.channels.is_multiple_of(self.heads),
            "channels in heads"
        );
        let tokens: usize = self
            .sizes
            .iter()
            .map(|[rows, columns]| rows * columns)
            .sum();
        assert_eq!(values.pixels(), tokens, "pixels of all maps");
        for (shape, channels) in [(offsets, 2 * all), (logits, all)] {
            let expected = MapShape { channels, ..values };
            assert_eq!(
                [expected.batch, expected.channels, expected.pixels()],
                [shape.batch, shape.channels, shape.pixels()],
                "offsets and logits of each query"
            );
        }
    }

    /// Points of a head and a query.
    fn each(&self) -> usize {
        self.sizes.len() * self.points
    }

    /// The place of each query as a share of its map: across, down.
    fn places(&self) -> Vec<[f32; 2]> {
        let of_map = |&[rows, columns]: &[usize; 2]| {
            let share = |at: usize, side: usize| (at as f32 + 0.5) / side as f32;
            (0..rows)
                .flat_map(move |y| (0..columns).map(move |x| [share(x, columns), share(y, rows)]))
        };
        self.sizes.iter().flat_map(of_map).collect()
    }

    /// The corners of a point of map number `map`.
    fn corners(&self, map: usize, place: [f32; 2], offset: [f32; 2]) -> [Corner; 4] {
        let before: usize = self.sizes[..map]
            .iter()
            .map(|[rows, columns]| rows * columns)
            .sum();
        let [rows, columns] = self.sizes[map];
        let at = [0, 1].map(|axis| {
            let side = if axis == 0 { columns } else { rows };
            place[axis] * side as f32 + offset[axis] - 0.5
        });
        let low = at.map(f32::floor);
        let part = [0, 1].map(|axis| at[axis] - low[axis]);
        [[0, 0], [1, 0], [0, 1], [1, 1]].map(|[right, down]: [u8; 2]| {
            let (x, y) = (low[0] + f32::from(right), low[1] + f32::from(down));
            let outside = x < 0.0 || y < 0.0 || x >= columns as f32 || y >= rows as f32;
            if outside {
                return Corner::default();
            }
            // A place that is no number becomes a share that is none, of the first pixel.
            let [across, below] = [(right, part[0]), (down, part[1])].map(|(far, part)| {
                if far == 1 {
                    (part, 1.0)
                } else {
                    (1.0 - part, -1.0)
                }
            });
            Corner {
                token: before + y as usize * columns + x as usize,
                share: across.0 * below.0,
                slope: [across.1 * below.0, across.0 * below.1],
            }
        })
    }

    /// Softmax of a head's logits of one query.
    fn weights(&self, logits: Map<'_>, image: usize, head: usize, query: usize, to: &mut [f32]) {
        let each = self.each();
        for (i, to) in to.iter_mut().enumerate() {
            *to = value(logits, image, head * each + i, query);
        }
        let largest =
            to.iter().copied().fold(
                f32::NEG_INFINITY,
                |a, b| {
                    if b > a || b.is_nan() { b } else { a }
                },
            );
        let mut sum = 0.0;
        for to in to.iter_mut() {
            *to = (*to - largest).exp();
            sum += *to;
        }
        to.iter_mut().for_each(|to| *to /= sum);
    }

    /// The offset of point number `i` of a head of one query.
    fn offset(
        &self,
        offsets: Map<'_>,
        [image, head]: [usize; 2],
        query: usize,
        i: usize,
    ) -> [f32; 2] {
        let first = 2 * (head * self.each() + i);
        [0, 1].map(|axis| value(offsets, image, first + axis, query))
    }
}

fn value(map: Map<'_>, image: usize, channel: usize, pixel: usize) -> f32 {
    let lanes = map.isa().lanes();
    map.block_slice(image, channel / lanes)[pixel * lanes + channel % lanes]
}

/// Deformable attention of `values`, by offsets and logits.
///
/// # Panics
/// If the shapes do not fit.
pub fn deformable_attention(
    [values, offsets, logits]: [Map<'_>; 3],
    how: &Deformable,
    output: &mut MapMut<'_>,
) {
    let isa = one_isa([values.isa(), offsets.isa(), logits.isa(), output.isa()]);
    let (shape, lanes) = (values.shape(), isa.lanes());
    how.check(shape, offsets.shape(), logits.shape());
    assert_same(shape, output.shape());
    let depth = shape.channels / how.heads;
    let places = how.places();
    let cuts = parts(shape.pixels(), 32);
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let filler = shape.channels.next_multiple_of(lanes);
    let shared = output.shared();
    in_parallel(shape.batch * cuts, |task| {
        let image = task / cuts;
        let mut weights = vec![0.0; how.each()];
        let mut terms: Vec<Corner> = Vec::with_capacity(4 * how.each());
        for query in part(shape.pixels(), cuts, task % cuts) {
            for head in 0..how.heads {
                how.weights(logits, image, head, query, &mut weights);
                terms.clear();
                for (i, &weight) in weights.iter().enumerate() {
                    let offset = how.offset(offsets, [image, head], query, i);
                    let corners = how.corners(i / how.points, places[query], offset);
                    terms.extend(corners.map(|corner| Corner {
                        // A weight that is no number reaches what comes out.
                        share: corner.share * weight,
                        ..corner
                    }));
                }
                let first = head * depth;
                if first.is_multiple_of(lanes) && depth.is_multiple_of(lanes) {
                    for block in first / lanes..(first + depth) / lanes {
                        let at = image * image_stride + block * plane + query * lanes;
                        isa.run(Gather {
                            from: values.block_slice(image, block),
                            terms: &terms,
                            // SAFETY: a query's channels are written by the one task whose part it is in.
                            to: unsafe { shared.at(at) },
                        });
                    }
                } else {
                    for channel in first..first + depth {
                        let sum = terms.iter().fold(0.0, |sum, term| {
                            term.share
                                .mul_add(value(values, image, channel, term.token), sum)
                        });
                        let in_block = query * lanes + channel % lanes;
                        let at = image * image_stride + channel / lanes * plane + in_block;
                        // SAFETY: as above.
                        unsafe { *shared.at(at) = sum }
                    }
                }
            }
            for channel in shape.channels..filler {
                let in_block = query * lanes + channel % lanes;
                let at = image * image_stride + channel / lanes * plane + in_block;
                // SAFETY: what fills the last block up is the query's, too.
                unsafe { *shared.at(at) = 0.0 }
            }
        }
    });
}

/// One block of channels of one query.
struct Gather<'a> {
    from: &'a [f32],
    terms: &'a [Corner],
    to: *mut f32,
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        // SAFETY: nothing but a constant: the caller vouches for the instruction set.
        let mut sum = unsafe { S::zero() };
        for term in self.terms {
            let from = &self.from[term.token * S::LANES..][..S::LANES];
            // SAFETY: the slice has as many values as a vector.
            unsafe { sum = S::mul_add(S::splat(term.share), S::load(from.as_ptr()), sum) }
        }
        // SAFETY: the caller vouches for a vector behind the pointer.
        unsafe { S::store(self.to, sum) }
    }
}

#[cfg(test)]
mod tests;
