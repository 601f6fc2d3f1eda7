//! The ground: grass, footpath, kerb and road, and the lines painted on it.

use super::canvas::{Area, Canvas, Colour, rgb};
use super::light::Light;
use super::random::{Random, floor, fractal, fraction, hash, noise, ramp};
use super::view::View;
use super::{CLASS_GROUND, CLASS_ROAD};

/// A road along z with what lies beside it. Widths in metres.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Land {
    /// From the road's middle to the kerb.
    pub(crate) half_road: f32,
    /// Of the paved footpath, 0 where there is none.
    path: f32,
    /// Where a zebra crossing begins.
    pub(crate) crossing: Option<f32>,
    grass: Colour,
    asphalt: Colour,
    paving: Colour,
    line: Colour,
    edge_lines: bool,
    seed: u32,
}

/// What shadows fall on.
pub(crate) const LAND: [u8; 2] = [CLASS_GROUND, CLASS_ROAD];

const KERB: f32 = 0.28;
const CROSSING_LENGTH: f32 = 3.0;

impl Land {
    pub(crate) fn new(random: &mut Random, paved: bool) -> Self {
        Self {
            half_road: random.range(3.1, 4.4),
            path: if paved { random.range(2.2, 3.4) } else { 0.0 },
            crossing: (paved && random.chance(0.4)).then(|| random.range(8.0, 14.0)),
            grass: rgb(random.pick(&[0x6f9440, 0x7d9a48, 0x66893a, 0x8f9a50])),
            asphalt: rgb(random.pick(&[0x6a6b70, 0x5d5f66, 0x77767a, 0x65635f])),
            paving: rgb(random.pick(&[0xb8a48c, 0xb59a86, 0xa99f90, 0xb08c78])),
            line: rgb(random.pick(&[0xf0efe6, 0xf0efe6, 0xf3d27a])),
            edge_lines: random.chance(0.6),
            seed: random.seed(),
        }
    }

    /// From the road's middle to where grass or house fronts begin.
    pub(crate) fn edge(&self) -> f32 {
        self.half_road + KERB + self.path
    }

    pub(crate) fn paint(&self, canvas: &mut Canvas, view: &View, light: &Light) {
        let area = Area {
            top: view.vanish.1,
            ..Area::ALL
        };
        let seen = |surface: Colour, z: f32| {
            Some(light.through_air(light.on(surface, [0.0, 1.0, 0.0]), z))
        };
        canvas.paint(area, CLASS_ROAD, |x, y| {
            let (x, z) = view.ground(x, y)?;
            (x.abs() < self.half_road + KERB).then_some(())?;
            seen(self.road(x, z), z)
        });
        canvas.paint(area, CLASS_GROUND, |x, y| {
            let (x, z) = view.ground(x, y)?;
            let paved = x.abs() < self.edge();
            let surface = if paved {
                self.paved(x, z)
            } else {
                self.meadow(x, z)
            };
            seen(surface, z)
        });
    }

    fn meadow(&self, x: f32, z: f32) -> Colour {
        let detail = fine(z, 9.0);
        let patch = fractal(x * 0.35, z * 0.22, self.seed, 2);
        let blades = noise(x * 14.0, z * 6.0, self.seed ^ 1) - 0.5;
        let tuft = noise(x * 3.1, z * 2.0, self.seed ^ 2) - 0.5;
        let dry = rgb(0xa9a25c);
        self.grass.mix(dry, 0.5 * ramp(0.5, 0.85, patch))
            * (1.0 + detail * (0.7 * blades + 0.5 * tuft))
    }

    /// Slabs of half a metre, laid in bond.
    fn paved(&self, x: f32, z: f32) -> Colour {
        let detail = fine(z, 10.0);
        let row = floor(z / 0.6);
        let across = x / 0.6 + 0.5 * (row & 1) as f32;
        let joint = fraction(across).min(fraction(z / 0.6)) < 0.06;
        let slab = hash(floor(across), row, self.seed ^ 3) - 0.5;
        let shade = if joint { -0.35 } else { 0.22 * slab };
        self.paving * (1.0 + detail * shade)
    }

    fn road(&self, x: f32, z: f32) -> Colour {
        let from_kerb = self.half_road - x.abs();
        if from_kerb < 0.0 {
            let joint = fraction(z) < 0.05;
            return rgb(0xb9b6ad)
                * (if joint { 0.75 } else { 1.0 })
                * (0.8 + 0.25 * noise(z * 3.0, x, self.seed));
        }
        let detail = fine(z, 12.0);
        let stone = noise(x * 24.0, z * 12.0, self.seed ^ 4) - 0.5;
        let stain = fractal(x * 0.8, z * 0.12, self.seed ^ 5, 2) - 0.5;
        let lane = (x.abs() - self.half_road * 0.5).abs();
        let worn = 0.12 * ramp(0.45, 0.0, (lane - 0.75).abs());
        let gutter = -0.3 * ramp(0.5, 0.0, from_kerb);
        let asphalt = self.asphalt * (1.0 + worn + gutter + 0.35 * detail * stone + 0.45 * stain);
        if self.painted(x, z) {
            let rubbed = ramp(0.25, 0.5, noise(x * 5.0, z * 2.5, self.seed ^ 6));
            asphalt.mix(self.line, 0.45 + 0.5 * rubbed)
        } else {
            asphalt
        }
    }

    /// Whether a line or a zebra stripe is there.
    fn painted(&self, x: f32, z: f32) -> bool {
        if let Some(start) = self.crossing {
            if (start..start + CROSSING_LENGTH).contains(&z) {
                return fraction(x + 0.25) < 0.5 && x.abs() < self.half_road - 0.2;
            }
            if (start - 1.5..start + CROSSING_LENGTH + 1.5).contains(&z) {
                return false;
            }
        }
        let middle = x.abs() < 0.09 && fraction(z / 7.0) < 0.5;
        let edge = self.edge_lines && (self.half_road - 0.35 - x.abs()).abs() < 0.07;
        middle || edge
    }
}

/// How much of fine texture is left at z, so that it does not flicker far away.
fn fine(z: f32, half: f32) -> f32 {
    1.0 / (1.0 + (z / half) * (z / half))
}
