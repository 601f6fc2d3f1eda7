//! The graph learns on this machine's processor.
//!
//! `passes` turns the graph into a `segmenta-program` of both passes for one input size, once; `pack` makes its
//! layers. Nothing is allocated in a step but the logits, values live from their first use to their last, and every
//! sum has an order of its own: results are the same bits for any number of threads.

mod pack;
mod passes;

use std::sync::Arc;

use segmenta_graph::{Graph, Node, Shape};
use segmenta_kernels::{Arena, Isa, Statistics, Threads};
use segmenta_program::{LayersIn, NormNumbers, NotFinite, Pass, Program, Surroundings, Watch, run};

use self::passes::{Compiled, Purpose, compile};
use super::{EngineError, Phase, Timing};

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
    /// Room for the gradients of the next step, by parameter: the memory of the last ones that came back.
    room: Vec<Option<Vec<f32>>>,
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
            room: Vec::new(),
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

    /// The results for a batch, N×C×H×W each, from the values of all parameters. Running statistics are the
    /// caller's to move, by [`Cpu::measured`].
    pub(super) fn forward(
        &mut self,
        parameters: &[&[f32]],
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
        let shapes = &plan.results;
        let mut results: Vec<Vec<f32>> = shapes.iter().map(|s| vec![0.0; s.len()]).collect();
        let around = Surroundings {
            input: &input,
            parameters,
            seed,
        };
        let pass = Pass::Forward {
            results: results.iter_mut().map(|result| &mut result[..]).collect(),
        };
        let mut timed = timing(&self.graph, program, Phase::Forward, timed);
        let arena = &mut self.arena;
        let watch = if self.check {
            Watch::NotFinite
        } else {
            Watch::Nothing
        };
        let ran = self.threads.run(|| {
            let layers = LayersIn::Learning(layers);
            run(
                program, plan, layers, arena, around, pass, watch, &mut timed,
            )
        });
        ran.map_err(|wrong| not_finite(&self.graph, program, Phase::Forward, wrong))?;
        self.pending = Some(Pending { input, seed });
        Ok(shapes.iter().copied().zip(results).collect())
    }

    /// What batch norms that learn measured in the last forward pass.
    pub(super) fn measured(&self) -> impl Iterator<Item = Measured<'_>> {
        let last = self.ready.first();
        let norms = last.map_or(&[][..], |(_, compiled)| &compiled.layers.norms);
        norms.iter().filter_map(|norm| match &norm.numbers {
            NormNumbers::Learning(norm) if !norm.frozen => Some(Measured {
                running: [norm.mean, norm.variance, norm.counter],
                statistics: &norm.statistics,
                momentum: norm.momentum,
            }),
            NormNumbers::Learning(_) | NormNumbers::Fixed(_) => None,
        })
    }

    /// The gradients of all parameters that learn, by their index, from those of the results of the last forward
    /// pass.
    pub(super) fn backward(
        &mut self,
        parameters: &[&[f32]],
        results: &[&[f32]],
        timed: impl FnMut(Timing) + Send,
    ) -> Result<Vec<(usize, Vec<f32>)>, EngineError> {
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
        let around = Surroundings {
            input: &input,
            parameters,
            seed,
        };
        let room = std::mem::take(&mut self.room);
        let mut gradients = with_room(&self.graph, learned, room);
        let pass = Pass::Backward {
            results,
            gradients: gradients.iter_mut().map(Option::as_deref_mut).collect(),
        };
        let mut timed = timing(&self.graph, program, Phase::Backward, timed);
        let arena = &mut self.arena;
        let watch = if self.check {
            Watch::NotFinite
        } else {
            Watch::Nothing
        };
        let ran = self.threads.run(|| {
            let layers = LayersIn::Learning(layers);
            run(
                program, plan, layers, arena, around, pass, watch, &mut timed,
            )
        });
        ran.map_err(|wrong| not_finite(&self.graph, program, Phase::Backward, wrong))?;
        let all = gradients.into_iter().enumerate();
        Ok(all.filter_map(|(at, g)| Some((at, g?))).collect())
    }

    /// Takes back the memory of gradients that are no longer needed: the next backward pass writes there.
    pub(super) fn give_back(&mut self, gradients: impl IntoIterator<Item = (usize, Vec<f32>)>) {
        self.room.resize(self.graph.parameters().len(), None);
        for (at, gradient) in gradients {
            self.room[at] = Some(gradient);
        }
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

/// What a batch norm measured of a batch.
pub(super) struct Measured<'a> {
    /// Running mean and variance and the counter, by index.
    pub(super) running: [usize; 3],
    pub(super) statistics: &'a Statistics,
    pub(super) momentum: f32,
}

/// Room for the gradients of the parameters `learned`: what is there already where it fits, zeros where not.
fn with_room(
    graph: &Graph,
    learned: &[usize],
    mut there: Vec<Option<Vec<f32>>>,
) -> Vec<Option<Vec<f32>>> {
    let mut room = vec![None; graph.parameters().len()];
    for &at in learned {
        let len = graph.parameters()[at].len();
        let kept = there.get_mut(at).and_then(Option::take);
        let fits = kept.filter(|kept| kept.len() == len);
        room[at] = Some(fits.unwrap_or_else(|| vec![0.0; len]));
    }
    room
}

fn timing<'a>(
    graph: &'a Graph,
    program: &'a Program,
    phase: Phase,
    mut timed: impl FnMut(Timing) + Send + 'a,
) -> impl FnMut(usize, f64) + Send + 'a {
    move |index, seconds| {
        let step = program.step(index);
        timed(Timing {
            node: graph.node(step.node).name.clone(),
            phase,
            kind: step.work.label(),
            seconds,
        });
    }
}

fn not_finite(graph: &Graph, program: &Program, phase: Phase, wrong: NotFinite) -> EngineError {
    EngineError::NotFinite {
        node: graph.node(program.step(wrong.step).node).name.clone(),
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
        let parameters: Vec<Vec<f32>> = { graph.parameters().iter() }
            .map(|p| p.initial(0))
            .collect();
        let parameters: Vec<&[f32]> = parameters.iter().map(|values| &values[..]).collect();
        let shape = Shape::new(1, 3, 4, 5);
        let mut step = |gradient: f32| {
            let input = vec![0.5; shape.len()];
            cpu.forward(&parameters, input, shape, 0, |_| {})?;
            let of_result = vec![gradient; 4 * shape.pixels()];
            let made = cpu.backward(&parameters, &[&of_result], |_| {})?;
            let values = made.clone();
            cpu.give_back(made);
            Ok::<_, EngineError>(values)
        };
        let first = step(1.0).unwrap();
        assert_eq!(first.len(), 2);
        assert!(matches!(step(f32::NAN), Err(EngineError::NotFinite { .. })));
        assert_eq!(step(1.0).unwrap(), first);
    }
}
