//! What scenes are painted on: four samples a pixel, each with light and a class.

use std::ops::{Add, Mul};

use super::random::{hash, lerp};

/// Linear light, red, green and blue; 1 is white.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Colour(pub(crate) f32, pub(crate) f32, pub(crate) f32);

/// A colour as screens write it, 0xRRGGBB. Screens' gamma is taken as 2, whose inverse, the square
/// root, is exact in IEEE 754 and therefore the same everywhere.
pub(crate) const fn rgb(hex: u32) -> Colour {
    const fn linear(byte: u32) -> f32 {
        let v = (byte & 255) as f32 / 255.0;
        v * v
    }
    Colour(linear(hex >> 16), linear(hex >> 8), linear(hex))
}

impl Colour {
    pub(crate) const BLACK: Self = Self(0.0, 0.0, 0.0);
    pub(crate) const WHITE: Self = Self(1.0, 1.0, 1.0);

    /// This colour for `t` = 0, `other` for 1.
    pub(crate) fn mix(self, other: Self, t: f32) -> Self {
        Self(
            lerp(self.0, other.0, t),
            lerp(self.1, other.1, t),
            lerp(self.2, other.2, t),
        )
    }
}

impl Add for Colour {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0, self.1 + other.1, self.2 + other.2)
    }
}

impl Mul for Colour {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self(self.0 * other.0, self.1 * other.1, self.2 * other.2)
    }
}

impl Mul<f32> for Colour {
    type Output = Self;
    fn mul(self, by: f32) -> Self {
        Self(self.0 * by, self.1 * by, self.2 * by)
    }
}

/// A rectangle of the canvas, in picture heights from the top left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Area {
    pub(crate) left: f32,
    pub(crate) top: f32,
    pub(crate) right: f32,
    pub(crate) bottom: f32,
}

impl Area {
    /// The whole canvas, however wide.
    pub(crate) const ALL: Self = Self {
        left: -1e6,
        top: -1e6,
        right: 1e6,
        bottom: 1e6,
    };

    /// The smallest area around points.
    pub(crate) fn around(points: impl IntoIterator<Item = (f32, f32)>) -> Self {
        let none = Self {
            left: 1e6,
            top: 1e6,
            right: -1e6,
            bottom: -1e6,
        };
        points.into_iter().fold(none, |a, (x, y)| Self {
            left: a.left.min(x),
            top: a.top.min(y),
            right: a.right.max(x),
            bottom: a.bottom.max(y),
        })
    }
}

/// The class of samples that nothing has been painted on.
const EMPTY: u8 = 255;

/// Samples per pixel, along each side.
const FINE: usize = 2;

/// Light and classes of a picture in the making. What is nearest is painted first, and what is painted stays, so that
/// nothing hidden is ever computed. Points are given in picture heights from the top left.
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    light: Vec<Colour>,
    classes: Vec<u8>,
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let samples = width * height * FINE * FINE;
        Self {
            width,
            height,
            light: vec![Colour::BLACK; samples],
            classes: vec![EMPTY; samples],
        }
    }

    /// Width over height.
    pub(crate) fn aspect(&self) -> f32 {
        self.width as f32 / self.height as f32
    }

    /// Paints a class wherever nothing is yet and `shader` gives a colour.
    pub(crate) fn paint(
        &mut self,
        area: Area,
        class: u8,
        shader: impl Fn(f32, f32) -> Option<Colour>,
    ) {
        self.visit(area, |x, y, light, label| {
            if *label == EMPTY
                && let Some(colour) = shader(x, y)
            {
                (*light, *label) = (colour, class);
            }
        });
    }

    /// Multiplies what has one of the classes.
    pub(crate) fn tint(&mut self, area: Area, classes: &[u8], shader: impl Fn(f32, f32) -> Colour) {
        self.visit(area, |x, y, light, label| {
            if classes.contains(label) {
                *light = *light * shader(x, y);
            }
        });
    }

    fn visit(&mut self, area: Area, visitor: impl Fn(f32, f32, &mut Colour, &mut u8)) {
        let (width, height) = (self.width * FINE, self.height * FINE);
        let unit = height as f32;
        let columns = (area.left * unit).max(0.0) as usize
            ..(area.right * unit + 1.0).clamp(0.0, width as f32) as usize;
        let rows = (area.top * unit).max(0.0) as usize
            ..(area.bottom * unit + 1.0).clamp(0.0, unit) as usize;
        if columns.is_empty() {
            return;
        }
        for row in rows {
            let y = (row as f32 + 0.5) / unit;
            let span = row * width + columns.start..row * width + columns.end;
            let samples = self.light[span.clone()]
                .iter_mut()
                .zip(&mut self.classes[span]);
            for (column, (light, class)) in columns.clone().zip(samples) {
                visitor((column as f32 + 0.5) / unit, y, light, class);
            }
        }
    }

    /// Develops the picture, RGB, and the class of each pixel: the one that most of its samples have, or the higher
    /// of two. The lens darkens corners by up to `vignette`, the sensor adds noise of up to ±`grain` of 255.
    pub(crate) fn develop(&self, vignette: f32, grain: f32, seed: u32) -> (Vec<u8>, Vec<u8>) {
        let mut pixels = Vec::with_capacity(self.width * self.height * 3);
        let mut classes = Vec::with_capacity(self.width * self.height);
        for row in 0..self.height {
            for column in 0..self.width {
                let first = (row * self.width * FINE + column) * FINE;
                let samples = [
                    first,
                    first + 1,
                    first + self.width * FINE,
                    first + self.width * FINE + 1,
                ];
                let sum = samples
                    .iter()
                    .fold(Colour::BLACK, |sum, &i| sum + self.light[i]);
                let (x, y) = (
                    column as f32 / self.width as f32 - 0.5,
                    row as f32 / self.height as f32 - 0.5,
                );
                let Colour(r, g, b) = sum * (0.25 * (1.0 - vignette * 2.0 * (x * x + y * y)));
                for (channel, value) in [r, g, b].into_iter().enumerate() {
                    let (i, j) = ((column * 3 + channel) as i32, row as i32);
                    let noise = hash(i, j, seed) + hash(i, j, !seed) - 1.0;
                    pixels
                        .push((film(value) * 255.0 + grain * noise + 0.5).clamp(0.0, 255.0) as u8);
                }
                classes.push(most_common(samples.map(|i| self.classes[i])));
            }
        }
        (pixels, classes)
    }
}

/// Gamma 2, with highlights that roll off instead of clipping.
fn film(light: f32) -> f32 {
    const KNEE: f32 = 0.75;
    let v = light.max(0.0).sqrt();
    if v < KNEE {
        v
    } else {
        1.0 - (1.0 - KNEE) / (1.0 + (v - KNEE) / (1.0 - KNEE))
    }
}

fn most_common(classes: [u8; 4]) -> u8 {
    let rank = |class: u8| {
        (
            classes.map(|c| u8::from(c == class)).iter().sum::<u8>(),
            class,
        )
    };
    classes
        .into_iter()
        .max_by_key(|&class| rank(class))
        .unwrap_or(classes[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_higher_class() {
        assert_eq!(most_common([1, 1, 1, 6]), 1);
        assert_eq!(most_common([6, 1, 1, 6]), 6);
        assert_eq!(most_common([0, 1, 2, 3]), 3);
    }

    #[test]
    fn paint_stays_in_its_area() {
        let mut canvas = Canvas::new(4, 2);
        let area = Area {
            left: 0.5,
            top: 0.5,
            right: 0.99,
            bottom: 9.0,
        };
        canvas.paint(area, 5, |_, _| Some(Colour::WHITE));
        let (pixels, classes) = canvas.develop(0.0, 0.0, 0);
        let painted = classes.iter().map(|&class| class == 5);
        assert!(painted.eq((0..8).map(|i| i == 5)), "{classes:?}");
        assert_eq!(pixels.iter().filter(|&&v| v > 200).count(), 3);
    }
}
