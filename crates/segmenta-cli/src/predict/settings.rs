//! What the arguments of `predict` come to, once it is known what they are used with.

use segmenta::{Job, Preprocess, Resize, SegmentOptions, Tiles};

use crate::args::{Predict, Tta, What};
use crate::message::Usage;

pub(crate) struct Settings {
    what: Vec<segmenta::What>,
    alpha: f64,
    legend: bool,
    grid: bool,
    batch: usize,
    segment: SegmentOptions,
    recipe: Recipe,
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
        let tiles = args.tile.map(|size| {
            let overlap = args.overlap.unwrap_or_else(|| (size / 8).min(64));
            Tiles::new(size, overlap)
        });
        let tiles = tiles.transpose();
        let segment = SegmentOptions::new()
            .flip(matches!(args.tta, Some(Tta::Flip)))
            .tiles(tiles.map_err(|error| Usage(error.to_string()))?);
        Ok(Self {
            what: args.what.iter().copied().map(Into::into).collect(),
            alpha: args.alpha,
            legend: args.legend,
            grid: args.grid,
            batch: args.batch,
            segment,
            recipe: Recipe {
                // Tiles are for seeing everything there is.
                resize: args.resize.or(args.tile.map(|_| Resize::None)),
                center_crop: args.center_crop,
                mean: args.mean,
                std: args.std,
            },
        })
    }

    /// Whether the network runs once for each batch of pictures.
    pub(crate) fn runs_once(&self) -> bool {
        self.segment.tiles.is_none() && !self.segment.flip
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

    /// A job as the arguments want it.
    pub(crate) fn of_job<'a>(&self, job: Job<'a>) -> Job<'a> {
        job.write(self.what.iter().copied())
            .alpha(self.alpha)
            .legend(self.legend)
            .sheets(self.grid)
            .batch(self.batch)
            .options(self.segment.clone())
    }
}

impl From<What> for segmenta::What {
    fn from(what: What) -> Self {
        match what {
            What::Mask => Self::Mask,
            What::Overlay => Self::Overlay,
            What::Probability => Self::Probability,
            What::Cutout => Self::Cutout,
        }
    }
}
