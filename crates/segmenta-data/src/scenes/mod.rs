//! Road scenes that a program paints, with the class of every pixel.
//!
//! A scene is a function of its seed and size, byte for byte, on every machine: chance comes from integers, and
//! floats are only added, multiplied, divided, rooted and floored, which IEEE 754 fixes to the last bit.

mod body;
mod building;
mod canvas;
mod land;
mod layout;
mod light;
mod person;
mod sky;
mod tree;
mod vehicle;
mod view;

use segmenta_image::{LabelMap, Palette, Picture, PictureError, Size};

use crate::random::{self, Random};
use canvas::Canvas;

/// The classes of generated scenes, in the order of their ids.
pub const SCENE_CLASSES: [&str; 7] = [
    "sky", "building", "tree", "ground", "road", "vehicle", "person",
];

/// A colour for each of [`SCENE_CLASSES`], near those that Cityscapes has.
pub const SCENE_COLOURS: [[u8; 3]; 7] = [
    [109, 178, 226],
    [118, 104, 122],
    [72, 132, 62],
    [168, 206, 118],
    [128, 72, 128],
    [38, 74, 178],
    [228, 46, 72],
];

const CLASS_SKY: u8 = 0;
const CLASS_BUILDING: u8 = 1;
const CLASS_TREE: u8 = 2;
const CLASS_GROUND: u8 = 3;
const CLASS_ROAD: u8 = 4;
const CLASS_VEHICLE: u8 = 5;
const CLASS_PERSON: u8 = 6;

/// A picture of a road and the truth about it.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The photograph-like picture.
    pub picture: Picture,
    /// The class of each pixel, an index of [`SCENE_CLASSES`].
    pub labels: LabelMap,
}

impl Scene {
    /// Paints the scene of a seed. Sides are in pixels; the view keeps its height, so a wider picture shows more.
    ///
    /// # Errors
    /// A side of 0, or a size above that of a picture ([`Size`]).
    pub fn generate(seed: u64, width: usize, height: usize) -> Result<Self, PictureError> {
        Size::new(width, height)?;
        let mut random = Random::new(seed);
        let mut canvas = Canvas::new(width, height);
        layout::paint(&mut canvas, &mut random);
        let (vignette, grain) = (random.range(0.1, 0.3), random.range(2.0, 6.0));
        let (pixels, classes) = canvas.develop(vignette, grain, random.seed());
        Ok(Self {
            picture: Picture::from_rgb(width, height, pixels)?,
            labels: LabelMap::new(width, height, classes)?,
        })
    }

    /// [`SCENE_COLOURS`] as a palette.
    pub fn palette() -> Palette {
        Palette::from_colors(&SCENE_COLOURS)
    }
}
