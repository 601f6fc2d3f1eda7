//! What came of measuring a model.

use segmenta_data::{Dataset, MaskMeaning, MatchBy};
use segmenta_files::count;
use segmenta_metrics::{Confusion, Metric, Score};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::EvaluateOptions;
use crate::describe::Description;
use crate::tiles::Tiles;

/// Scores of a model on a data set. Serialised, it is the object that `segmenta eval --json` writes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Evaluation {
    /// Pictures that were counted.
    pub pictures: usize,
    /// What they are, where it was said: [`EvaluateOptions::on`].
    pub measured_on: Option<String>,
    /// Pictures of the data set without a mask, and names of lists without a picture: they were left out.
    pub left_out: usize,
    /// mIoU, Dice, pixel accuracy, class accuracy, frequency weighted IoU.
    pub scores: Vec<NamedScore>,
    /// The model's classes, in the order of its ids.
    pub classes: Vec<ClassScores>,
    /// Pixels of the truth (rows) that were taken for each class (columns), by the model's ids.
    pub confusion: Confusion,
    /// What the values of the masks mean.
    pub masks: MaskMeaning,
    /// By what classes were matched.
    pub matched_by: MatchBy,
    /// Pixels that would have counted, had the network looked at them: outside a centre crop.
    pub unseen: u64,
    /// How pictures were segmented.
    pub settings: EvaluationSettings,
}

/// How pictures were segmented for a measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EvaluationSettings {
    /// The rule of resizing, as [`Resize`](crate::Resize) writes it.
    pub resize: String,
    /// Width and height of the centre crop.
    pub center_crop: Option<[usize; 2]>,
    /// Of a network of one class, the probability above which a pixel is of it.
    pub threshold: Option<f32>,
    /// Test-time augmentation: `flip`, or none.
    pub tta: Option<&'static str>,
    /// Pixels of a tile's side.
    pub tile: Option<usize>,
    /// Pixels by which tiles overlap.
    pub overlap: Option<usize>,
}

/// A score and what it is called.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NamedScore {
    /// `mIoU`, `Dice` ….
    pub name: &'static str,
    /// The number and how it was made.
    pub score: Score,
}

/// A class's scores, `None` where there is nothing to measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClassScores {
    /// Its name.
    pub name: String,
    /// Its pixels in the truth.
    pub pixels: u64,
    /// Their share of all pixels that count, 0 to 1.
    pub share: f64,
    /// Intersection over union.
    pub iou: Option<f64>,
    /// Dice, which is F1.
    pub dice: Option<f64>,
    /// The share of what was found that is right.
    pub precision: Option<f64>,
    /// The share of what is there that was found.
    pub recall: Option<f64>,
}

impl Evaluation {
    pub(super) fn new(
        confusion: Confusion,
        names: Vec<String>,
        dataset: &Dataset,
        options: &EvaluateOptions,
        description: &Description,
        matched_by: MatchBy,
        unseen: u64,
    ) -> Self {
        let dice = if description.classes.len() == 1 {
            confusion.of_class(1, Metric::Dice)
        } else {
            confusion.mean(Metric::Dice)
        };
        let scores = [
            ("mIoU", confusion.mean_iou()),
            ("Dice", dice),
            ("pixel accuracy", confusion.pixel_accuracy()),
            ("class accuracy", confusion.class_accuracy()),
            ("fwIoU", confusion.frequency_weighted_iou()),
        ];
        let mut words = dataset.meaning().ignored_words();
        if !options.ignore.is_empty() {
            let names = options.ignore.iter();
            let names: Vec<String> = names.map(|&id| dataset.classes().name(id.into())).collect();
            words = format!("{words}, and those of {}", names.join(", "));
        }
        if unseen > 0 {
            words = format!("{words}, {unseen} outside the network's crop left out");
        }
        let threshold = description.threshold();
        let segmented: Vec<String> = threshold
            .map(|threshold| format!("threshold {threshold}"))
            .into_iter()
            .chain(options.segment.words())
            .collect();
        let scores = scores.map(|(name, score)| {
            let score = score.ignoring(words.clone());
            let score = match &options.measured_on {
                Some(part) => score.on(format!("{part}, {}", count(dataset.len(), "picture"))),
                None => score,
            };
            let score = if segmented.is_empty() {
                score
            } else {
                score.segmented(segmented.join(", "))
            };
            NamedScore { name, score }
        });
        let columns = [Metric::Iou, Metric::Dice, Metric::Precision, Metric::Recall]
            .map(|metric| confusion.of_classes(metric));
        let all = confusion.pixels().max(1) as f64;
        let class = |(id, name): (usize, String)| {
            let counts = confusion.counts(id);
            let pixels = counts.true_positives + counts.false_negatives;
            let [iou, dice, precision, recall] = columns.each_ref().map(|column| column[id]);
            ClassScores {
                name,
                pixels,
                share: pixels as f64 / all,
                iou,
                dice,
                precision,
                recall,
            }
        };
        Self {
            pictures: dataset.len(),
            measured_on: options.measured_on.clone(),
            left_out: dataset.left_out().0,
            scores: scores.into(),
            classes: names.into_iter().enumerate().map(class).collect(),
            confusion,
            masks: dataset.meaning().clone(),
            matched_by,
            unseen,
            settings: EvaluationSettings::new(options, description),
        }
    }

    /// The value of a score by its name (`mIoU`); `None` if it is n/a, or there is no such score.
    pub fn value(&self, name: &str) -> Option<f64> {
        let found = self.scores.iter().find(|score| score.name == name);
        found?.score.value
    }
}

impl EvaluationSettings {
    fn new(options: &EvaluateOptions, description: &Description) -> Self {
        let recipe = &description.preprocess;
        let segment = &options.segment;
        Self {
            resize: recipe.resize.to_string(),
            center_crop: recipe.center_crop,
            threshold: description.threshold(),
            tta: segment.tta(),
            tile: segment.tiles.map(Tiles::size),
            overlap: segment.tiles.map(Tiles::overlap),
        }
    }
}

impl Serialize for Evaluation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Value {
            value: Option<f64>,
            protocol: String,
        }
        struct Scores<'a>(&'a [NamedScore]);
        impl Serialize for Scores<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|NamedScore { name, score }| {
                    let (value, protocol) = (score.value, score.protocol.to_string());
                    (*name, Value { value, protocol })
                }))
            }
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("pictures", &self.pictures)?;
        map.serialize_entry("measured_on", &self.measured_on)?;
        map.serialize_entry("left_out", &self.left_out)?;
        map.serialize_entry("scores", &Scores(&self.scores))?;
        map.serialize_entry("classes", &self.classes)?;
        map.serialize_entry("confusion", &self.confusion.rows().collect::<Vec<_>>())?;
        map.serialize_entry("ignored_pixels", &self.confusion.ignored())?;
        map.serialize_entry("masks", &self.masks)?;
        map.serialize_entry("matched_by", &self.matched_by)?;
        map.serialize_entry("settings", &self.settings)?;
        map.end()
    }
}
