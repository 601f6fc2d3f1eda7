//! The network that is brought into 8 bits: its parameters, engines of it, and what is saved of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use segmenta_graph::{Graph, Node, Parameter};
use segmenta_quantize::{Equalised, Observations, Parameters, equalise};
use segmenta_runtime::{Engine, EngineOptions, Precision};
use segmenta_weights::{CARD_VERSION_INT8, CardInt8, ModelCard, Numbers, Progress, Taken};

use super::report::QuantizeReport;
use super::trial::{Bench, Trial};
use super::{QuantizeError, QuantizeOptions};
use crate::describe::Description;
use crate::error::Error;
use crate::model::{Model, ModelOptions, Weights, engine_options, result_of};
use crate::resolve::{Resolved, resolve};

/// Pictures from which channels' sizes are known well enough to even them out.
const EQUALISED_ON: usize = 16;

#[derive(Debug)]
pub(super) struct Work {
    graph: Graph,
    description: Description,
    card: ModelCard,
    result: String,
    run: EngineOptions,
    /// As the file has them.
    original: Parameters,
    /// With channels evened out.
    parameters: Parameters,
    /// Which parameters the file has.
    there: Vec<bool>,
}

/// A tensor to be saved.
pub(super) struct Tensor<'w> {
    pub(super) name: &'w str,
    pub(super) shape: &'w [usize],
    values: &'w [f32],
    int8: Option<&'w (Vec<i8>, Vec<f32>)>,
}

impl Tensor<'_> {
    pub(super) fn numbers(&self) -> Numbers<'_> {
        match self.int8 {
            Some((numbers, scales)) => Numbers::Int8(numbers, scales),
            None => Numbers::F32(self.values),
        }
    }
}

impl Work {
    /// Reads a model's weights.
    pub(super) fn open(
        options: &ModelOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, QuantizeError> {
        let Weights {
            dict,
            card,
            row,
            source,
            options,
            ..
        } = Weights::of(options, progress)?;
        let Resolved {
            mut description,
            graph,
            found,
        } = resolve(&dict, card.clone(), row, &source, &options)?;
        let result = result_of(&graph, &options);
        if card.as_ref().is_some_and(|card| card.int8.is_some()) {
            return Err(QuantizeError::Already(source));
        }
        description.set_answer(&graph, &result, card.as_ref(), options.threshold)?;
        // Entries that no result needs, as those of an encoder's deeper stages, are left out.
        let results: Vec<Node> = graph.outputs().iter().map(|output| output.node).collect();
        let needed = graph.needed_for(&results);
        let needed = graph.iter().filter(|(node, _)| needed[node.index()]);
        let used = needed.flat_map(|(_, data)| &data.parameters);
        let mut there = Vec::new();
        let mut values = Vec::new();
        let used: BTreeSet<usize> = used.map(|id| id.index()).collect();
        for (at, parameter) in graph.parameters().iter().enumerate() {
            let is_there = used.contains(&at) && found.weights.get(&parameter.name).is_some();
            there.push(is_there);
            values.push(if is_there {
                found
                    .weights
                    .read_f32(&parameter.name)
                    .map_err(Error::from)?
            } else {
                Vec::new()
            });
        }
        Ok(Self {
            card: card.unwrap_or_else(|| ModelCard {
                // What it is called, not where it lay.
                source: Path::new(&source)
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned()),
                ..description.card()
            }),
            graph,
            description,
            result,
            run: engine_options(&options),
            original: Parameters::new(values.clone()),
            parameters: Parameters::new(values),
            there,
        })
    }

    pub(super) fn graph(&self) -> &Graph {
        &self.graph
    }

    pub(super) fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    pub(super) fn source(&self) -> &str {
        &self.description.source
    }

    /// Evens channels out, by what the first pictures show.
    pub(super) fn equalise(
        &mut self,
        bench: &mut Bench<'_>,
        how: &QuantizeOptions,
    ) -> Result<Equalised, QuantizeError> {
        // Whether there is anything to even out is seen on a copy, with nothing seen.
        let mut copy = self.parameters.clone();
        let nothing = Observations::new(&self.graph);
        let possible = equalise(&self.graph, &mut copy, &nothing);
        if !how.equalise || possible.candidates == 0 {
            return Ok(possible);
        }
        let seen = self.observe(bench, how.pictures.min(EQUALISED_ON), "channels")?;
        Ok(equalise(&self.graph, &mut self.parameters, &seen))
    }

    /// Has channels as they were before they were evened out.
    pub(super) fn undo(&mut self) {
        self.parameters = self.original.clone();
    }

    /// Has these parameters.
    pub(super) fn redo(&mut self, parameters: &Parameters) {
        self.parameters = parameters.clone();
    }

    /// What the network's values are, on some pictures.
    pub(super) fn observe(
        &self,
        bench: &mut Bench<'_>,
        pictures: usize,
        what: &str,
    ) -> Result<Observations, QuantizeError> {
        let model = self.model(&self.parameters, &self.watching())?;
        let mut seen = Observations::new(&self.graph);
        bench.each(pictures, what, &mut |picture| {
            let prepared = model.prepare(picture, &crate::SegmentOptions::default());
            model.watch(prepared, |node, shape, values| {
                seen.add(node, shape, values);
            })
        })?;
        Ok(seen)
    }

    /// How it is run in f32, with the values that int8 will store.
    pub(super) fn watching(&self) -> EngineOptions {
        EngineOptions {
            precision: Precision::Int8,
            int8: None,
            ..self.run.clone()
        }
    }

    /// How it is run in 8 bits; `everywhere` also in layers that this processor computes faster in f32.
    pub(super) fn in_int8(&self, trial: &Trial, everywhere: bool) -> EngineOptions {
        EngineOptions {
            precision: Precision::Int8,
            int8: Some(Arc::new(trial.int8.clone())),
            low_everywhere: everywhere,
            ..self.run.clone()
        }
    }

    pub(super) fn int8_model(&self, trial: &Trial, everywhere: bool) -> Result<Model, Error> {
        self.model(&trial.parameters, &self.in_int8(trial, everywhere))
    }

    pub(super) fn f32_model(&self) -> Result<Model, Error> {
        let run = EngineOptions {
            precision: Precision::F32,
            ..self.run.clone()
        };
        self.model(&self.parameters, &run)
    }

    pub(super) fn engine(
        &self,
        parameters: &Parameters,
        run: &EngineOptions,
    ) -> Result<Engine, Error> {
        let at: BTreeMap<&str, usize> = self
            .graph
            .parameters()
            .iter()
            .enumerate()
            .map(|(at, parameter)| (&*parameter.name, at))
            .collect();
        Engine::new(self.graph.clone(), run, |parameter: &Parameter| {
            Ok(parameters.values()[at[&*parameter.name]].clone())
        })
        .map_err(|error: Error| error.of_weights_in(self.source()))
    }

    fn model(&self, parameters: &Parameters, run: &EngineOptions) -> Result<Model, Error> {
        Ok(Model {
            engine: self.engine(parameters, run)?,
            description: self.description.clone(),
            result: self.result.clone(),
            taken: Taken::default(),
            notes: Vec::new(),
        })
    }

    /// The card of the model in 8 bits.
    pub(super) fn card(&self, trial: &Trial, report: &QuantizeReport) -> ModelCard {
        let calibration = serde_json::json!({
            "ranges": report.ranges, "pictures": report.pictures, "score": report.score, "f32": report.f32,
            "int8": report.int8, "agreement": report.agreement, "equalised": report.equalised,
        });
        ModelCard {
            format_version: CARD_VERSION_INT8,
            int8: Some(CardInt8 {
                ranges: trial.int8.ranges.clone(),
                full: trial.int8.full.iter().cloned().collect(),
                calibration: Some(calibration),
            }),
            ..self.card.clone()
        }
    }

    /// The tensors of the model in 8 bits.
    pub(super) fn tensors<'w>(&'w self, trial: &'w Trial) -> Vec<Tensor<'w>> {
        let entries = self.graph.parameters().iter().enumerate();
        let entries = entries.filter(|(at, _)| self.there[*at]);
        let tensor = |(at, parameter): (usize, &'w Parameter)| Tensor {
            name: &parameter.name,
            shape: &parameter.shape,
            values: &trial.parameters.values()[at],
            int8: trial.rounded.get(&at),
        };
        entries.map(tensor).collect()
    }
}
