//! Softmax between runs of channels: at each pixel, of the values that stand at one place of their runs.
//!
//! Contract: with `parts` runs of `n` channels, channel `p · n + c` becomes `e^x / Σ e^x` over all `p`, or its
//! logarithm. One value at a time: it is for maps of few pixels (selective kernels) and for the last map's
//! logarithms. Relative error (absolute, of the logarithm) at most `2⁻²⁴ · (parts + 16)` beside that of the
//! difference to the largest. The gradient is computed from what came out. Lanes that fill the last block up
//! become 0.

use crate::map::{Map, MapMut, assert_same, one_isa};
use crate::shared::{in_parallel, part, parts as cuts_of};

/// Softmax, or its logarithm, between `parts` runs of equally many channels.
///
/// # Panics
/// If the shapes differ or the channels do not divide into the runs.
pub fn softmax_between(input: Map<'_>, parts: usize, log: bool, output: &mut MapMut<'_>) {
    let lanes = one_isa([input.isa(), output.isa()]).lanes();
    let shape = input.shape();
    assert_same(shape, output.shape());
    assert!(shape.channels.is_multiple_of(parts), "channels in runs");
    let run = shape.channels / parts;
    let cuts = cuts_of(shape.pixels(), 64);
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let filler = shape.channels..input.blocks() * lanes;
    let shared = output.shared();
    in_parallel(shape.batch * cuts, |task| {
        let image = task / cuts;
        for pixel in part(shape.pixels(), cuts, task % cuts) {
            let at = |channel: usize| channel / lanes * plane + pixel * lanes + channel % lanes;
            let x = |channel: usize| {
                input.block_slice(image, channel / lanes)[pixel * lanes + channel % lanes]
            };
            let write = |channel: usize, value: f32| {
                // SAFETY: a pixel of a picture is written by the one task whose part it is in.
                unsafe { *shared.at(image * image_stride + at(channel)) = value }
            };
            for first in 0..run {
                let channels = (0..parts).map(|p| p * run + first);
                let values = channels.clone().map(x);
                let largest = values.clone().fold(f32::NEG_INFINITY, f32::max);
                let sum: f32 = values.map(|x| (x - largest).exp()).sum();
                for channel in channels {
                    let apart = x(channel) - largest;
                    write(
                        channel,
                        if log {
                            apart - sum.ln()
                        } else {
                            apart.exp() / sum
                        },
                    );
                }
            }
            for channel in filler.clone() {
                write(channel, 0.0);
            }
        }
    });
}

/// The gradient of the input of [`softmax_between`], which gave `y` and whose output has the gradient `dy`:
/// `y · (dy − Σ dy · y)`, or of the logarithm `dy − e^y · Σ dy`, the sums over all parts.
///
/// # Panics
/// If the shapes differ or the channels do not divide into the runs.
pub fn softmax_between_gradient(
    y: Map<'_>,
    dy: Map<'_>,
    parts: usize,
    log: bool,
    dx: &mut MapMut<'_>,
) {
    let lanes = one_isa([y.isa(), dy.isa(), dx.isa()]).lanes();
    let shape = y.shape();
    assert_same(shape, dy.shape());
    assert_same(shape, dx.shape());
    assert!(shape.channels.is_multiple_of(parts), "channels in runs");
    let run = shape.channels / parts;
    let cuts = cuts_of(shape.pixels(), 64);
    let (image_stride, plane) = (dx.image_stride(), dx.plane());
    let filler = shape.channels..y.blocks() * lanes;
    let shared = dx.shared();
    in_parallel(shape.batch * cuts, |task| {
        let image = task / cuts;
        for pixel in part(shape.pixels(), cuts, task % cuts) {
            let value = |map: Map<'_>, channel: usize| {
                map.block_slice(image, channel / lanes)[pixel * lanes + channel % lanes]
            };
            let write = |channel: usize, value: f32| {
                let at = channel / lanes * plane + pixel * lanes + channel % lanes;
                // SAFETY: a pixel of a picture is written by the one task whose part it is in.
                unsafe { *shared.at(image * image_stride + at) = value }
            };
            for first in 0..run {
                let channels = (0..parts).map(|p| p * run + first);
                let pairs = channels.map(|c| (c, value(y, c), value(dy, c)));
                if log {
                    let sum: f32 = pairs.clone().map(|(_, _, dy)| dy).sum();
                    pairs.for_each(|(c, y, dy)| write(c, dy - y.exp() * sum));
                } else {
                    let sum: f32 = pairs.clone().map(|(_, y, dy)| y * dy).sum();
                    pairs.for_each(|(c, y, dy)| write(c, y * (dy - sum)));
                }
            }
            for channel in filler.clone() {
                write(channel, 0.0);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::buffer::Buffer;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};
    use crate::map::MapShape;
    use crate::reference::{self, Measured};

    proptest! {
        #![proptest_config(segmenta_properties::cases(256))]

        #[test]
        fn runs_of_any_length(
            [parts, run] in [1_usize..6, 1_usize..12],
            [height, width] in [1_usize..6, 1_usize..20],
            log in any::<bool>(),
        ) {
            let shape = MapShape::new(2, parts * run, height, width);
            let value = |i: usize| (i as u32).wrapping_mul(0x9E37_79B9) as f32 / 4e8;
            let x: Vec<f32> = (0..2 * shape.planar_len()).map(value).collect();
            // Each place of a run is a pixel of its own.
            let as_pixels = MapShape::new(2, parts, run * height, width);
            let expected = reference::softmax(&x, as_pixels);
            for isa in Isa::available() {
                let source = blocked(isa, shape, &x);
                let mut output = Buffer::zeros(shape.blocked_len(isa));
                output.fill(f32::NAN);
                let to = &mut MapMut::whole(isa, shape, &mut output);
                softmax_between(Map::whole(isa, shape, &source), parts, log, to);
                let mut got = vec![0.0; x.len()];
                to_planar(Map::whole(isa, shape, &output), &mut got);
                prop_assert!(output.iter().all(|x| x.is_finite()));
                for (g, e) in got.iter().zip(&expected) {
                    let g = if log { g.exp() } else { *g };
                    prop_assert!((g - e).abs() <= 4e-6 * e + 1e-30, "{isa}: {g}, expected {e}");
                }
            }
        }

        #[test]
        fn gradients_of_runs(
            [parts, run] in [1_usize..6, 1_usize..12],
            [height, width] in [1_usize..6, 1_usize..20],
            log in any::<bool>(),
        ) {
            let shape = MapShape::new(2, parts * run, height, width);
            let len = 2 * shape.planar_len();
            let value = |i: usize, by: u32| (i as u32).wrapping_mul(by) as f32 / 8e8 - 2.0;
            let x: Vec<f32> = (0..len).map(|i| value(i, 0x9E37_79B9)).collect();
            let dy: Vec<f32> = (0..len).map(|i| value(i, 0x85EB_CA6B)).collect();
            let (plane, pixels) = (shape.planar_len(), run * shape.pixels());
            let share = reference::softmax(&x, MapShape::new(2, parts, run * height, width));
            // The values that stand at one place of their runs.
            let others = |i: usize| (0..parts).map(move |p| i / plane * plane + p * pixels + i % pixels);
            let expected: Vec<Measured> = (0..len)
                .map(|i| {
                    // Each output's slope by this input.
                    let slope = |j: usize| {
                        let same = Measured::new(f64::from(u8::from(i == j)));
                        let [own, other] = [i, j].map(|at| Measured::from(share[at]).at_least(16.0 * f64::from(share[at])));
                        if log { same - own } else { other * (same - own) }
                    };
                    others(i).map(|j| Measured::from(dy[j]) * slope(j)).sum()
                })
                .collect();
            for isa in Isa::available() {
                let (x, dy) = (blocked(isa, shape, &x), blocked(isa, shape, &dy));
                let mut y = Buffer::zeros(shape.blocked_len(isa));
                let to = &mut MapMut::whole(isa, shape, &mut y);
                softmax_between(Map::whole(isa, shape, &x), parts, log, to);
                let mut dx = Buffer::zeros(shape.blocked_len(isa));
                dx.fill(f32::NAN);
                let to = &mut MapMut::whole(isa, shape, &mut dx);
                let [y, dy] = [&y, &dy].map(|data| Map::whole(isa, shape, data));
                softmax_between_gradient(y, dy, parts, log, to);
                let mut got = vec![0.0; len];
                to_planar(Map::whole(isa, shape, &dx), &mut got);
                prop_assert!(dx.iter().all(|x| x.is_finite()));
                reference::assert_close(&isa.to_string(), &got, &expected, reference::SHARE);
            }
        }
    }
}
