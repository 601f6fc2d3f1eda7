//! From logits to label maps: bilinear resize and argmax in one pass, so that logits are never
//! held at the size of the photograph.
//!
//! What lies between two logits of a row can be no larger than both. Between most neighbours one class is
//! therefore sure to win whatever the place, and its label is written without a look at the others; only
//! where a border may run are classes interpolated at each pixel. The labels are those of interpolating
//! everywhere.
//!
//! Argmax asks only which value is larger, so probabilities and whatever else grows with the logits do as well.

mod probability;

use rayon::prelude::*;

use crate::isa::{Isa, Kernel};
use crate::resize::{Samples, mix_rows};
use crate::simd::Simd;

pub use probability::{ToProbability, class_scores, label_probabilities, winning_probability};

/// Planar scores of one picture, `[classes][height][width]`, of which a rectangle counts: logits, or what an
/// activation that grows with them made of them.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    /// The values.
    pub values: &'a [f32],
    /// Number of classes, at most 256. One means binary: class 1 where the value is above `threshold`.
    pub classes: usize,
    /// Rows of each plane.
    pub height: usize,
    /// Columns of each plane.
    pub width: usize,
    /// The part that shows picture, in pixels of the map: left, top, width, height. Edges lie between pixels
    /// where the map is coarser than the picture that it is of; a pixel that is partly inside is read.
    pub valid: [f64; 4],
    /// With one class, the value above which a pixel is of it: 0 for logits. Not read with more classes.
    pub threshold: f32,
}

/// One axis of the valid part.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// The first pixel that is read, and how many are.
    first: usize,
    count: usize,
    /// Where the part begins, from the first pixel's edge on, and how long it is: in pixels.
    origin: f64,
    extent: f64,
}

impl Span {
    fn new(start: f64, extent: f64, pixels: usize) -> Self {
        let first = (start as usize).min(pixels - 1);
        let end = ((start + extent).ceil() as usize).clamp(first + 1, pixels);
        Self {
            first,
            count: end - first,
            origin: start - first as f64,
            extent,
        }
    }

    /// Where `to` pixels that share the part evenly read, counted from the first pixel on.
    fn samples(&self, to: usize) -> Samples {
        Samples::of_part(self.origin as f32, self.extent as f32, self.count, to)
    }
}

impl Samples {
    /// As [`Samples::new`] without aligned corners, of the part from `origin` on that is `extent` long. Positions
    /// beyond the centres of the first and last of the `from` pixels read those pixels.
    fn of_part(origin: f32, extent: f32, from: usize, to: usize) -> Self {
        let scale = extent / to as f32;
        let position = |i: usize| (origin + scale * (i as f32 + 0.5) - 0.5).max(0.0);
        let last = from as u32 - 1;
        let low: Vec<_> = (0..to).map(|i| (position(i) as u32).min(last)).collect();
        Self {
            high: low.iter().map(|&l| (l + 1).min(last)).collect(),
            fraction: (0..to)
                .map(|i| (position(i) - low[i] as f32).clamp(0.0, 1.0))
                .collect(),
            low,
        }
    }
}

impl<'a> Logits<'a> {
    /// All of a map counts, and a class of its own is where the value is above 0.
    pub fn whole(values: &'a [f32], classes: usize, [height, width]: [usize; 2]) -> Self {
        Self {
            values,
            classes,
            height,
            width,
            valid: [0.0, 0.0, width as f64, height as f64],
            threshold: 0.0,
        }
    }

    fn check(&self, output: usize, [height, width]: [usize; 2]) {
        let [left, top, columns, rows] = self.valid;
        assert!(
            (1..=256).contains(&self.classes),
            "{} classes",
            self.classes
        );
        assert_eq!(
            self.values.len(),
            self.classes * self.height * self.width,
            "logits"
        );
        // Fractions of pixels are rounded.
        let fits = |start: f64, extent: f64, side: usize| {
            start >= 0.0 && extent > 0.0 && start + extent <= side as f64 + 1e-6
        };
        assert!(fits(left, columns, self.width), "valid columns");
        assert!(fits(top, rows, self.height), "valid rows");
        assert_eq!(output, height * width, "labels of {height}×{width}");
    }

    fn columns(&self) -> Span {
        Span::new(self.valid[0], self.valid[2], self.width)
    }

    fn rows(&self) -> Span {
        Span::new(self.valid[1], self.valid[3], self.height)
    }

    /// The rows of a class's plane, each `width` after the one before, from the first value that is read on.
    #[inline(always)]
    fn plane(&self, class: usize) -> &[f32] {
        let start = class * self.height * self.width;
        let first = self.rows().first * self.width + self.columns().first;
        &self.values[start + first..start + self.height * self.width]
    }
}

/// The class of the largest logit at each of `height`×`width` pixels, the valid part being
/// resized bilinearly (`align_corners = false`). Ties go to the lower class, as in PyTorch. With one class, 1
/// where the value is above the threshold.
///
/// # Panics
/// If extents do not fit.
pub fn labels(isa: Isa, logits: Logits<'_>, size: [usize; 2], output: &mut [u8]) {
    logits.check(output.len(), size);
    let [height, width] = size;
    let columns = logits.columns();
    let ys = &logits.rows().samples(height);
    let xs = &columns.samples(width);
    let bands = output.par_chunks_mut(width).enumerate().with_min_len(ROWS);
    bands.for_each_init(
        || Room::new(logits.classes, columns.count),
        |room, (row, output)| {
            isa.run(LabelRow {
                logits,
                y: ys.at(row),
                xs,
                room,
                output,
            });
        },
    );
}

/// Rows that a thread takes at a time, at least.
const ROWS: usize = 8;

/// What a row of labels is found with.
struct Room {
    /// Each class's logits between two rows, the last column twice.
    rows: Vec<f32>,
    /// From each column to the next, the value that some class is sure to reach, which one, and how many
    /// may reach it.
    least: Vec<f32>,
    surest: Vec<u32>,
    rivals: Vec<u32>,
}

impl Room {
    fn new(classes: usize, columns: usize) -> Self {
        Self {
            rows: vec![0.0; classes * (columns + 1)],
            least: vec![0.0; columns],
            surest: vec![0; columns],
            rivals: vec![0; columns],
        }
    }
}

/// The labels of one row.
struct LabelRow<'a> {
    logits: Logits<'a>,
    y: (usize, usize, f32),
    xs: &'a Samples,
    room: &'a mut Room,
    output: &'a mut [u8],
}

impl Kernel for LabelRow<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Room {
            rows,
            least,
            surest,
            rivals,
        } = self.room;
        let columns = least.len();
        for (class, row) in rows.chunks_exact_mut(columns + 1).enumerate() {
            let plane = self.logits.plane(class);
            mix_rows(plane, self.logits.width, self.y, &mut row[..columns]);
            row[columns] = row[columns - 1];
        }

        least.fill(f32::NEG_INFINITY);
        surest.fill(0);
        for (class, row) in rows.chunks_exact(columns + 1).enumerate() {
            let places = least.iter_mut().zip(&mut *surest);
            for ((least, surest), (&a, &b)) in places.zip(row.iter().zip(&row[1..])) {
                let [low, _] = bounds(a, b);
                let surer = low > *least;
                *least = if surer { low } else { *least };
                *surest = if surer { class as u32 } else { *surest };
            }
        }
        rivals.fill(0);
        for row in rows.chunks_exact(columns + 1) {
            let places = rivals.iter_mut().zip(&*least);
            for ((rivals, &least), (&a, &b)) in places.zip(row.iter().zip(&row[1..])) {
                let [_, high] = bounds(a, b);
                // A NaN may be anything.
                let is_below = high < least;
                *rivals += u32::from(!is_below);
            }
        }

        let binary = self.logits.classes == 1;
        for (x, label) in self.output.iter_mut().enumerate() {
            let (low, _, fraction) = self.xs.at(x);
            if rivals[low] == 1 && !binary {
                *label = surest[low] as u8;
                continue;
            }
            let mut best = if binary {
                self.logits.threshold
            } else {
                f32::NEG_INFINITY
            };
            *label = 0;
            for (class, row) in rows.chunks_exact(columns + 1).enumerate() {
                let (a, b) = (row[low], row[low + 1]);
                let logit = a + (b - a) * fraction;
                if logit > best {
                    best = logit;
                    *label = if binary { 1 } else { class as u8 };
                }
            }
        }
    }
}

/// Between what any value interpolated from `a` to `b` lies, rounding included; NaN for what has none.
#[inline(always)]
fn bounds(a: f32, b: f32) -> [f32; 2] {
    // Three roundings, each of something no larger than the two together.
    let rounding = 4.0 * f32::EPSILON * (a.abs() + b.abs());
    let [low, high] = if a <= b { [a, b] } else { [b, a] };
    [low - rounding, high + rounding]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::map::MapShape;
    use crate::resize::resize_bilinear_planar;

    prop_compose! {
        /// Smooth and rough logits, with ties, NaNs and infinities among them.
        fn planes()(classes in 2_usize..24, height in 1_usize..9, width in 1_usize..40)(
            values in prop::collection::vec(
                prop_oneof![
                    8 => -1.0..1.0_f32,
                    8 => prop::sample::select(vec![0.0, 1.0, 2.0, -1.0, 1.0 + f32::EPSILON]),
                    1 => prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -0.0]),
                ],
                classes * height * width,
            ),
            lead in prop::option::of(0..classes),
            classes in Just(classes), height in Just(height), width in Just(width),
        ) -> (MapShape, Vec<f32>) {
            let mut values = values;
            // One class ahead nearly everywhere, as in what a network gives.
            if let Some(lead) = lead {
                let plane = &mut values[lead * height * width..][..height * width];
                plane.iter_mut().enumerate().for_each(|(i, x)| *x += if i % 7 == 0 { 0.0 } else { 3.0 });
            }
            (MapShape::new(1, classes, height, width), values)
        }
    }

    proptest! {
        #![proptest_config(segmenta_properties::cases(256))]

        #[test]
        fn labels_are_those_of_every_class_everywhere(
            (shape, values) in planes(), size in [1_usize..30, 1_usize..90],
        ) {
            let MapShape { channels: classes, height, width, .. } = shape;
            let pixels = size[0] * size[1];
            for isa in Isa::available() {
                let mut resized = vec![0.0; classes * pixels];
                resize_bilinear_planar(isa, &values, shape, &mut resized, size, false);
                let logits = Logits::whole(&values, classes, [height, width]);
                let mut got = vec![0; pixels];
                labels(isa, logits, size, &mut got);
                for (pixel, &got) in got.iter().enumerate() {
                    let (mut best, mut expected) = (f32::NEG_INFINITY, 0);
                    for class in 0..classes {
                        if resized[class * pixels + pixel] > best {
                            (best, expected) = (resized[class * pixels + pixel], class as u8);
                        }
                    }
                    prop_assert_eq!(got, expected, "{}, pixel {}", isa, pixel);
                }
            }
        }
    }
}
