//! The network measured after an epoch, and the best kept.

use std::sync::atomic::Ordering;

use segmenta_graph::Shape;
use segmenta_runtime::EngineOptions as EvaluatorOptions;

use super::Session;
use crate::engine::{Parameters, evaluator};
use crate::run::RunError;
use crate::run::config::Per;
use crate::run::event::{Event, Observer};
use crate::run::finite::{check_parameters, first_in_evaluation};
use crate::run::measure::measure;

impl Session {
    /// The parameters that are measured and kept.
    fn measured_parameters(&self) -> Parameters {
        let now = self.engine.parameters();
        match &self.ema {
            Some(ema) => now.averaged(ema),
            None => now.clone(),
        }
    }

    /// Measures the network, records the epoch, and keeps the weights if they are the best; its score. `None` if it
    /// was told to stop meanwhile.
    #[expect(
        clippy::option_option,
        reason = "told to stop, and nothing to measure, are two things"
    )]
    pub(super) fn measure_epoch(
        &mut self,
        number: u32,
        observer: &mut Observer<'_>,
    ) -> Result<Option<Option<f64>>, RunError> {
        let parameters = self.measured_parameters();
        check_parameters(
            &parameters,
            &format!("after step {}", self.progress.steps),
            "what was kept before stays; begin anew and learn more slowly (optimizer.lr), or limit gradients (train.clip.norm=1)",
        )?;
        let options = EvaluatorOptions {
            threads: self.engine.threads().count(),
            ..EvaluatorOptions::default()
        };
        let network = evaluator(&self.graph, &parameters, &options)?;
        let (engine, loss, stop) = (&self.engine, &self.loss, &self.settings.stop);
        let of_batch = |logits: &[f32], shape: Shape, target: &crate::loss::Target| {
            let extents = [shape.batch, shape.channels, shape.height, shape.width];
            let isa = engine.isa();
            let work = || loss.value_and_gradient(isa, logits, extents, target, 1.0);
            let (value, _) = engine.threads().run(work)?;
            Ok(Some(f64::from(value)))
        };
        let goes_on = |pictures| {
            observer.tell(Event::Measured { pictures });
            !observer.asked_to_end() && !stop.load(Ordering::Relaxed)
        };
        let reduction = self.config.train.reduction;
        let measured = measure(
            &network,
            &self.validation,
            self.classes,
            reduction,
            of_batch,
            goes_on,
        );
        let measured = match measured {
            Err(RunError::Logits { value, pictures }) => {
                return Err(self.strange_logits(&parameters, value, &pictures));
            }
            measured => measured?,
        };
        let Some(measured) = measured else {
            return Ok(None);
        };
        let score = self.note(number, &measured, observer)?;
        self.preview(&network, number, observer)?;
        let better = match (score, self.progress.best) {
            (Some(score), Some(best)) => score > best,
            (score, None) => score.is_some(),
            (None, _) => false,
        };
        if number == 0 {
            return Ok(Some(score));
        }
        if better {
            (self.progress.best, self.progress.since_best) = (score, 0);
            self.keep(&parameters, &measured, number, observer)?;
        } else {
            self.progress.since_best += 1;
            if !self.folder.model().exists() {
                self.keep(&parameters, &measured, number, observer)?;
            }
        }
        Ok(Some(score))
    }

    /// What is wrong with logits that are no numbers: the first layer that made some, in words.
    fn strange_logits(&self, parameters: &Parameters, value: f32, pictures: &[usize]) -> RunError {
        let dataset = self.validation.dataset();
        let of_batch = |batch: &segmenta_data::Batch| batch.items == pictures;
        let batches = self.validation.epoch(0, 0).into_iter().flatten().flatten();
        let place = { batches }.find(of_batch).and_then(|batch| {
            let shape = Shape::new(batch.len(), 3, batch.height, batch.width);
            first_in_evaluation(&self.graph, parameters, &batch.pictures, shape)
        });
        let names: Vec<&str> = pictures
            .iter()
            .filter_map(|&at| dataset.items().get(at))
            .map(segmenta_data::Item::name)
            .collect();
        RunError::NotFinite {
            what: format!("the logits of validation picture {}", names.join(", ")),
            value,
            place,
            step: self.progress.steps,
            epoch: self.progress.epochs,
        }
    }

    pub(super) fn learning_rate(&self) -> f64 {
        let base = self.config.optimizer.algorithm.lr();
        let count = match self.config.schedule.as_ref().map(|schedule| schedule.per) {
            Some(Per::Epoch) => u64::from(self.progress.epochs),
            _ => self.progress.steps.saturating_sub(1),
        };
        self.schedule
            .as_ref()
            .map_or(base, |schedule| schedule.lr(count))
    }
}
