//! What the arguments of `predict` come to, once it is known what they are used with.

use segmenta::{Preprocess, Resize, SegmentOptions, Tiles};
use serde::Serialize;

use crate::args::{Predict, Tta, What};
use crate::message::Usage;

pub(crate) struct Settings {
    pub(crate) what: Vec<What>,
    pub(crate) alpha: f64,
    pub(crate) legend: bool,
    pub(crate) grid: bool,
    pub(crate) batch: usize,
    pub(crate) segment: SegmentOptions,
    recipe: Recipe,
    tile: Option<[usize; 2]>,
}

/// Where the user overrides the weights' own recipe.
struct Recipe {
    resize: Option<Resize>,
    center_crop: Option<[usize; 2]>,
    mean: Option<[f32; 3]>,
    std: Option<[f32; 3]>,
}

impl Settings {
    pub(crate) fn of(args: &Predict) -> Result<Self, Usage> {
        let tile = args.tile.map(|size| {
            let overlap = args.overlap.unwrap_or_else(|| (size / 8).min(64));
            [size, overlap]
        });
        let tiles = tile
            .map(|[size, overlap]| Tiles::new(size, overlap))
            .transpose();
        Ok(Self {
            what: args.what.clone(),
            alpha: args.alpha,
            legend: args.legend,
            grid: args.grid,
            batch: args.batch,
            segment: SegmentOptions::new()
                .flip(matches!(args.tta, Some(Tta::Flip)))
                .tiles(tiles.map_err(|error| Usage(error.to_string()))?)
                .probability(args.what.contains(&What::Probability)),
            recipe: Recipe {
                // Tiles are for seeing everything there is.
                resize: args.resize.or(args.tile.map(|_| Resize::None)),
                center_crop: args.center_crop,
                mean: args.mean,
                std: args.std,
            },
            tile,
        })
    }

    /// Whether the network runs once for each batch of pictures.
    pub(crate) fn runs_once(&self) -> bool {
        self.tile.is_none() && !self.segment.flip
    }

    pub(crate) fn writes(&self, what: What) -> bool {
        self.what.contains(&what)
    }

    /// The weights' own recipe as the user changes it. The canvas on which training stood belongs
    /// to the size that pictures had there, and goes with it.
    pub(crate) fn preprocess(&self, own: &Preprocess) -> Preprocess {
        let user = &self.recipe;
        let resized = user.resize.is_some() || user.center_crop.is_some();
        Preprocess {
            resize: user.resize.unwrap_or(own.resize),
            center_crop: user.center_crop.or(own.center_crop.filter(|_| !resized)),
            mean: user.mean.unwrap_or(own.mean),
            std: user.std.unwrap_or(own.std),
            pad: own.pad.filter(|_| !resized),
        }
    }

    /// All of it, for the report.
    pub(crate) fn record(&self, recipe: &Preprocess) -> Record {
        Record {
            resize: recipe.resize.to_string(),
            center_crop: recipe.center_crop,
            pad: recipe.pad.map(|pad| [pad.width, pad.height]),
            mean: recipe.mean,
            std: recipe.std,
            tta: self.segment.flip.then_some("flip"),
            tile: self.tile.map(|[size, _]| size),
            overlap: self.tile.map(|[_, overlap]| overlap),
            batch: self.batch,
            alpha: self.alpha,
        }
    }
}

/// The settings as `predictions.json` has them.
#[derive(Serialize)]
pub(crate) struct Record {
    resize: String,
    center_crop: Option<[usize; 2]>,
    pad: Option<[usize; 2]>,
    mean: [f32; 3],
    std: [f32; 3],
    tta: Option<&'static str>,
    tile: Option<usize>,
    overlap: Option<usize>,
    batch: usize,
    alpha: f64,
}
