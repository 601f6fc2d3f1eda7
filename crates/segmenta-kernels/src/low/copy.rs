//! Channels of one map as some of another's: parts of a concatenation that cannot be written in place, and maps whose
//! halo must grow.
//!
//! Contract: both maps have one element, so numbers are copied as they are; [`apply`](super::apply) comes before where
//! scales differ. Where channels of both begin with a pixel and pixels are as long, whole pixels are copied, otherwise
//! the runs of channels that share a pixel in both. The last part fills its last pixels up, with what stands for 0, and
//! every part writes the halos of the planes that it touches.

use std::ops::Range;

use super::layout::LowLayout;
use super::map::{LowMap, LowMapMut, one_engine};
use super::pointwise::for_planes;
use crate::map::MapShape;

/// Writes `input` as the channels of `output` from `first` on.
///
/// # Panics
/// If there are not so many channels, shapes do not fit, or elements or engines differ.
pub fn copy(input: LowMap<'_>, output: &mut LowMapMut<'_>, first: usize) {
    one_engine([input.engine(), output.engine()]);
    let (from, to) = (input.layout().shape(), output.layout().shape());
    let has = |channels: usize| channels <= to.channels;
    let end = first.checked_add(from.channels).filter(|&end| has(end));
    let end =
        end.unwrap_or_else(|| panic!("channels {first} and {} more of {to:?}", from.channels));
    // What is behind the last channel belongs to the last part.
    let end = if end == to.channels { usize::MAX } else { end };
    run(input, 0, output, first..end);
}

/// Writes the channels of `input` from `first` on, as many as `output` has, as a map of their own.
///
/// # Panics
/// As [`copy`].
pub fn extract(input: LowMap<'_>, first: usize, output: &mut LowMapMut<'_>) {
    one_engine([input.engine(), output.engine()]);
    let (from, to) = (input.layout().shape(), output.layout().shape());
    let end = first.checked_add(to.channels);
    assert!(
        end.is_some_and(|end| end <= from.channels),
        "channels {first} and {} more of {from:?}",
        to.channels
    );
    run(input, first, output, 0..usize::MAX);
}

/// A run of bytes of every pixel of a plane.
struct Run {
    /// The input's first byte of the run, from the picture on; none for what stands for 0.
    from: Option<usize>,
    /// The byte of the output's pixel.
    to: usize,
    bytes: usize,
}

/// The runs of the output's plane that hold its channels `wanted`, of which the first is channel `first` of the input.
fn runs(
    [from, to]: [&LowLayout; 2],
    plane: usize,
    first: usize,
    wanted: &Range<usize>,
) -> Vec<Run> {
    let bytes = to.element().bytes();
    let of_plane = plane * to.block()..(plane + 1) * to.block();
    let end = of_plane.end.min(wanted.end);
    let mut channel = of_plane.start.max(wanted.start);
    let mut runs = Vec::new();
    while channel < end {
        let source = first + channel - wanted.start;
        // Input channels that count; what fills up is 0.
        let is_there = channel < to.shape().channels;
        let len = if is_there {
            let to_there = to.shape().channels.min(end) - channel;
            to_there.min(from.block() - source % from.block())
        } else {
            end - channel
        };
        runs.push(Run {
            from: is_there.then(|| from.channel(source)),
            to: (channel - of_plane.start) * bytes,
            bytes: len * bytes,
        });
        channel += len;
    }
    runs
}

fn run(input: LowMap<'_>, first: usize, output: &mut LowMapMut<'_>, wanted: Range<usize>) {
    let (from, to) = (input.layout(), output.layout());
    let sizes = |shape: MapShape| (shape.batch, shape.height, shape.width);
    assert_eq!(sizes(from.shape()), sizes(to.shape()), "pictures of a copy");
    assert_eq!(from.element(), to.element(), "elements of a copy");
    let zero = to.element().zero_byte();
    let width = to.shape().width;
    let places = output.places();
    let touched = wanted.start / to.block()..to.planes().min(wanted.end.div_ceil(to.block()));
    for_planes(&places, touched, |image, plane, rows| {
        // SAFETY: runs are channels that both maps have; the rows of this plane are this task's.
        unsafe {
            let input = input.image(image);
            let output = places.image(image).add(plane * to.plane());
            for run in runs([&from, &to], plane, first, &wanted) {
                for row in rows.clone() {
                    let mut place = output.add(to.at(row, 0) + run.to);
                    let mut source = input.wrapping_add(run.from.unwrap_or(0) + from.at(row, 0));
                    for _ in 0..width {
                        match run.from {
                            Some(_) => place.copy_from_nonoverlapping(source, run.bytes),
                            None => place.write_bytes(zero, run.bytes),
                        }
                        place = place.wrapping_add(to.pixel());
                        source = source.wrapping_add(from.pixel());
                    }
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::element::{Element, Quantisation};
    use super::super::engine::Engine;
    use super::super::reference::{Stored, places};
    use super::*;
    use crate::threads::Threads;

    proptest! {
        #![proptest_config(segmenta_properties::cases(96))]

        #[test]
        fn parts_come_together_and_apart(
            channels in proptest::collection::vec(prop_oneof![1_usize..20, Just(64), 20_usize..100], 1..4),
            size in [1_usize..8, 1_usize..8],
            bytes: bool,
            threads in 1_usize..4,
            seed in 0_u64..1 << 20,
        ) {
            let element = if bytes { Element::U8(Quantisation { scale: 0.1, zero_point: 9 }) } else { Element::Bf16 };
            let shape = |channels| MapShape::new(2, channels, size[0], size[1]);
            let part = |i: usize| LowLayout::new(shape(channels[i]), element, [0, i % 2]);
            let parts: Vec<Stored> = (0..channels.len()).map(|i| Stored::random(part(i), seed + i as u64)).collect();
            let whole = LowLayout::new(shape(channels.iter().sum()), element, [1, 1]);
            let pool = Threads::new(threads).unwrap();
            let engine = Engine::fastest();
            let mut all = Stored::garbage(whole);
            let mut first = 0;
            for part in &parts {
                pool.run(|| {
                    let mut to = LowMapMut::new(engine, whole, all.bytes_mut());
                    copy(LowMap::new(engine, part.layout, part.bytes()), &mut to, first);
                });
                first += part.layout.shape().channels;
            }
            all.assert_whole("copy");
            let mut first = 0;
            for part in &parts {
                let mut back = Stored::garbage(part.layout);
                pool.run(|| {
                    let mut to = LowMapMut::new(engine, part.layout, back.bytes_mut());
                    extract(LowMap::new(engine, whole, all.bytes()), first, &mut to);
                });
                back.assert_whole("extract");
                for at in places(part.layout.shape()) {
                    let [n, c, y, x] = at;
                    prop_assert_eq!(part.stored(at), all.stored([n, first + c, y, x]));
                    prop_assert_eq!(part.stored(at), back.stored(at));
                }
                first += part.layout.shape().channels;
            }
        }
    }
}
