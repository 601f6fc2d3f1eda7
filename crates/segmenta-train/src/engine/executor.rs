//! Which program runs the graph: kernels of our own, or Burn's operations.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use segmenta_graph::{Graph, Shape};
use segmenta_kernels::{Isa, Threads};

use super::cpu::{Cpu, Setup};
use super::portable::Portable;
use super::{DeviceSpec, EngineError, Parameters, Timing};
use crate::optim::Slice;

/// What takes the steps.
#[derive(Debug)]
pub(super) enum Executor {
    /// Our kernels, on this machine's processor.
    Kernels(Box<Cpu>),
    /// Burn's operations, on any device.
    Operations(Box<Portable>),
}

impl Executor {
    pub(super) fn new(
        spec: DeviceSpec,
        device: &Device,
        graph: Arc<Graph>,
        setup: Setup,
    ) -> Result<Self, EngineError> {
        Ok(match spec {
            DeviceSpec::Cpu => Self::Kernels(Box::new(Cpu::new(graph, setup)?)),
            _ => Self::Operations(Box::new(Portable::new(spec, device, graph, setup)?)),
        })
    }

    /// Whether each value is looked at from now on.
    pub(super) fn set_check(&mut self, check: bool) {
        match self {
            Self::Kernels(cpu) => cpu.set_check(check),
            Self::Operations(portable) => portable.set_check(check),
        }
    }

    pub(super) fn isa(&self) -> Isa {
        match self {
            Self::Kernels(cpu) => cpu.isa(),
            Self::Operations(portable) => portable.isa(),
        }
    }

    pub(super) fn threads(&self) -> &Threads {
        match self {
            Self::Kernels(cpu) => cpu.threads(),
            Self::Operations(portable) => portable.threads(),
        }
    }

    pub(super) fn arena_bytes(&self) -> usize {
        match self {
            Self::Kernels(cpu) => cpu.arena_bytes(),
            Self::Operations(_) => 0,
        }
    }

    /// Does work on tensors where the engine does its own.
    pub(super) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::Kernels(cpu) => cpu.threads().run(work),
            Self::Operations(portable) => portable.run(work),
        }
    }

    /// The results for a batch, without a tape. Moves running statistics.
    pub(super) fn forward(
        &mut self,
        parameters: &mut Parameters,
        input: Vec<f32>,
        shape: Shape,
        seed: u64,
        timings: &mut Option<Vec<Timing>>,
    ) -> Result<Vec<Tensor<4>>, EngineError> {
        match self {
            Self::Kernels(cpu) => {
                let slices = parameters.slices()?;
                let values: Vec<&[f32]> = slices.iter().map(Slice::get).collect();
                let results = cpu.forward(&values, input, shape, seed, note(timings))?;
                drop(slices);
                for norm in cpu.measured() {
                    parameters.track(norm.running, norm.statistics, norm.momentum)?;
                }
                let tensor = |(shape, values): (Shape, Vec<f32>)| {
                    let data = TensorData::new(values, extents(shape));
                    Tensor::from_data(data, &Device::flex())
                };
                Ok(results.into_iter().map(tensor).collect())
            }
            Self::Operations(portable) => portable.forward(parameters, input, shape, seed, timings),
        }
    }

    /// The gradients of all parameters that learn, by their index, from those of the last results.
    pub(super) fn backward(
        &mut self,
        parameters: &Parameters,
        gradients: Vec<Tensor<4>>,
        timings: &mut Option<Vec<Timing>>,
    ) -> Result<Vec<(usize, Tensor<1>)>, EngineError> {
        match self {
            Self::Kernels(cpu) => {
                let values = |gradient: Tensor<4>| {
                    let len: usize = gradient.dims().iter().product();
                    Slice::new(gradient.reshape([len]))
                };
                let slices: Result<Vec<_>, _> = gradients.into_iter().map(values).collect();
                let slices = slices.map_err(EngineError::Device)?;
                let slices: Vec<&[f32]> = slices.iter().map(Slice::get).collect();
                let own = parameters.slices()?;
                let own: Vec<&[f32]> = own.iter().map(Slice::get).collect();
                let made = cpu.backward(&own, &slices, note(timings))?;
                let tensor = |(at, values): (usize, Vec<f32>)| {
                    let len = values.len();
                    let data = TensorData::new(values, [len]);
                    (at, Tensor::from_data(data, &Device::flex()))
                };
                Ok(made.into_iter().map(tensor).collect())
            }
            Self::Operations(portable) => portable.backward(gradients, timings),
        }
    }
}

/// Waits until a device has done all that it was given.
pub(super) fn sync(device: &Device) -> Result<(), EngineError> {
    let synced = device.sync();
    synced.map_err(|e| EngineError::Device(e.to_string()))
}

/// A shape as Burn has it.
pub(super) fn extents(shape: Shape) -> [usize; 4] {
    [shape.batch, shape.channels, shape.height, shape.width]
}

fn note(timings: &mut Option<Vec<Timing>>) -> impl FnMut(Timing) + Send {
    move |timing| {
        if let Some(all) = timings {
            all.push(timing);
        }
    }
}
