//! Buildings along the road: a box with a front and a roadside wall, under a flat or a pitched roof.

use super::CLASS_BUILDING;
use super::canvas::{Area, Canvas, Colour, rgb};
use super::light::Light;
use super::random::{Random, floor, fraction, hash, noise};
use super::view::View;

/// A building. Metres; `wall` is the x of its roadside wall, left of the road where negative.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Building {
    pub(crate) wall: f32,
    pub(crate) depth: f32,
    pub(crate) z: (f32, f32),
    pub(crate) eaves: f32,
    /// Height of the ridge above the eaves; 0 is a flat roof.
    pub(crate) ridge: f32,
    shop: bool,
    brick: bool,
    paint: Colour,
    trim: Colour,
    tiles: Colour,
    sign: Colour,
    cell: (f32, f32),
    window: (f32, f32),
    seed: u32,
}

impl Building {
    pub(crate) fn new(random: &mut Random, wall: f32, z: (f32, f32), house: bool) -> Self {
        const WALLS: [u32; 10] = [
            0xd8c3a5, 0xc98f6b, 0xa65f4a, 0xe3d9c6, 0xb7b0a6, 0xd9b08c, 0xc2a27e, 0x9a5b48,
            0xcfc8ba, 0xc9b7c0,
        ];
        let brick = random.chance(0.4);
        let paint = if brick {
            random.pick(&[0xa65f4a, 0x9a5b48, 0xb5765a, 0x8c5548])
        } else {
            random.pick(&WALLS)
        };
        let storeys = if house {
            1 + random.below(2)
        } else {
            2 + random.below(4)
        };
        let storey = random.range(2.8, 3.4);
        Self {
            wall,
            depth: if house {
                random.range(7.0, 10.0)
            } else {
                random.range(9.0, 14.0)
            },
            z,
            eaves: storeys as f32 * storey + 0.5,
            ridge: if house { random.range(2.2, 3.6) } else { 0.0 },
            shop: !house && random.chance(0.6),
            brick,
            paint: rgb(paint),
            trim: rgb(random.pick(&[0xf2eee4, 0xe5dccb, 0x7b5a45, 0xf7f7f2])),
            tiles: rgb(random.pick(&[0x9c5540, 0x7d4638, 0x5a5f66, 0x6b5648])),
            sign: rgb(random.pick(&[0x2f6f73, 0x9c2f3a, 0x31507f, 0x3f6b3a, 0xc08a2e, 0x5b3a64])),
            cell: (random.range(2.2, 3.2), storey),
            window: (random.range(0.38, 0.62), random.range(0.45, 0.62)),
            seed: random.seed(),
        }
    }

    fn side(&self) -> f32 {
        self.wall.signum()
    }

    /// From the side nearer to the road to the side away from it.
    fn x(&self) -> (f32, f32) {
        (self.wall, self.wall + self.side() * self.depth)
    }

    /// Whether the ground at (x, z) lies in the building's shadow: the way to the sun meets the box below its top.
    pub(crate) fn shades(&self, light: &Light, x: f32, z: f32) -> bool {
        let [sx, sy, sz] = light.to_sun;
        let slab = |from: f32, (a, b): (f32, f32), step: f32| {
            let (p, q) = ((a - from) / step, (b - from) / step);
            (p.min(q), p.max(q))
        };
        let (in_x, out_x) = slab(x, self.x(), sx);
        let (in_z, out_z) = slab(z, self.z, sz);
        let enter = in_x.max(in_z).max(0.0);
        enter < out_x.min(out_z) && enter * sy < self.eaves + 0.5 * self.ridge
    }

    /// Where its shadow can fall.
    pub(crate) fn shadow_area(&self, view: &View, light: &Light) -> Area {
        let [sx, sy, sz] = light.to_sun;
        let reach = (self.eaves + self.ridge) / sy;
        let (dx, dz) = (-sx * reach, -sz * reach);
        let (a, b) = self.x();
        let (left, right) = (a.min(b) + dx.min(0.0), a.max(b) + dx.max(0.0));
        let (near, far) = (self.z.0 + dz.min(0.0), self.z.1 + dz.max(0.0));
        view.around(
            (left, right),
            (0.0, 0.0),
            (near.max(View::NEAR), far.max(View::NEAR)),
        )
    }

    pub(crate) fn paint(&self, canvas: &mut Canvas, view: &View, light: &Light) {
        let view = &view.straight(0.5 * (self.z.0 + self.z.1));
        let (near, far) = (self.z.0.max(View::NEAR), self.z.1);
        let top = self.eaves + self.ridge;
        // The roadside wall: x is known, so z follows from the picture's x.
        let outward = [-self.side(), 0.0, 0.0];
        let along = view.around((self.wall, self.wall), (0.0, self.eaves), (near, far));
        canvas.paint(along, CLASS_BUILDING, |px, py| {
            let ray = view.ray(px, py);
            let z = (self.wall - view.eye.0) / ray.0;
            let y = view.at(ray, z).1;
            ((near..far).contains(&z) && (0.0..self.eaves).contains(&y)).then(|| {
                light.through_air(
                    self.facade(light, z - self.z.0, y, z, self.z.1 - self.z.0, outward),
                    z,
                )
            })
        });

        // The front, at the nearest z.
        if self.z.0 >= View::NEAR {
            let front = view.around(self.x(), (0.0, top), (near, near));
            canvas.paint(front, CLASS_BUILDING, |px, py| {
                let (x, y) = view.at(view.ray(px, py), near);
                let in_from_road = (x - self.wall) * self.side();
                let gable = self.ridge * (1.0 - (2.0 * in_from_road / self.depth - 1.0).abs());
                ((0.0..self.depth).contains(&in_from_road)
                    && (0.0..self.eaves + gable).contains(&y))
                .then(|| {
                    let wall =
                        self.facade(light, in_from_road, y, near, self.depth, [0.0, 0.0, -1.0]);
                    let verge = self.ridge > 0.0 && y > self.eaves + gable - 0.25;
                    light.through_air(
                        if verge {
                            light.on(self.trim * 0.8, [0.0, 0.0, -1.0])
                        } else {
                            wall
                        },
                        near,
                    )
                })
            });
        }
        if self.ridge > 0.0 {
            self.paint_roof(canvas, view, light, (near, far));
        }
    }

    /// The roof's roadside plane, which rises from the eaves to the ridge.
    fn paint_roof(&self, canvas: &mut Canvas, view: &View, light: &Light, (near, far): (f32, f32)) {
        const OVERHANG: f32 = 0.4;
        let slope = 2.0 * self.ridge / self.depth;
        let middle = self.wall + self.side() * self.depth * 0.5;
        let outer = self.wall - self.side() * OVERHANG;
        let length = (1.0 + slope * slope).sqrt();
        let normal = [-self.side() * slope / length, 1.0 / length, 0.0];
        let area = view.around(
            (outer, middle),
            (self.eaves - 0.3, self.eaves + self.ridge),
            (near, far),
        );
        canvas.paint(area, CLASS_BUILDING, |px, py| {
            let ray = view.ray(px, py);
            let rise = slope * self.side();
            let z = (self.eaves + rise * (view.eye.0 - self.wall) - view.eye.1)
                / (ray.1 - rise * ray.0);
            let (x, y) = view.at(ray, z);
            let up = (x - outer) * self.side();
            ((near..far).contains(&z) && (0.0..self.depth * 0.5 + OVERHANG).contains(&up)).then(
                || {
                    let row = up / 0.35;
                    let shade =
                        0.85 + 0.2 * fraction(row) + 0.25 * (noise(z * 2.0, row, self.seed) - 0.5);
                    let gutter = y < self.eaves - 0.05;
                    light.through_air(
                        light.on(
                            if gutter {
                                self.trim * 0.6
                            } else {
                                self.tiles * shade
                            },
                            normal,
                        ),
                        z,
                    )
                },
            )
        });
    }

    /// A wall of `width` metres at u metres from its start and v metres up.
    fn facade(
        &self,
        light: &Light,
        u: f32,
        v: f32,
        z: f32,
        width: f32,
        normal: [f32; 3],
    ) -> Colour {
        let detail = 1.0 / (1.0 + (z / 18.0) * (z / 18.0));
        let lit = |colour: Colour| light.on(colour, normal) * (0.8 + 0.2 * (v / 2.0).min(1.0));
        let flat_roof = self.ridge == 0.0;
        if flat_roof && v > self.eaves - 0.45 {
            return lit(self.trim * if v > self.eaves - 0.3 { 1.0 } else { 0.55 });
        }
        let columns = floor((width - 0.6) / self.cell.0).max(1);
        let (u_cell, v_cell) = (u / width * columns as f32, v / self.cell.1);
        let (column, row) = (floor(u_cell), floor(v_cell));
        let (s, t) = (fraction(u_cell), fraction(v_cell));
        if row >= floor(self.eaves / self.cell.1) {
            return lit(self.surface(u, v, detail));
        }
        if self.shop && row == 0 {
            return self.shop_front(light, s, t, column, lit);
        }
        let door = !self.shop && row == 0 && column == columns / 2;
        let (half, bottom, height) = if door {
            (0.2, 0.0, 0.7)
        } else {
            (self.window.0 * 0.5, 0.28, self.window.1)
        };
        let (across, up) = ((s - 0.5).abs(), t - bottom);
        if across > half + 0.05 || up < -0.07 || up > height + 0.05 {
            return lit(self.surface(u, v, detail));
        }
        if up < 0.0 && !door {
            return lit(self.trim * 0.9);
        }
        if across > half || up > height {
            return lit(self.trim);
        }
        if door {
            return lit(self.sign * 0.8);
        }
        let pane = across < 0.02 || (up - height * 0.55).abs() < 0.012;
        if pane {
            return lit(self.trim);
        }
        let chance = hash(column, row, self.seed ^ normal[2].to_bits());
        if light.lamps && chance < 0.45 {
            return rgb(0xffd58a) * (0.55 + 0.5 * chance);
        }
        let glass = light.in_glass(up / height * 0.7 + 0.5 * chance);
        let curtain = chance > 0.7 && across > half * 0.55;
        if curtain {
            glass.mix(lit(rgb(0xe8e0d2)), 0.6)
        } else {
            glass
        }
    }

    fn shop_front(
        &self,
        light: &Light,
        s: f32,
        t: f32,
        column: i32,
        lit: impl Fn(Colour) -> Colour,
    ) -> Colour {
        match t {
            t if t > 0.9 => lit(self.trim * 0.8),
            t if t > 0.72 => lit(self.sign),
            t if t < 0.12 => lit(self.sign * 0.5),
            _ if (s - 0.5).abs() > 0.44 => lit(self.trim * 0.7),
            _ if light.lamps => rgb(0xffdf9e) * (0.5 + 0.5 * hash(column, 99, self.seed)),
            _ => light.in_glass(t),
        }
    }

    /// Brick or plaster.
    fn surface(&self, u: f32, v: f32, detail: f32) -> Colour {
        let stain = 0.16 * (noise(u * 0.7, v * 0.5, self.seed ^ 9) - 0.5);
        let texture = if self.brick {
            let course = floor(v / 0.16);
            let along = u / 0.42 + 0.5 * (course & 1) as f32;
            0.35 * (hash(floor(along), course, self.seed) - 0.5)
        } else {
            0.1 * (noise(u * 9.0, v * 9.0, self.seed) - 0.5)
        };
        self.paint * (1.0 + stain + detail * texture)
    }
}
