//! Who stands where: streets, suburbs and the country.

use super::building::Building;
use super::canvas::{Canvas, Colour};
use super::land::{LAND, Land};
use super::light::Light;
use super::person::Person;
use super::random::Random;
use super::sky;
use super::tree::Tree;
use super::vehicle::{Heading, Vehicle};
use super::view::View;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Setting {
    Street,
    Suburb,
    Country,
}

/// Anything that stands roadward of the buildings.
enum Thing {
    Tree(Tree),
    Person(Person),
    Vehicle(Vehicle),
}

impl Thing {
    fn distance(&self) -> f32 {
        match self {
            Self::Tree(tree) => tree.z,
            Self::Person(person) => person.z,
            Self::Vehicle(vehicle) => vehicle.z,
        }
    }
}

/// Paints one scene.
pub(crate) fn paint(canvas: &mut Canvas, random: &mut Random) {
    let light = &Light::new(random);
    let setting = random.pick(&[
        Setting::Street,
        Setting::Street,
        Setting::Suburb,
        Setting::Suburb,
        Setting::Country,
    ]);
    let land = Land::new(random, setting != Setting::Country);
    let view = &View {
        focal: random.range(0.95, 1.2),
        vanish: (
            canvas.aspect() * random.range(0.38, 0.62),
            random.range(0.4, 0.5),
        ),
        eye: (
            random.range(-0.3, 0.75) * land.half_road,
            random.range(1.5, 2.3),
        ),
        bend: random.range(-0.0035, 0.0035),
    };
    let buildings = buildings(random, &land, setting);
    let mut things = trees(random, &land, setting);
    traffic(random, &land, &mut things);
    people(random, &land, &mut things);
    things.sort_by(|a, b| a.distance().total_cmp(&b.distance()));

    for thing in &things {
        match thing {
            Thing::Tree(tree) => tree.paint(canvas, view, light),
            Thing::Person(person) => person.paint(canvas, view, light),
            Thing::Vehicle(vehicle) => vehicle.paint(canvas, view, light),
        }
    }
    for building in &buildings {
        building.paint(canvas, view, light);
    }
    land.paint(canvas, view, light);
    cast_shadows(canvas, view, light, &buildings, &things);
    sky::ridges(canvas, view, light, random);
    sky::paint(canvas, view, light, random);
}

fn cast_shadows(
    canvas: &mut Canvas,
    view: &View,
    light: &Light,
    buildings: &[Building],
    things: &[Thing],
) {
    let dark = light.shadow();
    for building in buildings {
        let view = &view.straight(0.5 * (building.z.0 + building.z.1));
        canvas.tint(
            building.shadow_area(view, light),
            &LAND,
            |x, y| match view.ground(x, y) {
                Some((x, z)) if building.shades(light, x, z) => dark,
                _ => Colour::WHITE,
            },
        );
    }
    for thing in things {
        match thing {
            Thing::Tree(tree) => tree.shade(canvas, view, light),
            Thing::Person(person) => person.shade(canvas, view, light),
            Thing::Vehicle(vehicle) => vehicle.shade(canvas, view, light),
        }
    }
}

/// Rows on both sides, nearest first.
fn buildings(random: &mut Random, land: &Land, setting: Setting) -> Vec<Building> {
    let mut buildings = Vec::new();
    for side in [-1.0, 1.0] {
        let house = match setting {
            Setting::Street => random.chance(0.15),
            Setting::Suburb | Setting::Country => true,
        };
        let (setback, gap, share) = match (setting, house) {
            (Setting::Street, false) => (random.range(0.0, 1.0), 0.0, 0.9),
            (Setting::Street, true) | (Setting::Suburb, _) => (random.range(3.0, 6.0), 5.0, 0.85),
            (Setting::Country, _) => (random.range(5.0, 12.0), 14.0, 0.4),
        };
        let mut z = random.range(-6.0, 6.0);
        while z < 90.0 {
            let length = if house {
                random.range(8.0, 12.0)
            } else {
                random.range(9.0, 18.0)
            };
            if random.chance(share) {
                let wall = side * (land.edge() + setback + random.range(0.0, 0.6));
                buildings.push(Building::new(random, wall, (z, z + length), house));
            }
            z += length + random.range(0.4, 1.6) * gap;
        }
    }
    buildings.sort_by(|a, b| a.z.0.total_cmp(&b.z.0));
    buildings
}

fn trees(random: &mut Random, land: &Land, setting: Setting) -> Vec<Thing> {
    let mut trees = Vec::new();
    for side in [-1.0, 1.0] {
        let (spacing, share) = match setting {
            Setting::Street => (9.0, random.pick(&[0.0, 0.5, 0.8])),
            Setting::Suburb => (8.0, 0.65),
            Setting::Country => (6.0, 0.7),
        };
        let mut z = random.range(5.0, 12.0);
        while z < 100.0 {
            if random.chance(share) {
                let x = match setting {
                    Setting::Street => land.half_road + 0.8,
                    Setting::Suburb => land.edge() + random.range(0.6, 2.6),
                    Setting::Country => land.edge() + random.range(1.5, 9.0),
                };
                let tree = if setting != Setting::Street && random.chance(0.25) {
                    Tree::bush
                } else {
                    Tree::new
                };
                trees.push(Thing::Tree(tree(random, side * x, z)));
            }
            z += spacing * random.range(0.6, 1.5);
        }
    }
    trees
}

fn traffic(random: &mut Random, land: &Land, things: &mut Vec<Thing>) {
    // One lane each way, and now and then a vehicle that crosses.
    let mut add = |random: &mut Random, x: f32, z: f32, heading| {
        things.push(Thing::Vehicle(Vehicle::new(random, x, z, heading)));
    };
    for (lane, heading) in [(-0.5, Heading::Towards), (0.5, Heading::Away)] {
        let mut z = random.range(5.5, 16.0);
        while z < 60.0 {
            if random.chance(0.6) {
                let x = lane * land.half_road + random.range(-0.25, 0.25);
                add(random, x, z, heading);
            }
            z += random.range(12.0, 26.0);
        }
    }
    if random.chance(0.25) {
        let (x, z) = (random.range(-3.0, 3.0), random.range(16.0, 24.0));
        add(random, x, z, Heading::Across);
    }
}

fn people(random: &mut Random, land: &Land, things: &mut Vec<Thing>) {
    let busy = random.pick(&[0.4, 0.65, 0.9]);
    for side in [-1.0, 1.0] {
        let mut z = random.range(4.5, 9.0);
        while z < 24.0 {
            if random.chance(busy) {
                let x = side * (land.half_road + random.range(0.6, 2.4));
                things.push(Thing::Person(Person::new(random, x, z)));
                if random.chance(0.3) {
                    things.push(Thing::Person(Person::new(
                        random,
                        x + 0.65 * side,
                        z + 0.15,
                    )));
                }
            }
            z += random.range(2.5, 9.0);
        }
    }
    if let Some(z) = land.crossing {
        for _ in 0..random.below(4) {
            let x = random.range(-0.9, 0.9) * land.half_road;
            let z = z + random.range(0.4, 2.6);
            let hit = |thing: &Thing| {
                matches!(thing, Thing::Vehicle(vehicle)
                    if (vehicle.x - x).abs() < 2.0 && (-7.0..2.0).contains(&(vehicle.z - z)))
            };
            if !things.iter().any(hit) {
                things.push(Thing::Person(Person::new(random, x, z)));
            }
        }
    }
}
