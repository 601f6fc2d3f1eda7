//! Annotations that are drawn rather than painted: outlines and run lengths, of COCO, labelme and CVAT.
//!
//! A format a file; each gives [`Annotations`], and [`Annotations::draw`] makes label maps of them. What a document
//! has that gives no pixels, or says twice in two ways, is an error or a [`Remark`]: nothing is dropped unsaid.

mod class_list;
pub mod coco;
mod colours;
pub mod cvat;
mod json;
pub mod labelme;
mod mask_names;
mod outline;
mod remark;
mod rle;
mod sound;

use segmenta_files::count;
use std::sync::Arc;

use segmenta_image::{LabelMap, VOID};

use crate::DataError;

pub use class_list::ClassList;
pub(crate) use class_list::is_background;
pub use colours::Colours;
pub use mask_names::{MaskName, mask_names};
pub(crate) use outline::fill;
pub use remark::Remark;
pub(crate) use remark::Remarks;
pub(crate) use rle::Rle;

/// Shapes on pictures.
#[derive(Clone, Debug)]
pub struct Annotations {
    /// Names of the classes in the order of their ids. A reader makes the background the first.
    pub classes: Vec<String>,
    /// The id of what no shape covers.
    pub background: u8,
    /// The pictures, as they are listed.
    pub pictures: Vec<Annotated>,
    remarks: Remarks,
}

/// A picture and what was drawn on it.
#[derive(Clone, Debug)]
pub struct Annotated {
    /// The picture's file, as the annotation calls it, with `/` between folders.
    pub file: String,
    /// Where the annotation stands, for messages: a document, or a number in one.
    pub origin: String,
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
    /// Its id; [`VOID`] for what no class counts.
    pub(crate) class: u8,
    /// The frames of a video share what does not move.
    pub(crate) area: Arc<Area>,
}

/// Which pixels a shape covers.
#[derive(Clone, Debug)]
pub(crate) enum Area {
    /// Closed lines through points (x, y) in pixels from the picture's top left corner.
    Rings(Vec<Vec<[f32; 2]>>),
    /// Run lengths over a rectangle whose top left pixel is given.
    Runs { left: i64, top: i64, runs: Rle },
}

impl Shape {
    pub(crate) fn new(class: u8, area: Area) -> Self {
        let area = Arc::new(area);
        Self { class, area }
    }
}

impl Annotated {
    /// How many shapes it has.
    pub fn shapes(&self) -> usize {
        self.shapes.len()
    }

    fn draw(&self, background: u8) -> Result<LabelMap, DataError> {
        let (width, height) = (self.width, self.height);
        sound::size(width as f64, height as f64).map_err(|what| {
            DataError::data(what, &self.file, "correct its size in the annotations")
        })?;
        let mut map = LabelMap::new(width, height, vec![background; width * height])?;
        for Shape { class, area } in &self.shapes {
            match &**area {
                Area::Rings(rings) => fill(&mut map, rings, *class),
                Area::Runs { left, top, runs } => runs.paint(&mut map, *left, *top, *class),
            }
        }
        Ok(map)
    }
}

impl Default for Annotations {
    fn default() -> Self {
        Self {
            classes: vec!["background".to_owned()],
            background: 0,
            pictures: Vec::new(),
            remarks: Remarks::default(),
        }
    }
}

impl Annotations {
    /// The label map of a picture: ids of classes where shapes lie, the background's elsewhere. `index` must be below
    /// the count of pictures.
    ///
    /// # Errors
    /// A picture that is annotated with a size of 0 or of more than [`segmenta_image::MAX_PIXELS`].
    pub fn draw(&self, index: usize) -> Result<LabelMap, DataError> {
        self.pictures[index].draw(self.background)
    }

    /// What was left out, or is there twice, with how often and where first.
    pub fn remarks(&self) -> impl Iterator<Item = Remark> {
        self.remarks.iter()
    }

    /// All shapes of all pictures.
    pub fn shapes(&self) -> usize {
        self.pictures.iter().map(Annotated::shapes).sum()
    }

    /// The same shapes under the ids of a list of classes, matched by name.
    ///
    /// # Errors
    /// A shape whose class is not in the list.
    pub fn with_classes(mut self, list: &ClassList) -> Result<Self, DataError> {
        let id = |name: &String| list.id(name);
        let ids: Vec<Option<u8>> = self.classes.iter().map(id).collect();
        for picture in &mut self.pictures {
            for shape in &mut picture.shapes {
                if shape.class == VOID {
                    continue;
                }
                let known = if shape.class == self.background {
                    Some(list.background())
                } else {
                    ids[usize::from(shape.class)]
                };
                let name = &self.classes[usize::from(shape.class)];
                shape.class = known.ok_or_else(|| {
                    let what = format!("`{name}` is not in the list of classes");
                    let place = format!("{} ({})", picture.origin, picture.file);
                    DataError::data(what, place, "add it at the end of the list")
                })?;
            }
        }
        self.classes = list.names().to_vec();
        self.background = list.background();
        Ok(self)
    }

    /// The id of a class, which becomes the last one if it is new. None if there are more classes than ids.
    pub(crate) fn class(&mut self, name: &str) -> Option<u8> {
        let name = name.trim();
        if is_background(name) {
            return Some(self.background);
        }
        let known = self.classes.iter().position(|class| class == name);
        let place = known.unwrap_or_else(|| {
            self.classes.push(name.to_owned());
            self.classes.len() - 1
        });
        u8::try_from(place).ok().filter(|&id| id != VOID)
    }

    /// Takes in another document of the same classes.
    pub(crate) fn append(&mut self, other: Self) -> Result<(), String> {
        if self.pictures.is_empty() && self.classes.len() == 1 {
            *self = other;
            return Ok(());
        }
        if self.classes != other.classes {
            let (a, b) = (other.classes.len() - 1, self.classes.len() - 1);
            return Err(format!(
                "{} that are not the {b} of the file before it",
                count(a, "class")
            ));
        }
        self.pictures.extend(other.pictures);
        self.remarks.extend(other.remarks);
        Ok(())
    }
}

/// More classes than ids.
pub(crate) const TOO_MANY: &str =
    "keep at most 254 classes: an id is a byte, 0 the background, 255 no class";
