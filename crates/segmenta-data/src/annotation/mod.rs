//! Annotations that are drawn rather than painted: outlines and run lengths, of COCO, labelme and CVAT.
//!
//! A format a file; each gives [`Annotations`], and [`Annotations::draw`] makes label maps of them.

pub mod coco;
mod colours;
pub mod cvat;
pub mod labelme;
mod outline;
mod rle;

use std::collections::BTreeMap;

use segmenta_image::{LabelMap, MAX_PIXELS};

use crate::DataError;

pub use colours::Colours;
pub(crate) use outline::fill;
pub(crate) use rle::Rle;

/// Shapes on pictures.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    /// Names of the classes; the first has id 1. What no shape covers is id 0, the background.
    pub classes: Vec<String>,
    /// The pictures, as they are listed.
    pub pictures: Vec<Annotated>,
    /// What could not be drawn: sort of shape and how many.
    pub left_out: BTreeMap<String, usize>,
}

/// A picture and what was drawn on it.
#[derive(Clone, Debug)]
pub struct Annotated {
    /// The picture's file, as the annotation calls it.
    pub file: String,
    /// Width in pixels, as annotated.
    pub width: usize,
    /// Height in pixels, as annotated.
    pub height: usize,
    /// In the order in which they are painted: later ones lie over earlier ones.
    pub(crate) shapes: Vec<Shape>,
}

/// One thing on a picture.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Its id, from 1.
    pub(crate) class: u8,
    pub(crate) area: Area,
}

/// Which pixels a shape covers.
#[derive(Clone, Debug)]
pub(crate) enum Area {
    /// Closed lines through points (x, y) in pixels from the picture's top left corner.
    Rings(Vec<Vec<[f32; 2]>>),
    /// Run lengths over a rectangle whose top left pixel is given.
    Runs { left: usize, top: usize, runs: Rle },
}

impl Annotated {
    /// How many shapes it has.
    pub fn shapes(&self) -> usize {
        self.shapes.len()
    }

    fn draw(&self) -> Result<LabelMap, DataError> {
        let (width, height) = (self.width, self.height);
        if width as u64 * height as u64 > MAX_PIXELS {
            let remedy = "correct its size in the annotations";
            return Err(DataError::data(
                format!("a mask of {width}×{height}"),
                &self.file,
                remedy,
            ));
        }
        let mut map = LabelMap::new(width, height, vec![0; width * height])?;
        for Shape { class, area } in &self.shapes {
            match area {
                Area::Rings(rings) => fill(&mut map, rings, *class),
                Area::Runs { left, top, runs } => runs.paint(&mut map, *left, *top, *class),
            }
        }
        Ok(map)
    }
}

impl Annotations {
    /// The label map of a picture: ids of classes from 1, 0 elsewhere. `index` must be below the count of pictures.
    ///
    /// # Errors
    /// A picture that is annotated with a size of 0 or of more than [`MAX_PIXELS`].
    pub fn draw(&self, index: usize) -> Result<LabelMap, DataError> {
        self.pictures[index].draw()
    }

    /// The id of a class, which becomes the last one if it is new.
    pub(crate) fn class(&mut self, name: &str) -> Option<u8> {
        let known = self.classes.iter().position(|class| class == name);
        let place = known.unwrap_or_else(|| {
            self.classes.push(name.to_owned());
            self.classes.len() - 1
        });
        // 255 marks pixels without a class.
        u8::try_from(place + 1).ok().filter(|&id| id < 255)
    }

    pub(crate) fn leave_out(&mut self, what: &str) {
        *self.left_out.entry(what.to_owned()).or_default() += 1;
    }

    /// Takes in another document of the same classes.
    pub(crate) fn append(&mut self, other: Self) -> Result<(), String> {
        if self.pictures.is_empty() && self.classes.is_empty() {
            *self = other;
            return Ok(());
        }
        if self.classes != other.classes {
            let (a, b) = (other.classes.len(), self.classes.len());
            return Err(format!(
                "its {a} classes are not the {b} of the file before it"
            ));
        }
        self.pictures.extend(other.pictures);
        for (what, count) in other.left_out {
            *self.left_out.entry(what).or_default() += count;
        }
        Ok(())
    }
}

/// More classes than ids.
pub(crate) const TOO_MANY: &str =
    "keep at most 254 classes: an id is a byte, 0 the background, 255 no class";
