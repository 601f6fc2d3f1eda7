//! The moving average of weights.

use std::collections::BTreeMap;

use super::OptimError;
use crate::Numbers;

/// The exponential moving average of parameters: `torch.optim.swa_utils.AveragedModel` with `get_ema_avg_fn(decay)`.
/// The first update copies; each other one moves averages by `1 − decay` of the way to the parameters. Buffers such as
/// running statistics are not averaged there, and need not be given here.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    updates: u64,
    averages: BTreeMap<String, Numbers>,
}

impl Ema {
    /// An average of nothing yet; torch's default decay is 0.999.
    ///
    /// # Errors
    /// A decay outside 0 to 1.
    pub fn new(decay: f64) -> Result<Self, OptimError> {
        if !(0.0..=1.0).contains(&decay) {
            return Err(OptimError::Setting {
                optimizer: "ema",
                setting: "decay",
                problem: decay.to_string(),
                mend: "give 0 to 1, such as 0.999",
            });
        }
        Ok(Self {
            decay,
            updates: 0,
            averages: BTreeMap::new(),
        })
    }

    /// Moves the averages towards these parameters.
    ///
    /// # Errors
    /// A parameter of another length than before; what a device says.
    pub fn update<'a>(
        &mut self,
        parameters: impl IntoIterator<Item = (&'a str, &'a Numbers)>,
    ) -> Result<(), OptimError> {
        self.updates += 1;
        for (name, parameter) in parameters {
            let Some(average) = self.averages.get_mut(name) else {
                self.averages.insert(name.into(), parameter.clone());
                continue;
            };
            let (expected, got) = (average.len(), parameter.len());
            if got != expected {
                return Err(OptimError::Length {
                    what: "parameter".into(),
                    name: name.into(),
                    got,
                    expected,
                    place: "moving average",
                });
            }
            average.join(parameter).map_err(OptimError::Device)?;
            average.approach(parameter, (1.0 - self.decay) as f32);
        }
        Ok(())
    }

    /// How often parameters were given.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The averages by parameter; empty before the first update.
    pub fn averages(&self) -> impl Iterator<Item = (&str, &Numbers)> {
        self.averages
            .iter()
            .map(|(name, average)| (name.as_str(), average))
    }

    /// The average of one parameter.
    pub fn average(&self, name: &str) -> Option<&Numbers> {
        self.averages.get(name)
    }

    /// Takes up averages of `updates` updates, from a checkpoint.
    pub fn load(&mut self, updates: u64, averages: impl IntoIterator<Item = (String, Vec<f32>)>) {
        self.updates = updates;
        let averages = averages.into_iter();
        self.averages = averages
            .map(|(name, values)| (name, values.into()))
            .collect();
    }
}
