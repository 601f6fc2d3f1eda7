//! A model measured on pictures whose truth is known.
//!
//! *In*: a [`Model`] and a [`Dataset`](segmenta_data::Dataset). *Out*: an [`Evaluation`]: scores that say how they were
//! made, a table of the classes, the confusion matrix. Nothing is printed; a callback hears of each picture and may end
//! the work.

mod analysis;
mod outcome;
mod part;

use segmenta_files::count;
use std::ops::ControlFlow;
use std::sync::mpsc::sync_channel;

use segmenta_data::{
    ClassMatch, ClassesDiffer, DataError, Dataset, MaskRule, MatchBy, RuleOrigin, Sample,
};
use segmenta_image::{LabelMap, Picture, VOID};
use segmenta_metrics::{Confusion, MetricError};
use thiserror::Error;

use crate::error::Error as ModelError;
use crate::{Model, SegmentOptions, Segmentation};

pub use analysis::{Analysis, Bin, OfSize, Shown, Tally};
pub use outcome::{ClassScores, Evaluation, EvaluationSettings, NamedScore};
pub use part::{Learned, Part, WantedPart};

/// So many pictures are read ahead of the network.
const AHEAD: usize = 2;

/// How a model is measured.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct EvaluateOptions {
    /// By what the data's classes are matched with the model's.
    pub match_by: MatchBy,
    /// Ids of the data's classes whose pixels count nowhere.
    pub ignore: Vec<u8>,
    /// How pictures are segmented.
    pub segment: SegmentOptions,
    /// What the pictures are, for every score to say: [`Part::name`].
    pub measured_on: Option<String>,
}

impl EvaluateOptions {
    /// Classes matched by their names where both sides have any, none ignored, pictures as they are.
    pub fn new() -> Self {
        Self::default()
    }

    /// Classes matched by this.
    #[must_use]
    pub fn match_by(mut self, by: MatchBy) -> Self {
        self.match_by = by;
        self
    }

    /// Without these classes of the data.
    #[must_use]
    pub fn ignore(mut self, ids: impl IntoIterator<Item = u8>) -> Self {
        self.ignore.extend(ids);
        self
    }

    /// Scores that say what they were measured on.
    #[must_use]
    pub fn on(mut self, part: impl Into<String>) -> Self {
        self.measured_on = Some(part.into());
        self
    }

    /// Pictures segmented so: tiles, mirrored averaging.
    #[must_use]
    pub fn segment(mut self, options: SegmentOptions) -> Self {
        self.segment = options;
        self
    }
}

/// What happens while a model is measured.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum EvaluateEvent<'a> {
    /// A picture was segmented and compared; [`EvaluateEvent::Picture`] of it follows.
    Compared {
        /// Its name in the data set.
        name: &'a str,
        /// The picture.
        picture: &'a Picture,
        /// Its truth, by the model's ids.
        truth: &'a LabelMap,
        /// What the model says.
        found: &'a Segmentation,
        /// The mean IoU of the classes that it has, or that were found in it; `None` where no pixel counts.
        miou: Option<f64>,
    },
    /// A picture was counted.
    Picture {
        /// Its name in the data set.
        name: &'a str,
        /// Pictures counted so far, with this one.
        done: usize,
        /// Pictures in all.
        total: usize,
    },
}

/// Why a model could not be measured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// Nothing to measure on.
    #[error("no picture with a mask · {0} · give data with masks")]
    Empty(String),
    /// A picture or a mask that cannot be read, or that breaks the rule of the masks.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Classes of the data that are not the model's.
    #[error(transparent)]
    Classes(#[from] Box<ClassesDiffer>),
    /// Masks of 0 and 255 alone, whose classes have no names, for a model of many classes.
    #[error(
        "masks of 0 and 255 alone, where the model has {classes} classes · {place} · say whether 255 is no class (the \
         rule ids), or which class it is by naming both"
    )]
    Ambiguous {
        /// How many classes the model has.
        classes: usize,
        /// The data set.
        place: String,
    },
    /// A picture that could not be segmented.
    #[error("{error} · {picture}")]
    Model {
        /// The picture's file or name.
        picture: String,
        /// What went wrong.
        #[source]
        error: Box<ModelError>,
    },
    /// Labels that cannot be counted.
    #[error("{error} · {picture}")]
    Metric {
        /// The picture's file or name.
        picture: String,
        /// What is wrong with them.
        #[source]
        error: MetricError,
    },
    /// The callback ended it.
    #[error("stopped after {done} of {}", count(*.total, "picture"))]
    Stopped {
        /// Pictures that were counted.
        done: usize,
        /// Pictures in all.
        total: usize,
    },
}

impl Model {
    /// Measures the model on all pictures of a data set, each at its own size. `observe` hears of each picture and may
    /// end the work by [`ControlFlow::Break`].
    ///
    /// ```no_run
    /// # use std::ops::ControlFlow;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let model = segmenta::Model::load("unet", "nuclei.safetensors")?;
    /// let data = segmenta::Dataset::open("nuclei")?;
    /// let options = segmenta::EvaluateOptions::new();
    /// let measured = model.evaluate(&data, &options, &mut |_| ControlFlow::Continue(()))?;
    /// for score in &measured.scores {
    ///     println!("{} {}", score.name, score.score);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Classes that do not agree, a picture or a mask that cannot be read, a mask that breaks the rule of the data set,
    /// a picture that cannot be segmented: the first of them ends the work, since a score of the rest would be another
    /// score.
    pub fn evaluate(
        &self,
        dataset: &Dataset,
        options: &EvaluateOptions,
        observe: &mut dyn FnMut(EvaluateEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Evaluation, EvaluateError> {
        if dataset.is_empty() {
            return Err(EvaluateError::Empty(dataset.root().display().to_string()));
        }
        let names = self.description().class_names();
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        let matched = match_classes(self, dataset, &names, options)?;
        let ids = table(&matched, &options.ignore);
        let mut confusion =
            Confusion::new(names.len(), Some(u32::from(VOID))).map_err(|error| {
                let picture = dataset.root().display().to_string();
                EvaluateError::Metric { picture, error }
            })?;
        let (mut unseen, total) = (0, dataset.len());
        let mut count = |index: usize, sample: Sample| {
            let item = &dataset.items()[index];
            let picture = || {
                let path = item.picture_path();
                path.map_or_else(|| item.name().to_owned(), |path| path.display().to_string())
            };
            let (image, mut truth) = sample.into_parts();
            let found = self.segment_with(&image, &options.segment);
            let found = found.map_err(|error| EvaluateError::Model {
                picture: picture(),
                error: Box::new(error),
            })?;
            unseen += renumber(&mut truth, &ids, found.labels());
            let metric = |error| EvaluateError::Metric {
                picture: picture(),
                error,
            };
            let (ids, labels) = (truth.ids(), found.labels().ids());
            let mut own = Confusion::new(names.len(), confusion.ignore_index()).map_err(metric)?;
            own.add(ids, labels).map_err(metric)?;
            confusion.merge(&own).map_err(metric)?;
            let (name, done) = (item.name(), index + 1);
            let compared = EvaluateEvent::Compared {
                name,
                picture: &image,
                truth: &truth,
                found: &found,
                miou: own.mean_iou().value,
            };
            if observe(compared).is_break() {
                return Err(EvaluateError::Stopped { done, total });
            }
            match observe(EvaluateEvent::Picture { name, done, total }) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err(EvaluateError::Stopped { done, total }),
            }
        };
        std::thread::scope(|scope| {
            let (send, samples) = sync_channel(AHEAD);
            scope.spawn(move || {
                // Nobody listens any more once a picture has failed.
                (0..total).try_for_each(|index| send.send(dataset.sample(index)))
            });
            // Moved in here, it is dropped when counting ends early, which ends the reader.
            let samples = samples;
            samples
                .iter()
                .enumerate()
                .try_for_each(|(index, sample)| count(index, sample?))
        })?;
        Ok(Evaluation::new(
            confusion,
            names,
            dataset,
            options,
            self.description(),
            matched.by,
            unseen,
        ))
    }
}

/// Which of the model's classes each of the data's is.
fn match_classes(
    model: &Model,
    dataset: &Dataset,
    names: &[String],
    options: &EvaluateOptions,
) -> Result<ClassMatch, EvaluateError> {
    let data = dataset.classes().names();
    if let [one] = model.description().classes.as_slice() {
        return Ok(ClassMatch::one_class(data, one, options.match_by)?);
    }
    let meaning = dataset.meaning();
    let is_guess = meaning.by == RuleOrigin::Found && !dataset.classes().are_named();
    if is_guess
        && meaning.rule == MaskRule::white_on_black()
        && names.len() > 2
        && options.match_by == MatchBy::Name
    {
        return Err(EvaluateError::Ambiguous {
            classes: names.len(),
            place: dataset.root().display().to_string(),
        });
    }
    let is_needed = |id: usize| {
        dataset.counts_class(id) && !options.ignore.iter().any(|&i| usize::from(i) == id)
    };
    Ok(ClassMatch::new(data, names, options.match_by, is_needed)?)
}

/// For each label of the data the model's.
fn table(matched: &ClassMatch, ignore: &[u8]) -> [u8; 256] {
    std::array::from_fn(|label| {
        if ignore.contains(&(label as u8)) {
            return VOID;
        }
        matched.ids.get(label).copied().flatten().unwrap_or(VOID)
    })
}

/// Gives labels the model's ids and takes out what the network did not look at, as outside a centre crop; how many
/// pixels that are which would have counted.
fn renumber(truth: &mut LabelMap, ids: &[u8; 256], found: &LabelMap) -> u64 {
    let mut unseen = 0;
    for (label, &found) in truth.ids_mut().iter_mut().zip(found.ids()) {
        *label = ids[usize::from(*label)];
        if found == VOID && *label != VOID {
            *label = VOID;
            unseen += 1;
        }
    }
    unseen
}
