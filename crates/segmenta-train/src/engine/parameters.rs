//! What a network is made of, by state-dict name.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use segmenta_graph::{Graph, Parameter};
use segmenta_kernels::Statistics;
use segmenta_weights::StateDict;

use super::EngineError;
use crate::optim::{Ema, Slice};

/// All entries of a network's state dict, in the order of the graph, as flat tensors of one device.
#[derive(Clone, Debug)]
pub struct Parameters {
    entries: Vec<Parameter>,
    by_name: BTreeMap<String, usize>,
    tensors: Vec<Tensor<1>>,
}

impl Parameters {
    /// As the libraries draw them before training ([`segmenta_graph::Init`]), the same for a seed on every
    /// machine.
    pub fn initial(graph: &Graph, seed: u64, device: &Device) -> Self {
        Self::from_values(graph, device, |parameter| parameter.initial(seed))
    }

    /// From a file's tensors, which must be those of the graph.
    ///
    /// # Errors
    /// An entry that the file does not have, or has in another shape; a file that cannot be read.
    pub fn load(graph: &Graph, weights: &StateDict, device: &Device) -> Result<Self, EngineError> {
        let mut values = BTreeMap::new();
        for parameter in graph.parameters() {
            values.insert(&*parameter.name, weights.read_f32(&parameter.name)?);
        }
        let parameters = Self::from_values(graph, device, |parameter| {
            values.remove(&*parameter.name).unwrap_or_default()
        });
        Ok(parameters)
    }

    /// From a function of each entry.
    ///
    /// # Panics
    /// If it does not give as many values as the entry has.
    pub fn from_values(
        graph: &Graph,
        device: &Device,
        mut values: impl FnMut(&Parameter) -> Vec<f32>,
    ) -> Self {
        let entries = graph.parameters().to_vec();
        let tensor = |parameter: &Parameter| {
            let values = values(parameter);
            let len = parameter.len();
            assert_eq!(values.len(), len, "values of `{}`", parameter.name);
            Tensor::from_data(TensorData::new(values, [len]), device)
        };
        let tensors = entries.iter().map(tensor).collect();
        let names = entries.iter().map(|entry| entry.name.clone());
        Self {
            by_name: names.zip(0..).collect(),
            tensors,
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

    /// The values of one, flat.
    pub fn tensor(&self, at: usize) -> &Tensor<1> {
        &self.tensors[at]
    }

    /// The values of all, flat, in order: for optimisers to change in place.
    pub fn tensors_mut(&mut self) -> &mut [Tensor<1>] {
        &mut self.tensors
    }

    /// The values of one on this machine.
    ///
    /// # Errors
    /// What the device says.
    pub fn values(&self, at: usize) -> Result<Vec<f32>, EngineError> {
        let values = self.tensors[at].clone().try_into_vec_as::<f32>();
        values.map_err(|e| EngineError::Device(e.to_string()))
    }

    /// Replaces the values of one.
    ///
    /// # Panics
    /// If there are more or fewer than it has.
    pub fn set(&mut self, at: usize, values: Vec<f32>) {
        let len = self.entries[at].len();
        assert_eq!(values.len(), len, "values of `{}`", self.entries[at].name);
        let device = self.tensors[at].device();
        self.tensors[at] = Tensor::from_data(TensorData::new(values, [len]), &device);
    }

    /// The parameters with the averages of those that have one: what is measured and kept where weights
    /// are averaged.
    #[must_use]
    pub fn averaged(&self, averages: &Ema) -> Self {
        let mut averaged = self.clone();
        for (entry, tensor) in averaged.entries.iter().zip(&mut averaged.tensors) {
            if let Some(average) = averages.average(&entry.name) {
                *tensor = average;
            }
        }
        averaged
    }

    /// Brings those to a device that are elsewhere.
    pub(super) fn bring_to(&mut self, device: &Device) {
        for tensor in &mut self.tensors {
            if tensor.device() != *device {
                *tensor = tensor.clone().to_device(device);
            }
        }
    }

    pub(super) fn slices(&self) -> Result<Vec<Slice>, EngineError> {
        let slices = self.tensors.iter().cloned().map(Slice::new);
        slices
            .collect::<Result<_, _>>()
            .map_err(EngineError::Device)
    }

    /// Moves a batch norm's running mean and variance, and counts.
    pub(super) fn track(
        &mut self,
        [mean, variance, counter]: [usize; 3],
        measured: &Statistics,
        momentum: f32,
    ) -> Result<(), EngineError> {
        let mut slice = |at: usize| {
            let tensor = self.tensors[at].extract();
            Slice::new(tensor).map_err(EngineError::Device)
        };
        let mut running = [slice(mean)?, slice(variance)?, slice(counter)?];
        let [of_mean, of_variance, count] = &mut running;
        measured.update(of_mean.get_mut(), of_variance.get_mut(), momentum);
        count.get_mut()[0] += 1.0;
        for (at, slice) in [mean, variance, counter].into_iter().zip(running) {
            self.tensors[at] = slice.into_tensor();
        }
        Ok(())
    }
}
