//! A network measured: what it says of every validation picture against the truth.

use rayon::prelude::*;
use segmenta_data::{Batch, Loader};
use segmenta_graph::Shape;
use segmenta_image::VOID;
use segmenta_metrics::{Confusion, Metric, Score};
use segmenta_runtime::Engine as Evaluator;

use super::RunError;
use super::config::ScoreName;
use crate::loss::Target;
use burn::tensor::Device;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Truth against prediction of every pixel that counts.
    pub confusion: Confusion,
    /// The mean loss of the pictures, if one was asked for.
    pub loss: Option<f64>,
    /// Pictures.
    pub pictures: usize,
    /// Whether one channel of logits told one class from the rest.
    pub binary: bool,
}

impl Measured {
    /// A score with how it was made. Where one class is told from the rest, its own Dice.
    pub fn score(&self, name: ScoreName) -> Score {
        let confusion = &self.confusion;
        match name {
            ScoreName::Miou => confusion.mean_iou(),
            ScoreName::Dice if self.binary => confusion.of_class(1, Metric::Dice),
            ScoreName::Dice => confusion.mean(Metric::Dice),
            ScoreName::PixelAccuracy => confusion.pixel_accuracy(),
            ScoreName::ClassAccuracy => confusion.class_accuracy(),
            ScoreName::FrequencyWeightedIou => confusion.frequency_weighted_iou(),
        }
    }
}

/// The ids that a network's logits say, picture by picture: the class of the largest logit, or for one channel
/// whether it is above 0. A NaN is class 0.
pub fn predictions(logits: &[f32], shape: Shape) -> Vec<u8> {
    let pixels = shape.pixels();
    let mut ids = vec![0; shape.batch * pixels];
    let pictures = ids
        .par_chunks_mut(pixels)
        .zip(logits.par_chunks(shape.channels * pixels));
    pictures.for_each(|(ids, logits)| {
        if shape.channels == 1 {
            for (id, &logit) in ids.iter_mut().zip(logits) {
                *id = u8::from(logit > 0.0);
            }
            return;
        }
        let mut best = logits[..pixels].to_vec();
        for (class, plane) in logits.chunks_exact(pixels).enumerate().skip(1) {
            for ((id, best), &logit) in ids.iter_mut().zip(&mut best).zip(plane) {
                if logit > *best {
                    (*id, *best) = (class as u8, logit);
                }
            }
        }
    });
    ids
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
    device: &Device,
) -> Result<Target, crate::loss::LossError> {
    let (n, h, w) = (batch.len(), batch.height, batch.width);
    if classes == 1 {
        Target::masks(truth, [n, 1, h, w], Some(VOID), device)
    } else {
        Target::labels(truth, [n, h, w], classes, Some(VOID), device)
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
        confusion.add(&truth, &predictions(&result.data, result.shape))?;
        let target = target(truth, &batch, classes, &Device::flex())?;
        if let Some(value) = loss(&result.data, result.shape, &target)? {
            *sum.get_or_insert(0.0) += value * batch.len() as f64;
        }
        pictures += batch.len();
        if !advance(batch.len()) {
            return Ok(None);
        }
    }
    Ok(Some(Measured {
        confusion,
        loss: sum.map(|sum: f64| sum / pictures as f64),
        pictures,
        binary: classes == 1,
    }))
}
