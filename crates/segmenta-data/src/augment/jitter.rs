//! Brightness, contrast, saturation and hue.

use segmenta_image::Picture;
use serde::{Deserialize, Serialize};

use super::colour::{blend, each, from_hsv, grey, to_hsv};
use super::setting::check_range;
use super::{Limit, Step, Wrong};
use crate::Sample;
use crate::random::Random;

/// torchvision's `ColorJitter` in its arithmetic for PIL pictures; the four changes come in an order that is drawn.
/// Defaults and `p` are albumentations': torchvision has 0 for all four and always applies it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColorJitter {
    /// Factor, a number being meant around 1: 0.2 (0.8 to 1.2) by default. 0 is black, 1 the picture.
    pub brightness: Limit,
    /// Likewise; 0 is the picture's mean grey.
    pub contrast: Limit,
    /// Likewise; 0 is grey.
    pub saturation: Limit,
    /// Turn of the colour circle, a number being meant around 0: at most 0.5, which is half of it and the default.
    pub hue: Limit,
    /// How often.
    pub p: f64,
}

impl Default for ColorJitter {
    fn default() -> Self {
        let fifth = Limit::Around(0.2);
        Self {
            brightness: fifth,
            contrast: fifth,
            saturation: fifth,
            hue: Limit::Around(0.5),
            p: 0.5,
        }
    }
}

impl Step for ColorJitter {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        let remedy = "give a reach around 1, as 0.2, or two factors from 0 on, as [0.8, 1.2]";
        for (setting, limit) in [
            ("brightness", self.brightness),
            ("contrast", self.contrast),
            ("saturation", self.saturation),
        ] {
            if matches!(limit, Limit::Around(reach) if reach.is_nan() || reach < 0.0) {
                return Err(Wrong::new(setting, limit, remedy));
            }
            check_range(setting, limit.factor(), [0.0, 100.0], remedy)?;
        }
        check_range(
            "hue",
            self.hue.around(0.0),
            [-0.5, 0.5],
            "give a turn from 0 to 0.5",
        )
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let mut order = [0, 1, 2, 3];
        random.shuffle(&mut order);
        let factors = [self.brightness, self.contrast, self.saturation]
            .map(|limit| random.within(limit.factor()) as f32);
        let turn = random.within(self.hue.around(0.0));
        sample.map_picture(|mut picture| {
            for change in order {
                match change {
                    0 => brightness(&mut picture, factors[0]),
                    1 => contrast(&mut picture, factors[1]),
                    2 => saturation(&mut picture, factors[2]),
                    _ => hue(&mut picture, turn),
                }
            }
            picture
        })
    }
}

fn brightness(picture: &mut Picture, factor: f32) {
    each(picture, |pixel| pixel.map(|value| blend(0, value, factor)));
}

fn contrast(picture: &mut Picture, factor: f32) {
    let (pixels, _) = picture.pixels().as_chunks::<3>();
    let sum: u64 = pixels.iter().map(|&pixel| u64::from(grey(pixel))).sum();
    let mean = (sum as f64 / pixels.len() as f64 + 0.5) as u8;
    each(picture, |pixel| {
        pixel.map(|value| blend(mean, value, factor))
    });
}

fn saturation(picture: &mut Picture, factor: f32) {
    each(picture, |pixel| {
        let ground = grey(pixel);
        pixel.map(|value| blend(ground, value, factor))
    });
}

/// `turn` is in whole circles.
fn hue(picture: &mut Picture, turn: f64) {
    let steps = (turn * 255.0) as i32 as u8;
    if steps == 0 {
        return;
    }
    each(picture, |pixel| {
        let [h, s, v] = to_hsv(pixel);
        from_hsv([h.wrapping_add(steps), s, v])
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::tests::{gradient, reference};

    /// `tools/augment_references.py`: torchvision's `adjust_*` on PIL pictures.
    #[test]
    fn colours_are_pillows() {
        type Change = fn(&mut Picture);
        let cases: [(&str, Change); 8] = [
            ("brightness_0.6", |p| brightness(p, 0.6)),
            ("brightness_1.7", |p| brightness(p, 1.7)),
            ("contrast_0.4", |p| contrast(p, 0.4)),
            ("contrast_1.9", |p| contrast(p, 1.9)),
            ("saturation_0.3", |p| saturation(p, 0.3)),
            ("saturation_2.1", |p| saturation(p, 2.1)),
            ("hue_0.2", |p| hue(p, 0.2)),
            ("hue_-0.35", |p| hue(p, -0.35)),
        ];
        for (name, change) in cases {
            let (mut picture, _) = gradient(61, 47).into_parts();
            change(&mut picture);
            reference(name).assert_close(picture.pixels(), 0, 1.0);
        }
    }
}
