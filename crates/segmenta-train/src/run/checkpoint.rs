//! `last.safetensors`: all that a run needs to go on as if it had not stopped.
//!
//! Parameters lie under their state-dict names, the optimiser's state under `optimizer/`, averaged weights under
//! `ema/`; where the run is stands in the metadata as JSON. Written beside and renamed, so that it is whole or the
//! one before.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use segmenta_weights::{StateDict, save};
use serde::{Deserialize, Serialize};

use super::RunError;
use crate::engine::Parameters;
use crate::optim::{Ema, Optimizer};
use crate::schedule::{PlateauState, Schedule};

/// The metadata key.
const KEY: &str = "segmenta.run";
const OPTIMIZER: &str = "optimizer/";
const EMA: &str = "ema/";

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Epochs that are done.
    pub(super) epochs: u32,
    /// Batches of the next one that are done.
    pub(super) batches: usize,
    /// Steps of the optimiser.
    pub(super) steps: u64,
    /// Forward passes in training.
    pub(super) passes: u64,
    /// The sum of the losses of the batches that are done, each times its pictures.
    pub(super) loss: f64,
    /// Their pictures.
    pub(super) pictures: u64,
    /// Seconds that they took, and of these, seconds in which the network waited for them.
    pub(super) seconds: [f64; 2],
    /// The best score so far.
    pub(super) best: Option<f64>,
    /// Epochs since then.
    pub(super) since_best: u32,
    /// What a plateau has seen.
    pub(super) plateau: Option<PlateauState>,
    /// How often weights were averaged.
    pub(super) averaged: u64,
}

impl Progress {
    /// Where the run of a checkpoint is.
    pub(super) fn read(path: &Path) -> Result<Self, RunError> {
        Self::of(&StateDict::open(path)?, path)
    }

    fn of(dict: &StateDict, path: &Path) -> Result<Self, RunError> {
        let json = dict.metadata().get(KEY);
        let json = json.ok_or_else(|| wrong("no checkpoint of a run".into(), path))?;
        let other = |e| wrong(format!("a checkpoint of another version ({e})"), path);
        serde_json::from_str(json).map_err(other)
    }
}

fn wrong(problem: String, path: &Path) -> RunError {
    RunError::Checkpoint {
        problem,
        path: path.display().to_string(),
        remedy: "begin anew with --overwrite",
    }
}

/// What is saved and restored.
pub(super) struct Kept<'a> {
    pub(super) parameters: &'a mut Parameters,
    pub(super) optimizer: &'a mut Optimizer,
    pub(super) schedule: Option<&'a mut Schedule>,
    pub(super) ema: Option<&'a mut Ema>,
    /// Where their tensors are.
    pub(super) device: &'a Device,
}

fn values(tensor: &Tensor<1>) -> Result<Vec<f32>, RunError> {
    let values = tensor.clone().try_into_vec_as::<f32>();
    values.map_err(|e| crate::engine::EngineError::Device(e.to_string()).into())
}

impl Kept<'_> {
    /// Writes the checkpoint.
    pub(super) fn save(&self, path: &Path, mut progress: Progress) -> Result<(), RunError> {
        progress.plateau = self.schedule.as_ref().and_then(|schedule| schedule.state());
        progress.averaged = self.ema.as_ref().map_or(0, |ema| ema.updates());
        let mut all: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
        for (at, entry) in self.parameters.entries().iter().enumerate() {
            let of = self.parameters.values(at)?;
            all.push((entry.name.clone(), entry.shape.clone(), of));
        }
        for (name, tensor) in self.optimizer.state() {
            let of = values(&tensor)?;
            all.push((format!("{OPTIMIZER}{name}"), vec![of.len()], of));
        }
        if let Some(ema) = &self.ema {
            for (name, tensor) in ema.averages() {
                let of = values(tensor)?;
                all.push((format!("{EMA}{name}"), vec![of.len()], of));
            }
        }
        let views: Vec<_> = all.iter().map(|(n, s, v)| (&**n, &s[..], &v[..])).collect();
        let json = serde_json::to_string(&progress).unwrap_or_default();
        save(path, &views, &BTreeMap::from([(KEY.to_string(), json)]))?;
        Ok(())
    }

    /// Takes up what was saved.
    pub(super) fn restore(&mut self, path: &Path) -> Result<Progress, RunError> {
        let wrong = |problem| wrong(problem, path);
        let dict = StateDict::open(path)?;
        let progress = Progress::of(&dict, path)?;
        for at in 0..self.parameters.entries().len() {
            let entry = &self.parameters.entries()[at];
            let found = dict.get(&entry.name).map(|info| &info.shape);
            if found != Some(&entry.shape) {
                return Err(wrong(format!("`{}` is of another network", entry.name)));
            }
            let of = dict.read_f32(&entry.name)?;
            self.parameters.set(at, of);
        }
        let device = self.device;
        let under = |prefix: &str| -> Result<Vec<(String, Tensor<1>)>, RunError> {
            let names = dict
                .names()
                .filter_map(|name| Some((name, name.strip_prefix(prefix)?)));
            let tensor = |(full, name): (&str, &str)| {
                let of = dict.read_f32(full)?;
                let len = of.len();
                let tensor = Tensor::from_data(TensorData::new(of, [len]), device);
                Ok((name.to_string(), tensor))
            };
            names.map(tensor).collect()
        };
        self.optimizer.load_state(under(OPTIMIZER)?)?;
        if let Some(ema) = &mut self.ema {
            ema.load(progress.averaged, under(EMA)?);
        }
        if let (Some(schedule), Some(state)) = (&mut self.schedule, progress.plateau) {
            schedule.load_state(state);
        }
        Ok(progress)
    }
}
