//! Positives and negatives per image and class, and the ways to reduce them to one number.
//!
//! The definitions are those of segmentation_models_pytorch's `metrics` (`get_stats` and its `reduction`s).

use segmenta_files::count;

use crate::protocol::{Over, Protocol, Score, mean_of};
use crate::{Confusion, Counts, Label, Metric, MetricError};

/// [`Counts`] of each class in each image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    classes: usize,
    ignore_index: Option<u32>,
    /// `[image][class]`.
    counts: Vec<Counts>,
}

/// How the counts of images and classes become one number.
#[derive(Clone, Debug, PartialEq)]
pub enum Reduction {
    /// All images and classes counted together: `micro`.
    Micro,
    /// All images counted together, then the mean over classes: `macro`.
    Macro,
    /// As [`Reduction::Macro`], with a weight for each class: `weighted`.
    Weighted(Vec<f64>),
    /// All classes of an image counted together, then the mean over images: `micro-imagewise`.
    MicroImagewise,
    /// The mean over all classes of all images: `macro-imagewise`.
    MacroImagewise,
    /// As [`Reduction::MacroImagewise`], with a weight for each class: `weighted-imagewise`. The library
    /// divides this mean by the number of classes once more, and so is it here.
    WeightedImagewise(Vec<f64>),
}

/// What stands for a score that has nothing to divide.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum ZeroDivision {
    /// Nothing: it is left out of means.
    #[default]
    Absent,
    /// This value. The library's own default is 1, which rewards classes for not occurring.
    Value(f64),
}

impl Stats {
    /// From label maps of `images` images of one size, one after the other. Pixels whose truth is the ignore
    /// index are not counted.
    ///
    /// # Errors
    /// As [`Confusion::new`] and [`Confusion::add`]; a number of values that is no whole number of images.
    pub fn multiclass<L: Label>(
        truth: &[L],
        prediction: &[L],
        images: usize,
        classes: usize,
        ignore_index: Option<u32>,
    ) -> Result<Self, MetricError> {
        let empty = Confusion::new(classes, ignore_index)?;
        let pixels = pixels_each(truth.len(), prediction.len(), images, 1)?;
        let mut counts = Vec::with_capacity(images * classes);
        for image in 0..images {
            let range = image * pixels..(image + 1) * pixels;
            let mut confusion = empty.clone();
            confusion
                .add(&truth[range.clone()], &prediction[range.clone()])
                .map_err(|e| moved(e, range.start))?;
            counts.extend((0..classes).map(|class| confusion.counts(class)));
        }
        Ok(Self {
            classes,
            ignore_index,
            counts,
        })
    }

    /// From masks of 0 and 1, `[image][class][pixel]`, and as many probabilities (or logits): a class is found
    /// where they are at least `threshold`.
    ///
    /// # Errors
    /// Slices of different lengths or no whole number of images; a mask value above 1; a threshold of NaN.
    pub fn multilabel(
        truth: &[u8],
        scores: &[f32],
        images: usize,
        classes: usize,
        threshold: f32,
    ) -> Result<Self, MetricError> {
        if classes == 0 {
            return Err(MetricError::Classes(classes));
        }
        if threshold.is_nan() {
            return Err(MetricError::Threshold);
        }
        let pixels = pixels_each(truth.len(), scores.len(), images, classes)?;
        if let Some(index) = truth.iter().position(|&value| value > 1) {
            return Err(MetricError::Mask {
                value: truth[index],
                index,
            });
        }
        let of_mask = |mask: usize| {
            let range = mask * pixels..(mask + 1) * pixels;
            let [mut both, mut real, mut found] = [0_u64; 3];
            for (&truth, &score) in truth[range.clone()].iter().zip(&scores[range]) {
                let hit = u64::from(score >= threshold);
                both += hit & u64::from(truth);
                real += u64::from(truth);
                found += hit;
            }
            Counts {
                true_positives: both,
                false_positives: found - both,
                false_negatives: real - both,
                true_negatives: pixels as u64 + both - real - found,
            }
        };
        Ok(Self {
            classes,
            ignore_index: None,
            counts: (0..images * classes).map(of_mask).collect(),
        })
    }

    /// From one mask an image: [`Stats::multilabel`] with one class.
    ///
    /// # Errors
    /// As [`Stats::multilabel`].
    pub fn binary(
        truth: &[u8],
        scores: &[f32],
        images: usize,
        threshold: f32,
    ) -> Result<Self, MetricError> {
        Self::multilabel(truth, scores, images, 1, threshold)
    }

    /// Adds the images of another batch.
    ///
    /// # Errors
    /// Another number of classes, or another ignore index.
    pub fn append(&mut self, other: Self) -> Result<(), MetricError> {
        if (self.classes, self.ignore_index) != (other.classes, other.ignore_index) {
            let name = |s: &Self| {
                format!(
                    "{} without label {:?}",
                    count(s.classes, "class"),
                    s.ignore_index
                )
            };
            return Err(MetricError::Merge {
                left: name(self),
                right: name(&other),
            });
        }
        self.counts.extend(other.counts);
        Ok(())
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.counts.len() / self.classes
    }

    /// The counts of each image: one for each class.
    pub fn of_images(&self) -> impl Iterator<Item = &[Counts]> {
        self.counts.chunks_exact(self.classes)
    }

    /// The counts of each class over all images.
    pub fn of_classes(&self) -> Vec<Counts> {
        let of_class = |class| self.counts.iter().skip(class).step_by(self.classes);
        (0..self.classes)
            .map(|class| of_class(class).copied().sum())
            .collect()
    }

    /// The score of each class in each image, `[image][class]`: the reduction `none`.
    pub fn each(&self, metric: Metric, zero_division: ZeroDivision) -> Vec<Option<f64>> {
        self.counts
            .iter()
            .map(|&counts| zero_division.of(metric, counts))
            .collect()
    }

    /// One number.
    ///
    /// # Errors
    /// Class weights that are not one a class, negative, or all 0.
    pub fn score(
        &self,
        metric: Metric,
        reduction: &Reduction,
        zero_division: ZeroDivision,
    ) -> Result<Score, MetricError> {
        let score = |counts: Counts| zero_division.of(metric, counts);
        let of_classes: Vec<_> = self.of_classes().into_iter().map(score).collect();
        let each = || self.each(metric, zero_division);
        let (over, value) = match reduction {
            Reduction::Micro => {
                let all: Counts = self.counts.iter().copied().sum();
                (Over::Everything, score(all))
            }
            Reduction::Macro => (Over::Classes, mean_of(&of_classes)),
            Reduction::Weighted(weights) => {
                let weights = self.check(weights)?;
                (Over::ClassesWeighted, weighted_mean(&of_classes, weights))
            }
            Reduction::MicroImagewise => {
                let images = self
                    .of_images()
                    .map(|image| score(image.iter().copied().sum()));
                (Over::Images, mean_of(&images.collect::<Vec<_>>()))
            }
            Reduction::MacroImagewise => (Over::ImagesAndClasses, mean_of(&each())),
            Reduction::WeightedImagewise(weights) => {
                let weights = self.check(weights)?.repeat(self.images());
                let mean = weighted_mean(&each(), &weights);
                (
                    Over::ImagesAndClassesWeighted,
                    mean.map(|mean| mean / self.classes as f64),
                )
            }
        };
        let protocol = Protocol {
            metric: metric.to_string(),
            over,
            classes: self.classes,
            images: Some(self.images()),
            absent: Protocol::absent(&of_classes),
            ignore_index: self.ignore_index,
            ignored: None,
            segmented: None,
            measured_on: None,
            zero_division: match zero_division {
                ZeroDivision::Absent => None,
                ZeroDivision::Value(value) => Some(value),
            },
        };
        Ok(Score { value, protocol })
    }

    fn check<'a>(&self, weights: &'a [f64]) -> Result<&'a [f64], MetricError> {
        let problem = if weights.len() != self.classes {
            format!(
                "{} for {}",
                count(weights.len(), "weight"),
                count(self.classes, "class")
            )
        } else if let Some(wrong) = weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
            format!("weight {wrong}")
        } else if weights.iter().all(|&w| w == 0.0) {
            "all are 0".into()
        } else {
            return Ok(weights);
        };
        Err(MetricError::Weights { problem })
    }
}

impl ZeroDivision {
    fn of(self, metric: Metric, counts: Counts) -> Option<f64> {
        match self {
            Self::Absent => metric.of(counts),
            Self::Value(value) => Some(metric.of(counts).unwrap_or(value)),
        }
    }
}

/// The mean of the scores that are there; their weights alone make the whole.
fn weighted_mean(scores: &[Option<f64>], weights: &[f64]) -> Option<f64> {
    let there = scores
        .iter()
        .zip(weights)
        .filter_map(|(score, weight)| Some(((*score)?, weight)));
    let (mut sum, mut whole) = (0.0, 0.0);
    for (score, weight) in there {
        sum += score * weight;
        whole += weight;
    }
    (whole > 0.0).then(|| sum / whole)
}

/// Pixels of a mask.
fn pixels_each(
    truth: usize,
    prediction: usize,
    images: usize,
    classes: usize,
) -> Result<usize, MetricError> {
    if truth != prediction {
        return Err(MetricError::Length { truth, prediction });
    }
    let masks = images.saturating_mul(classes);
    if masks == 0 || !truth.is_multiple_of(masks) {
        return Err(MetricError::Shape {
            values: truth,
            images,
            classes,
        });
    }
    Ok(truth / masks)
}

/// The error of one image, with the index in the whole batch.
fn moved(error: MetricError, start: usize) -> MetricError {
    match error {
        MetricError::Label {
            value,
            index,
            whose,
            classes,
        } => MetricError::Label {
            value,
            index: start + index,
            whose,
            classes,
        },
        other => other,
    }
}
