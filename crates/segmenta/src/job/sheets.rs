//! Two sheets as torchvision's scripts make them: the pictures, and the pictures with their classes.

use std::collections::HashMap;
use std::path::Path;

use segmenta_image::{Filter, Picture, Preprocess, Rect, make_grid};

use super::outputs::save_marked;
use crate::error::Error;
use crate::segmentation::Segmentation;

/// The two files: pictures, and pictures under their classes' colours.
pub(crate) const SHEETS: [&str; 2] = ["image_samples.png", "segmentation_output.png"];

/// Pictures in a row, and pixels between them: torchvision's defaults for these scripts.
const ROW: usize = 4;
const PADDING: usize = 2;
/// A sheet of more pictures could not be looked at, nor held in memory.
const MOST: usize = 64;

/// Two sheets that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SheetsWritten {
    /// How many pictures are on each.
    pub pictures: usize,
    /// How many of them had another size and were resized.
    pub resized: usize,
    /// Width and height of each on the sheet, in pixels.
    pub size: (usize, usize),
}

/// The pictures as the network saw them, until there are enough.
pub(super) struct Sheets {
    recipe: Preprocess,
    alpha: f64,
    samples: Vec<Picture>,
    overlays: Vec<Picture>,
}

impl Sheets {
    pub(super) fn new(recipe: &Preprocess, alpha: f64) -> Self {
        Self {
            recipe: recipe.clone(),
            alpha,
            samples: Vec::new(),
            overlays: Vec::new(),
        }
    }

    pub(super) fn add(
        &mut self,
        picture: &Picture,
        segmentation: &Segmentation,
    ) -> Result<(), Error> {
        if self.samples.len() == MOST {
            return Ok(());
        }
        let resize = self.recipe.resize;
        let (width, height) = resize.size_of(picture.width(), picture.height());
        let area = self.area(width, height);
        let picture = picture.resize(width, height, Filter::Bilinear).crop(area)?;
        let labels = segmentation
            .labels()
            .resize_nearest(width, height)
            .crop(area)?;
        self.overlays
            .push(labels.overlay(&picture, segmentation.palette(), self.alpha)?);
        self.samples.push(picture);
        Ok(())
    }

    /// What the centre crop leaves.
    fn area(&self, width: usize, height: usize) -> Rect {
        let [w, h] = self.recipe.center_crop.unwrap_or([width, height]);
        let (w, h) = (w.min(width), h.min(height));
        Rect::new((width - w) / 2, (height - h) / 2, w, h)
    }

    /// Writes both sheets, if there is a picture.
    pub(super) fn save(self, out: &Path) -> Result<Option<SheetsWritten>, Error> {
        let Some(size) = usual_size(&self.samples) else {
            return Ok(None);
        };
        let others = self.samples.iter().filter(|picture| picture.size() != size);
        let written = SheetsWritten {
            pictures: self.samples.len(),
            resized: others.count(),
            size,
        };
        for (name, pictures) in SHEETS.into_iter().zip([self.samples, self.overlays]) {
            let alike = pictures.into_iter().map(|picture| {
                if picture.size() == size {
                    picture
                } else {
                    picture.resize(size.0, size.1, Filter::Bilinear)
                }
            });
            let sheet = make_grid(&alike.collect::<Vec<_>>(), ROW, PADDING)?;
            save_marked(&sheet, &out.join(name), "sheet")?;
        }
        Ok(Some(written))
    }
}

/// The size that most pictures have; of several the first.
fn usual_size(pictures: &[Picture]) -> Option<(usize, usize)> {
    let mut counts: HashMap<(usize, usize), usize> = HashMap::new();
    for picture in pictures {
        *counts.entry(picture.size()).or_default() += 1;
    }
    let most = counts.values().copied().max()?;
    pictures
        .iter()
        .map(Picture::size)
        .find(|size| counts[size] == most)
}
