//! From planar (NCHW) to blocked layout and back.

use crate::isa::Isa;
use crate::map::{Map, MapMut, MapShape};
use crate::shared::{Shared, in_parallel};

/// Writes a planar batch, `[batch][channels][height][width]`, as a blocked map; channels that fill
/// the last block up are zero.
///
/// # Panics
/// If the slice does not have the length of the map's shape.
pub fn to_blocked(planar: &[f32], output: &mut MapMut<'_>) {
    let (shape, lanes, blocks) = (output.shape(), output.isa().lanes(), output.blocks());
    assert_eq!(planar.len(), shape.batch_len(), "a batch of {shape:?}");
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let shared = output.shared();
    in_parallel(shape.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let to = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        let first = block * lanes;
        for lane in 0..lanes {
            let channel = first + lane;
            if channel < shape.channels {
                let from = (image * shape.channels + channel) * shape.pixels();
                let from = &planar[from..][..shape.pixels()];
                for (to, &value) in to.iter_mut().skip(lane).step_by(lanes).zip(from) {
                    *to = value;
                }
            } else {
                to.iter_mut()
                    .skip(lane)
                    .step_by(lanes)
                    .for_each(|to| *to = 0.0);
            }
        }
    });
}

/// Writes a blocked map as a planar batch, `[batch][channels][height][width]`.
///
/// # Panics
/// If the slice does not have the length of the map's shape.
pub fn to_planar(input: Map<'_>, planar: &mut [f32]) {
    let (shape, lanes) = (input.shape(), input.isa().lanes());
    assert_eq!(planar.len(), shape.batch_len(), "a batch of {shape:?}");
    let shared = Shared::new(planar);
    let pixels = shape.pixels();
    in_parallel(shape.batch * shape.channels, |index| {
        let (image, channel) = (index / shape.channels, index % shape.channels);
        // SAFETY: a channel of a picture is written by the one task that has its index.
        let to = unsafe { std::slice::from_raw_parts_mut(shared.at(index * pixels), pixels) };
        let from = input.block_slice(image, channel / lanes);
        for (to, &value) in to
            .iter_mut()
            .zip(from.iter().skip(channel % lanes).step_by(lanes))
        {
            *to = value;
        }
    });
}

/// A planar batch as a new buffer in blocked layout: for tests and benches.
///
/// # Panics
/// As [`to_blocked`].
pub fn blocked(isa: Isa, shape: MapShape, planar: &[f32]) -> crate::buffer::Buffer {
    let mut buffer = crate::buffer::Buffer::zeros(shape.blocked_len(isa));
    to_blocked(planar, &mut MapMut::whole(isa, shape, &mut buffer));
    buffer
}
