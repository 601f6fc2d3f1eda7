//! A network measured: what it says of every validation picture against the truth.

use segmenta_data::{Batch, Loader};
use segmenta_graph::Shape;
use segmenta_image::VOID;
use segmenta_metrics::{Confusion, Metric, Over, Score};
use segmenta_runtime::{Engine as Evaluator, Logits, Tensor};
use segmenta_zoo::Answer;

use super::RunError;
use super::config::{Reduction, ScoreName};
use crate::loss::Target;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Truth against prediction of every pixel that counts.
    pub confusion: Confusion,
    /// Dice of each part that is counted together before the mean: of each batch or of each picture; empty where all
    /// pixels are counted together.
    pub parts: Vec<Option<f64>>,
    /// What the parts are.
    pub reduction: Reduction,
    /// Pictures of a whole batch.
    pub batch: usize,
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
            ScoreName::Dice => self.dice(),
            ScoreName::PixelAccuracy => confusion.pixel_accuracy(),
            ScoreName::ClassAccuracy => confusion.class_accuracy(),
            ScoreName::FrequencyWeightedIou => confusion.frequency_weighted_iou(),
        };
        score.ignoring(&*self.ignored)
    }

    /// Counts a batch of pictures of so many pixels: for all, and for each part.
    fn count(&mut self, truth: &[u8], ids: &[u8], pixels: usize) -> Result<(), RunError> {
        self.confusion.add(truth, ids)?;
        let together = match self.reduction {
            Reduction::Pixels => return Ok(()),
            Reduction::Images => pixels,
            Reduction::Batch => truth.len(),
        };
        for (truth, ids) in truth.chunks(together).zip(ids.chunks(together)) {
            let classes = self.confusion.classes();
            let mut part = Confusion::new(classes, self.confusion.ignore_index())?;
            part.add(truth, ids)?;
            self.parts.push(dice(&part, self.binary).value);
        }
        Ok(())
    }

    /// Dice: of all pixels, or the mean of the parts' own. A batch without a pixel of the class in truth and prediction
    /// counts 0, as in tutorials that add a small number to the divisor; such a picture is left out.
    fn dice(&self) -> Score {
        let mut score = dice(&self.confusion, self.binary);
        let protocol = &mut score.protocol;
        let parts: Vec<f64> = match self.reduction {
            Reduction::Pixels => return score,
            Reduction::Batch => {
                protocol.over = Over::Batches(self.batch);
                protocol.zero_division = Some(0.0);
                self.parts.iter().map(|part| part.unwrap_or(0.0)).collect()
            }
            Reduction::Images => {
                protocol.over = Over::Images;
                self.parts.iter().copied().flatten().collect()
            }
        };
        protocol.absent = Vec::new();
        if self.binary {
            protocol.metric = "Dice of class 1,".into();
        } else {
            protocol.metric = "mean Dice of the classes".into();
        }
        protocol.images = Some(self.pictures);
        score.value = (!parts.is_empty()).then(|| parts.iter().sum::<f64>() / parts.len() as f64);
        score
    }
}

/// Dice of pixels that are counted together: of one class its own, of several their mean.
fn dice(confusion: &Confusion, binary: bool) -> Score {
    if binary {
        confusion.of_class(1, Metric::Dice)
    } else {
        confusion.mean(Metric::Dice)
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

/// The ids that logits of as many pixels as the pictures have say: the greatest of several, or whether one is positive.
/// A NaN is class 0.
pub(super) fn ids_of(logits: &[f32], shape: Shape) -> Vec<u8> {
    let (channels, pixels) = (shape.channels, shape.pixels());
    let mut ids = vec![0_u8; shape.batch * pixels];
    let pictures = logits.chunks_exact(channels * pixels);
    for (picture, ids) in pictures.zip(ids.chunks_exact_mut(pixels)) {
        if channels == 1 {
            let found = picture.iter().map(|&logit| u8::from(logit > 0.0));
            ids.iter_mut()
                .zip(found)
                .for_each(|(id, found)| *id = found);
            continue;
        }
        let mut most = picture[..pixels].to_vec();
        for (class, plane) in picture.chunks_exact(pixels).enumerate().skip(1) {
            for ((most, id), &logit) in most.iter_mut().zip(ids.iter_mut()).zip(plane) {
                if logit > *most {
                    (*most, *id) = (logit, class as u8);
                }
            }
        }
    }
    ids
}

/// Measures a network on all pictures of a loader. `reduction` says what is counted together for Dice. `loss` is asked for each batch's loss; `advance` hears of each
/// batch and says whether to go on.
///
/// # Errors
/// Pictures that cannot be read, or of ids that are no class; an input that does not fit the network.
pub fn measure(
    evaluator: &Evaluator,
    loader: &Loader,
    classes: usize,
    reduction: Reduction,
    mut loss: impl FnMut(&[f32], Shape, &Target) -> Result<Option<f64>, RunError>,
    mut advance: impl FnMut(usize) -> bool,
) -> Result<Option<Measured>, RunError> {
    let of_data = loader.dataset().classes().len();
    let counted = if classes == 1 { 2 } else { classes };
    let mut measured = Measured {
        confusion: Confusion::new(counted, Some(u32::from(VOID)))?,
        parts: Vec::new(),
        reduction,
        batch: 0,
        loss: None,
        strange: None,
        pictures: 0,
        binary: classes == 1,
        ignored: loader.dataset().meaning().ignored_words(),
    };
    let mut sum = None;
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
        measured.count(&truth, &ids, batch.height * batch.width)?;
        let target = target(truth, &batch, classes)?;
        if let Some(value) = loss(&result.data, result.shape, &target)? {
            if !value.is_finite() {
                measured.strange.get_or_insert_with(|| StrangeLoss {
                    value,
                    pictures: names(loader, &batch),
                });
            }
            *sum.get_or_insert(0.0) += value * batch.len() as f64;
        }
        measured.batch = measured.batch.max(batch.len());
        measured.pictures += batch.len();
        if !advance(batch.len()) {
            return Ok(None);
        }
    }
    measured.loss = sum
        .map(|sum: f64| sum / measured.pictures as f64)
        .filter(|_| measured.strange.is_none());
    Ok(Some(measured))
}

fn names(loader: &Loader, batch: &Batch) -> Vec<String> {
    let items = loader.dataset().items();
    let names = batch.items.iter().map(|&at| items[at].name().to_owned());
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against `tools/tutorials/unet_dice.py`: the tutorial's pixels and Dice, batch by batch.
    #[test]
    fn dice_of_batches_is_the_tutorials() {
        let (height, width) = (6, 8);
        let of_picture = |k: usize| -> (Vec<f32>, Vec<u8>) {
            let pixel = |i: usize| {
                let (x, y) = (i % width, i / width);
                let logit = (5 * x + 3 * y + 2 * k) % 7;
                let mask = u8::from((x + 2 * y + k) % 5 < 2);
                (logit as f32 - 3.5, mask)
            };
            // The last has nothing to find, and nothing is found there.
            let found = (0..height * width).map(|i| if k == 4 { (-1.0, 0) } else { pixel(i) });
            found.unzip()
        };
        let mut measured = Measured {
            confusion: Confusion::new(2, Some(u32::from(VOID))).unwrap(),
            parts: Vec::new(),
            reduction: Reduction::Batch,
            batch: 2,
            loss: None,
            strange: None,
            pictures: 5,
            binary: true,
            ignored: "no pixel ignored".into(),
        };
        for batch in [&[0, 1][..], &[2, 3], &[4]] {
            let (logits, truth): (Vec<_>, Vec<_>) = batch.iter().map(|&k| of_picture(k)).unzip();
            let (logits, truth) = (logits.concat(), truth.concat());
            let shape = Shape::new(batch.len(), 1, height, width);
            measured
                .count(&truth, &ids_of(&logits, shape), height * width)
                .unwrap();
        }
        let score = measured.score(ScoreName::Dice);
        assert!((score.value.unwrap() - 0.270_042).abs() < 1e-6, "{score}");
        assert_eq!(
            (measured.confusion.right(), measured.confusion.pixels()),
            (146, 240)
        );
        let protocol = score.protocol.to_string();
        assert!(
            protocol.contains("each batch of 2 images together"),
            "{protocol}"
        );
        assert!(
            protocol.contains("0 where there was nothing to divide"),
            "{protocol}"
        );
        // A part without a pixel of the class is left out where the parts are pictures.
        measured.reduction = Reduction::Images;
        let value = measured.score(ScoreName::Dice).value.unwrap();
        assert!(
            (value - f64::midpoint(0.430_380, 0.379_747)).abs() < 1e-6,
            "{value}"
        );
        measured.reduction = Reduction::Pixels;
        let all = measured.score(ScoreName::Dice).value.unwrap();
        assert!((all - 0.405_063).abs() < 1e-6, "{all}");
    }
}
