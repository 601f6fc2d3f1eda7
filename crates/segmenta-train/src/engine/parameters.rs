//! What a network is made of, by state-dict name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use segmenta_graph::{Graph, Parameter};
use segmenta_kernels::Statistics;
use segmenta_weights::StateDict;

use super::EngineError;
use crate::Numbers;
use crate::optim::Ema;

/// All entries of a network's state dict, in the order of the graph. They begin in this machine's
/// memory; an engine brings them to its device.
#[derive(Clone, Debug)]
pub struct Parameters {
    entries: Vec<Parameter>,
    by_name: BTreeMap<String, usize>,
    numbers: Vec<Numbers>,
}

impl Parameters {
    /// As the libraries draw them before training ([`segmenta_graph::Init`]), the same for a seed on every
    /// machine.
    pub fn initial(graph: &Graph, seed: u64) -> Self {
        Self::from_values(graph, |parameter| parameter.initial(seed))
    }

    /// From a file's tensors, which must be those of the graph.
    ///
    /// # Errors
    /// An entry that the file does not have, or has in another shape; a file that cannot be read.
    pub fn load(graph: &Graph, weights: &StateDict) -> Result<Self, EngineError> {
        let mut values = BTreeMap::new();
        for parameter in graph.parameters() {
            values.insert(&*parameter.name, weights.read_f32(&parameter.name)?);
        }
        let parameters = Self::from_values(graph, |parameter| {
            values.remove(&*parameter.name).unwrap_or_default()
        });
        Ok(parameters)
    }

    /// From a function of each entry.
    ///
    /// # Panics
    /// If it does not give as many values as the entry has.
    pub fn from_values(graph: &Graph, mut values: impl FnMut(&Parameter) -> Vec<f32>) -> Self {
        let entries = graph.parameters().to_vec();
        let numbers = |parameter: &Parameter| {
            let values = values(parameter);
            let len = parameter.len();
            assert_eq!(values.len(), len, "values of `{}`", parameter.name);
            Numbers::from(values)
        };
        let numbers = entries.iter().map(numbers).collect();
        let names = entries.iter().map(|entry| entry.name.clone());
        Self {
            by_name: names.zip(0..).collect(),
            numbers,
            entries,
        }
    }

    /// Name, shape and role of each, in order.
    pub fn entries(&self) -> &[Parameter] {
        &self.entries
    }

    /// Where an entry is.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// One of them, where it is computed with.
    pub fn numbers(&self, at: usize) -> &Numbers {
        &self.numbers[at]
    }

    /// All of them, in order: for optimisers to change in place.
    pub fn numbers_mut(&mut self) -> &mut [Numbers] {
        &mut self.numbers
    }

    /// The values of one, flat: lent where they are here, read back from a device.
    ///
    /// # Errors
    /// What the device says.
    pub fn values(&self, at: usize) -> Result<Cow<'_, [f32]>, EngineError> {
        self.numbers[at].values().map_err(EngineError::Device)
    }

    /// Replaces the values of one; an engine brings them to its device with the next step.
    ///
    /// # Panics
    /// If there are more or fewer than it has.
    pub fn set(&mut self, at: usize, values: Vec<f32>) {
        let len = self.entries[at].len();
        assert_eq!(values.len(), len, "values of `{}`", self.entries[at].name);
        self.numbers[at] = values.into();
    }

    /// The parameters with the averages of those that have one: what is measured and kept where weights
    /// are averaged.
    #[must_use]
    pub fn averaged(&self, averages: &Ema) -> Self {
        let numbers = self.entries.iter().zip(&self.numbers);
        let numbers = numbers.map(|(entry, now)| averages.average(&entry.name).unwrap_or(now));
        Self {
            numbers: numbers.cloned().collect(),
            entries: self.entries.clone(),
            by_name: self.by_name.clone(),
        }
    }

    /// Brings those to a device that are elsewhere.
    #[cfg(feature = "flex")]
    pub(super) fn bring_to(&mut self, place: &segmenta_devices::Place) {
        let all = self.numbers.iter_mut();
        all.for_each(|numbers| numbers.bring_to(place));
    }

    /// All values, if they are here.
    pub(super) fn slices(&self) -> Option<Vec<&[f32]>> {
        self.numbers.iter().map(Numbers::here).collect()
    }

    /// Moves a batch norm's running mean and variance, and counts.
    pub(super) fn track(&mut self, running: [usize; 3], measured: &Statistics, momentum: f32) {
        let here = |numbers: &mut Numbers| match numbers {
            Numbers::Here(values) => std::mem::take(values),
            #[cfg(feature = "flex")]
            Numbers::There(_) => Vec::new(),
        };
        let [mut mean, mut variance, mut counter] = running.map(|at| here(&mut self.numbers[at]));
        measured.update(&mut mean, &mut variance, momentum);
        counter.iter_mut().for_each(|count| *count += 1.0);
        for (at, values) in running.into_iter().zip([mean, variance, counter]) {
            self.numbers[at] = values.into();
        }
    }
}
