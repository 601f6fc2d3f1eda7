//! A picture's label map with the names and colours of its classes, and what is drawn of them.

use std::path::Path;

use segmenta_image::{LabelMap, LegendEntry, Palette, Picture, VOID, cutout, legend, make_grid};

use segmenta_runtime::Tensor;

use crate::describe::named;
use crate::error::Error;

/// A class with less of a picture than this is not worth a line of its legend.
const LEAST_IN_LEGEND: f64 = 0.0005;
/// How strong colours lie over a photograph if nothing is said.
const ALPHA: f64 = 0.6;
/// Pixels around pictures side by side: torchvision's.
const GRID_PADDING: usize = 2;

/// Milliseconds that each part of the work took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stages {
    /// Resize and normalise.
    pub prepare_ms: f64,
    /// The network, for this picture's share of its batch.
    pub network_ms: f64,
    /// Logits to labels at the photograph's size.
    pub labels_ms: f64,
}

/// What a network says of a picture.
#[derive(Clone, Debug)]
pub struct Segmentation {
    pub(crate) labels: LabelMap,
    pub(crate) probability: Option<Vec<f32>>,
    pub(crate) network: Option<LabelMap>,
    pub(crate) logits: Option<Tensor>,
    pub(crate) probabilities: Option<Tensor>,
    pub(crate) names: Vec<String>,
    pub(crate) palette: Palette,
    pub(crate) stages: Stages,
}

/// A class's share of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassShare {
    /// Its id in the label map.
    pub id: u8,
    /// Its name.
    pub name: String,
    /// Its colour.
    pub color: [u8; 3],
    /// Pixels.
    pub pixels: u64,
    /// Share of the pixels that have a class, 0 to 1.
    pub share: f64,
}

impl Segmentation {
    /// The class of each pixel of the photograph; 255 (void) where the network did not look, as
    /// outside a centre crop.
    pub fn labels(&self) -> &LabelMap {
        &self.labels
    }

    /// How sure the network is of each pixel's class, 0 to 1, where it was asked for.
    pub fn probability(&self) -> Option<&[f32]> {
        self.probability.as_deref()
    }

    /// The class of each of the network's own pixels that show picture, where that was asked for.
    pub fn network_labels(&self) -> Option<&LabelMap> {
        self.network.as_ref()
    }

    /// The logit of each class at each pixel, 1×classes×height×width, where they were asked for
    /// ([`Scores::logits`](crate::Scores::logits)).
    pub fn logits(&self) -> Option<&Tensor> {
        self.logits.as_ref()
    }

    /// The probability of each class at each pixel, 1×ids×height×width, where they were asked for
    /// ([`Scores::probabilities`](crate::Scores::probabilities)).
    pub fn probabilities(&self) -> Option<&Tensor> {
        self.probabilities.as_ref()
    }

    /// How long it took.
    pub fn stages(&self) -> Stages {
        self.stages
    }

    /// The names of the ids, the first being 0's: as many as the network tells apart, with the background of a
    /// network of one class.
    pub fn class_names(&self) -> &[String] {
        &self.names
    }

    /// The same with other names.
    ///
    /// # Errors
    /// Names that are not one for each id; see [`Segmentation::class_names`].
    pub fn with_classes<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, Error> {
        self.names = named(names, self.names.len())?;
        Ok(self)
    }

    /// The same in other colours.
    #[must_use]
    pub fn with_palette(mut self, palette: Palette) -> Self {
        self.palette = palette;
        self
    }

    /// The palette of the classes.
    pub fn palette(&self) -> &Palette {
        &self.palette
    }

    /// The classes that occur, largest first.
    pub fn shares(&self) -> Vec<ClassShare> {
        let counts = self.labels.counts();
        let total: u64 = counts[..usize::from(VOID)].iter().sum();
        let mut shares: Vec<ClassShare> = (0..VOID)
            .filter(|&id| counts[usize::from(id)] > 0)
            .map(|id| ClassShare {
                id,
                name: self.names.get(usize::from(id)).cloned().unwrap_or_default(),
                color: self.palette.color(id),
                pixels: counts[usize::from(id)],
                share: counts[usize::from(id)] as f64 / total as f64,
            })
            .collect();
        shares.sort_by_key(|share| std::cmp::Reverse(share.pixels));
        shares
    }

    /// The photograph with the classes' colours over it, six tenths strong; see
    /// [`Segmentation::overlay_with`].
    ///
    /// # Panics
    /// If the picture is not the one that was segmented, but one of another size.
    pub fn overlay(&self, picture: &Picture) -> Picture {
        let overlay = self.overlay_with(picture, ALPHA);
        overlay.expect("the picture that was segmented")
    }

    /// The photograph with the classes' colours over it, `alpha` (0 to 1) strong.
    ///
    /// # Errors
    /// If the picture has another size than the one that was segmented.
    pub fn overlay_with(&self, picture: &Picture, alpha: f64) -> Result<Picture, Error> {
        Ok(self.labels.overlay(picture, &self.palette, alpha)?)
    }

    /// What [`Segmentation::legend`] lists: the classes with at least `least` (0 to 1) of the picture, largest first.
    pub fn legend_entries(&self, least: f64) -> Vec<LegendEntry> {
        let shares = self.shares().into_iter();
        let seen = shares.filter(|class| class.share >= least);
        seen.map(|class| LegendEntry {
            name: class.name,
            color: class.color,
            share: class.share,
        })
        .collect()
    }

    /// A drawing of the picture with a panel beside or below it that names its classes, but for those of less than a
    /// two-thousandth.
    #[must_use]
    pub fn legend(&self, drawing: &Picture) -> Picture {
        legend(drawing, &self.legend_entries(LEAST_IN_LEGEND))
    }

    /// The bytes of an RGBA PNG of whatever has a class: background and void are transparent.
    ///
    /// # Errors
    /// If the picture has another size than the one that was segmented.
    pub fn cutout(&self, picture: &Picture) -> Result<Vec<u8>, Error> {
        self.cutout_of(picture, &|_| true)
    }

    /// The bytes of an RGBA PNG of the classes whose id `keep` says yes to; id 0, the background, and void are never
    /// asked for.
    ///
    /// # Errors
    /// As [`Segmentation::cutout`].
    pub fn cutout_of(
        &self,
        picture: &Picture,
        keep: &dyn Fn(u8) -> bool,
    ) -> Result<Vec<u8>, Error> {
        Ok(cutout(picture, &self.labels, keep)?)
    }

    /// The picture, and beside it the picture with the classes' colours over it, six tenths strong.
    ///
    /// # Errors
    /// As [`Segmentation::cutout`].
    pub fn beside(&self, picture: &Picture) -> Result<Picture, Error> {
        let overlay = self.overlay_with(picture, ALPHA)?;
        Ok(make_grid(&[picture.clone(), overlay], 2, GRID_PADDING)?)
    }

    /// Writes the label map as a palette PNG of class ids.
    ///
    /// # Errors
    /// If the file cannot be written; it is there whole or not at all.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        Ok(self.labels.save(path, &self.palette)?)
    }
}
