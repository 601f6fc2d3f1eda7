//! A network ready to run.

mod diagnose;
mod error;
mod inspect;
mod labels;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use segmenta_graph::{Graph, GraphError, Node, Parameter, Shape};
use segmenta_kernels::{Arena, Isa, MapShape, Threads, WeightMemory, low, prefer_huge_pages};
use segmenta_program::terms::map_shape;
use segmenta_program::{
    Layers, LayersIn, NotFinite, Pass, Plan, Program, Step, Surroundings, Watch, run,
};

use crate::arenas::{Arenas, Lent};
use crate::finite::count_non_finite;
use crate::int8::Int8;
use crate::memory;
use crate::pack::pack;
use crate::passes::lower;
use crate::precision::{ANY_BYTES, Lowering, Precision};

pub use diagnose::check_input;
pub use error::RuntimeError;
pub use inspect::{Int8Layer, StepTime};

/// How a network is to be run.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Threads; 0 takes one a core.
    pub threads: usize,
    /// Instruction set; the fastest that the processor has if `None`.
    pub isa: Option<Isa>,
    /// The results wanted, by name; empty for the main one alone.
    pub outputs: Vec<String>,
    /// Whether weights may be kept in a second form that is faster to compute with.
    pub memory: WeightMemory,
    /// In what it is computed.
    pub precision: Precision,
    /// What 8-bit numbers stand for: of use with [`Precision::Int8`], which without it stores nothing in them.
    pub int8: Option<Arc<Int8>>,
    /// Whether every layer goes into low precision that has a kernel for it, even where this processor computes it
    /// faster in f32: for measuring what other processors will compute.
    pub low_everywhere: bool,
    /// What multiplies in low precision; the fastest that the processor has if `None`.
    pub engine: Option<low::Engine>,
}

/// Values in NCHW order and their shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Batch, channels, height, width.
    pub shape: Shape,
    /// Row-major values.
    pub data: Vec<f32>,
}

/// What a network takes in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Packed weights, shared by all input sizes, with their second forms for the plans that are
    /// kept.
    pub weight_bytes: usize,
    /// Intermediate maps for one input size.
    pub arena_bytes: usize,
}

/// How many input sizes are remembered; a plan is small, and cheap to make anew.
const PLANS: usize = 32;

/// A network compiled for this processor. Shared between threads, it runs one input at a time for
/// each, and none waits for another: what is locked is looked up, never computed. The memory for intermediate maps
/// is kept for the next run: as much as recent runs used, and no longer ([`Engine::trim`] gives it back at once).
#[derive(Debug)]
pub struct Engine {
    graph: Graph,
    program: Program,
    layers: Layers,
    /// Convolutions that others were merged into.
    merged: Vec<Node>,
    precision: Precision,
    weight_memory: WeightMemory,
    threads: Threads,
    plans: Mutex<Vec<Arc<Plan>>>,
    arenas: Arenas,
}

impl Engine {
    /// Compiles `graph`; `read` gives the values of a parameter (called from several threads, for
    /// the parameters that the wanted results need).
    ///
    /// # Errors
    /// What `read` says, an unknown result, no threads; [`RuntimeError::WeightsNotFinite`] for a NaN or an infinity
    /// in what the wanted results need.
    pub fn new<E>(
        graph: Graph,
        options: &EngineOptions,
        read: impl Fn(&Parameter) -> Result<Vec<f32>, E> + Sync,
    ) -> Result<Self, E>
    where
        E: From<RuntimeError> + Send,
    {
        let names = &options.outputs;
        let wanted: Result<Vec<_>, _> = if names.is_empty() {
            Ok(vec![graph.outputs()[0].node])
        } else {
            names.iter().map(|name| graph.output(name)).collect()
        };
        let wanted = wanted.map_err(RuntimeError::from)?;
        let isa = options.isa.unwrap_or_else(Isa::fastest);
        let threads = Threads::new(options.threads).map_err(RuntimeError::from)?;
        let broken = Mutex::new(BTreeMap::new());
        let checked = |parameter: &Parameter| -> Result<Vec<f32>, E> {
            let values = read(parameter)?;
            let count = count_non_finite(&values);
            if count > 0 {
                lock(&broken).insert(parameter.name.clone(), [count, values.len()]);
            }
            Ok(values)
        };
        let low = options.engine.unwrap_or_else(low::Engine::fastest);
        let lowering = Lowering {
            precision: options.precision,
            int8: options.int8.as_deref(),
            engine: low,
            everywhere: options.low_everywhere,
        };
        let mut draft = lower(&graph, isa, &wanted, &lowering);
        let merged = draft.convs.iter().filter(|conv| !conv.branches.is_empty());
        let merged = merged.map(|conv| conv.node).collect();
        let layers = threads.run(|| pack(&mut draft, low, &checked))?;
        let program = Program::new(isa, low, draft.place(), Vec::new(), &layers);
        let broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = first_broken(&graph, &broken) {
            return Err(error.into());
        }
        Ok(Self {
            graph,
            program,
            layers,
            merged,
            precision: options.precision,
            weight_memory: options.memory,
            threads,
            plans: Mutex::default(),
            arenas: Arenas::default(),
        })
    }

    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.program.isa
    }

    /// In what it is computed.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What multiplies numbers of its precision, in a word, as profiles have it.
    pub fn instruction(&self) -> &'static str {
        match self.precision {
            Precision::F32 => "f32 multiply-adds",
            Precision::Bf16 => self.program.engine.instruction(low::Element::Bf16),
            Precision::Int8 => self.program.engine.instruction(ANY_BYTES),
        }
    }

    /// Threads in use.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// Shapes of the results for an input.
    ///
    /// # Errors
    /// If the input does not fit the network.
    pub fn result_shapes(&self, input: Shape) -> Result<Vec<Shape>, RuntimeError> {
        Ok(self.plan(input)?.results.clone())
    }

    /// What the network takes in memory for an input.
    ///
    /// # Errors
    /// If the input does not fit the network.
    pub fn memory(&self, input: Shape) -> Result<Memory, RuntimeError> {
        let plan = self.plan(input)?;
        Ok(Memory {
            weight_bytes: self.program.weight_bytes(&self.layers),
            arena_bytes: plan.arena_bytes,
        })
    }

    /// Bytes that the engine keeps for intermediate maps of the next runs while none is under way.
    pub fn idle_bytes(&self) -> usize {
        self.arenas.idle() * size_of::<f32>()
    }

    /// Gives back what is kept for the next runs: idle memory for intermediate maps, and the plans of the input
    /// sizes seen with the weights in a second form that only they hold. The next run of each size plans anew.
    pub fn trim(&self) {
        self.arenas.trim();
        let plans = std::mem::take(&mut *lock(&self.plans));
        drop(plans);
    }

    /// Runs the network on an NCHW batch and gives its results in the order asked for.
    ///
    /// # Errors
    /// If the input does not fit the network, or memory is short.
    pub fn forward(&self, input: &[f32], shape: Shape) -> Result<Vec<Tensor>, RuntimeError> {
        let plan = self.plan(shape)?;
        self.check_memory(&plan, shape)?;
        let mut results = tensors(&plan);
        let mut slices: Vec<&mut [f32]> = results.iter_mut().map(|r| &mut r.data[..]).collect();
        self.forward_into(input, shape, &mut slices)?;
        Ok(results)
    }

    /// As [`Engine::forward`], into memory that is there: for each result, as many values as
    /// [`Engine::result_shapes`] says.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    ///
    /// # Panics
    /// If `results` does not have the number of slices and the lengths that it should.
    pub fn forward_into(
        &self,
        input: &[f32],
        shape: Shape,
        results: &mut [&mut [f32]],
    ) -> Result<(), RuntimeError> {
        self.run(input, shape, results, Watch::Nothing, |_, _| {})
    }

    /// The name of the node that a step begins with.
    fn name(&self, step: &Step) -> &str {
        &self.graph.node(step.node).name
    }

    fn run(
        &self,
        input: &[f32],
        shape: Shape,
        results: &mut [&mut [f32]],
        watch: Watch<'_>,
        timed: impl FnMut(usize, f64) + Send,
    ) -> Result<(), RuntimeError> {
        let plan = self.plan(shape)?;
        if input.len() != shape.len() {
            return Err(RuntimeError::Length {
                shape,
                expected: shape.len(),
                got: input.len(),
            });
        }
        let lengths: Vec<usize> = results.iter().map(|r| r.len()).collect();
        let expected: Vec<usize> = plan.results.iter().map(Shape::len).collect();
        assert_eq!(lengths, expected, "memory for the results");

        let mut lent = self.arena(&plan, shape)?;
        let ran = self.pass(&plan, &mut lent.arena, input, results, watch, timed);
        debug_assert_eq!(ran, Ok(()), "nothing is checked");
        Ok(())
    }

    fn pass(
        &self,
        plan: &Plan,
        arena: &mut Arena,
        input: &[f32],
        results: &mut [&mut [f32]],
        watch: Watch<'_>,
        timed: impl FnMut(usize, f64) + Send,
    ) -> Result<(), NotFinite> {
        let around = Surroundings {
            input,
            parameters: &[],
            seed: 0,
        };
        let results = results.iter_mut().map(|result| &mut **result).collect();
        let (layers, pass) = (LayersIn::Fixed(&self.layers), Pass::Forward { results });
        let program = &self.program;
        self.threads
            .run(|| run(program, plan, layers, arena, around, pass, watch, timed))
    }

    /// Memory for the maps of a plan.
    fn arena(&self, plan: &Plan, shape: Shape) -> Result<Lent<'_>, RuntimeError> {
        let lent = self.arenas.take(plan.arena_bytes / size_of::<f32>());
        lent.map_err(|short| RuntimeError::Memory {
            shape,
            bytes: short.bytes,
        })
    }

    /// Whether an input's results and what the arena must grow by fit into memory.
    fn check_memory(&self, plan: &Plan, shape: Shape) -> Result<(), RuntimeError> {
        let arena = self.arenas.growth(plan.arena_bytes / size_of::<f32>());
        let results: usize = plan.results.iter().map(Shape::len).sum();
        let bytes = (arena + results).saturating_mul(size_of::<f32>());
        match memory::available() {
            Some(available) if bytes > available => Err(RuntimeError::Memory { shape, bytes }),
            _ => Ok(()),
        }
    }

    fn plan(&self, input: Shape) -> Result<Arc<Plan>, RuntimeError> {
        let make = || {
            let Self {
                graph,
                program,
                layers,
                threads,
                weight_memory,
                ..
            } = self;
            let plan = || {
                Plan::new(
                    graph,
                    program,
                    layers,
                    threads.count(),
                    *weight_memory,
                    input,
                )
            };
            threads.run(plan)
        };
        self.plan_by(input, make)
    }

    /// The plan for an input, made by `make` if it is not known: without the lock, so that inputs of known sizes
    /// need not wait. Two threads that make one at the same time go on with the first.
    fn plan_by(
        &self,
        input: Shape,
        make: impl FnOnce() -> Result<Plan, GraphError>,
    ) -> Result<Arc<Plan>, RuntimeError> {
        let wanted = map_shape(input);
        if let Some(plan) = known(&mut lock(&self.plans), wanted) {
            return Ok(plan);
        }
        let plan = Arc::new(make()?);
        let mut plans = lock(&self.plans);
        if let Some(first) = known(&mut plans, wanted) {
            return Ok(first);
        }
        let oldest = (plans.len() == PLANS).then(|| plans.remove(0));
        plans.push(Arc::clone(&plan));
        // What the oldest held of weights is freed without the lock.
        drop(plans);
        drop(oldest);
        Ok(plan)
    }
}

/// Zeros for the results of a plan.
fn tensors(plan: &Plan) -> Vec<Tensor> {
    let shapes = plan.results.iter().copied();
    let tensor = |shape: Shape| {
        let mut data = vec![0.0; shape.len()];
        prefer_huge_pages(&mut data);
        Tensor { shape, data }
    };
    shapes.map(tensor).collect()
}

/// The error that names the first of the parameters with values that are no numbers: name, how many, of how many.
fn first_broken(graph: &Graph, broken: &BTreeMap<String, [usize; 2]>) -> Option<RuntimeError> {
    let mut parameters = graph.parameters().iter();
    let (parameter, &[count, of]) =
        parameters.find_map(|parameter| broken.get_key_value(&parameter.name))?;
    Some(RuntimeError::WeightsNotFinite {
        parameter: parameter.clone(),
        count,
        of,
        others: broken.len() - 1,
    })
}

/// The plan for an input among those that are kept, where it becomes the last used.
fn known(plans: &mut Vec<Arc<Plan>>, input: MapShape) -> Option<Arc<Plan>> {
    let at = plans.iter().position(|plan| plan.input == input)?;
    let plan = plans.remove(at);
    plans.push(Arc::clone(&plan));
    Some(plan)
}

/// What a lock guards here stays whole if a thread panics while holding it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
