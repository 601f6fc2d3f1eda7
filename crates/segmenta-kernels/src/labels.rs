//! From logits to label maps: bilinear resize and argmax in one pass, so that logits are never
//! held at the size of the photograph.
//!
//! What lies between two logits of a row can be no larger than both. Between most neighbours one class is
//! therefore sure to win whatever the place, and its label is written without a look at the others; only
//! where a border may run are classes interpolated at each pixel. The labels are those of interpolating
//! everywhere.

use rayon::prelude::*;

use crate::isa::{Isa, Kernel};
use crate::resize::{Samples, mix_rows, stretch};
use crate::simd::Simd;

/// Planar logits of one picture, `[classes][height][width]`, of which a rectangle counts.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    /// The values.
    pub values: &'a [f32],
    /// Number of classes, at most 256. One means binary: class 1 where the logit is positive.
    pub classes: usize,
    /// Rows of each plane.
    pub height: usize,
    /// Columns of each plane.
    pub width: usize,
    /// The part that shows picture: left, top, width, height.
    pub valid: [usize; 4],
}

impl Logits<'_> {
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
        assert!(columns > 0 && left + columns <= self.width, "valid columns");
        assert!(rows > 0 && top + rows <= self.height, "valid rows");
        assert_eq!(output, height * width, "labels of {height}×{width}");
    }

    /// The plane of a class, from the first valid value on.
    #[inline(always)]
    fn plane(&self, class: usize) -> &[f32] {
        let [left, top, ..] = self.valid;
        let start = class * self.height * self.width;
        &self.values[start + top * self.width + left..start + self.height * self.width]
    }
}

/// The class of the largest logit at each of `height`×`width` pixels, the valid part being
/// resized bilinearly (`align_corners = false`). Ties go to the lower class, as in PyTorch.
///
/// # Panics
/// If extents do not fit.
pub fn labels(isa: Isa, logits: Logits<'_>, size: [usize; 2], output: &mut [u8]) {
    logits.check(output.len(), size);
    let [height, width] = size;
    let [_, _, columns, rows] = logits.valid;
    let ys = &Samples::new(rows, height, false);
    let xs = &Samples::new(columns, width, false);
    let bands = output.par_chunks_mut(width).enumerate().with_min_len(ROWS);
    bands.for_each_init(
        || Room::new(logits.classes, columns),
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
            let mut best = if binary { 0.0 } else { f32::NEG_INFINITY };
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

/// How sure the network is of [`labels`]: the softmax (with one class, the sigmoid) of the winner
/// at each pixel, 0 to 1.
///
/// # Panics
/// If extents do not fit.
pub fn winning_probability(isa: Isa, logits: Logits<'_>, size: [usize; 2], output: &mut [f32]) {
    logits.check(output.len(), size);
    let [height, width] = size;
    let [_, _, columns, rows] = logits.valid;
    let ys = &Samples::new(rows, height, false);
    let xs = &Samples::new(columns, width, false);
    let bands = output.par_chunks_mut(width).enumerate().with_min_len(ROWS);
    bands.for_each(|(row, output)| {
        let best = isa.run(Winners {
            logits,
            y: ys.at(row),
            xs,
        });
        for (score, best) in output.iter_mut().zip(best) {
            *score = if logits.classes == 1 {
                1.0 / (1.0 + (-best.logit.abs()).exp())
            } else {
                1.0 / best.sum
            };
        }
    });
}

/// The winner at one pixel so far.
#[derive(Clone, Copy)]
struct Best {
    logit: f32,
    /// Sum of `e^(logit − best logit)` over the classes seen.
    sum: f32,
}

/// The winners of one row.
struct Winners<'a> {
    logits: Logits<'a>,
    y: (usize, usize, f32),
    xs: &'a Samples,
}

impl Kernel for Winners<'_> {
    type Output = Vec<Best>;

    #[inline(always)]
    unsafe fn run<S: Simd>(self) -> Vec<Best> {
        let Logits {
            classes,
            width,
            valid,
            ..
        } = self.logits;
        let mut mixed = vec![0.0; valid[2]];
        let mut row = vec![0.0; self.xs.low.len()];
        let start = Best {
            logit: f32::NEG_INFINITY,
            sum: 0.0,
        };
        let mut best = vec![start; row.len()];
        for class in 0..classes {
            mix_rows(self.logits.plane(class), width, self.y, &mut mixed);
            stretch(&mixed, self.xs, &mut row);
            for (best, &logit) in best.iter_mut().zip(&row) {
                if logit > best.logit {
                    best.sum = best.sum * (best.logit - logit).exp() + 1.0;
                    best.logit = logit;
                } else {
                    best.sum += (logit - best.logit).exp();
                }
            }
        }
        best
    }
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
                let logits = Logits { values: &values, classes, height, width, valid: [0, 0, width, height] };
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
