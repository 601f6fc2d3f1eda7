//! A map in windows, and back (Liu et al. 2021, arXiv:2103.14030).
//!
//! Contract: a map of H×W pixels, filled up with zeros below and right to whole windows of `side`×`side`, is rolled up
//! and to the left by `shift`, and lies then window by window: `⌈H/side⌉` rows, each of `⌈W/side⌉` runs of `side²`
//! pixels. Back again what was filled up is left out. Each is the other's gradient. Exact; lanes that fill the last
//! block up hold what the input has there.

use crate::map::{Map, MapMut, MapShape, assert_same, one_isa};
use crate::shared::in_parallel;

/// Which pixel of a map each pixel of its windows is.
#[derive(Clone, Copy)]
struct Parted {
    map: MapShape,
    side: usize,
    shift: usize,
}

impl Parted {
    fn new(map: MapShape, side: usize, shift: usize) -> Self {
        assert!(shift < side, "windows of {side}, rolled by {shift}");
        Self { map, side, shift }
    }

    /// Windows each way.
    fn windows(&self) -> [usize; 2] {
        [self.map.height, self.map.width].map(|pixels| pixels.div_ceil(self.side))
    }

    /// The shape in windows.
    fn parted(&self) -> MapShape {
        let [rows, columns] = self.windows();
        MapShape {
            height: rows,
            width: columns * self.side * self.side,
            ..self.map
        }
    }

    /// Calls `each` with every place in the windows and the place in the map, or `None` where there are zeros.
    fn each(&self, mut each: impl FnMut(usize, Option<usize>)) {
        let (side, [rows, columns]) = (self.side, self.windows());
        let (height, width) = (rows * side, columns * side);
        let mut at = 0;
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |c| (row, c))) {
            for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                let from_y = (row * side + y + self.shift) % height;
                let from_x = (column * side + x + self.shift) % width;
                let inside = from_y < self.map.height && from_x < self.map.width;
                each(at, inside.then_some(from_y * self.map.width + from_x));
                at += 1;
            }
        }
    }
}

/// Parts `input` into windows.
///
/// # Panics
/// If the shapes do not fit.
pub fn to_windows(input: Map<'_>, side: usize, shift: usize, output: &mut MapMut<'_>) {
    let parted = Parted::new(input.shape(), side, shift);
    assert_same(parted.parted(), output.shape());
    moved(input, output, |from, to, lanes| {
        parted.each(|at, place| {
            let to = &mut to[at * lanes..][..lanes];
            match place {
                Some(place) => to.copy_from_slice(&from[place * lanes..][..lanes]),
                None => to.fill(0.0),
            }
        });
    });
}

/// Brings windows back into the map of the output's size.
///
/// # Panics
/// If the shapes do not fit.
pub fn from_windows(input: Map<'_>, side: usize, shift: usize, output: &mut MapMut<'_>) {
    let parted = Parted::new(output.shape(), side, shift);
    assert_same(parted.parted(), input.shape());
    moved(input, output, |from, to, lanes| {
        parted.each(|at, place| {
            if let Some(place) = place {
                to[place * lanes..][..lanes].copy_from_slice(&from[at * lanes..][..lanes]);
            }
        });
    });
}

/// Has `each` move the pixels of every block, which hold as many values as the number that it is given.
fn moved(
    input: Map<'_>,
    output: &mut MapMut<'_>,
    each: impl Fn(&[f32], &mut [f32], usize) + Send + Sync,
) {
    let lanes = one_isa([input.isa(), output.isa()]).lanes();
    let blocks = input.blocks();
    let (image_stride, plane) = (output.image_stride(), output.plane());
    let batch = output.shape().batch;
    let shared = output.shared();
    in_parallel(batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let to = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        each(input.block_slice(image, block), to, lanes);
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::buffer::Buffer;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};

    proptest! {
        #![proptest_config(segmenta_properties::cases(96))]

        #[test]
        fn windows_of_a_rolled_map_and_back(
            batch in 1_usize..3,
            channels in 1_usize..20,
            [height, width] in [1_usize..12, 1_usize..12],
            (side, shift) in (1_usize..5).prop_flat_map(|side| (Just(side), 0..side)),
        ) {
            let shape = MapShape::new(batch, channels, height, width);
            let [rows, columns] = [height, width].map(|n| n.div_ceil(side));
            let parted = MapShape::new(batch, channels, rows, columns * side * side);
            let input: Vec<f32> = (0..shape.batch_len()).map(|i| i as f32 + 1.0).collect();
            // Filled up, rolled, then cut into windows, as the paper's code does it.
            let (full_height, full_width) = (rows * side, columns * side);
            let mut expected = Vec::new();
            for plane in input.chunks_exact(height * width) {
                let rolled = |y: usize, x: usize| {
                    let (y, x) = ((y + shift) % full_height, (x + shift) % full_width);
                    if y < height && x < width { plane[y * width + x] } else { 0.0 }
                };
                for (row, column) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                    for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
                        expected.push(rolled(row * side + y, column * side + x));
                    }
                }
            }
            for isa in Isa::available() {
                let map = blocked(isa, shape, &input);
                let mut windows = Buffer::zeros(parted.blocked_len(isa));
                windows.fill(f32::NAN);
                let to = &mut MapMut::whole(isa, parted, &mut windows);
                to_windows(Map::whole(isa, shape, &map), side, shift, to);
                let mut planar = vec![f32::NAN; expected.len()];
                to_planar(Map::whole(isa, parted, &windows), &mut planar);
                prop_assert_eq!(&planar, &expected, "{}", isa);
                let mut back = Buffer::zeros(shape.blocked_len(isa));
                back.fill(f32::NAN);
                let to = &mut MapMut::whole(isa, shape, &mut back);
                from_windows(Map::whole(isa, parted, &windows), side, shift, to);
                prop_assert_eq!(&back[..], &map[..], "{}", isa);
            }
        }
    }
}
