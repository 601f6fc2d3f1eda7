//! Cars, vans and buses: solids with a profile, found by walking along each line of sight.

use super::CLASS_VEHICLE;
use super::body::{BODIES, Body};
use super::canvas::{Area, Canvas, Colour, rgb};
use super::land::LAND;
use super::light::Light;
use super::random::{Random, lerp, ramp};
use super::view::View;

/// Which way a vehicle's front looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heading {
    /// Along z: its rear is seen.
    Away,
    /// Its front is seen.
    Towards,
    /// Along x: its flank is seen.
    Across,
}

/// Space below the body.
const CLEAR: f32 = 0.2;
const WHEELS: [f32; 2] = [0.19, 0.81];

/// A vehicle whose nearest end, or middle if it stands across, is at (x, z).
#[derive(Debug)]
pub(crate) struct Vehicle {
    pub(crate) x: f32,
    pub(crate) z: f32,
    heading: Heading,
    body: &'static Body,
    /// Roofline, sampled.
    roof: Vec<f32>,
    paint: Colour,
    plate: Colour,
    stripe: Colour,
    /// 1, or −1 to mirror a vehicle that stands across.
    turn: f32,
}

/// A point in the vehicle's own terms: from the rear 0 to the front 1, sideways in metres, up in metres.
#[derive(Clone, Copy)]
struct Local {
    along: f32,
    side: f32,
    up: f32,
}

#[derive(PartialEq)]
enum Face {
    Top,
    Flank,
    End,
}

impl Vehicle {
    pub(crate) fn new(random: &mut Random, x: f32, z: f32, heading: Heading) -> Self {
        const PAINTS: [u32; 11] = [
            0xb5222b, 0x23488f, 0xe6e6e4, 0x9aa0a6, 0x2c2f34, 0xd9b63a, 0x2f7a5a, 0xd2703a,
            0x6fa3c7, 0x6b2737, 0xf2f2f0,
        ];
        let kind = random.pick(&[0, 0, 0, 1, 1, 1, 2, 2, 3, 4]);
        let kind = if heading == Heading::Across {
            kind.min(3)
        } else {
            kind
        };
        let body = &BODIES[kind];
        Self {
            x,
            z,
            heading,
            body,
            roof: (0..=64).map(|i| body.height_at(i as f32 / 64.0)).collect(),
            paint: rgb(random.pick(&PAINTS)),
            plate: rgb(random.pick(&[0xf3f1e6, 0xf0cf55])),
            stripe: rgb(random.pick(&[0xf2f2ee, 0x31507f, 0xc0392b])),
            turn: random.side(),
        }
    }

    /// Half its extent along x, and its whole extent along z.
    fn footprint(&self) -> (f32, f32) {
        match self.heading {
            Heading::Across => (0.5 * self.body.length, 2.0 * self.body.half),
            _ => (self.body.half, self.body.length),
        }
    }

    fn local(&self, x: f32, y: f32, z: f32) -> Local {
        let body = self.body;
        let (along, side) = match self.heading {
            Heading::Away => ((z - self.z) / body.length, x - self.x),
            Heading::Towards => (1.0 - (z - self.z) / body.length, x - self.x),
            Heading::Across => (
                0.5 + self.turn * (x - self.x) / body.length,
                z - self.z - body.half,
            ),
        };
        Local { along, side, up: y }
    }

    fn roof(&self, along: f32) -> f32 {
        let at = along.clamp(0.0, 0.9999) * 64.0;
        let i = at as usize;
        lerp(self.roof[i], self.roof[i + 1], at - i as f32)
    }

    /// Half the width, which shrinks towards the roof and, rounded, towards both ends.
    fn half(&self, along: f32, up: f32) -> f32 {
        let Body {
            half, belt, length, ..
        } = *self.body;
        let lean = 0.25 * (up - belt).max(0.0);
        let end = (1.0 - along.min(1.0 - along).max(0.0) * length / 0.5).max(0.0);
        half - lean - 0.12 * end * end
    }

    fn contains(&self, p: Local) -> bool {
        if !(0.0..=1.0).contains(&p.along) || p.up > self.roof(p.along) || p.up < 0.0 {
            return false;
        }
        let half = self.half(p.along, p.up);
        if p.up > CLEAR {
            return p.side.abs() < half;
        }
        let tyre = half - p.side.abs();
        (0.0..0.25).contains(&tyre) && self.wheel(p).0 < self.body.wheel
    }

    /// How far from the nearest wheel's hub a point of the flank is, and that hub's place along the length.
    fn wheel(&self, p: Local) -> (f32, f32) {
        let hub = if p.along < 0.5 { WHEELS[0] } else { WHEELS[1] };
        let (u, v) = ((p.along - hub) * self.body.length, p.up - self.body.wheel);
        ((u * u + v * v).sqrt(), hub)
    }

    /// The shadow below it, and the one that the sun casts to its side.
    pub(crate) fn shade(&self, canvas: &mut Canvas, view: &View, light: &Light) {
        let (half, length) = self.footprint();
        let [sx, sy, sz] = light.to_sun;
        let reach = (0.8 * self.body.belt / sy).min(3.0);
        let (dx, dz) = (-sx * reach, -sz * reach);
        let (left, right) = (self.x - half + dx.min(0.0), self.x + half + dx.max(0.0));
        let (near, far) = (self.z + dz.min(0.0), self.z + length + dz.max(0.0));
        let z = ((near - 0.4).max(View::NEAR), (far + 0.4).max(View::NEAR));
        let area = view.around((left - 0.4, right + 0.4), (0.0, 0.0), z);
        let dark = light.shadow();
        canvas.tint(area, &LAND, |px, py| {
            let Some((x, z)) = view.ground(px, py) else {
                return Colour::WHITE;
            };
            let soft =
                |v: f32, a: f32, b: f32, by: f32| ramp(a - by, a + by, v) * ramp(b + by, b - by, v);
            let cast = soft(x, left, right, 0.2) * soft(z, near, far, 0.2);
            let below =
                soft(x, self.x - half, self.x + half, 0.3) * soft(z, self.z, self.z + length, 0.3);
            Colour::WHITE.mix(dark, 0.9 * cast) * (1.0 - 0.7 * below)
        });
    }

    pub(crate) fn paint(&self, canvas: &mut Canvas, view: &View, light: &Light) {
        let view = &view.straight(self.z);
        let (half, length) = self.footprint();
        let tall = self.body.profile.iter().fold(0.0, |h: f32, p| h.max(p.1));
        let area = view.around(
            (self.x - half, self.x + half),
            (0.0, tall),
            (self.z, self.z + length),
        );
        let steps = ((area.right - area.left) * 240.0).clamp(6.0, 40.0) as usize;
        self.paint_in(area, canvas, view, light, length / steps as f32, steps);
    }

    fn paint_in(
        &self,
        area: Area,
        canvas: &mut Canvas,
        view: &View,
        light: &Light,
        step: f32,
        steps: usize,
    ) {
        canvas.paint(area, CLASS_VEHICLE, |px, py| {
            let ray = view.ray(px, py);
            let at = |z: f32| {
                let (x, y) = view.at(ray, z);
                self.local(x, y, z)
            };
            // The first step inside, then the surface before it by bisection.
            let first =
                (0..steps).find(|&i| self.contains(at(self.z + (i as f32 + 0.02) * step)))?;
            let (mut inside, mut outside) = (
                self.z + (first as f32 + 0.02) * step,
                self.z + (first as f32 - 0.98) * step,
            );
            if first == 0 {
                outside = self.z - 0.01;
            }
            for _ in 0..5 {
                let middle = 0.5 * (inside + outside);
                *(if self.contains(at(middle)) {
                    &mut inside
                } else {
                    &mut outside
                }) = middle;
            }
            let (p, before) = (at(inside), at(outside));
            let face = if before.up > self.roof(before.along) && (0.0..=1.0).contains(&before.along)
            {
                Face::Top
            } else if before.side.abs() >= self.half(before.along, before.up) {
                Face::Flank
            } else {
                Face::End
            };
            Some(light.through_air(self.surface(&p, &face, view, light), inside))
        });
    }

    fn surface(&self, p: &Local, face: &Face, view: &View, light: &Light) -> Colour {
        let across = self.heading == Heading::Across;
        let normal = match (face, across) {
            (Face::Top, _) => [0.0, 0.95, -0.3],
            (Face::Flank, false) => [if p.side > 0.0 { 0.98 } else { -0.98 }, 0.2, 0.0],
            (Face::End, true) => [if self.x > view.eye.0 { -0.98 } else { 0.98 }, 0.2, 0.0],
            _ => [0.0, 0.25, -0.97],
        };
        let Body { belt, .. } = *self.body;
        let glass = || light.in_glass((p.up - belt) / 0.6);
        // Lacquer mirrors the sky above and the road below.
        let mirror = light.horizon * (0.10 * ramp(0.3, belt, p.up));
        let lacquer = |shade: f32| light.on(self.paint * shade, normal) + mirror;
        let dark = light.on(rgb(0x26282b), normal);
        match face {
            Face::Top => {
                let slope = (self.roof(p.along + 0.03) - self.roof(p.along - 0.03))
                    / (0.06 * self.body.length);
                let tall = self.roof(p.along) > belt + 0.12;
                let pane =
                    tall && slope.abs() > 0.3 && p.side.abs() < self.half(p.along, p.up) - 0.09;
                if pane { glass() } else { lacquer(1.0) }
            }
            Face::Flank => self.flank(p, light, normal, lacquer, glass, dark),
            Face::End => self.end(p, light, lacquer, glass, dark),
        }
    }

    fn flank(
        &self,
        p: &Local,
        light: &Light,
        normal: [f32; 3],
        lacquer: impl Fn(f32) -> Colour,
        glass: impl Fn() -> Colour,
        dark: Colour,
    ) -> Colour {
        let Body {
            belt,
            wheel,
            pillars,
            length,
            ..
        } = *self.body;
        let (off, _) = self.wheel(*p);
        if off < wheel * 0.6 {
            return light.on(
                rgb(if off < wheel * 0.2 {
                    0x6a6d70
                } else {
                    0xa9adb0
                }),
                normal,
            );
        }
        if off < wheel * 1.16 {
            return dark * (if off < wheel { 0.8 } else { 0.3 });
        }
        if p.up < CLEAR + 0.1 {
            return dark;
        }
        let below_roof = self
            .roof(p.along)
            .min(self.roof(p.along + 0.035))
            .min(self.roof(p.along - 0.035))
            - p.up;
        let pillar = pillars
            .iter()
            .any(|at| (p.along - at).abs() * length < 0.05);
        if p.up > belt + 0.03 && below_roof > 0.1 && !pillar {
            return glass();
        }
        let seam = pillars
            .iter()
            .any(|at| (p.along - at).abs() * length < 0.018);
        let crease = (p.up - belt + 0.2).abs() < 0.025;
        if length > 8.0 && (p.up - 0.9).abs() < 0.12 {
            return light.on(self.stripe, normal);
        }
        lacquer(if seam {
            0.35
        } else if crease {
            1.2
        } else {
            0.82 + 0.18 * p.up / belt
        })
    }

    /// The rear or the front.
    fn end(
        &self,
        p: &Local,
        light: &Light,
        lacquer: impl Fn(f32) -> Colour,
        glass: impl Fn() -> Colour,
        dark: Colour,
    ) -> Colour {
        let Body { half, belt, .. } = *self.body;
        let (across, rear) = (p.side.abs() / half, p.along < 0.5);
        let normal = [0.0, 0.2, -0.98];
        if p.up < CLEAR + 0.12 {
            return dark * 0.7;
        }
        if p.up > belt + 0.08 && across < 0.84 && self.roof(p.along.clamp(0.02, 0.98)) - p.up > 0.12
        {
            return glass();
        }
        let lamp = if rear {
            belt - 0.16
        } else {
            (belt - 0.28).min(0.68)
        };
        if across > 0.64 && across < 0.95 && (p.up - lamp).abs() < 0.1 {
            let lit = if light.lamps { 1.6 } else { 0.0 };
            return if rear {
                light.on(rgb(0xc4141c), normal) + rgb(0xd01818) * (0.25 + lit)
            } else {
                light.on(rgb(0xe6ecf0), normal) + rgb(0xfff2cc) * lit
            };
        }
        if p.side.abs() < 0.26 && (p.up - 0.5).abs() < 0.06 {
            return light.on(self.plate, normal);
        }
        if !rear && across < 0.55 && (0.42..0.66).contains(&p.up) {
            return dark
                * (if (p.up * 22.0) as i32 % 2 == 0 {
                    1.0
                } else {
                    0.5
                });
        }
        if p.up < 0.42 {
            return lacquer(0.62);
        }
        lacquer(if (p.up - 0.44).abs() < 0.02 {
            0.4
        } else {
            0.75 + 0.25 * p.up / belt
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wheels_reach_the_ground_and_the_rest_does_not() {
        let mut random = Random::new(1);
        let car = Vehicle::new(&mut random, 0.0, 10.0, Heading::Away);
        let side = car.half(WHEELS[0], 0.05) - 0.1;
        assert!(car.contains(Local {
            along: WHEELS[0],
            side,
            up: 0.05
        }));
        assert!(!car.contains(Local {
            along: WHEELS[0],
            side: 0.0,
            up: 0.05
        }));
        assert!(!car.contains(Local {
            along: 0.5,
            side,
            up: 0.05
        }));
        assert!(car.contains(Local {
            along: 0.5,
            side: 0.0,
            up: 0.5
        }));
    }
}
