//! Which program runs the graph: kernels of our own on the processor, or a device's operations.

#![cfg_attr(
    not(feature = "flex"),
    allow(
        clippy::needless_pass_by_value,
        clippy::unnecessary_filter_map,
        clippy::unnecessary_wraps,
        reason = "numbers on a device may be elsewhere, and asking for them may fail"
    )
)]

use std::sync::Arc;

#[cfg(feature = "flex")]
use segmenta_devices as devices;
use segmenta_graph::{Graph, Shape};
use segmenta_kernels::{Isa, Threads};

use super::cpu::{Cpu, Setup};
use super::{DeviceSpec, EngineError, Logits, Parameters, Timing};
use crate::Numbers;
use crate::loss::{LossSpec, Target};

/// What takes the steps.
#[derive(Debug)]
pub(super) enum Executor {
    /// Our kernels, on this machine's processor.
    Kernels(Box<Cpu>),
    /// A device's operations.
    #[cfg(feature = "flex")]
    Operations(Box<devices::Engine>),
}

impl Executor {
    pub(super) fn new(
        spec: DeviceSpec,
        graph: Arc<Graph>,
        setup: Setup,
    ) -> Result<Self, EngineError> {
        spec.check()?;
        #[cfg(feature = "flex")]
        if let Some(kind) = spec.kind() {
            let place = spec.open(kind)?;
            let setup = devices::Setup {
                threads: setup.threads,
                isa: setup.isa,
                wanted: setup.wanted,
                trains: setup.trains,
                drops: setup.drops,
                check: setup.check,
            };
            let engine = devices::Engine::new(place, graph, setup)?;
            return Ok(Self::Operations(Box::new(engine)));
        }
        Ok(Self::Kernels(Box::new(Cpu::new(graph, setup)?)))
    }

    /// Whether each value is looked at from now on.
    pub(super) fn set_check(&mut self, check: bool) {
        match self {
            Self::Kernels(cpu) => cpu.set_check(check),
            #[cfg(feature = "flex")]
            Self::Operations(device) => device.set_check(check),
        }
    }

    pub(super) fn isa(&self) -> Isa {
        match self {
            Self::Kernels(cpu) => cpu.isa(),
            #[cfg(feature = "flex")]
            Self::Operations(device) => device.isa(),
        }
    }

    pub(super) fn threads(&self) -> &Threads {
        match self {
            Self::Kernels(cpu) => cpu.threads(),
            #[cfg(feature = "flex")]
            Self::Operations(device) => device.threads(),
        }
    }

    pub(super) fn arena_bytes(&self) -> usize {
        match self {
            Self::Kernels(cpu) => cpu.arena_bytes(),
            #[cfg(feature = "flex")]
            Self::Operations(_) => 0,
        }
    }

    /// Does work where the engine does its own.
    pub(super) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match self {
            Self::Kernels(cpu) => cpu.threads().run(work),
            #[cfg(feature = "flex")]
            Self::Operations(device) => device.run(work),
        }
    }

    /// Waits until all is done that was asked for.
    pub(super) fn sync(&self) -> Result<(), EngineError> {
        match self {
            Self::Kernels(_) => Ok(()),
            #[cfg(feature = "flex")]
            Self::Operations(device) => Ok(device.sync()?),
        }
    }

    /// Brings parameters to where they are computed with.
    #[cfg_attr(
        not(feature = "flex"),
        expect(
            clippy::unused_self,
            clippy::needless_pass_by_ref_mut,
            reason = "one place alone"
        )
    )]
    pub(super) fn bring(&self, parameters: &mut Parameters) {
        #[cfg(feature = "flex")]
        if let Self::Operations(device) = self {
            parameters.bring_to(device.place());
        }
        let _ = parameters;
    }

    /// The results for a batch. Moves running statistics.
    pub(super) fn forward(
        &mut self,
        parameters: &mut Parameters,
        input: Vec<f32>,
        shape: Shape,
        seed: u64,
        timings: &mut Option<Vec<Timing>>,
    ) -> Result<Vec<Logits>, EngineError> {
        match self {
            Self::Kernels(cpu) => {
                let values = parameters.slices().ok_or_else(elsewhere)?;
                let results = cpu.forward(&values, input, shape, seed, note(timings))?;
                for norm in cpu.measured() {
                    parameters.track(norm.running, norm.statistics, norm.momentum);
                }
                let results = results.into_iter();
                Ok(results.map(|(s, v)| Logits::new(s, v)).collect())
            }
            #[cfg(feature = "flex")]
            Self::Operations(device) => {
                let numbers = there(parameters.numbers_mut())?;
                let timed = timings
                    .as_mut()
                    .map(|all| move |timing| all.push(of(timing)));
                let results = device.forward(numbers, input, shape, seed, timed)?;
                let logits = |(shape, values)| Logits::new(shape, Numbers::There(values));
                Ok(results.into_iter().map(logits).collect())
            }
        }
    }

    /// The losses of results, and their gradients, each times a factor.
    pub(super) fn losses(
        &self,
        loss: &LossSpec,
        results: &[(&Logits, f32)],
        target: &Target,
    ) -> Result<Vec<(f32, Logits)>, EngineError> {
        match self {
            Self::Kernels(cpu) => {
                let of_one = |&(logits, factor): &(&Logits, f32)| {
                    let (shape, values) = (logits.shape(), logits.values()?);
                    let (isa, extents) = (cpu.isa(), extents(shape));
                    let work = || loss.value_and_gradient(isa, &values, extents, target, factor);
                    let (value, gradient) = cpu.threads().run(work)?;
                    Ok((value, Logits::new(shape, gradient)))
                };
                results.iter().map(of_one).collect()
            }
            #[cfg(feature = "flex")]
            Self::Operations(device) => {
                let results: Vec<_> = results
                    .iter()
                    .map(|(logits, factor)| {
                        loss.fits(extents(logits.shape()), target)?;
                        let mut numbers = logits.numbers().clone();
                        numbers.bring_to(device.place());
                        Ok((logits.shape(), numbers, *factor))
                    })
                    .collect::<Result<_, EngineError>>()?;
                let numbers = results
                    .iter()
                    .filter_map(|(_, numbers, factor)| match numbers {
                        Numbers::There(numbers) => Some((numbers, *factor)),
                        Numbers::Here(_) => None,
                    });
                let made = device.losses(loss, numbers, target)?;
                let shapes = results.iter().map(|(shape, ..)| *shape);
                let logits = |(shape, (value, gradient))| {
                    (value, Logits::new(shape, Numbers::There(gradient)))
                };
                Ok(shapes.zip(made).map(logits).collect())
            }
        }
    }

    /// The gradients of all parameters that learn, by their index, from those of the last results.
    pub(super) fn backward(
        &mut self,
        parameters: &Parameters,
        gradients: Vec<Logits>,
        timings: &mut Option<Vec<Timing>>,
    ) -> Result<Vec<(usize, Numbers)>, EngineError> {
        match self {
            Self::Kernels(cpu) => {
                let own = parameters.slices().ok_or_else(elsewhere)?;
                let values: Vec<_> = { gradients.iter() }
                    .map(Logits::values)
                    .collect::<Result<_, _>>()?;
                let values: Vec<&[f32]> = values.iter().map(|values| &**values).collect();
                let made = cpu.backward(&own, &values, note(timings))?;
                Ok(made.into_iter().map(|(at, g)| (at, g.into())).collect())
            }
            #[cfg(feature = "flex")]
            Self::Operations(device) => {
                let shapes: Vec<Shape> = gradients.iter().map(Logits::shape).collect();
                let mut numbers: Vec<_> = gradients.into_iter().map(Logits::into_numbers).collect();
                numbers.iter_mut().for_each(|n| n.bring_to(device.place()));
                let numbers = there(&mut numbers)?.into_iter().map(|n| n.clone());
                let numbers = shapes.into_iter().zip(numbers).collect();
                let timed = timings
                    .as_mut()
                    .map(|all| move |timing| all.push(of(timing)));
                let made = device.backward(numbers, timed)?;
                let made = made.into_iter();
                Ok(made.map(|(at, g)| (at, Numbers::There(g))).collect())
            }
        }
    }

    /// Takes back the memory of gradients that are no longer needed.
    pub(super) fn give_back(&mut self, gradients: impl IntoIterator<Item = (usize, Numbers)>) {
        match self {
            Self::Kernels(cpu) => {
                let here = gradients
                    .into_iter()
                    .filter_map(|(at, numbers)| match numbers {
                        Numbers::Here(values) => Some((at, values)),
                        #[cfg(feature = "flex")]
                        Numbers::There(_) => None,
                    });
                cpu.give_back(here);
            }
            #[cfg(feature = "flex")]
            Self::Operations(_) => {}
        }
    }
}

/// N, C, H, W.
fn extents(shape: Shape) -> [usize; 4] {
    [shape.batch, shape.channels, shape.height, shape.width]
}

fn elsewhere() -> EngineError {
    EngineError::Device("parameters that lie elsewhere".into())
}

#[cfg(feature = "flex")]
fn there(all: &mut [Numbers]) -> Result<Vec<&mut devices::Numbers>, EngineError> {
    let there = all.iter_mut().map(|numbers| match numbers {
        Numbers::There(numbers) => Some(numbers),
        Numbers::Here(_) => None,
    });
    there.collect::<Option<_>>().ok_or_else(elsewhere)
}

#[cfg(feature = "flex")]
fn of(timing: devices::Timing) -> Timing {
    use super::Phase;

    Timing {
        node: timing.node,
        phase: match timing.pass {
            devices::Pass::Forward => Phase::Forward,
            devices::Pass::Backward => Phase::Backward,
        },
        kind: timing.kind,
        seconds: timing.seconds,
    }
}

fn note(timings: &mut Option<Vec<Timing>>) -> impl FnMut(Timing) + Send {
    move |timing| {
        if let Some(all) = timings {
            all.push(timing);
        }
    }
}
