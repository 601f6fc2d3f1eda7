//! Two models on the same pictures: which is better, class by class, and whether that is more than chance.
//!
//! Chance is what another draw of pictures would have brought: see `bootstrap`.

mod bootstrap;

use std::ops::ControlFlow;

use segmenta_data::Dataset;
use segmenta_image::{LabelMap, Picture, VOID};
use segmenta_metrics::{Confusion, Counts};
use serde::Serialize;

use crate::error::Error;
use crate::evaluate::{EvaluateError, EvaluateEvent, EvaluateOptions};
use crate::{Model, Segmentation};
use bootstrap::{Bootstrap, Sums, bootstrap};

pub use bootstrap::Difference;

/// A class's IoU by both.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClassDifference {
    /// Its name.
    pub name: String,
    /// Its pixels in the truth.
    pub pixels: u64,
    /// IoU.
    #[serde(flatten)]
    pub iou: Difference,
}

/// A picture by both.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PictureDifference {
    /// Its name in the data set.
    pub name: String,
    /// The first model's mIoU, of the classes that the picture has or that were found in it.
    pub a: Option<f64>,
    /// The second's.
    pub b: Option<f64>,
    /// Share of its pixels that both give the same class, 0 to 1.
    pub alike: f64,
}

/// What came of comparing two models. Serialised, it is the object that `segmenta compare --json` writes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Comparison {
    /// Pictures that were counted.
    pub pictures: usize,
    /// What they are, where it was said.
    pub measured_on: Option<String>,
    /// Mean IoU of the classes that occur.
    pub miou: Difference,
    /// Share of pixels that are right.
    pub pixel_accuracy: Difference,
    /// The classes, in the order of the first model's ids.
    pub classes: Vec<ClassDifference>,
    /// Share of pixels that both give the same class, 0 to 1.
    pub alike: f64,
    /// Milliseconds a picture took, without reading it: a mean for each model.
    pub milliseconds: [f64; 2],
    /// Draws of the bootstrap.
    pub draws: usize,
    /// Every picture, those that both see most differently first.
    pub differ: Vec<PictureDifference>,
}

/// A picture that both models segmented.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Compared<'a> {
    /// Its name in the data set.
    pub name: &'a str,
    /// The picture.
    pub picture: &'a Picture,
    /// Its truth, by the first model's ids.
    pub truth: &'a LabelMap,
    /// What each says, by the first model's ids.
    pub found: [&'a LabelMap; 2],
    /// The first's segmentation, for its colours.
    pub segmentation: &'a Segmentation,
    /// Share of the pixels that both give the same class.
    pub alike: f64,
}

/// What was counted of a picture.
struct Counted {
    name: String,
    of: Sums,
    miou: [Option<f64>; 2],
    alike: [u64; 2],
}

impl Model {
    /// Measures this model and another on the same pictures. `observe` hears of each picture once both have segmented it, and
    /// may end the work.
    ///
    /// # Errors
    /// As [`Model::evaluate`]; [`Error::Setting`] inside [`EvaluateError::Model`] where the models' classes are not the same.
    pub fn compare(
        &self,
        other: &Self,
        dataset: &Dataset,
        options: &EvaluateOptions,
        observe: &mut dyn FnMut(Compared<'_>) -> ControlFlow<()>,
    ) -> Result<Comparison, EvaluateError> {
        let names: Vec<String> = self
            .description()
            .class_names()
            .into_iter()
            .map(Into::into)
            .collect();
        let failed = |picture: &str, error: Error| EvaluateError::Model {
            picture: picture.to_owned(),
            error: Box::new(error),
        };
        let ids = same_classes(&names, other)
            .map_err(|problem| failed(&other.description().source, Error::Setting(problem)))?;
        let mut counted: Vec<Counted> = Vec::with_capacity(dataset.len());
        let mut milliseconds = [0.0; 2];
        let mut problem = None;
        let measured = self.evaluate(dataset, options, &mut |event| {
            let EvaluateEvent::Compared {
                name,
                picture,
                truth,
                found,
                ..
            } = event
            else {
                return ControlFlow::Continue(());
            };
            let mut step = || -> Result<ControlFlow<()>, EvaluateError> {
                let second = other.segment_with(picture, &options.segment);
                let second = second.map_err(|error| failed(name, error))?;
                for (sum, of) in milliseconds.iter_mut().zip([found, &second]) {
                    let stages = of.stages();
                    *sum += stages.prepare_ms + stages.network_ms + stages.labels_ms;
                }
                let mut labels = second.labels().clone();
                for id in labels.ids_mut() {
                    *id = ids[usize::from(*id)];
                }
                let mut truth = truth.clone();
                let own = count(name, &names, &mut truth, found.labels(), &labels)?;
                let alike = own.alike[0] as f64 / own.alike[1].max(1) as f64;
                counted.push(own);
                Ok(observe(Compared {
                    name,
                    picture,
                    truth: &truth,
                    found: [found.labels(), &labels],
                    segmentation: found,
                    alike,
                }))
            };
            step().unwrap_or_else(|error| {
                problem = Some(error);
                ControlFlow::Break(())
            })
        });
        if let Some(problem) = problem {
            return Err(problem);
        }
        let measured_on = measured?.measured_on;
        Ok(comparison(counted, names, milliseconds, measured_on))
    }
}

/// For each id of the other model the first one's: by name, or where neither has other names, by place.
fn same_classes(names: &[String], other: &Model) -> Result<[u8; 256], String> {
    let others = other.description().class_names();
    let missing = |of: &[&str], from: &[&str]| -> Vec<String> {
        of.iter()
            .filter(|name| !from.contains(name))
            .map(|name| format!("“{name}”"))
            .collect()
    };
    let own: Vec<&str> = names.iter().map(String::as_str).collect();
    let (lost, new) = (missing(&own, &others), missing(&others, &own));
    if own.len() != others.len() || !lost.is_empty() {
        let some = |names: Vec<String>| match names.len() {
            0 => "none".to_owned(),
            1..=4 => names.join(", "),
            n => format!("{}, … ({n})", names[..4].join(", ")),
        };
        return Err(format!(
            "the models have other classes: {} and {} of them; the first alone {}, the second alone {} · give two models of the \
             same classes",
            own.len(),
            others.len(),
            some(lost),
            some(new)
        ));
    }
    let mut ids = [VOID; 256];
    for (id, name) in others.iter().enumerate() {
        if let Some(at) = own.iter().position(|own| own == name) {
            ids[id] = at as u8;
        }
    }
    Ok(ids)
}

/// Counts a picture; what one of them did not look at counts for neither, and is taken out of the truth.
fn count(
    name: &str,
    names: &[String],
    truth: &mut LabelMap,
    first: &LabelMap,
    second: &LabelMap,
) -> Result<Counted, EvaluateError> {
    let mut alike = [0, 0];
    let both = first.ids().iter().zip(second.ids());
    for (label, (&first, &second)) in truth.ids_mut().iter_mut().zip(both) {
        if first == VOID || second == VOID {
            *label = VOID;
            continue;
        }
        alike[0] += u64::from(first == second);
        alike[1] += 1;
    }
    let confusion = |found: &LabelMap| {
        let mut own = Confusion::new(names.len(), Some(u32::from(VOID)))?;
        own.add(truth.ids(), found.ids())?;
        Ok(own)
    };
    let metric = |error| EvaluateError::Metric {
        picture: name.to_owned(),
        error,
    };
    let [first, second] = [
        confusion(first).map_err(metric)?,
        confusion(second).map_err(metric)?,
    ];
    let counts = |own: &Confusion| (0..names.len()).map(|class| own.counts(class)).collect();
    Ok(Counted {
        name: name.to_owned(),
        of: [counts(&first), counts(&second)],
        miou: [first.mean_iou().value, second.mean_iou().value],
        alike,
    })
}

fn comparison(
    counted: Vec<Counted>,
    names: Vec<String>,
    milliseconds: [f64; 2],
    measured_on: Option<String>,
) -> Comparison {
    let of_pictures: Vec<&Sums> = counted.iter().map(|counted| &counted.of).collect();
    let Bootstrap {
        draws,
        all,
        mut differences,
    } = bootstrap(&of_pictures, names.len());
    let pictures = counted.len();
    let classes = differences.split_off(2);
    let truth = |counts: Counts| counts.true_positives + counts.false_negatives;
    let classes = names
        .into_iter()
        .zip(classes)
        .zip(&all[0])
        .map(|((name, iou), &counts)| ClassDifference {
            name,
            pixels: truth(counts),
            iou,
        });
    let classes = classes.collect();
    let pixel_accuracy = differences.remove(1);
    let (same, of) = counted.iter().fold((0, 0), |(same, of), one| {
        (same + one.alike[0], of + one.alike[1])
    });
    let mut differ: Vec<PictureDifference> = counted
        .into_iter()
        .map(|one| PictureDifference {
            alike: one.alike[0] as f64 / one.alike[1].max(1) as f64,
            name: one.name,
            a: one.miou[0],
            b: one.miou[1],
        })
        .collect();
    differ.sort_by(|one, other| one.alike.total_cmp(&other.alike));
    Comparison {
        pictures,
        measured_on,
        miou: differences.remove(0),
        pixel_accuracy,
        classes,
        alike: same as f64 / u64::max(of, 1) as f64,
        milliseconds: milliseconds.map(|sum| sum / pictures.max(1) as f64),
        draws,
        differ,
    }
}

#[cfg(test)]
mod tests {
    use super::bootstrap::{DRAWS, add, scores};
    use super::*;

    fn map(ids: &[u8]) -> LabelMap {
        LabelMap::new(ids.len(), 1, ids.to_vec()).unwrap()
    }

    fn names() -> Vec<String> {
        vec!["ground".into(), "thing".into()]
    }

    /// Five pictures, all 3125 draws of five by hand: the bootstrap's interval and share are theirs.
    #[test]
    fn draws_are_those_of_all_draws() {
        let truth = [0, 0, 1, 1];
        let found = [
            [[0, 0, 1, 1], [0, 0, 0, 1]],
            [[0, 1, 1, 1], [0, 0, 1, 1]],
            [[0, 0, 1, 0], [1, 0, 1, 1]],
            [[0, 0, 1, 1], [0, 0, 1, 1]],
            [[1, 0, 1, 1], [0, 0, 1, 1]],
        ];
        let counted = || -> Vec<Counted> {
            let pictures = found.iter().enumerate();
            pictures
                .map(|(i, [a, b])| {
                    count(&i.to_string(), &names(), &mut map(&truth), &map(a), &map(b)).unwrap()
                })
                .collect()
        };
        let pictures = counted();
        let mut all = Vec::new();
        for draw in 0..3125 {
            let mut sums: Sums = [(); 2].map(|()| vec![Counts::default(); 2]);
            for picture in [1, 5, 25, 125, 625].map(|power| draw / power % 5) {
                add(&mut sums, &pictures[picture].of);
            }
            let [a, b] = [&sums[0], &sums[1]].map(|sums| scores(sums)[0].unwrap());
            all.push(b - a);
        }
        let below_zero = all.iter().filter(|&&value| value <= 0.0).count() as f64 / 3125.0;
        let above_zero = all.iter().filter(|&&value| value >= 0.0).count() as f64 / 3125.0;
        let expected = (2.0 * below_zero.min(above_zero)).min(1.0);
        let told = comparison(counted(), names(), [5.0, 10.0], None);
        assert_eq!(told.draws, DRAWS);
        assert!(
            (told.miou.p.unwrap() - expected).abs() < 0.03,
            "{told:?} {expected}"
        );
        all.sort_by(f64::total_cmp);
        let [low, high] = told.miou.interval.unwrap();
        assert!(all.iter().any(|value| (value - low).abs() < 1e-12) && low <= all[110]);
        assert!(all.iter().any(|value| (value - high).abs() < 1e-12) && high >= all[3014]);
        assert_eq!(told.milliseconds, [1.0, 2.0]);
        assert_eq!(told.pixel_accuracy.a, Some(17.0 / 20.0));
        assert_eq!(told.classes[1].pixels, 10);
        // Fewer pictures say nothing of chance.
        let few = comparison(
            counted().into_iter().take(4).collect(),
            names(),
            [0.0; 2],
            None,
        );
        assert_eq!((few.miou.interval, few.classes[1].iou.p), (None, None));
        assert!(told.differ[0].alike <= told.differ[1].alike);
        // The same again.
        assert_eq!(comparison(counted(), names(), [5.0, 10.0], None), told);
    }

    #[test]
    fn a_model_is_no_better_than_itself_and_a_better_one_is() {
        let truth: Vec<u8> = (0..64).map(|i| u8::from(i % 3 == 0)).collect();
        let wrong = |every: usize, from: usize| -> Vec<u8> {
            let ids = truth.iter().enumerate();
            ids.map(|(i, &id)| {
                if (i + from).is_multiple_of(every) {
                    1 - id
                } else {
                    id
                }
            })
            .collect()
        };
        let pictures = |a: usize, b: usize| -> Vec<Counted> {
            (0..20)
                .map(|i| {
                    count(
                        "x",
                        &names(),
                        &mut map(&truth),
                        &map(&wrong(a, i)),
                        &map(&wrong(b, i)),
                    )
                    .unwrap()
                })
                .collect()
        };
        let same = comparison(pictures(5, 5), names(), [0.0; 2], None);
        assert_eq!((same.miou.difference, same.miou.p), (Some(0.0), Some(1.0)));
        assert!(!same.miou.is_more_than_chance());
        assert_eq!(same.alike, 1.0);
        let better = comparison(pictures(4, 9), names(), [0.0; 2], None);
        assert!(better.miou.difference.unwrap() > 0.0 && better.miou.is_more_than_chance());
        assert!(better.miou.p.unwrap() <= 2.0 / DRAWS as f64);
    }

    /// What one of them did not look at counts for neither.
    #[test]
    fn void_of_one_is_void_for_both() {
        let mut truth = map(&[0, 0, 1, 1]);
        let one = count(
            "x",
            &names(),
            &mut truth,
            &map(&[255, 0, 1, 1]),
            &map(&[1, 0, 1, 255]),
        )
        .unwrap();
        assert_eq!(truth.ids(), [255, 0, 1, 255]);
        assert_eq!(one.alike, [2, 2]);
        assert_eq!(one.miou, [Some(1.0), Some(1.0)]);
    }
}
