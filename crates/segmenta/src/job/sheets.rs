//! Two sheets as torchvision's scripts make them: the pictures, and the pictures with their classes.

use std::collections::HashMap;
use std::path::Path;

use segmenta_image::{Filter, Picture, Preprocess, Rect, make_grid_normalised};

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
        let picture = there_and_back(&self.recipe, &seen(&self.recipe, picture)?)?;
        let (width, height) = picture.size();
        // The network's own labels; tiles have none, and a map of fewer pixels is enlarged.
        let labels = match segmentation.network_labels() {
            Some(labels) => labels.resize_nearest(width, height),
            None => {
                let (whole, area) = area(&self.recipe, segmentation.labels().size());
                let labels = segmentation.labels().resize_nearest(whole.0, whole.1);
                labels.crop(area)?
            }
        };
        self.overlays
            .push(labels.overlay(&picture, segmentation.palette(), self.alpha)?);
        self.samples.push(picture);
        Ok(())
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
            let tensors: Vec<Vec<f32>> = alike.map(|picture| tensor(&picture)).collect();
            let tensors: Vec<&[f32]> = tensors.iter().map(Vec::as_slice).collect();
            let sheet = make_grid_normalised(&tensors, size.0, size.1, ROW, PADDING)?;
            save_marked(&sheet, &out.join(name), "sheet")?;
        }
        Ok(Some(written))
    }
}

/// The size that a picture is resized to, and what the centre crop leaves of that.
fn area(recipe: &Preprocess, (width, height): (usize, usize)) -> ((usize, usize), Rect) {
    let (width, height) = recipe.resize.size_of(width, height);
    let [w, h] = recipe.center_crop.unwrap_or([width, height]);
    let (w, h) = (w.min(width), h.min(height));
    let area = Rect::new((width - w) / 2, (height - h) / 2, w, h);
    ((width, height), area)
}

/// A picture as the network sees it, before its values are normalised; without the room around it.
pub(super) fn seen(recipe: &Preprocess, picture: &Picture) -> Result<Picture, Error> {
    let ((width, height), area) = area(recipe, picture.size());
    let resized = picture.resize(width, height, recipe.pixels.filter);
    Ok(resized.crop(area)?)
}

/// A picture whose values were normalised and turned back, as those scripts do with what they draw: in single
/// precision, and cut off at the end, so that some values are one less.
fn there_and_back(recipe: &Preprocess, picture: &Picture) -> Result<Picture, Error> {
    // Python divides doubles, and only then rounds to f32; the recipe's numbers are the decimals that were written.
    let exact = |value: f32| value.to_string().parse::<f64>().unwrap_or(f64::from(value));
    let channel = |c: usize| {
        let (mean, std) = (recipe.mean[c], recipe.std[c]);
        let back = (-exact(mean) / exact(std)) as f32;
        let scale = (1.0 / exact(std)) as f32;
        let through = move |value: usize| {
            let normal = (value as f32 / 255.0 - mean) / std;
            ((normal - back) / scale * 255.0) as u8
        };
        std::array::from_fn::<u8, 256, _>(through)
    };
    let tables = [0, 1, 2].map(channel);
    let (pixels, _) = picture.pixels().as_chunks::<3>();
    let pixels = pixels.iter();
    let pixels = pixels.flat_map(|rgb| [0, 1, 2].map(|c| tables[c][usize::from(rgb[c])]));
    let (width, height) = picture.size();
    Ok(Picture::from_rgb(width, height, pixels.collect())?)
}

/// Three planes of values in 0 to 1.
fn tensor(picture: &Picture) -> Vec<f32> {
    let plane = |c: usize| picture.pixels().iter().skip(c).step_by(3);
    (0..3)
        .flat_map(plane)
        .map(|&value| f32::from(value) / 255.0)
        .collect()
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

#[cfg(test)]
mod tests {
    use segmenta_image::{LabelMap, Palette, Resize};

    use super::*;
    use crate::segmentation::Stages;

    /// Against `tools/tutorials/torch_hub_fcn.py`: the tutorial's pictures, labels and sheets.
    #[test]
    fn sheets_are_torchvisions_to_the_bit() {
        let recipe = Preprocess {
            resize: Resize::Exact {
                width: 24,
                height: 24,
            },
            ..Preprocess::torchvision(24)
        };
        let mut sheets = Sheets::new(&recipe, 0.6);
        for k in 0..5 {
            let rgb = |i: usize| {
                let (x, y) = (i % 40, i / 40);
                let blue = 255 - (4 * x + y) as i32;
                [
                    5 * x + 3 * y + 40 * k,
                    x * x + y,
                    blue.rem_euclid(256) as usize,
                ]
                .map(|value| (value % 256) as u8)
            };
            let picture = Picture::from_rgb(40, 28, (0..40 * 28).flat_map(rgb).collect()).unwrap();
            let id = |i: usize| ((7 * (i % 24) + 13 * (i / 24) + 5 * k) / 9 % 21) as u8;
            let labels = LabelMap::new(24, 24, (0..24 * 24).map(id).collect()).unwrap();
            let segmentation = Segmentation {
                labels: LabelMap::new(40, 28, vec![0; 40 * 28]).unwrap(),
                probability: None,
                network: Some(labels),
                logits: None,
                probabilities: None,
                names: Vec::new(),
                palette: Palette::torchvision().with_classes(21),
                stages: Stages::default(),
            };
            sheets.add(&picture, &segmentation).unwrap();
        }
        let out = tempfile::tempdir().unwrap();
        let written = sheets.save(out.path()).unwrap().unwrap();
        assert_eq!((written.pictures, written.size), (5, (24, 24)));
        let theirs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/tutorials");
        for name in SHEETS {
            let open = |folder: &Path| Picture::open(folder.join(name)).unwrap();
            let (ours, theirs) = (open(out.path()), open(&theirs));
            assert_eq!(ours.size(), theirs.size());
            let other = ours.pixels().iter().zip(theirs.pixels());
            assert_eq!(other.filter(|(a, b)| a != b).count(), 0, "{name}");
        }
    }
}
