//! Local contrast: contrast-limited adaptive histogram equalisation.

use std::sync::LazyLock;

use segmenta_image::Picture;
use serde::{Deserialize, Serialize};

use super::blur::mirrored;
use super::setting::check_range;
use super::{Step, Wrong};
use crate::Sample;
use crate::random::Random;

/// albumentations' `CLAHE` (Zuiderveld 1994, Graphics Gems IV) in OpenCV's arithmetic, on the lightness of CIE L*a*b*.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Clahe {
    /// How steep the tones may become: 1 to 4 by default.
    pub clip_limit: [f64; 2],
    /// Columns and rows of tiles, 8 and 8 by default.
    pub tile_grid_size: [usize; 2],
    /// How often.
    pub p: f64,
}

impl Default for Clahe {
    fn default() -> Self {
        Self {
            clip_limit: [1.0, 4.0],
            tile_grid_size: [8, 8],
            p: 0.5,
        }
    }
}

impl Step for Clahe {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        check_range(
            "clip_limit",
            self.clip_limit,
            [1.0, 256.0],
            "give two limits from 1 on, as [1, 4]",
        )?;
        if self.tile_grid_size.iter().all(|n| (1..=64).contains(n)) {
            return Ok(());
        }
        Err(Wrong::new(
            "tile_grid_size",
            self.tile_grid_size,
            "give two counts from 1 to 64, as [8, 8]",
        ))
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let limit = random.within(self.clip_limit);
        sample.map_picture(|picture| equalise(picture, limit, self.tile_grid_size))
    }
}

fn equalise(mut picture: Picture, limit: f64, grid: [usize; 2]) -> Picture {
    let size = picture.size();
    let (pixels, _) = picture.pixels_mut().as_chunks_mut::<3>();
    let lab: Vec<[f32; 3]> = pixels.iter().map(|&pixel| to_lab(pixel)).collect();
    let lightness: Vec<u8> = lab.iter().map(|[l, ..]| (l * 2.55 + 0.5) as u8).collect();
    let tiles = Tiles::new(&lightness, size, limit, grid);
    for (i, (pixel, [_, a, b])) in pixels.iter_mut().zip(lab).enumerate() {
        let l = tiles.tone(i % size.0, i / size.0, lightness[i]);
        *pixel = from_lab([l / 2.55, a, b]);
    }
    picture
}

/// A table of tones for each tile.
struct Tiles {
    columns: usize,
    rows: usize,
    width: usize,
    height: usize,
    tables: Vec<[u8; 256]>,
}

impl Tiles {
    fn new(
        values: &[u8],
        (width, height): (usize, usize),
        limit: f64,
        [columns, rows]: [usize; 2],
    ) -> Self {
        // Tiles are whole: the picture is continued as its mirror image to the next multiple, in both directions as
        // soon as one needs it.
        let fits = width.is_multiple_of(columns) && height.is_multiple_of(rows);
        let side = |side: usize, tiles: usize| {
            if fits { side / tiles } else { side / tiles + 1 }
        };
        let (tile_width, tile_height) = (side(width, columns), side(height, rows));
        let area = tile_width * tile_height;
        let clip = ((limit * area as f64 / 256.0) as usize).max(1);
        let mut tables = Vec::with_capacity(columns * rows);
        for row in 0..rows {
            for column in 0..columns {
                let mut counts = [0usize; 256];
                for y in row * tile_height..(row + 1) * tile_height {
                    let line = &values[mirrored(y as isize, height) * width..][..width];
                    for x in column * tile_width..(column + 1) * tile_width {
                        counts[usize::from(line[mirrored(x as isize, width)])] += 1;
                    }
                }
                cut(&mut counts, clip);
                tables.push(tones(&counts, area));
            }
        }
        Self {
            columns,
            rows,
            width: tile_width,
            height: tile_height,
            tables,
        }
    }

    /// The tone of a value at a pixel, between the tables of the four nearest tiles, 0 to 255.
    fn tone(&self, x: usize, y: usize, value: u8) -> f32 {
        let place = |at: usize, length: usize, count: usize| {
            let place = at as f32 / length as f32 - 0.5;
            let first = place.floor();
            let clamped = |tile: f32| (tile.max(0.0) as usize).min(count - 1);
            (clamped(first), clamped(first + 1.0), place - first)
        };
        let (left, right, u) = place(x, self.width, self.columns);
        let (upper, lower, v) = place(y, self.height, self.rows);
        let at = |row: usize, column: usize| {
            f32::from(self.tables[row * self.columns + column][usize::from(value)])
        };
        let above = at(upper, left) * (1.0 - u) + at(upper, right) * u;
        let below = at(lower, left) * (1.0 - u) + at(lower, right) * u;
        (above * (1.0 - v) + below * v).round_ties_even()
    }
}

/// What is above the limit is dealt out to all values alike, the rest of it at equal steps.
fn cut(counts: &mut [usize; 256], clip: usize) {
    let excess: usize = counts.iter().map(|count| count.saturating_sub(clip)).sum();
    let (each, rest) = (excess / 256, excess % 256);
    counts
        .iter_mut()
        .for_each(|count| *count = (*count).min(clip) + each);
    if let Some(step) = 256usize.checked_div(rest) {
        let step = step.max(1);
        counts
            .iter_mut()
            .step_by(step)
            .take(rest)
            .for_each(|count| *count += 1);
    }
}

fn tones(counts: &[usize; 256], area: usize) -> [u8; 256] {
    let mut sum = 0;
    counts.map(|count| {
        sum += count;
        (sum as f32 * (255.0 / area as f32)).round_ties_even() as u8
    })
}

/// CIE XYZ of sRGB's primaries (IEC 61966-2-1), each row divided by the white point D65.
const TO_XYZ: [[f32; 3]; 3] = [
    [
        0.412453 / 0.950456,
        0.357580 / 0.950456,
        0.180423 / 0.950456,
    ],
    [0.212671, 0.715160, 0.072169],
    [
        0.019334 / 1.088754,
        0.119193 / 1.088754,
        0.950227 / 1.088754,
    ],
];
/// Its inverse.
const FROM_XYZ: [[f32; 3]; 3] = [
    [3.240479 * 0.950456, -1.53715, -0.498535 * 1.088754],
    [-0.969256 * 0.950456, 1.875991, 0.041556 * 1.088754],
    [0.055648 * 0.950456, -0.204043, 1.057311 * 1.088754],
];

/// The light of each byte.
static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let v = byte as f32 / 255.0;
        if v <= 0.04045 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    })
});

fn product(matrix: &[[f32; 3]; 3], [x, y, z]: [f32; 3]) -> [f32; 3] {
    matrix.map(|[a, b, c]| a * x + b * y + c * z)
}

fn to_lab(pixel: [u8; 3]) -> [f32; 3] {
    let light = pixel.map(|byte| LINEAR[usize::from(byte)]);
    let [x, y, z] = product(&TO_XYZ, light).map(|t| {
        if t > 0.008856 {
            t.cbrt()
        } else {
            7.787 * t + 16.0 / 116.0
        }
    });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

fn from_lab([l, a, b]: [f32; 3]) -> [u8; 3] {
    let y = (l + 16.0) / 116.0;
    let light = |f: f32| {
        if f > 0.206_893 {
            f * f * f
        } else {
            (f - 16.0 / 116.0) / 7.787
        }
    };
    let xyz = [y + a / 500.0, y, y - b / 200.0].map(light);
    product(&FROM_XYZ, xyz).map(|v| {
        let v = if v <= 0.003_130_8 {
            12.92 * v
        } else {
            1.055 * v.powf(1.0 / 2.4) - 0.055
        };
        (v * 255.0 + 0.5) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::tests::{gradient, reference};

    #[test]
    fn lab_and_back_is_the_same_colour() {
        for r in (0..=255).step_by(15) {
            for g in (0..=255).step_by(15) {
                for b in (0..=255).step_by(15) {
                    let back = from_lab(to_lab([r, g, b]));
                    let off = back
                        .iter()
                        .zip([r, g, b])
                        .map(|(&x, y)| x.abs_diff(y))
                        .max();
                    assert!(off <= Some(1), "{r} {g} {b}: {back:?}");
                }
            }
        }
    }

    /// `tools/augment_references.py`: OpenCV's, through albumentations.
    #[test]
    fn tones_are_opencvs() {
        let picture = gradient(61, 47).into_parts().0;
        let greens: Vec<u8> = picture
            .pixels()
            .iter()
            .skip(1)
            .step_by(3)
            .copied()
            .collect();
        for (limit, grid) in [(2, [8, 8]), (4, [3, 5])] {
            let tiles = Tiles::new(&greens, (61, 47), f64::from(limit), grid);
            let tone = |(i, &value): (usize, &u8)| tiles.tone(i % 61, i / 61, value) as u8;
            let tones: Vec<u8> = greens.iter().enumerate().map(tone).collect();
            let name = format!("clahe_grey_{limit}_{}x{}", grid[0], grid[1]);
            reference(&name).assert_close(&tones, 1, 0.95);
        }
    }

    /// Its Lab is of bytes, which costs it a few levels and here and there the next tone.
    #[test]
    fn colours_are_near_opencvs() {
        let picture = equalise(gradient(61, 47).into_parts().0, 2.0, [2, 2]);
        let mean = reference("clahe_2_2x2").mean_difference(picture.pixels());
        assert!(mean < 1.5, "{mean}");
    }
}
