//! People: rounded limbs, seen from the front or behind.

use super::CLASS_PERSON;
use super::canvas::{Canvas, Colour, rgb};
use super::land::LAND;
use super::light::Light;
use super::random::{Random, noise, ramp};
use super::view::View;

/// A rounded stroke: from, to (metres from the feet), radius at both ends, colour.
type Limb = ((f32, f32), (f32, f32), (f32, f32), Colour);

/// A person who stands or walks at (x, z).
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) x: f32,
    pub(crate) z: f32,
    limbs: Vec<Limb>,
    seed: u32,
}

impl Person {
    pub(crate) fn new(random: &mut Random, x: f32, z: f32) -> Self {
        const SKIN: [u32; 5] = [0xe8b896, 0xc98f68, 0x8d5a3c, 0xf0c8a8, 0x6b432e];
        const HAIR: [u32; 4] = [0x2b211c, 0x5a3d26, 0x8a6a3d, 0x8f8a86];
        const TOPS: [u32; 9] = [
            0xb8323a, 0x2f4f8f, 0xe8e2d4, 0x2d2f36, 0xd98a2b, 0x3d7a5a, 0x7a4a86, 0x4f8fb0,
            0xd9c24a,
        ];
        const LEGS: [u32; 5] = [0x2b3550, 0x33302e, 0x6b5f50, 0x4a5a78, 0x8a7a66];
        let (skin, hair) = (rgb(random.pick(&SKIN)), rgb(random.pick(&HAIR)));
        let (top, legs) = (rgb(random.pick(&TOPS)), rgb(random.pick(&LEGS)));
        let shoes = rgb(random.pick(&[0x222224, 0xe4e2de, 0x5a4030]));
        let h = random.range(1.55, 1.9);
        let stride = random.range(0.02, 0.16) * random.side();
        let swing = random.range(0.0, 0.1) + stride.abs() * 0.5;
        let sleeves = if random.chance(0.6) { top } else { skin };
        let mut limbs: Vec<Limb> = Vec::new();
        for side in [-1.0, 1.0] {
            let foot = (
                side * (0.07 + 0.5 * stride.abs()),
                0.06 + if side * stride > 0.0 { 0.06 } else { 0.0 },
            );
            let knee = (side * (0.085 + 0.3 * stride.abs()), 0.27 * h);
            limbs.push((foot, knee, (0.055, 0.07), legs));
            limbs.push((knee, (side * 0.075, 0.49 * h), (0.075, 0.1), legs));
            limbs.push((
                foot,
                (foot.0 + 0.03 * side, foot.1 - 0.01),
                (0.06, 0.055),
                shoes,
            ));
        }
        for side in [-1.0, 1.0] {
            let elbow = (side * (0.25 + 0.4 * swing), 0.62 * h);
            let hand = (side * (0.24 + swing), 0.47 * h);
            limbs.push((hand, hand, (0.05, 0.05), skin));
            limbs.push((elbow, hand, (0.052, 0.04), sleeves));
            limbs.push(((side * 0.19, 0.79 * h), elbow, (0.065, 0.055), top));
        }
        let coat = if random.chance(0.3) { 0.38 } else { 0.5 };
        limbs.push(((0.0, coat * h), (0.0, 0.73 * h), (0.16, 0.2), top));
        limbs.push(((-0.1, 0.775 * h), (0.1, 0.775 * h), (0.085, 0.085), top));
        limbs.push(((0.0, 0.82 * h), (0.0, 0.88 * h), (0.055, 0.06), skin));
        let away = random.chance(0.5);
        limbs.push(((0.0, 0.935 * h), (0.0, 0.945 * h), (0.108, 0.112), hair));
        if away {
            limbs.push(((0.0, 0.905 * h), (0.0, 0.925 * h), (0.095, 0.105), hair));
        } else {
            limbs.push(((0.0, 0.895 * h), (0.0, 0.925 * h), (0.08, 0.092), skin));
        }
        if away && random.chance(0.4) {
            let pack = rgb(random.pick(&[0x2f5f4f, 0x8a3a2a, 0x3a3f55, 0xc09030]));
            limbs.push(((0.0, 0.6 * h), (0.0, 0.73 * h), (0.145, 0.13), pack));
        }
        Self {
            x,
            z,
            limbs,
            seed: random.seed(),
        }
    }

    /// A soft shadow under the feet, and a longer one away from the sun.
    pub(crate) fn shade(&self, canvas: &mut Canvas, view: &View, light: &Light) {
        let [sx, sy, sz] = light.to_sun;
        let reach = (1.7 / sy).min(5.0);
        let tip = (self.x - sx * reach, self.z - sz * reach);
        let (left, right) = (self.x.min(tip.0) - 0.5, self.x.max(tip.0) + 0.5);
        let (near, far) = (self.z.min(tip.1) - 0.5, self.z.max(tip.1) + 0.5);
        let area = view.around(
            (left, right),
            (0.0, 0.0),
            (near.max(View::NEAR), far.max(View::NEAR)),
        );
        let dark = light.shadow();
        canvas.tint(area, &LAND, |px, py| {
            let Some((x, z)) = view.ground(px, py) else {
                return Colour::WHITE;
            };
            let (_, off) = nearest((self.x, self.z), tip, (x, z));
            Colour::WHITE.mix(dark, 0.9 * ramp(0.36, 0.16, off))
        });
    }

    pub(crate) fn paint(&self, canvas: &mut Canvas, view: &View, light: &Light) {
        let view = &view.straight(self.z);
        let area = view.around((self.x - 0.5, self.x + 0.5), (0.0, 2.0), (self.z, self.z));
        canvas.paint(area, CLASS_PERSON, |px, py| {
            let (x, y) = view.at(view.ray(px, py), self.z);
            let point = (x - self.x, y);
            self.limbs
                .iter()
                .rev()
                .find_map(|&(from, to, radius, colour)| {
                    let (t, off) = nearest(from, to, point);
                    let radius = radius.0 + (radius.1 - radius.0) * t;
                    (off < radius).then(|| {
                        let across = (point.0 - (from.0 + (to.0 - from.0) * t)) / radius;
                        let normal = [0.8 * across, 0.2, -(1.0 - 0.7 * across * across).sqrt()];
                        let fold = 0.85 + 0.3 * noise(x * 14.0, y * 9.0, self.seed);
                        light.through_air(light.on(colour * fold, normal), self.z)
                    })
                })
        });
    }
}

/// Where on the line from `a` to `b` (0..1) a point is nearest, and how far off it is.
fn nearest(a: (f32, f32), b: (f32, f32), p: (f32, f32)) -> (f32, f32) {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let (px, py) = (p.0 - a.0, p.1 - a.1);
    let t = ((px * dx + py * dy) / (dx * dx + dy * dy).max(1e-9)).clamp(0.0, 1.0);
    let (ox, oy) = (px - t * dx, py - t * dy);
    (t, (ox * ox + oy * oy).sqrt())
}
