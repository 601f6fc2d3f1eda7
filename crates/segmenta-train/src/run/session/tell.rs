//! What a run leaves to read and to look at: lines, previews, the page.

use segmenta_files::count;
use std::path::PathBuf;

use segmenta_data::Batch;
use segmenta_data::augment::Draw as Chance;
use segmenta_graph::Shape;
use segmenta_image::{LabelMap, Preprocess, Resize};
use segmenta_report::{Epoch, Example, Facts, Summary};
use segmenta_runtime::Engine as Evaluator;

use super::{Ended, Session};
use crate::engine::DeviceSpec;
use crate::run::RunError;
use crate::run::checkpoint::Progress;
use crate::run::config::{Reduction, ScoreName};
use crate::run::event::{EpochDone, Event, Note, Observer};
use crate::run::measure::{Measured, predictions, truth};

impl Session {
    /// Records what was measured; the score that tells the best epoch.
    pub(super) fn note(
        &mut self,
        number: u32,
        measured: &Measured,
        observer: &mut Observer<'_>,
    ) -> Result<Option<f64>, RunError> {
        if let Some(strange) = measured.strange.clone() {
            let note = Note::Loss {
                epoch: number,
                strange,
            };
            self.log.line(&note.to_string())?;
            observer.tell(Event::Note(&note));
        }
        let scores = ScoreName::ALL.map(|name| measured.score(name).value);
        let Progress {
            loss,
            pictures,
            seconds,
            steps,
            ..
        } = self.progress;
        let trained = number > 0 && pictures > 0;
        let epoch = Epoch {
            epoch: number,
            step: steps,
            learning_rate: trained.then(|| self.learning_rate()),
            train_loss: trained.then(|| loss / pictures as f64),
            validation_loss: measured.loss,
            scores: scores.to_vec(),
            train_score: self.train_score().filter(|_| trained),
            pictures_per_second: trained.then(|| pictures as f64 / seconds[0].max(1e-9)),
            waiting: trained.then(|| seconds[1] / seconds[0].max(1e-9)),
        };
        let by = self.config.train.score;
        let score = measured.score(by).value;
        let is_best = self
            .record
            .epoch(epoch.clone(), Some(&measured.confusion))?;
        let best_by = ScoreName::ALL.iter().position(|name| *name == by);
        let names = ScoreName::ALL.map(ScoreName::label).to_vec();
        let done = EpochDone {
            right: measured.confusion.right(),
            pixels: measured.confusion.pixels(),
            ..EpochDone::new(epoch, names, best_by.unwrap_or(0), is_best)
        };
        self.log
            .line(&format!("epoch {number} · {}", done.summary()))?;
        observer.tell(Event::Epoch(&done));
        Ok(score)
    }

    /// The score that tells the best epoch, of the batches that were learned from.
    fn train_score(&self) -> Option<f64> {
        let confusion = self.trained.clone()?;
        let counted = Measured {
            confusion,
            parts: Vec::new(),
            reduction: Reduction::Pixels,
            batch: 0,
            loss: None,
            strange: None,
            pictures: 0,
            binary: self.classes == 1,
            ignored: String::new(),
        };
        counted.score(self.config.train.score).value
    }

    /// Draws what the network says of some validation pictures.
    pub(super) fn preview(
        &mut self,
        network: &Evaluator,
        number: u32,
        observer: &mut Observer<'_>,
    ) -> Result<(), RunError> {
        let dataset = self.validation.dataset();
        let count = self.config.train.previews.min(dataset.len());
        let [mean, std] = self.config.input.normalisation();
        let normalise = Preprocess {
            pixels: self.config.input.pixels(),
            resize: Resize::None,
            center_crop: None,
            mean,
            std,
            pad: None,
        };
        let mut examples = Vec::new();
        for index in (0..count).map(|i| i * dataset.len() / count) {
            let chance = Chance {
                seed: 0,
                epoch: 0,
                item: index,
            };
            let sample = self.whole.apply(dataset.sample(index)?, chance);
            let (width, height) = sample.size();
            let input = normalise.apply(sample.picture()).tensor;
            let shape = Shape::new(1, 3, height, width);
            let result = network.forward(&input, shape)?.remove(0);
            let ids = predictions(network, &result, [height, width])?;
            let of_data = dataset.classes().len();
            let name = dataset.items()[index].name().to_string();
            let (picture, labels) = sample.into_parts();
            let batch = Batch {
                pictures: Vec::new(),
                labels: labels.into_ids(),
                width,
                height,
                items: vec![index],
            };
            examples.push(Example {
                name,
                picture,
                truth: LabelMap::new(width, height, truth(&batch, self.classes, of_data))?,
                prediction: LabelMap::new(width, height, ids)?,
            });
        }
        if let Some(file) = self.record.preview(&examples)? {
            observer.tell(Event::Preview {
                epoch: number,
                file: &file,
            });
        }
        Ok(())
    }

    pub(super) fn report(&mut self, ended: Ended) -> Result<PathBuf, RunError> {
        let Progress { epochs, .. } = self.progress;
        let ended = match ended {
            Ended::Done => format!("Done: {}.", count(epochs, "epoch")),
            Ended::Early => format!(
                "Ended early after {}: no better score in the last {}.",
                count(epochs, "epoch"),
                self.progress.since_best
            ),
            Ended::Stopped | Ended::Steps => format!(
                "Stopped after {epochs} of {}; resumed, the run goes on from there.",
                count(self.config.train.epochs, "epoch")
            ),
        };
        let dataset = self.train.dataset();
        let [train, validation] = self.pictures();
        let encoder = self
            .config
            .model
            .encoder
            .clone()
            .unwrap_or_else(|| "none".into());
        let facts = vec![
            Facts::new(
                "Data",
                [
                    ("layout", dataset.kind().to_string()),
                    ("folder", dataset.root().display().to_string()),
                    ("training pictures", train.to_string()),
                    ("validation pictures", validation.to_string()),
                    ("classes", self.names.names().join(", ")),
                ],
            ),
            Facts::new(
                "Network",
                [
                    ("architecture", self.config.model.arch.clone()),
                    ("encoder", encoder),
                    ("parameters", self.graph.trainable_count().to_string()),
                ],
            ),
            Facts::environment(
                &match self.settings.device {
                    DeviceSpec::Cpu => format!("the processor ({})", self.engine.isa()),
                    other => other.to_string(),
                },
                self.engine.threads().count(),
            ),
        ];
        let summary = Summary {
            ended,
            headlines: Vec::new(),
            facts,
        };
        Ok(self.record.report(&summary)?)
    }
}
