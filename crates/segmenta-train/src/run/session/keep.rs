//! The model file of a run: weights with what they were trained on and what they reached.

use std::collections::BTreeMap;

use segmenta_weights::{self as card, ModelCard};
use segmenta_zoo::find;

use super::Session;
use super::prepare::options;
use crate::engine::Parameters;
use crate::run::RunError;
use crate::run::config::ScoreName;
use crate::run::event::{Event, Observer};
use crate::run::measure::Measured;
use crate::run::origin::Origin;

impl Session {
    /// Writes `model.safetensors`.
    pub(super) fn keep(
        &self,
        parameters: &Parameters,
        measured: &Measured,
        epoch: u32,
        observer: &mut Observer<'_>,
    ) -> Result<(), RunError> {
        let metadata = self.card(Some(measured), epoch)?;
        let entries = parameters.entries().iter().enumerate();
        let values: Result<Vec<_>, _> = entries.map(|(at, _)| parameters.values(at)).collect();
        let values = values?;
        let all = parameters.entries().iter().zip(&values);
        let views: Vec<_> = all.map(|(e, v)| (&*e.name, &e.shape[..], &v[..])).collect();
        let file = self.folder.model();
        segmenta_weights::save(&file, &views, &metadata)?;
        observer.tell(Event::Model { epoch, file: &file });
        Ok(())
    }

    /// What a file of the run's weights says of itself: enough to predict with, and how they came about. A checkpoint
    /// has no scores of its own.
    pub(super) fn card(
        &self,
        measured: Option<&Measured>,
        epoch: u32,
    ) -> Result<BTreeMap<String, String>, RunError> {
        let scores = ScoreName::ALL.iter().filter_map(|&name| {
            let score = measured?.score(name).on("the run's validation list");
            Some((
                name.label(),
                serde_json::json!({
                    "value": score.value?, "protocol": score.protocol.to_string(),
                }),
            ))
        });
        let scores: BTreeMap<_, _> = scores.collect();
        let input = &self.config.input;
        let [mean, std] = input.normalisation();
        let card = ModelCard {
            format_version: card::CARD_VERSION,
            architecture: self.config.model.arch.clone(),
            encoder: find(&self.config.model.arch)?
                .has_encoder
                .then(|| self.config.model.encoder.clone())
                .flatten(),
            options: options(&self.config, self.classes)?.named(),
            // One name means binary: that class where the logit is positive.
            classes: self.names.names()[usize::from(self.classes == 1)..].to_vec(),
            palette: (self.classes > 1).then(|| {
                let color = |id| self.names.palette().color(id as u8);
                (0..self.names.len()).map(color).collect()
            }),
            in_channels: 3,
            preprocessing: card::Preprocessing {
                resize: match input.size {
                    Some([width, height]) => card::Resize::Exact { width, height },
                    None => card::Resize::None,
                },
                filter: card::Filter::default(),
                center_crop: None,
                mean: mean.to_vec(),
                std: std.to_vec(),
                pad: None,
                channel_order: input.channel_order.unwrap_or_default(),
                windows: false,
                middle: card::Middle::default(),
            },
            answer: None,
            int8: None,
            training: Some(serde_json::json!({
                "epoch": epoch, "steps": self.progress.steps, "scores": scores,
                "config": &self.config, "begun_from": &self.origins,
                "lists": {
                    "digest": self.lists.digest(),
                    "training": self.lists.training.len(), "validation": self.lists.validation.len(),
                },
            })),
            source: None,
            licence: Origin::licence(&self.origins),
        };
        card.to_metadata().map_err(|e| RunError::Checkpoint {
            problem: e.to_string(),
            path: self.folder.model().display().to_string(),
            remedy: "report it: this should not happen",
        })
    }
}
