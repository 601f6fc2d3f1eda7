//! What the arguments of `predict` come to, once it is known what they are used with.

use segmenta::{Job, Preprocess, Resolution, SegmentOptions};

use crate::args::{LabelSize, Predict, What};
use crate::message::Usage;
use crate::segment::Recipe;

pub(crate) struct Settings {
    what: Vec<segmenta::What>,
    alpha: f64,
    legend: bool,
    grid: bool,
    batch: usize,
    segment: SegmentOptions,
    recipe: Recipe,
}

impl Settings {
    pub(crate) fn of(args: &Predict) -> Result<Self, Usage> {
        let recipe = Recipe {
            resize: args.resize,
            center_crop: args.center_crop,
            mean: args.mean,
            std: args.std,
        };
        Ok(Self {
            what: args.what.iter().copied().map(Into::into).collect(),
            alpha: args.alpha,
            legend: args.legend,
            grid: args.grid,
            batch: args.batch,
            segment: args.segment.options()?.size(match args.size {
                LabelSize::Photograph => Resolution::Photograph,
                LabelSize::Network => Resolution::Network,
            }),
            recipe: recipe.in_tiles_of(&args.segment),
        })
    }

    /// Whether the network runs once for each batch of pictures.
    pub(crate) fn runs_once(&self) -> bool {
        self.segment.tiles.is_none() && !self.segment.flip
    }

    /// The weights' own recipe as the user changes it.
    pub(crate) fn preprocess(&self, own: &Preprocess) -> Preprocess {
        self.recipe.of(own)
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
            What::Logits => Self::Logits,
            What::Probabilities => Self::Probabilities,
        }
    }
}
