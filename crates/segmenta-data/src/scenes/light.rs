//! Times of day: the sun, the sky and the air.

use super::canvas::{Colour, rgb};
use super::random::Random;

/// What a scene is lit by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Light {
    /// Towards the sun, of length 1: right, up, away from the camera.
    pub(crate) to_sun: [f32; 3],
    pub(crate) sun: Colour,
    pub(crate) ambient: Colour,
    pub(crate) zenith: Colour,
    pub(crate) horizon: Colour,
    pub(crate) cloud: Colour,
    /// How much of the sky is cloud, 0..1.
    pub(crate) cover: f32,
    /// At how many metres half of what is seen is air.
    pub(crate) visibility: f32,
    /// Whether windows and lamps shine.
    pub(crate) lamps: bool,
}

impl Light {
    /// Noon, morning, late afternoon, overcast or dusk.
    pub(crate) fn new(random: &mut Random) -> Self {
        let side = random.side();
        let kind = random.below(12);
        let mut light = match kind {
            0..=4 => Self {
                to_sun: [0.55 * side, 0.8, -0.35],
                sun: Colour(1.02, 0.95, 0.82),
                ambient: Colour(0.30, 0.36, 0.46),
                zenith: rgb(0x2f6fc4),
                horizon: rgb(0xb4d6f0),
                cloud: rgb(0xffffff),
                cover: random.range(0.15, 0.5),
                visibility: 500.0,
                lamps: false,
            },
            5..=6 => Self {
                to_sun: [0.8 * side, 0.5, -0.45],
                sun: Colour(1.0, 0.88, 0.68),
                ambient: Colour(0.30, 0.35, 0.44),
                zenith: rgb(0x5590cf),
                horizon: rgb(0xe6e4d6),
                cloud: rgb(0xfff6ea),
                cover: random.range(0.2, 0.6),
                visibility: 220.0,
                lamps: false,
            },
            7..=9 => Self {
                to_sun: [0.75 * side, 0.34, -0.5],
                sun: Colour(1.15, 0.76, 0.42),
                ambient: Colour(0.27, 0.28, 0.37),
                zenith: rgb(0x4f7fbd),
                horizon: rgb(0xf6d9a8),
                cloud: rgb(0xffe3bd),
                cover: random.range(0.2, 0.55),
                visibility: 300.0,
                lamps: false,
            },
            10 => Self {
                to_sun: [0.2 * side, 1.0, -0.2],
                sun: Colour(0.14, 0.14, 0.14),
                ambient: Colour(0.58, 0.62, 0.68),
                zenith: rgb(0x98a6b4),
                horizon: rgb(0xd5dbe0),
                cloud: rgb(0xe9edf0),
                cover: random.range(0.7, 0.95),
                visibility: 140.0,
                lamps: random.chance(0.4),
            },
            _ => Self {
                to_sun: [0.6 * side, 0.2, 0.75],
                sun: Colour(0.50, 0.27, 0.17),
                ambient: Colour(0.25, 0.24, 0.33),
                zenith: rgb(0x3a4f86),
                horizon: rgb(0xf3a66b),
                cloud: rgb(0xd98a7a),
                cover: random.range(0.3, 0.6),
                visibility: 260.0,
                lamps: true,
            },
        };
        let [x, y, z] = light.to_sun;
        let length = (x * x + y * y + z * z).sqrt();
        light.to_sun = light.to_sun.map(|v| v / length);
        let exposure = random.range(0.88, 1.12);
        let warmth = random.range(-0.05, 0.05);
        let balance = Colour(
            exposure * (1.0 + warmth),
            exposure,
            exposure * (1.0 - warmth),
        );
        for colour in [
            &mut light.sun,
            &mut light.ambient,
            &mut light.zenith,
            &mut light.horizon,
        ] {
            *colour = *colour * balance;
        }
        light
    }

    /// A surface whose normal (right, up, away) has length 1.
    pub(crate) fn on(&self, surface: Colour, normal: [f32; 3]) -> Colour {
        let [x, y, z] = self.to_sun;
        let facing = (x * normal[0] + y * normal[1] + z * normal[2]).max(0.0);
        surface * (self.ambient * (0.7 + 0.3 * normal[1]) + self.sun * facing)
    }

    /// What is left on the ground of full light in full shadow.
    pub(crate) fn shadow(&self) -> Colour {
        let full = self.ambient + self.sun * self.to_sun[1];
        let left = |ambient: f32, full: f32| (ambient / full).max(0.25);
        Colour(
            left(self.ambient.0, full.0),
            left(self.ambient.1, full.1),
            left(self.ambient.2, full.2),
        )
    }

    /// What is seen of a colour z metres away.
    pub(crate) fn through_air(&self, colour: Colour, z: f32) -> Colour {
        colour.mix(self.horizon * 0.9, z / (z + self.visibility))
    }

    /// What glass mirrors, from its lower edge (0) to its upper (1).
    pub(crate) fn in_glass(&self, height: f32) -> Colour {
        let deep = rgb(0x1b242c) * self.ambient;
        deep.mix(
            self.horizon.mix(self.zenith, 0.4),
            0.05 + 0.3 * height.clamp(0.0, 1.0),
        )
    }
}
