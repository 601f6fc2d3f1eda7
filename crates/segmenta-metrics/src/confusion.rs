//! The confusion matrix of a data set.

use segmenta_files::count;

use crate::protocol::{Over, Protocol, Score, mean_of};
use crate::{Counts, Metric, MetricError};

/// The most classes that a matrix is made for.
pub const MAX_CLASSES: usize = 1024;

/// A class id as it lies in a label map.
pub trait Label: Copy {
    /// The id.
    fn id(self) -> u32;
}

impl Label for u8 {
    fn id(self) -> u32 {
        u32::from(self)
    }
}

impl Label for u32 {
    fn id(self) -> u32 {
        self
    }
}

/// How many pixels of each class were taken for which, over all images that were added: rows are the truth, columns
/// the prediction.
///
/// Pixels whose truth is the ignore index are counted nowhere but in [`Confusion::ignored`], whatever was predicted
/// there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    ignore_index: Option<u32>,
    pixels: Vec<u64>,
    ignored: u64,
}

/// Tables that pixels are counted into in turn: runs of one class would wait for the same counter.
const TABLES: usize = 4;

impl Confusion {
    /// A matrix of nothing yet.
    ///
    /// # Errors
    /// No class or more than [`MAX_CLASSES`]; an ignore index that is a class.
    pub fn new(classes: usize, ignore_index: Option<u32>) -> Result<Self, MetricError> {
        if classes == 0 || classes > MAX_CLASSES {
            return Err(MetricError::Classes(classes));
        }
        if let Some(index) = ignore_index.filter(|&index| (index as usize) < classes) {
            return Err(MetricError::IgnoreIndex { index, classes });
        }
        Ok(Self {
            classes,
            ignore_index,
            pixels: vec![0; classes * classes],
            ignored: 0,
        })
    }

    /// A matrix that was counted before: `classes · classes` pixel counts row by row, as [`Confusion::rows`] gives
    /// them, and the pixels that were left out.
    ///
    /// # Errors
    /// As [`Confusion::new`]; another number of counts.
    pub fn from_counts(
        classes: usize,
        ignore_index: Option<u32>,
        pixels: &[u64],
        ignored: u64,
    ) -> Result<Self, MetricError> {
        let mut confusion = Self::new(classes, ignore_index)?;
        if pixels.len() != confusion.pixels.len() {
            return Err(MetricError::Matrix {
                values: pixels.len(),
                classes,
            });
        }
        confusion.pixels.copy_from_slice(pixels);
        confusion.ignored = ignored;
        Ok(confusion)
    }

    /// Counts the pixels of one image or of a batch: ids in the same order on both sides.
    ///
    /// # Errors
    /// Slices of different lengths; an id that is neither a class nor (in the truth) the ignore index. Then
    /// nothing of them is counted.
    pub fn add<L: Label>(&mut self, truth: &[L], prediction: &[L]) -> Result<(), MetricError> {
        if truth.len() != prediction.len() {
            return Err(MetricError::Length {
                truth: truth.len(),
                prediction: prediction.len(),
            });
        }
        // Two more rows, for what is ignored and what is no class; one more column, for what is no class. So the
        // loop has no branch, and wrong ids are looked for only if there are any.
        let (ignored_row, wrong) = (self.classes as u32, self.classes as u32 + 1);
        let stride = self.classes + 2;
        let ignore = self.ignore_index.unwrap_or(u32::MAX);
        let mut table = vec![0_u64; TABLES * stride * stride];
        let mut count = |at: usize, truth: L, prediction: L| {
            let row = if self.ignore_index.is_some() && truth.id() == ignore {
                ignored_row
            } else if truth.id() < ignored_row {
                truth.id()
            } else {
                wrong
            };
            let column = prediction.id().min(ignored_row);
            table[(at * stride + row as usize) * stride + column as usize] += 1;
        };
        let (truths, rest) = truth.as_chunks::<TABLES>();
        let (predictions, rest_predictions) = prediction.as_chunks::<TABLES>();
        for (truths, predictions) in truths.iter().zip(predictions) {
            for at in 0..TABLES {
                count(at, truths[at], predictions[at]);
            }
        }
        for (&truth, &prediction) in rest.iter().zip(rest_predictions) {
            count(0, truth, prediction);
        }
        let cell = |row: usize, column: usize| -> u64 {
            let at = |t: usize| table[(t * stride + row) * stride + column];
            (0..TABLES).map(at).sum()
        };
        let row_sum = |row: usize| (0..=self.classes).map(|column| cell(row, column)).sum();
        let unknown_truth: u64 = row_sum(wrong as usize);
        let unknown_prediction: u64 = (0..self.classes).map(|row| cell(row, self.classes)).sum();
        if unknown_truth + unknown_prediction > 0 {
            return Err(self.wrong_label(truth, prediction));
        }
        for row in 0..self.classes {
            for column in 0..self.classes {
                self.pixels[row * self.classes + column] += cell(row, column);
            }
        }
        self.ignored += row_sum(self.classes);
        Ok(())
    }

    /// The first id that is no class.
    fn wrong_label<L: Label>(&self, truth: &[L], prediction: &[L]) -> MetricError {
        let unknown = |id: u32| id as usize >= self.classes;
        let pairs = truth
            .iter()
            .map(|l| l.id())
            .zip(prediction.iter().map(|l| l.id()));
        let first = pairs.enumerate().find_map(|(index, (truth, prediction))| {
            if Some(truth) == self.ignore_index {
                None
            } else if unknown(truth) {
                Some((index, truth, "truth"))
            } else {
                unknown(prediction).then_some((index, prediction, "prediction"))
            }
        });
        let (index, value, whose) = first.unwrap_or_default();
        MetricError::Label {
            value,
            index,
            whose,
            classes: self.classes,
        }
    }

    /// Adds what another matrix has counted.
    ///
    /// # Errors
    /// Another number of classes, or another ignore index.
    pub fn merge(&mut self, other: &Self) -> Result<(), MetricError> {
        if (self.classes, self.ignore_index) != (other.classes, other.ignore_index) {
            let name = |c: &Self| {
                format!(
                    "{} without label {:?}",
                    count(c.classes, "class"),
                    c.ignore_index
                )
            };
            return Err(MetricError::Merge {
                left: name(self),
                right: name(other),
            });
        }
        self.pixels
            .iter_mut()
            .zip(&other.pixels)
            .for_each(|(a, b)| *a += b);
        self.ignored += other.ignored;
        Ok(())
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The label whose pixels are not counted.
    pub fn ignore_index(&self) -> Option<u32> {
        self.ignore_index
    }

    /// Pixels counted.
    pub fn pixels(&self) -> u64 {
        self.pixels.iter().sum()
    }

    /// Pixels left out for the ignore index.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Pixels of class `truth` that were taken for class `prediction`.
    ///
    /// # Panics
    /// If one of them is no class.
    pub fn at(&self, truth: usize, prediction: usize) -> u64 {
        assert!(prediction < self.classes, "class {prediction}");
        self.pixels[truth * self.classes + prediction]
    }

    /// The matrix row by row: `classes · classes` values.
    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.pixels.chunks_exact(self.classes)
    }

    /// Positives and negatives of one class against the rest.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn counts(&self, class: usize) -> Counts {
        let right = self.at(class, class);
        let truth: u64 = self.pixels[class * self.classes..][..self.classes]
            .iter()
            .sum();
        let found: u64 = self.pixels.iter().skip(class).step_by(self.classes).sum();
        Counts {
            true_positives: right,
            false_positives: found - right,
            false_negatives: truth - right,
            true_negatives: self.pixels() + right - truth - found,
        }
    }

    /// The score of each class; `None` where the class does not occur.
    pub fn of_classes(&self, metric: Metric) -> Vec<Option<f64>> {
        (0..self.classes)
            .map(|class| metric.of(self.counts(class)))
            .collect()
    }

    /// The mean over the classes that have this score, as papers report it: counts of all images first, then
    /// scores, then their mean. `mean(Metric::Iou)` is mIoU, `mean(Metric::Recall)` the mean class accuracy.
    pub fn mean(&self, metric: Metric) -> Score {
        let of_classes = self.of_classes(metric);
        Score {
            value: mean_of(&of_classes),
            protocol: self.protocol(metric.to_string(), Over::Classes, &of_classes),
        }
    }

    /// The score of one class: what papers on one class against the rest report.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn of_class(&self, class: usize, metric: Metric) -> Score {
        Score {
            value: metric.of(self.counts(class)),
            protocol: self.protocol(metric.to_string(), Over::OneClass(class), &[]),
        }
    }

    /// How many of the counted pixels are right.
    pub fn right(&self) -> u64 {
        self.pixels.iter().step_by(self.classes + 1).sum()
    }

    /// mIoU.
    pub fn mean_iou(&self) -> Score {
        self.mean(Metric::Iou)
    }

    /// The mean of the classes' recalls (torchvision prints them as "average row correct").
    pub fn class_accuracy(&self) -> Score {
        self.mean(Metric::Recall)
    }

    /// The share of counted pixels that are right.
    pub fn pixel_accuracy(&self) -> Score {
        let all = self.pixels();
        Score {
            value: (all > 0).then(|| self.right() as f64 / all as f64),
            protocol: self.protocol("accuracy".into(), Over::Pixels, &[]),
        }
    }

    /// IoU of the classes, each weighted by its share of the truth's pixels (Long et al., "Fully Convolutional
    /// Networks", 2015).
    pub fn frequency_weighted_iou(&self) -> Score {
        let of_classes = self.of_classes(Metric::Iou);
        let all = self.pixels() as f64;
        let share = |class: usize| {
            let truth: u64 = self.pixels[class * self.classes..][..self.classes]
                .iter()
                .sum();
            truth as f64 / all
        };
        let weighted = of_classes.iter().enumerate();
        let sum = weighted
            .filter_map(|(class, iou)| Some(share(class) * (*iou)?))
            .sum();
        Score {
            value: (all > 0.0).then_some(sum),
            protocol: self.protocol("IoU".into(), Over::ClassesByFrequency, &of_classes),
        }
    }

    fn protocol(&self, metric: String, over: Over, of_classes: &[Option<f64>]) -> Protocol {
        Protocol {
            metric,
            over,
            classes: self.classes,
            images: None,
            absent: Protocol::absent(of_classes),
            ignore_index: self.ignore_index,
            ignored: None,
            segmented: None,
            measured_on: None,
            zero_division: None,
        }
    }
}
