//! A network measured: what it says of every validation picture against the truth.

use segmenta_data::{Batch, Loader};
use segmenta_graph::Shape;
use segmenta_image::VOID;
use segmenta_metrics::{Confusion, Metric, Score};
use segmenta_runtime::{Engine as Evaluator, Logits, Tensor};
use segmenta_zoo::Answer;

use super::RunError;
use super::config::ScoreName;
use crate::loss::Target;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Truth against prediction of every pixel that counts.
    pub confusion: Confusion,
    /// The mean loss of the pictures, if one was asked for and it is a number.
    pub loss: Option<f64>,
    /// The first batch whose loss is no number, though its logits are.
    pub strange: Option<StrangeLoss>,
    /// Pictures.
    pub pictures: usize,
    /// Whether one channel of logits told one class from the rest.
    pub binary: bool,
    /// What counted nowhere, in the values of the masks.
    pub ignored: String,
}

/// A loss of validation pictures that is NaN or infinite, though the network's logits are not.
#[derive(Clone, Debug, PartialEq)]
pub struct StrangeLoss {
    /// NaN or an infinity.
    pub value: f64,
    /// The names of the pictures.
    pub pictures: Vec<String>,
}

impl Measured {
    /// A score with how it was made. Where one class is told from the rest, its own Dice.
    pub fn score(&self, name: ScoreName) -> Score {
        let confusion = &self.confusion;
        let score = match name {
            ScoreName::Miou => confusion.mean_iou(),
            ScoreName::Dice if self.binary => confusion.of_class(1, Metric::Dice),
            ScoreName::Dice => confusion.mean(Metric::Dice),
            ScoreName::PixelAccuracy => confusion.pixel_accuracy(),
            ScoreName::ClassAccuracy => confusion.class_accuracy(),
            ScoreName::FrequencyWeightedIou => confusion.frequency_weighted_iou(),
        };
        score.ignoring(&*self.ignored)
    }
}

/// The ids that a network's result says of pictures of `height`×`width`, one after the other, as the
/// network's [`Answer`] has it: the class of the largest value, or for one class whether it is likely. A NaN is class
/// 0.
///
/// # Errors
/// A result that is no map.
pub fn predictions(
    network: &Evaluator,
    result: &Tensor,
    size: [usize; 2],
) -> Result<Vec<u8>, RunError> {
    let answer = Answer::of_main(network.graph());
    let Some(answer) = answer.per_pixel() else {
        return Err(RunError::Config {
            origin: "model.arch".into(),
            problem: "the network's result is no map".into(),
        });
    };
    let shape = result.shape;
    let mut ids = Vec::with_capacity(shape.batch * size[0] * size[1]);
    for values in result.data.chunks_exact(shape.channels * shape.pixels()) {
        let map = [shape.height, shape.width];
        let logits = Logits {
            threshold: answer.threshold_value(),
            ..Logits::whole(values, shape.channels, map)
        };
        ids.extend(network.labels(logits, size));
    }
    Ok(ids)
}

/// The truth of a batch for a network with `classes` channels of logits; one channel tells the last of the data's
/// classes from the rest.
pub(super) fn truth(batch: &Batch, classes: usize, of_data: usize) -> Vec<u8> {
    if classes > 1 {
        return batch.labels.clone();
    }
    let last = (of_data - 1) as u8;
    let id = |&label: &u8| match label {
        VOID => VOID,
        label => u8::from(label == last),
    };
    batch.labels.iter().map(id).collect()
}

/// The truth as losses take it.
pub(super) fn target(
    truth: Vec<u8>,
    batch: &Batch,
    classes: usize,
) -> Result<Target, crate::loss::LossError> {
    let (n, h, w) = (batch.len(), batch.height, batch.width);
    if classes == 1 {
        Target::masks(truth, [n, 1, h, w], Some(VOID))
    } else {
        Target::labels(truth, [n, h, w], classes, Some(VOID))
    }
}

/// Measures a network on all pictures of a loader. `loss` is asked for each batch's loss; `advance` hears of each
/// batch and says whether to go on.
///
/// # Errors
/// Pictures that cannot be read, or of ids that are no class; an input that does not fit the network.
pub fn measure(
    evaluator: &Evaluator,
    loader: &Loader,
    classes: usize,
    mut loss: impl FnMut(&[f32], Shape, &Target) -> Result<Option<f64>, RunError>,
    mut advance: impl FnMut(usize) -> bool,
) -> Result<Option<Measured>, RunError> {
    let of_data = loader.dataset().classes().len();
    let counted = if classes == 1 { 2 } else { classes };
    let mut confusion = Confusion::new(counted, Some(u32::from(VOID)))?;
    let (mut sum, mut pictures) = (None, 0);
    let mut strange = None;
    for batch in loader.epoch(0, 0)? {
        let batch = batch?;
        let shape = Shape::new(batch.len(), 3, batch.height, batch.width);
        let result = evaluator.forward(&batch.pictures, shape)?.remove(0);
        if let Some(&value) = result.data.iter().find(|value| !value.is_finite()) {
            return Err(RunError::Logits {
                value,
                pictures: batch.items.clone(),
            });
        }
        let truth = truth(&batch, classes, of_data);
        let ids = predictions(evaluator, &result, [batch.height, batch.width])?;
        confusion.add(&truth, &ids)?;
        let target = target(truth, &batch, classes)?;
        if let Some(value) = loss(&result.data, result.shape, &target)? {
            if !value.is_finite() {
                strange.get_or_insert_with(|| StrangeLoss {
                    value,
                    pictures: names(loader, &batch),
                });
            }
            *sum.get_or_insert(0.0) += value * batch.len() as f64;
        }
        pictures += batch.len();
        if !advance(batch.len()) {
            return Ok(None);
        }
    }
    Ok(Some(Measured {
        confusion,
        loss: sum
            .map(|sum: f64| sum / pictures as f64)
            .filter(|_| strange.is_none()),
        strange,
        pictures,
        binary: classes == 1,
        ignored: loader.dataset().meaning().ignored_words(),
    }))
}

fn names(loader: &Loader, batch: &Batch) -> Vec<String> {
    let items = loader.dataset().items();
    let names = batch.items.iter().map(|&at| items[at].name().to_owned());
    names.collect()
}
