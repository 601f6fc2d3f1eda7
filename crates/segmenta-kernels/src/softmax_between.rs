//! Softmax between runs of channels: at each pixel, of the values that stand at one place of their runs.
//!
//! Contract: with `parts` runs of `n` channels, channel `p · n + c` becomes `e^x / Σ e^x` over all `p`, or its
//! logarithm. One value at a time: it is for maps of few pixels (selective kernels) and for the last map's
//! logarithms. Relative error (absolute, of the logarithm) at most `2⁻²⁴ · (parts + 16)` beside that of the
//! difference to the largest. Lanes that fill the last block up become 0.

use crate::map::{Map, MapMut, assert_same};
use crate::shared::{in_parallel, part, parts as cuts_of};

/// Softmax, or its logarithm, between `parts` runs of equally many channels.
///
/// # Panics
/// If the shapes differ or the channels do not divide into the runs.
pub fn softmax_between(input: Map<'_>, parts: usize, log: bool, output: &mut MapMut<'_>) {
    let (shape, lanes) = (input.shape(), input.isa().lanes());
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::buffer::Buffer;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};
    use crate::map::MapShape;
    use crate::reference;

    proptest! {
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
    }
}
