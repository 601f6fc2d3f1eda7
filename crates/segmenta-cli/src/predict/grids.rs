//! Two sheets as torchvision's scripts make them: the pictures, and the pictures with their classes.

use std::collections::HashMap;
use std::path::Path;

use segmenta::{Error, Picture, Preprocess, Segmentation};
use segmenta_image::{Filter, Rect, make_grid};

use crate::message::note;

/// Pictures in a row, and pixels between them: torchvision's defaults for these scripts.
const ROW: usize = 4;
const PADDING: usize = 2;
/// A sheet of more pictures could not be looked at, nor held in memory.
const MOST: usize = 64;

/// The pictures as the network saw them, until there are enough.
pub(crate) struct Grids {
    recipe: Preprocess,
    alpha: f64,
    samples: Vec<Picture>,
    overlays: Vec<Picture>,
}

impl Grids {
    pub(crate) fn new(recipe: &Preprocess, alpha: f64) -> Self {
        Self {
            recipe: recipe.clone(),
            alpha,
            samples: Vec::new(),
            overlays: Vec::new(),
        }
    }

    pub(crate) fn add(
        &mut self,
        picture: &Picture,
        segmentation: &Segmentation,
    ) -> Result<(), Error> {
        if self.samples.len() == MOST {
            return Ok(());
        }
        let (width, height) = self
            .recipe
            .resize
            .size_of(picture.width(), picture.height());
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
    pub(crate) fn save(self, out: &Path, quiet: bool) -> Result<(), Error> {
        let Some(size) = usual_size(&self.samples) else {
            return Ok(());
        };
        let other = self
            .samples
            .iter()
            .filter(|picture| picture.size() != size)
            .count();
        if other > 0 && !quiet {
            note(&format!(
                "{other} of {} pictures resized to {}×{} for the grid; --resize {}x{} makes all alike",
                self.samples.len(),
                size.0,
                size.1,
                size.0,
                size.1,
            ));
        }
        for (name, pictures) in [
            ("image_samples.png", self.samples),
            ("segmentation_output.png", self.overlays),
        ] {
            let alike = pictures.into_iter().map(|picture| {
                if picture.size() == size {
                    picture
                } else {
                    picture.resize(size.0, size.1, Filter::Bilinear)
                }
            });
            let grid = make_grid(&alike.collect::<Vec<_>>(), ROW, PADDING)?;
            grid.save(out.join(name))?;
        }
        Ok(())
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
