//! Blurs: a box and a bell.

use segmenta_image::Picture;
use serde::{Deserialize, Serialize};

use super::setting::check_range;
use super::{Step, Wrong};
use crate::Sample;
use crate::random::Random;

/// albumentations' `Blur`: the mean of a square whose odd side is drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Blur {
    /// Sides in pixels: 3 to 7 by default; even ones are made odd by one more.
    pub blur_limit: [usize; 2],
    /// How often.
    pub p: f64,
}

/// albumentations' `GaussianBlur`, whose kernel is torchvision's: a deviation is drawn, the side follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GaussianBlur {
    /// Deviation in pixels: 0.5 to 3 by default.
    pub sigma_limit: [f64; 2],
    /// The kernel's odd side in pixels; 0, the default: 2 · ⌊3.5 · sigma⌋ + 1.
    pub kernel_size: usize,
    /// How often.
    pub p: f64,
}

impl Default for Blur {
    fn default() -> Self {
        Self {
            blur_limit: [3, 7],
            p: 0.5,
        }
    }
}

impl Default for GaussianBlur {
    fn default() -> Self {
        Self {
            sigma_limit: [0.5, 3.0],
            kernel_size: 0,
            p: 0.5,
        }
    }
}

impl Step for Blur {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        let [from, to] = self.blur_limit;
        if 3 <= from && from <= to && to <= 255 {
            return Ok(());
        }
        Err(Wrong::new(
            "blur_limit",
            self.blur_limit,
            "give two sides from 3 to 255, as [3, 7]",
        ))
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let [from, to] = self.blur_limit.map(|side| side / 2);
        let reach = random.whole([from, to]);
        let side = 2 * reach + 1;
        sample.map_picture(|picture| convolve(&picture, &vec![1.0 / side as f32; side]))
    }
}

impl Step for GaussianBlur {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        let remedy = "give two deviations above 0, at most 50";
        check_range("sigma_limit", self.sigma_limit, [1e-3, 50.0], remedy)?;
        if self.kernel_size != 0 && (self.kernel_size.is_multiple_of(2) || self.kernel_size > 511) {
            return Err(Wrong::new(
                "kernel_size",
                self.kernel_size,
                "give an odd side up to 511, or 0",
            ));
        }
        Ok(())
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let sigma = random.within(self.sigma_limit);
        let side = match self.kernel_size {
            0 => 2 * (3.5 * sigma) as usize + 1,
            side => side,
        };
        sample.map_picture(|picture| convolve(&picture, &bell(side, sigma)))
    }
}

/// The normal distribution at whole steps, its sum 1.
fn bell(side: usize, sigma: f64) -> Vec<f32> {
    let place = |i: usize| (i as f64 - (side / 2) as f64) / sigma;
    let values: Vec<f64> = (0..side).map(|i| (-0.5 * place(i).powi(2)).exp()).collect();
    let sum: f64 = values.iter().sum();
    values.iter().map(|value| (value / sum) as f32).collect()
}

/// Rows, then columns, with a kernel of odd length; beyond its edge the picture is mirrored about its outermost
/// pixels.
fn convolve(picture: &Picture, kernel: &[f32]) -> Picture {
    let (width, height) = picture.size();
    let reach = (kernel.len() / 2) as isize;
    let tap = |at: usize, i: usize, side: usize| mirrored(at as isize + i as isize - reach, side);
    let (pixels, _) = picture.pixels().as_chunks::<3>();
    let mut across = vec![[0.0f32; 3]; pixels.len()];
    for (row, from) in across
        .chunks_exact_mut(width)
        .zip(pixels.chunks_exact(width))
    {
        for (x, sum) in row.iter_mut().enumerate() {
            for (i, &weight) in kernel.iter().enumerate() {
                let pixel = from[tap(x, i, width)];
                sum.iter_mut()
                    .zip(pixel)
                    .for_each(|(sum, v)| *sum += weight * f32::from(v));
            }
        }
    }
    let mut blurred = Vec::with_capacity(pixels.len() * 3);
    let mut sums = vec![[0.0f32; 3]; width];
    for y in 0..height {
        sums.fill([0.0; 3]);
        for (i, &weight) in kernel.iter().enumerate() {
            let row = &across[tap(y, i, height) * width..][..width];
            let values = sums.as_flattened_mut().iter_mut().zip(row.as_flattened());
            values.for_each(|(sum, value)| *sum += weight * value);
        }
        blurred.extend(sums.as_flattened().iter().map(|sum| (sum + 0.5) as u8));
    }
    Picture::from_rgb(width, height, blurred).expect("the size of the picture")
}

/// … 2 1 | 0 1 2 … n−1 | n−2 n−3 …
pub(super) fn mirrored(at: isize, side: usize) -> usize {
    let period = (2 * (side as isize - 1)).max(1);
    let at = at.rem_euclid(period);
    at.min(period - at).min(side as isize - 1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::tests::{gradient, reference};

    #[test]
    fn edges_are_mirrors() {
        let at = |range: std::ops::Range<isize>, side| -> Vec<usize> {
            range.map(|at| mirrored(at, side)).collect()
        };
        assert_eq!(at(-3..6, 3), [1, 2, 1, 0, 1, 2, 1, 0, 1]);
        assert_eq!(at(-2..3, 1), [0; 5]);
    }

    /// `tools/augment_references.py`: torchvision's `gaussian_blur`, albumentations' box.
    #[test]
    fn blurs_are_their_namesakes() {
        let picture = gradient(61, 47).into_parts().0;
        for (name, kernel) in [
            ("gaussian_blur_5_1.1", bell(5, 1.1)),
            ("gaussian_blur_19_2.7", bell(19, 2.7)),
            ("blur_5", vec![0.2; 5]),
        ] {
            reference(name).assert_close(convolve(&picture, &kernel).pixels(), 1, 0.98);
        }
    }
}
