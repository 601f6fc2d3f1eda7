//! The graph learns on this machine's processor.
//!
//! `passes` turns the graph into a `segmenta-program` of both passes for one input size, once; `pack` makes its
//! layers. Nothing is allocated in a step but the logits, values live from their first use to their last, and every
//! sum has an order of its own: results are the same bits for any number of threads.

mod pack;
mod passes;

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use segmenta_graph::{Graph, Node, Shape};
use segmenta_kernels::{Arena, Isa, Threads};

use segmenta_program::{
    Layers, LayersIn, NormLayer, NormNumbers, NotFinite, Pass, Program, Surroundings, run,
};

use self::passes::{Compiled, Purpose, compile};
use super::{EngineError, Parameters, Phase, Timing};
use crate::optim::Slice;

/// How many input sizes are kept ready: whole batches, and the last one of an epoch.
const SIZES: usize = 2;

/// A network that learns on the processor.
#[derive(Debug)]
pub(super) struct Cpu {
    graph: Arc<Graph>,
    threads: Threads,
    isa: Isa,
    wanted: Vec<Node>,
    trains: Vec<bool>,
    drops: bool,
    recomputes: bool,
    check: bool,
    /// The last used first.
    ready: Vec<(Shape, Compiled)>,
    arena: Arena,
    /// One for each parameter that learns and that the results depend on, written anew by each step; none before
    /// the first.
    gradients: Vec<Option<Tensor<1>>>,
    /// What the backward pass needs of the forward pass.
    pending: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    input: Vec<f32>,
    seed: u64,
}

/// What the engine is made with.
pub(super) struct Setup {
    pub(super) threads: usize,
    pub(super) isa: Option<Isa>,
    pub(super) wanted: Vec<Node>,
    pub(super) trains: Vec<bool>,
    pub(super) drops: bool,
    pub(super) recomputes: bool,
    pub(super) check: bool,
}

impl Cpu {
    pub(super) fn new(graph: Arc<Graph>, setup: Setup) -> Result<Self, EngineError> {
        let Setup {
            threads,
            isa,
            wanted,
            trains,
            drops,
            recomputes,
            check,
        } = setup;
        Ok(Self {
            threads: Threads::new(threads).map_err(EngineError::Threads)?,
            isa: isa.unwrap_or_else(Isa::fastest),
            wanted,
            drops,
            recomputes,
            check,
            ready: Vec::new(),
            arena: Arena::new(0)?,
            gradients: Vec::new(),
            trains,
            pending: None,
            graph,
        })
    }

    pub(super) fn set_check(&mut self, check: bool) {
        self.check = check;
    }

    pub(super) fn isa(&self) -> Isa {
        self.isa
    }

    pub(super) fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Bytes of the arena.
    pub(super) fn arena_bytes(&self) -> usize {
        self.arena.len() * size_of::<f32>()
    }

    /// The results for a batch, N×C×H×W each. Moves running statistics.
    pub(super) fn forward(
        &mut self,
        parameters: &mut Parameters,
        input: Vec<f32>,
        shape: Shape,
        seed: u64,
        timed: impl FnMut(Timing) + Send,
    ) -> Result<Vec<(Shape, Vec<f32>)>, EngineError> {
        self.pending = None;
        self.prepare(shape)?;
        let (_, compiled) = &mut self.ready[0];
        let Compiled {
            program,
            layers,
            plan,
            ..
        } = compiled;
        let shapes = plan.results.clone();
        let mut results: Vec<Vec<f32>> = shapes.iter().map(|s| vec![0.0; s.len()]).collect();
        let slices = parameters.slices()?;
        let values: Vec<&[f32]> = slices.iter().map(Slice::get).collect();
        let around = Surroundings {
            input: &input,
            parameters: &values,
            seed,
        };
        let pass = Pass::Forward {
            results: results.iter_mut().map(|result| &mut result[..]).collect(),
        };
        let mut timed = timing(&self.graph, program, layers, Phase::Forward, timed);
        let (arena, check) = (&mut self.arena, self.check);
        let ran = self.threads.run(|| {
            let layers = LayersIn::Learning(layers);
            run(
                program, plan, layers, arena, around, pass, check, &mut timed,
            )
        });
        ran.map_err(|wrong| not_finite(&self.graph, program, Phase::Forward, wrong))?;
        drop(values);
        drop(slices);
        for NormLayer { numbers, .. } in &layers.norms {
            if let NormNumbers::Learning(norm) = numbers
                && !norm.frozen
            {
                let (at, momentum) = ([norm.mean, norm.variance, norm.counter], norm.momentum);
                parameters.track(at, &norm.statistics, momentum)?;
            }
        }
        self.pending = Some(Pending { input, seed });
        Ok(shapes.into_iter().zip(results).collect())
    }

    /// The gradients of all parameters that learn, from those of the results of the last forward pass.
    pub(super) fn backward(
        &mut self,
        parameters: &Parameters,
        results: &[&[f32]],
        timed: impl FnMut(Timing) + Send,
    ) -> Result<Vec<(usize, Tensor<1>)>, EngineError> {
        let Some(Pending { input, seed }) = self.pending.take() else {
            return Err(EngineError::NoForward);
        };
        let (_, compiled) = &mut self.ready[0];
        let Compiled {
            program,
            layers,
            plan,
            learned,
        } = compiled;
        let slices = parameters.slices()?;
        let values: Vec<&[f32]> = slices.iter().map(Slice::get).collect();
        let around = Surroundings {
            input: &input,
            parameters: &values,
            seed,
        };
        // Whatever ends this early leaves no room behind, and the next pass makes it anew.
        let room = std::mem::take(&mut self.gradients);
        let mut gradients = with_room(&self.graph, learned, room)?;
        let slices = gradients.iter_mut();
        let pass = Pass::Backward {
            results,
            gradients: slices.map(|g| g.as_mut().map(Slice::get_mut)).collect(),
        };
        let mut timed = timing(&self.graph, program, layers, Phase::Backward, timed);
        let (arena, check) = (&mut self.arena, self.check);
        let ran = self.threads.run(|| {
            let layers = LayersIn::Learning(layers);
            run(
                program, plan, layers, arena, around, pass, check, &mut timed,
            )
        });
        let tensor = |slice: Option<Slice>| slice.map(Slice::into_tensor);
        self.gradients = gradients.into_iter().map(tensor).collect();
        ran.map_err(|wrong| not_finite(&self.graph, program, Phase::Backward, wrong))?;
        let all = self.gradients.iter().enumerate();
        Ok(all.filter_map(|(at, g)| Some((at, g.clone()?))).collect())
    }

    /// Makes the program for a shape the first of those that are ready, and the arena large enough.
    fn prepare(&mut self, shape: Shape) -> Result<(), EngineError> {
        if let Some(at) = self.ready.iter().position(|(known, _)| *known == shape) {
            let found = self.ready.remove(at);
            self.ready.insert(0, found);
        } else {
            let purpose = Purpose {
                isa: self.isa,
                threads: self.threads.count(),
                wanted: &self.wanted,
                trains: &self.trains,
                drops: self.drops,
                recomputes: self.recomputes,
            };
            let compiled = compile(&self.graph, shape, purpose)?;
            self.ready.truncate(SIZES - 1);
            self.ready.insert(0, (shape, compiled));
        }
        let needed = self.ready[0].1.plan.arena_bytes / size_of::<f32>();
        if self.arena.len() < needed {
            // The old one goes first, so that the two are never there together.
            self.arena = Arena::new(0)?;
            self.arena = Arena::new(needed)?;
        }
        Ok(())
    }
}

/// Room for the gradients of the parameters `learned`: what is there already, and zeros where it is not.
fn with_room(
    graph: &Graph,
    learned: &[usize],
    mut there: Vec<Option<Tensor<1>>>,
) -> Result<Vec<Option<Slice>>, EngineError> {
    there.resize(graph.parameters().len(), None);
    for &at in learned {
        let zeros = || Tensor::zeros([graph.parameters()[at].len()], &Device::flex());
        there[at].get_or_insert_with(zeros);
    }
    let slices = there
        .into_iter()
        .map(|room| room.map(Slice::new).transpose());
    slices
        .collect::<Result<_, _>>()
        .map_err(EngineError::Device)
}

fn timing<'a>(
    graph: &'a Graph,
    program: &'a Program,
    layers: &Layers,
    phase: Phase,
    mut timed: impl FnMut(Timing) + Send + 'a,
) -> impl FnMut(usize, f64) + Send + 'a {
    let steps: Vec<_> = program
        .steps()
        .map(|step| (step.node, step.work.label()))
        .collect();
    move |index, seconds| {
        let (node, kind) = steps[index];
        timed(Timing {
            node: graph.node(node).name.clone(),
            phase,
            kind,
            seconds,
        });
    }
}

fn not_finite(graph: &Graph, program: &Program, phase: Phase, wrong: NotFinite) -> EngineError {
    let step = program.steps().nth(wrong.step);
    EngineError::NotFinite {
        node: step.map_or_else(String::new, |step| graph.node(step.node).name.clone()),
        phase,
        value: wrong.value,
    }
}

#[cfg(test)]
mod tests {
    use segmenta_graph::{Builder, Conv2d, Scope};

    use super::*;

    #[test]
    fn a_pass_after_one_that_failed_finds_room_for_its_gradients() {
        let (mut g, x) = Builder::new(3);
        let conv = Conv2d::square(3, 4).with_bias();
        let out = g.conv(x, &(&Scope::root() / "conv"), conv);
        g.output("out", out);
        let graph = Arc::new(g.finish().unwrap());
        let setup = Setup {
            threads: 1,
            isa: None,
            wanted: vec![graph.outputs()[0].node],
            trains: vec![true; graph.parameters().len()],
            drops: false,
            recomputes: false,
            check: true,
        };
        let mut cpu = Cpu::new(graph.clone(), setup).unwrap();
        let mut parameters = Parameters::initial(&graph, 0, &Device::flex());
        let shape = Shape::new(1, 3, 4, 5);
        let mut step = |gradient: f32| {
            let input = vec![0.5; shape.len()];
            cpu.forward(&mut parameters, input, shape, 0, |_| {})?;
            let of_result = vec![gradient; 4 * shape.pixels()];
            let made = cpu.backward(&parameters, &[&of_result], |_| {})?;
            // As if an error had come between taking the room and giving it back.
            cpu.gradients = Vec::new();
            let value = |(at, g): (usize, Tensor<1>)| (at, g.sum().into_scalar::<f32>());
            Ok::<_, EngineError>(made.into_iter().map(value).collect::<Vec<_>>())
        };
        let first = step(1.0).unwrap();
        assert_eq!(first.len(), 2);
        assert!(matches!(step(f32::NAN), Err(EngineError::NotFinite { .. })));
        assert_eq!(step(1.0).unwrap(), first);
    }
}
