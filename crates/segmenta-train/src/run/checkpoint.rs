//! `last.safetensors`: all that a run needs to go on as if it had not stopped.
//!
//! Parameters lie under their state-dict names, the optimiser's state under `optimizer/`, averaged weights under
//! `ema/`; where the run is stands in the metadata as TOML. Written beside and renamed, so that it is whole or the
//! one before.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use segmenta_weights::{StateDict, save};
use serde::{Deserialize, Serialize};

use super::RunError;
use crate::engine::{EngineError, Parameters};
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
    /// Their pixels, truth against prediction row by row; empty where they are not counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pixels: Vec<u64>,
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

    /// As it stands in a checkpoint: only what is read again to the bit is written over the one before. TOML, for
    /// `serde_json` reads some numbers to their neighbour.
    fn to_text(&self, path: &Path) -> Result<String, RunError> {
        let wrong = |problem: String| RunError::Checkpoint {
            problem,
            path: path.display().to_string(),
            remedy: "the one before is kept; report it: this should not happen",
        };
        let text = toml::to_string(self)
            .map_err(|e| wrong(format!("a checkpoint cannot be written ({e})")))?;
        match Self::parse(&text) {
            Ok(read) if read == *self => Ok(text),
            Ok(_) => Err(wrong("a checkpoint would be read otherwise".into())),
            Err(e) => Err(wrong(format!("a checkpoint could not be read again ({e})"))),
        }
    }

    /// JSON is what earlier versions wrote.
    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('{') {
            return serde_json::from_str(text).map_err(|e| e.to_string());
        }
        toml::from_str(text).map_err(|e| e.message().to_string())
    }

    fn of(dict: &StateDict, path: &Path) -> Result<Self, RunError> {
        let text = dict.metadata().get(KEY);
        let text = text.ok_or_else(|| wrong("no checkpoint of a run".into(), path))?;
        let other = |e| wrong(format!("a checkpoint of another version ({e})"), path);
        Self::parse(text).map_err(other)
    }
}

fn wrong(problem: String, path: &Path) -> RunError {
    RunError::Checkpoint {
        problem,
        path: path.display().to_string(),
        remedy: "begin the run anew",
    }
}

/// Refuses to keep weights that are NaN or infinite, or an optimiser's state that is NaN: the checkpoint before is
/// worth more. (A mean of squares may grow to infinity; what is divided by it becomes 0, as in PyTorch.)
fn check_finite(all: &[Entry<'_>], progress: &Progress) -> Result<(), RunError> {
    let wrong = |name: &str, value: f32| {
        value.is_nan() || value.is_infinite() && !name.starts_with(OPTIMIZER)
    };
    let count =
        |(name, _, values): &Entry<'_>| values.iter().filter(|value| wrong(name, **value)).count();
    let counts: Vec<usize> = all.iter().map(count).collect();
    let Some(first) = counts.iter().position(|count| *count > 0) else {
        return Ok(());
    };
    Err(RunError::NotFiniteWeights {
        entry: all[first].0.clone(),
        count: counts[first],
        of: counts.iter().filter(|count| **count > 0).count(),
        place: format!("after step {}", progress.steps),
        remedy: "the checkpoint before is kept: begin the run anew with a lower optimizer.lr, or with train.clip.norm",
    })
}

/// An entry's name, shape and values.
type Entry<'a> = (String, Vec<usize>, Cow<'a, [f32]>);

/// What is saved and restored.
pub(super) struct Kept<'a> {
    pub(super) parameters: &'a mut Parameters,
    pub(super) optimizer: &'a mut Optimizer,
    pub(super) schedule: Option<&'a mut Schedule>,
    pub(super) ema: Option<&'a mut Ema>,
}

impl Kept<'_> {
    /// Writes the checkpoint.
    /// `card` is what the file says of its network.
    pub(super) fn save(
        &self,
        path: &Path,
        mut progress: Progress,
        card: BTreeMap<String, String>,
    ) -> Result<(), RunError> {
        progress.plateau = self.schedule.as_ref().and_then(|schedule| schedule.state());
        progress.averaged = self.ema.as_ref().map_or(0, |ema| ema.updates());
        let mut all: Vec<Entry<'_>> = Vec::new();
        for (at, entry) in self.parameters.entries().iter().enumerate() {
            let of = self.parameters.values(at)?;
            all.push((entry.name.clone(), entry.shape.clone(), of));
        }
        for (name, of) in self.optimizer.state()? {
            all.push((format!("{OPTIMIZER}{name}"), vec![of.len()], of));
        }
        if let Some(ema) = &self.ema {
            for (name, average) in ema.averages() {
                let of = average.values().map_err(EngineError::Device)?;
                all.push((format!("{EMA}{name}"), vec![of.len()], of));
            }
        }
        check_finite(&all, &progress)?;
        let views: Vec<_> = all.iter().map(|(n, s, v)| (&**n, &s[..], &v[..])).collect();
        let text = progress.to_text(path)?;
        let mut metadata = card;
        metadata.insert(KEY.to_string(), text);
        save(path, &views, &metadata)?;
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
        let under = |prefix: &str| -> Result<Vec<(String, Vec<f32>)>, RunError> {
            let names = dict
                .names()
                .filter_map(|name| Some((name, name.strip_prefix(prefix)?)));
            let values = |(full, name): (&str, &str)| Ok((name.to_string(), dict.read_f32(full)?));
            names.map(values).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let path = Path::new("last.safetensors");
        let good = Progress {
            loss: 0.1 + 0.2,
            best: Some(1.0 / 3.0),
            ..Progress::default()
        };
        assert_eq!(
            Progress::parse(&good.to_text(path).unwrap()),
            Ok(good.clone())
        );
        let old = serde_json::to_string(&good).unwrap();
        assert_eq!(Progress::parse(&old).unwrap().epochs, 0);
        // Numbers of all sizes, to the bit: of 1000 some would come back as their neighbours from JSON.
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        for n in 0..1000 {
            bits = bits.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(n);
            let share = (bits >> 11) as f64 / (1_u64 << 53) as f64;
            let progress = Progress {
                steps: bits >> 20,
                loss: share * 10_f64.powi(n as i32 % 60 - 30),
                seconds: [share * 1e3, share / 7.0],
                best: Some(share),
                plateau: Some(PlateauState {
                    lr: share,
                    best: Some(share / 3.0),
                    bad: n,
                    cooldown: 1,
                }),
                ..Progress::default()
            };
            progress.to_text(path).unwrap();
        }
        for bad in [
            Progress {
                loss: f64::NAN,
                ..Progress::default()
            },
            Progress {
                best: Some(f64::NAN),
                ..Progress::default()
            },
        ] {
            let error = bad.to_text(path).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("last.safetensors"), "{error}");
        }
    }

    #[test]
    fn weights_that_are_no_numbers_are_not_kept() {
        let entry = |name: &str, value: f32| (name.to_string(), vec![2], vec![1.0, value].into());
        let check = |all: &[_]| check_finite(all, &Progress::default()).map_err(|e| e.to_string());
        check(&[
            entry("a", 0.0),
            entry("optimizer/a.exp_avg_sq", f32::INFINITY),
        ])
        .unwrap();
        for bad in [
            entry("b", f32::NAN),
            entry("ema/b", f32::INFINITY),
            entry("optimizer/b.exp_avg", f32::NAN),
        ] {
            let error = check(&[entry("a", 0.0), bad.clone()]).unwrap_err();
            assert!(
                error.contains(&format!("`{}` has 1 value", bad.0)),
                "{error}"
            );
        }
    }
}
