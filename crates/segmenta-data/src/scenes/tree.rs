//! Trees and bushes: a trunk under a crown made of balls of leaves.

use super::CLASS_TREE;
use super::canvas::{Canvas, Colour, rgb};
use super::land::LAND;
use super::light::Light;
use super::random::{Random, noise, ramp};
use super::view::View;

/// A tree, metres. Its crown is a set of balls (x, y, radius) from the foot of the trunk.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    pub(crate) x: f32,
    pub(crate) z: f32,
    trunk: f32,
    balls: Vec<(f32, f32, f32)>,
    leaf: Colour,
    bark: Colour,
    seed: u32,
}

impl Tree {
    /// Round, tall or pointed.
    pub(crate) fn new(random: &mut Random, x: f32, z: f32) -> Self {
        const LEAVES: [u32; 7] = [
            0x4f7a2e, 0x5b8435, 0x3f6b33, 0x6b8f3a, 0x86923c, 0x4a7440, 0xb08a3a,
        ];
        let trunk = random.range(1.6, 2.6);
        let mut balls = Vec::new();
        match random.below(4) {
            0 => {
                let (height, width) = (random.range(5.0, 8.0), random.range(1.3, 1.9));
                for i in 0..12 {
                    let t = i as f32 / 11.0;
                    balls.push((
                        random.range(-0.1, 0.1),
                        0.8 + height * t,
                        0.4 + width * (1.0 - t),
                    ));
                }
            }
            1 => {
                let height = random.range(5.0, 8.0);
                for i in 0..9 {
                    let t = i as f32 / 8.0;
                    let swell = 1.25 - 3.0 * (t - 0.45) * (t - 0.45);
                    balls.push((random.range(-0.25, 0.25), trunk + height * t, swell * 0.95));
                }
            }
            _ => {
                let radius = random.range(1.7, 2.7);
                balls.push((0.0, trunk + radius, radius));
                for _ in 0..9 {
                    let (u, v) = (random.range(-1.0, 1.0), random.range(-0.7, 1.0));
                    balls.push((
                        u * radius,
                        trunk + radius * (1.0 + 0.8 * v),
                        radius * random.range(0.4, 0.62),
                    ));
                }
            }
        }
        Self {
            x,
            z,
            trunk: trunk + 0.8,
            balls,
            leaf: rgb(random.pick(&LEAVES)),
            bark: rgb(random.pick(&[0x5a4634, 0x6b5844, 0x4d4038])),
            seed: random.seed(),
        }
    }

    pub(crate) fn bush(random: &mut Random, x: f32, z: f32) -> Self {
        let mut tree = Self::new(random, x, z);
        tree.trunk = 0.0;
        tree.balls = (0..5)
            .map(|_| {
                (
                    random.range(-0.9, 0.9),
                    random.range(0.2, 0.7),
                    random.range(0.4, 0.75),
                )
            })
            .collect();
        tree
    }

    /// Half the width and the height of the crown's bounding box.
    fn extent(&self) -> (f32, f32) {
        self.balls.iter().fold((0.3, 0.5), |(w, h), &(x, y, r)| {
            (w.max(x.abs() + 1.15 * r), h.max(y + 1.15 * r))
        })
    }

    /// Darkens the ground where the crown stands between it and the sun.
    pub(crate) fn shade(&self, canvas: &mut Canvas, view: &View, light: &Light) {
        let [sx, sy, sz] = light.to_sun;
        let (width, height) = self.extent();
        let stretch = (1.0 / sy).min(3.0);
        let middle = 0.55 * height * stretch;
        let (x, z) = (self.x - sx * middle, self.z - sz * middle);
        let (rx, rz) = (
            width * (1.0 + 0.5 * sx.abs() * stretch),
            width * (1.0 + 0.5 * sz.abs() * stretch),
        );
        let area = view.around(
            (x - rx, x + rx),
            (0.0, 0.0),
            ((z - rz).max(View::NEAR), (z + rz).max(View::NEAR)),
        );
        let dark = light.shadow();
        canvas.tint(area, &LAND, |px, py| {
            let Some((gx, gz)) = view.ground(px, py) else {
                return Colour::WHITE;
            };
            let (u, v) = ((gx - x) / rx, (gz - z) / rz);
            let inside = 1.0 - u * u - v * v + 0.9 * (noise(gx * 1.7, gz * 1.7, self.seed) - 0.5);
            Colour::WHITE.mix(dark, 0.9 * ramp(0.0, 0.35, inside))
        });
    }

    pub(crate) fn paint(&self, canvas: &mut Canvas, view: &View, light: &Light) {
        let view = &view.straight(self.z);
        let (width, height) = self.extent();
        let scale = view.focal / self.z;
        // Leaves as fine as the picture can show, from a hand's breadth up.
        let fine = (45.0 * scale).clamp(1.5, 7.0);
        let area = view.around(
            (self.x - width, self.x + width),
            (0.0, height),
            (self.z, self.z),
        );
        canvas.paint(area, CLASS_TREE, |px, py| {
            let (x, y) = view.at(view.ray(px, py), self.z);
            (y > 0.0).then_some(())?;
            // Inside the deepest ball, facing as the balls around face on the whole.
            let (x, mut best, mut facing) = (x - self.x, -1.0_f32, (0.0, 0.0, 1e-3));
            for &(bx, by, r) in &self.balls {
                let (u, v) = ((x - bx) / r, (y - by) / r);
                let depth = 1.0 - u * u - v * v;
                best = best.max(depth);
                let weight = (depth + 0.4).max(0.0);
                facing = (
                    facing.0 + weight * u,
                    facing.1 + weight * v,
                    facing.2 + weight,
                );
            }
            // The crown frays towards the ground.
            best -= ramp(0.7, 0.0, y);
            (best > -0.6).then_some(())?;
            let clump = noise(x * 2.4, y * 2.4, self.seed);
            let leaf = noise(x * fine, y * fine, self.seed ^ 1);
            let twig = noise(x * fine * 2.3, y * fine * 2.3, self.seed ^ 2);
            (best + 0.6 * (clump - 0.5) + 0.6 * (leaf - 0.5) > 0.0).then(|| {
                let (u, v) = (facing.0 / facing.2 * 0.8, facing.1 / facing.2 * 0.8);
                let toward = (1.0 - u * u - v * v).max(0.05).sqrt();
                let low = 0.55 + 0.55 * (y / height);
                let shade = low * (0.2 + 0.55 * clump + 0.6 * leaf + 0.45 * twig);
                let through = light.sun * self.leaf * (0.16 * leaf * twig);
                light.through_air(
                    light.on(self.leaf * shade, [u, v, -toward]) + through,
                    self.z,
                )
            })
        });
        if self.trunk > 0.0 {
            let half = 0.05 * self.trunk + 0.04;
            let area = view.around(
                (self.x - 2.0 * half, self.x + 2.0 * half),
                (0.0, self.trunk),
                (self.z, self.z),
            );
            canvas.paint(area, CLASS_TREE, |px, py| {
                let (x, y) = view.at(view.ray(px, py), self.z);
                let across = (x - self.x) / (half * (1.0 + 0.7 * ramp(0.5, 0.0, y)));
                ((0.0..self.trunk).contains(&y) && across.abs() < 1.0).then(|| {
                    let rough = 0.7 + 0.6 * noise(x * 22.0, y * 5.0, self.seed);
                    let normal = [across * 0.9, 0.1, -(1.0 - 0.8 * across * across).sqrt()];
                    light.through_air(light.on(self.bark * rough, normal), self.z)
                })
            });
        }
    }
}
