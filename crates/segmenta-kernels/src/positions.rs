//! Positions of pixels as numbers: waves of a map, and rotations of what attends.
//!
//! Contract: `sine_positions` writes to a map of `2n` channels what DETR adds to its pixels (Carion et al. 2020,
//! arXiv:2005.12872): of a row counted from 1, divided by the number of rows and times 2π, `n` values `sin(a / t)` and
//! `cos(a / t)` in turn, `t = 10000^(2⌊i/2⌋/n)`; then the same of the column. `rotary` turns pairs of channels of the
//! last pixels of a row by angles of their places (DINOv3's form of Su et al. 2021, arXiv:2104.09864): of a head's `d`
//! channels, `i` and `i + d/2` by `2π · θ^(−4j/d) · c`, `c` being the pixel's centre in −1 to 1, of its row for the first
//! `d/4` pairs, of its column for the others, `j` counted within them. Turned back with `inverse`, which is its
//! gradient. Angles are computed in f64. Lanes that fill the last block up hold finite numbers.

use crate::isa::Kernel;
use crate::map::{Map, MapMut, assert_same, one_isa};
use crate::shared::in_parallel;
use crate::simd::Simd;

/// DETR's positions of a map's pixels, `[channels][rows][columns]`.
///
/// # Panics
/// If the channels do not divide by 4.
pub fn sine_table([height, width]: [usize; 2], channels: usize) -> Vec<f32> {
    const TEMPERATURE: f64 = 10_000.0;
    assert!(
        channels.is_multiple_of(4),
        "as many sines as cosines, of rows and of columns"
    );
    let half = channels / 2;
    let wave = |i: usize, at: usize, side: usize| {
        let angle = (at + 1) as f64 / (side as f64 + 1e-6) * std::f64::consts::TAU;
        let phase = angle / TEMPERATURE.powf((i / 2 * 2) as f64 / half as f64);
        let value = if i.is_multiple_of(2) {
            phase.sin()
        } else {
            phase.cos()
        };
        value as f32
    };
    let mut table = Vec::with_capacity(channels * height * width);
    for i in 0..half {
        for y in 0..height {
            let value = wave(i, y, height);
            table.extend(std::iter::repeat_n(value, width));
        }
    }
    for i in 0..half {
        let row: Vec<f32> = (0..width).map(|x| wave(i, x, width)).collect();
        (0..height).for_each(|_| table.extend(&row));
    }
    table
}

/// [`sine_table`] as each picture's map.
///
/// # Panics
/// If the channels do not divide by 4.
pub fn sine_positions(output: &mut MapMut<'_>) {
    let (shape, lanes) = (output.shape(), output.isa().lanes());
    let table = sine_table([shape.height, shape.width], shape.channels);
    let (image_stride, plane, blocks) = (output.image_stride(), output.plane(), output.blocks());
    let shared = output.shared();
    in_parallel(shape.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let to = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        for (at, value) in to.iter_mut().enumerate() {
            let channel = block * lanes + at % lanes;
            let from = table.get(channel * shape.pixels() + at / lanes);
            *value = from.copied().unwrap_or(0.0);
        }
    });
}

/// Cosines and sines of the angles by which [`rotary`] turns heads of `depth` channels: `[pixels][depth / 2]`.
pub fn rotary_angles([height, width]: [usize; 2], depth: usize, theta: f32) -> [Vec<f32>; 2] {
    let quarter = depth / 4;
    let centre = |at: usize, side: usize| 2.0 * (at as f64 + 0.5) / side as f64 - 1.0;
    let mut all = [Vec::new(), Vec::new()];
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        for c in [centre(y, height), centre(x, width)] {
            for j in 0..quarter {
                let frequency = f64::from(theta).powf(-((4 * j) as f64) / depth as f64);
                let angle = std::f64::consts::TAU * c * frequency;
                all[0].push(angle.cos() as f32);
                all[1].push(angle.sin() as f32);
            }
        }
    }
    all
}

/// Turns the last `size[0] · size[1]` pixels of `x`, head by head.
///
/// # Panics
/// If the shapes differ, there are fewer pixels, or heads do not have multiples of four channels.
pub fn rotary(
    x: Map<'_>,
    size: [usize; 2],
    heads: usize,
    theta: f32,
    inverse: bool,
    output: &mut MapMut<'_>,
) {
    let isa = one_isa([x.isa(), output.isa()]);
    let (shape, lanes) = (x.shape(), isa.lanes());
    assert_same(shape, output.shape());
    let before = shape.pixels().checked_sub(size[0] * size[1]);
    let before = before.expect("as many pixels as are turned");
    assert!(
        heads > 0 && shape.channels.is_multiple_of(4 * heads),
        "channels in heads, four at a time"
    );
    let depth = shape.channels / heads;
    let half = depth / 2;
    let mut tables = rotary_angles(size, depth, theta);
    if inverse {
        tables[1].iter_mut().for_each(|sine| *sine = -*sine);
    }
    let (image_stride, plane, blocks) = (output.image_stride(), output.plane(), output.blocks());
    let shared = output.shared();
    in_parallel(shape.batch * blocks, |index| {
        let (image, block) = (index / blocks, index % blocks);
        let from = x.block_slice(image, block);
        // SAFETY: a block of a picture is written by the one task that has its index.
        let to = unsafe {
            std::slice::from_raw_parts_mut(shared.at(image * image_stride + block * plane), plane)
        };
        to[..before * lanes].copy_from_slice(&from[..before * lanes]);
        let (first, turned) = (block * lanes, before * lanes..plane);
        if half.is_multiple_of(lanes) {
            // A block lies in one half of one head.
            let is_first = first % depth < half;
            let apart = half / lanes;
            let other = if is_first {
                block + apart
            } else {
                block - apart
            };
            isa.run(Turn {
                from: &from[turned.clone()],
                other: &x.block_slice(image, other)[turned.clone()],
                sign: if is_first { -1.0 } else { 1.0 },
                tables: [&tables[0], &tables[1]],
                half,
                first: first % half,
                to: &mut to[turned],
            });
            return;
        }
        for (at, value) in to.iter_mut().enumerate().skip(before * lanes) {
            let (pixel, channel) = (at / lanes, first + at % lanes);
            if channel >= shape.channels {
                *value = 0.0;
                continue;
            }
            let is_first = channel % depth < half;
            let other = if is_first {
                channel + half
            } else {
                channel - half
            };
            let other = x.block_slice(image, other / lanes)[pixel * lanes + other % lanes];
            let angle = (pixel - before) * half + channel % half;
            let turned = if is_first { -other } else { other };
            *value = from[at] * tables[0][angle] + turned * tables[1][angle];
        }
    });
}

/// One block of channels, in one half of one head.
struct Turn<'a> {
    from: &'a [f32],
    /// The block of the other half.
    other: &'a [f32],
    sign: f32,
    /// Cosines and sines, `[pixels][half]`.
    tables: [&'a [f32]; 2],
    half: usize,
    /// The block's first channel within its half.
    first: usize,
    to: &'a mut [f32],
}

impl Kernel for Turn<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let pixels = self.to.len() / S::LANES;
        assert!(self.from.len() == self.to.len() && self.other.len() == self.to.len());
        let needed = pixels * self.half;
        assert!(self.tables.iter().all(|table| table.len() >= needed));
        assert!(self.first + S::LANES <= self.half);
        // SAFETY: every pixel has a vector in the three slices, and in the tables one from `first` on, as was just
        // asserted.
        unsafe {
            let sign = S::splat(self.sign);
            for pixel in 0..pixels {
                let (at, angle) = (pixel * S::LANES, pixel * self.half + self.first);
                let [cosine, sine] = self.tables.map(|table| S::load(table.as_ptr().add(angle)));
                let other = S::mul(S::load(self.other.as_ptr().add(at)), sign);
                let turned = S::mul(S::load(self.from.as_ptr().add(at)), cosine);
                S::store(
                    self.to.as_mut_ptr().add(at),
                    S::mul_add(other, sine, turned),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Buffer;
    use crate::isa::Isa;
    use crate::layout::{blocked, to_planar};
    use crate::map::MapShape;

    fn made(isa: Isa, shape: MapShape, work: impl FnOnce(&mut MapMut<'_>)) -> Vec<f32> {
        let mut buffer = Buffer::zeros(shape.blocked_len(isa));
        buffer.fill(f32::NAN);
        work(&mut MapMut::whole(isa, shape, &mut buffer));
        assert!(buffer.iter().all(|value| value.is_finite()), "{isa}");
        let mut planar = vec![0.0; shape.batch_len()];
        to_planar(Map::whole(isa, shape, &buffer), &mut planar);
        planar
    }

    #[test]
    fn waves_of_rows_and_columns() {
        for isa in Isa::available() {
            let shape = MapShape::new(2, 12, 3, 5);
            let got = made(isa, shape, sine_positions);
            for (index, value) in got.into_iter().enumerate() {
                let (place, channel) = (index % 15, index / 15 % 12);
                let (at, side) = if channel < 6 {
                    (place / 5 + 1, 3.0)
                } else {
                    (place % 5 + 1, 5.0)
                };
                let period = 10_000_f64.powf((channel % 6 / 2 * 2) as f64 / 6.0);
                let phase = at as f64 / (side + 1e-6) * std::f64::consts::TAU / period;
                let expected = if channel % 2 == 0 {
                    phase.sin()
                } else {
                    phase.cos()
                };
                assert!((f64::from(value) - expected).abs() < 1e-6, "{isa} {index}");
            }
        }
    }

    /// Halves of whole blocks, of less than one, and of several.
    #[test]
    fn pairs_are_turned_by_their_places_and_back() {
        for (isa, depth) in Isa::available()
            .into_iter()
            .flat_map(|isa| [8, 32, 64].map(|depth| (isa, depth)))
        {
            let (heads, size, before) = (3, [2, 3], 4);
            let shape = MapShape::new(2, heads * depth, 1, before + 6);
            let x: Vec<f32> = (0..shape.batch_len())
                .map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0)
                .collect();
            let source = blocked(isa, shape, &x);
            let source = Map::whole(isa, shape, &source);
            let got = made(isa, shape, |to| {
                rotary(source, size, heads, 100.0, false, to);
            });
            for (index, &value) in got.iter().enumerate() {
                let (pixel, channel) = (index % 10, index / 10 % shape.channels);
                let within = channel % depth;
                let (half, quarter) = (depth / 2, depth / 4);
                let expected = match pixel.checked_sub(before) {
                    None => f64::from(x[index]),
                    Some(place) => {
                        let pair = within % half;
                        let centre = if pair < quarter {
                            (2 * (place / 3) + 1) as f64 / 2.0 - 1.0
                        } else {
                            (2 * (place % 3) + 1) as f64 / 3.0 - 1.0
                        };
                        let j = (pair % quarter) as f64;
                        let angle =
                            std::f64::consts::TAU * centre * 100_f64.powf(-4.0 * j / depth as f64);
                        let other = if within < half {
                            -f64::from(x[index + half * 10])
                        } else {
                            f64::from(x[index - half * 10])
                        };
                        f64::from(x[index]) * angle.cos() + other * angle.sin()
                    }
                };
                assert!(
                    (f64::from(value) - expected).abs() < 2e-6,
                    "{isa} {depth} {index}"
                );
            }
            let turned = blocked(isa, shape, &got);
            let turned = Map::whole(isa, shape, &turned);
            let back = made(isa, shape, |to| {
                rotary(turned, size, heads, 100.0, true, to);
            });
            for (a, b) in back.iter().zip(&x) {
                assert!((a - b).abs() < 2e-6, "{isa} {depth}");
            }
        }
    }
}
