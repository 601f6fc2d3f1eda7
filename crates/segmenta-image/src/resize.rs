//! Resizing with Pillow's arithmetic, to the bit: the same support, the same 22-bit weights, the same rounding, the
//! same of columns and rows first. A network sees what it saw in training.

use rayon::prelude::*;

use crate::Filter;

type Rgb = [u8; 3];

/// The fraction bits of a weight: 8 bits of a byte and 2 of overshoot leave these of 32 (Pillow's `PRECISION_BITS`).
const FRACTION: u32 = 32 - 8 - 2;

/// Pixels at another size, by a separable filter that widens on shrinking. Sides are at least 1.
pub(crate) fn convolve(
    pixels: &[Rgb],
    (from_width, from_height): (usize, usize),
    (width, height): (usize, usize),
    filter: Filter,
) -> Vec<Rgb> {
    if from_width == width {
        let kernel = Kernel::new(filter, from_height, height);
        return shrink_rows(pixels, width, &kernel);
    }
    if are_rows_first((from_width, from_height), (width, height)) {
        let low = shrink_rows(
            pixels,
            from_width,
            &Kernel::new(filter, from_height, height),
        );
        return shrink_columns(&low, from_width, &Kernel::new(filter, from_width, width));
    }
    let narrow = shrink_columns(pixels, from_width, &Kernel::new(filter, from_width, width));
    if from_height == height {
        return narrow;
    }
    let kernel = Kernel::new(filter, from_height, height);
    shrink_rows(&narrow, width, &kernel)
}

/// Whether rows are resized before columns: where the height loses pixels, and more than twice as many as the width
/// (Pillow's since version 13; before, columns always came first).
fn are_rows_first(from: (usize, usize), to: (usize, usize)) -> bool {
    let lost = |from: usize, to: usize| from as i64 - to as i64;
    let (columns, rows) = (lost(from.0, to.0), lost(from.1, to.1));
    rows > 0 && rows > 2 * columns
}

fn shrink_columns(pixels: &[Rgb], width: usize, kernel: &Kernel) -> Vec<Rgb> {
    let mut target = vec![[0; 3]; pixels.len() / width * kernel.len()];
    target
        .par_chunks_exact_mut(kernel.len())
        .zip(pixels.par_chunks_exact(width))
        .for_each(|(target, source)| {
            for (target, (first, weights)) in target.iter_mut().zip(kernel.taps()) {
                let mut sums = [1 << (FRACTION - 1); 3];
                for (pixel, &weight) in source[first..].iter().zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(pixel) {
                        *sum += i32::from(value) * weight;
                    }
                }
                *target = sums.map(to_byte);
            }
        });
    target
}

fn shrink_rows(pixels: &[Rgb], width: usize, kernel: &Kernel) -> Vec<Rgb> {
    let mut target = vec![[0; 3]; kernel.len() * width];
    target
        .par_chunks_exact_mut(width)
        .zip(kernel.taps().collect::<Vec<_>>())
        .for_each_init(
            || vec![0; width * 3],
            |sums, (target, (first, weights))| {
                sums.fill(1 << (FRACTION - 1));
                let rows = pixels[first * width..].chunks_exact(width);
                for (row, &weight) in rows.zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(row.as_flattened()) {
                        *sum += i32::from(value) * weight;
                    }
                }
                for (target, &sum) in target.as_flattened_mut().iter_mut().zip(sums.iter()) {
                    *target = to_byte(sum);
                }
            },
        );
    target
}

fn to_byte(sum: i32) -> u8 {
    (sum >> FRACTION).clamp(0, 255) as u8
}

/// For every target position along one side: which source positions it draws from, and with what weights.
struct Kernel {
    first: Vec<usize>,
    weights: Vec<i32>,
    ends: Vec<usize>,
}

impl Kernel {
    fn new(filter: Filter, from: usize, to: usize) -> Self {
        let (shape, reach): (fn(f64) -> f64, f64) = match filter {
            Filter::Bicubic => (cubic, 2.0),
            _ => (triangle, 1.0),
        };
        let scale = from as f64 / to as f64;
        let spread = scale.max(1.0);
        let support = reach * spread;
        let mut kernel = Self {
            first: Vec::with_capacity(to),
            weights: Vec::new(),
            ends: Vec::with_capacity(to),
        };
        for position in 0..to {
            let centre = (position as f64 + 0.5) * scale;
            // `as` cuts off as C does, and takes negative values to 0.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let shares = (first..end).map(|x| shape((x as f64 - centre + 0.5) * (1.0 / spread)));
            let total: f64 = shares.clone().sum();
            kernel.first.push(first);
            kernel
                .weights
                .extend(shares.map(|share| to_fixed(share / total)));
            kernel.ends.push(kernel.weights.len());
        }
        kernel
    }

    fn len(&self) -> usize {
        self.first.len()
    }

    fn taps(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let spans = starts.zip(&self.ends);
        let weights = spans.map(|(start, &end)| &self.weights[start..end]);
        self.first.iter().copied().zip(weights)
    }
}

fn to_fixed(weight: f64) -> i32 {
    (weight * f64::from(1 << FRACTION)).round() as i32
}

fn triangle(x: f64) -> f64 {
    (1.0 - x.abs()).max(0.0)
}

/// Catmull and Rom's cubic, a = −1/2.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Any pixels at another size, each the nearest of the source, exactly as Pillow's `NEAREST` chooses it.
pub(crate) fn nearest<T: Copy + Send + Sync>(
    pixels: &[T],
    from: (usize, usize),
    to: (usize, usize),
) -> Vec<T> {
    let columns = nearest_positions(from.0, to.0);
    let rows = nearest_positions(from.1, to.1);
    let mut target = vec![pixels[0]; to.0 * to.1];
    let fill = |(row, y): (&mut [T], &usize)| {
        let source = &pixels[y * from.0..][..from.0];
        row.iter_mut()
            .zip(&columns)
            .for_each(|(to, &x)| *to = source[x]);
    };
    target.par_chunks_exact_mut(to.0).zip(&rows).for_each(fill);
    target
}

/// For each target position the source position under its centre. Pillow adds the step up in double precision
/// instead of multiplying, and so do we: the two part ways where a centre lies on an edge.
fn nearest_positions(from: usize, to: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let mut centre = step * 0.5;
    let mut next = || {
        let position = (centre as usize).min(from - 1);
        centre += step;
        position
    };
    (0..to).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_takes_the_pixel_under_the_centre() {
        assert_eq!(nearest_positions(4, 2), [1, 3]);
        assert_eq!(nearest_positions(2, 4), [0, 0, 1, 1]);
        assert_eq!(nearest_positions(1, 3), [0, 0, 0]);
        assert_eq!(nearest(&[1, 2, 3, 4], (2, 2), (1, 1)), [4]);
    }

    /// What Pillow 13.0 does, told from its pixels for random pictures of these sizes.
    #[test]
    fn rows_come_first_where_the_height_loses_most() {
        for (from, to, rows) in [
            ((350, 211), (256, 256), false),
            ((77, 87), (44, 9), true),
            ((119, 80), (110, 22), true),
            ((49, 18), (47, 12), true),
            ((9, 101), (6, 89), true),
            ((24, 89), (7, 50), true),
            ((80, 33), (46, 2), false),
            ((100, 32), (84, 4), false),
            ((46, 105), (20, 62), false),
            ((17, 17), (1, 1), false),
            ((40, 60), (60, 59), true),
            ((40, 60), (60, 61), false),
        ] {
            assert_eq!(are_rows_first(from, to), rows, "{from:?} → {to:?}");
        }
    }
}
