//! Gradients of deformable attention.
//!
//! With weights `a = softmax(l)`, points' values `s = v(p)` and `g = Σ dy · s` over a head's channels: `dv` is `a · dy`
//! times each corner's share, added up in the order of queries; `dp = a · Σ dy · ∂s/∂p`; `dl = a · (g − Σ a · g)`.
//!
//! Contract: a head of a picture is one task, since what queries add to values overlaps.

use super::{Deformable, value};
use crate::map::{Map, MapMut, assert_same, one_isa};
use crate::shared::{Shared, in_parallel};

/// A gradient that heads write their channels of.
#[derive(Clone, Copy)]
struct Target<'a> {
    values: Shared<'a>,
    lanes: usize,
    plane: usize,
    image_stride: usize,
}

impl<'a> Target<'a> {
    /// All zeros, with what fills blocks up.
    fn cleared(map: &'a mut MapMut<'_>) -> Self {
        let (batch, blocks) = (map.shape().batch, map.blocks());
        let (lanes, plane, image_stride) = (map.isa().lanes(), map.plane(), map.image_stride());
        let values = map.shared();
        in_parallel(batch * blocks, |task| {
            let at = task / blocks * image_stride + task % blocks * plane;
            // SAFETY: a block of a picture is cleared by the one task that has its index.
            unsafe { std::slice::from_raw_parts_mut(values.at(at), plane) }.fill(0.0);
        });
        Self {
            values,
            lanes,
            plane,
            image_stride,
        }
    }

    /// Adds to a value.
    ///
    /// # Safety
    /// The map has it, and nobody else reads or writes it meanwhile.
    unsafe fn add(self, image: usize, channel: usize, pixel: usize, by: f32) {
        let in_block = pixel * self.lanes + channel % self.lanes;
        let at = image * self.image_stride + channel / self.lanes * self.plane + in_block;
        // SAFETY: the caller vouches for the place.
        unsafe { *self.values.at(at) += by }
    }
}

/// The gradients of the values, offsets and logits of [`deformable_attention`](super::deformable_attention), whose
/// output has the gradient `dy`.
///
/// # Panics
/// If the shapes do not fit.
pub fn deformable_attention_gradient(
    maps: [Map<'_>; 3],
    how: &Deformable,
    dy: Map<'_>,
    gradients: [&mut MapMut<'_>; 3],
) {
    let [values, offsets, logits] = maps;
    let all = [values.isa(), offsets.isa(), logits.isa(), dy.isa()];
    let isa = one_isa(all);
    how.check(values.shape(), offsets.shape(), logits.shape());
    assert_same(values.shape(), dy.shape());
    for (map, gradient) in maps.iter().zip(&gradients) {
        assert_same(map.shape(), gradient.shape());
        one_isa([isa, gradient.isa()]);
    }
    let shape = values.shape();
    let (depth, each) = (shape.channels / how.heads, how.each());
    let places = how.places();
    let [to_values, to_offsets, to_logits] = gradients.map(|map| Target::cleared(map));
    in_parallel(shape.batch * how.heads, |task| {
        let (image, head) = (task / how.heads, task % how.heads);
        let mut weights = vec![0.0; each];
        let mut products = vec![0.0; each];
        for query in 0..shape.pixels() {
            how.weights(logits, image, head, query, &mut weights);
            for (i, &weight) in weights.iter().enumerate() {
                let offset = how.offset(offsets, [image, head], query, i);
                let corners = how.corners(i / how.points, places[query], offset);
                let (mut product, mut slopes) = (0.0, [0.0; 2]);
                for corner in corners {
                    let mut dot = 0.0;
                    for channel in head * depth..(head + 1) * depth {
                        let dy = value(dy, image, channel, query);
                        dot += dy * value(values, image, channel, corner.token);
                        let by = dy * weight * corner.share;
                        // SAFETY: a head's channels belong to the one task that has it.
                        unsafe { to_values.add(image, channel, corner.token, by) }
                    }
                    product += dot * corner.share;
                    for (slope, share) in slopes.iter_mut().zip(corner.slope) {
                        *slope += dot * share;
                    }
                }
                products[i] = product;
                for (axis, slope) in slopes.into_iter().enumerate() {
                    let channel = 2 * (head * each + i) + axis;
                    // SAFETY: as above.
                    unsafe { to_offsets.add(image, channel, query, weight * slope) }
                }
            }
            let mean: f32 = weights.iter().zip(&products).map(|(a, g)| a * g).sum();
            for (i, (weight, product)) in weights.iter().zip(&products).enumerate() {
                let by = weight * (product - mean);
                // SAFETY: as above.
                unsafe { to_logits.add(image, head * each + i, query, by) }
            }
        }
    });
}
