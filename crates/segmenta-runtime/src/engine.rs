//! A network ready to run.

mod diagnose;
mod labels;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use segmenta_graph::{Graph, GraphError, Node, Parameter, Shape};
use segmenta_kernels::{Arena, Isa, MapShape, Threads, WeightMemory, low};
use segmenta_program::terms::map_shape;
use segmenta_program::{
    Layers, LayersIn, NotFinite, Packed, Pass, Plan, Program, Step, Surroundings, Watch, Work, run,
};
use thiserror::Error;

use crate::arenas::{Arenas, Lent};
use crate::finite::count_non_finite;
use crate::int8::Int8;
use crate::memory;
use crate::pack::pack;
use crate::passes::lower;
use crate::precision::{ANY_BYTES, Lowering, Precision};

pub use diagnose::check_input;

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

/// Why a network could not be run.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The input does not fit the network.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A slice that does not have the length of its shape.
    #[error("an input of {shape} has {expected} values; {got} came")]
    Length {
        /// The shape given.
        shape: Shape,
        /// Values of that shape.
        expected: usize,
        /// Values given.
        got: usize,
    },
    /// The intermediate maps do not fit into memory.
    #[error("an input of {shape} needs {} MiB for its intermediate maps and results, more than there is", bytes >> 20)]
    Memory {
        /// Shape of the input.
        shape: Shape,
        /// Bytes of the arena and of the results.
        bytes: usize,
    },
    /// Scores of every class at a size do not fit into memory.
    #[error("scores of {classes} classes at {}×{} pixels need more memory than there is · ask for a smaller size", size[1], size[0])]
    Size {
        /// Planes.
        classes: usize,
        /// Height and width.
        size: [usize; 2],
    },
    /// Weights that are NaN or infinite.
    #[error(
        "weights that are no numbers: {count} of {of} values of `{parameter}` are NaN or infinite{} · \
         save or train them again",
        and_others(*.others)
    )]
    WeightsNotFinite {
        /// The first parameter, in the order of the network's modules, that has them.
        parameter: String,
        /// How many of its values.
        count: usize,
        /// Its values.
        of: usize,
        /// How many parameters after it have some, too.
        others: usize,
    },
    /// A result with NaN or infinities, of weights and an input that have none.
    #[error(
        "the network's numbers end in `{layer}`, the first layer to give NaN or infinity: {count} of {of} values \
         of the result `{result}` are none · the weights are broken, or the picture is not normalised as in training"
    )]
    NotFinite {
        /// The first layer whose output has one.
        layer: String,
        /// The result.
        result: String,
        /// How many of its values.
        count: usize,
        /// Its values.
        of: usize,
    },
    /// An input with NaN or infinities.
    #[error(
        "an input that is no numbers: {count} of {of} values are NaN or infinite, the first at {first:?} (picture, \
         channel, row, column) · replace them"
    )]
    InputNotFinite {
        /// How many values.
        count: usize,
        /// The input's values.
        of: usize,
        /// Where the first is: picture, channel, row, column.
        first: [usize; 4],
    },
    /// No threads.
    #[error("cannot start threads: {0}")]
    Threads(#[from] std::io::Error),
}

fn and_others(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => ", and 1 more tensor has such values".into(),
        n => format!(", and {n} more tensors have such values"),
    }
}

/// Values in NCHW order and their shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Batch, channels, height, width.
    pub shape: Shape,
    /// Row-major values.
    pub data: Vec<f32>,
}

/// How long a step took.
#[derive(Clone, Debug)]
pub struct StepTime {
    /// Name of the node that the step begins with.
    pub name: String,
    /// Its algorithm or kind.
    pub algorithm: &'static str,
    /// Shape of what it wrote, if it wrote a map.
    pub shape: Option<Shape>,
    /// Multiply-adds of its convolution, 0 for other steps.
    pub multiply_adds: u64,
    /// Bytes that it must at least read and write: its maps, and its weights in the form that its
    /// algorithm takes.
    pub bytes: u64,
    /// Seconds.
    pub seconds: f64,
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

/// A convolution that multiplies 8-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int8Layer {
    /// Its node.
    pub layer: Node,
    /// The node whose value it reads.
    pub input: Node,
    /// The node whose value it gives: the last of what is computed with it.
    pub output: Node,
    /// Whether others' weights were added to its own: its numbers are no longer those of its parameters.
    pub merged: bool,
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

    /// As [`Engine::forward`], with the time of each step instead of the results.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn profile(&self, input: &[f32], shape: Shape) -> Result<Vec<StepTime>, RuntimeError> {
        let plan = self.plan(shape)?;
        let mut buffers: Vec<Vec<f32>> = plan.results.iter().map(|s| vec![0.0; s.len()]).collect();
        let mut slices: Vec<&mut [f32]> = buffers.iter_mut().map(|b| &mut b[..]).collect();
        let mut times = Vec::new();
        self.run(
            input,
            shape,
            &mut slices,
            Watch::Nothing,
            |index, seconds| {
                times.push(self.step_time(&plan, index, seconds));
            },
        )?;
        Ok(times)
    }

    /// The convolutions that multiply 8-bit numbers, in the order that they are run in.
    pub fn int8_layers(&self) -> Vec<Int8Layer> {
        let steps = self.program.forward.iter().filter_map(|step| {
            let Work::Conv(conv) = &step.work else {
                return None;
            };
            let Packed::Low(packed) = &self.layers.convs[conv.layer].packed else {
                return None;
            };
            (packed.elements().input != low::Element::Bf16).then(|| Int8Layer {
                layer: step.node,
                input: step.inputs[0],
                output: step.output,
                merged: self.merged.contains(&step.node),
            })
        });
        steps.collect()
    }

    /// As [`Engine::forward`], and shows what every step wrote: the node whose value it is, the map's shape, and its
    /// values N×C×H×W, in f32 whatever they are stored in. For calibration and for finding where two precisions part.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn watch(
        &self,
        input: &[f32],
        shape: Shape,
        mut see: impl FnMut(Node, Shape, &[f32]) + Send,
    ) -> Result<Vec<Tensor>, RuntimeError> {
        let plan = self.plan(shape)?;
        let mut results = tensors(&plan);
        let mut slices: Vec<&mut [f32]> = results.iter_mut().map(|r| &mut r.data[..]).collect();
        let mut seen = |step: &Step, map: MapShape, values: &[f32]| {
            let shape = Shape::new(map.batch, map.channels, map.height, map.width);
            see(step.output, shape, values);
        };
        self.run(
            input,
            shape,
            &mut slices,
            Watch::Values(&mut seen),
            |_, _| {},
        )?;
        Ok(results)
    }

    fn step_time(&self, plan: &Plan, index: usize, seconds: f64) -> StepTime {
        let (step, layers) = (&self.program.forward[index], &self.layers);
        let written = step.writes.first().map(|&value| plan.shape(value));
        let multiply_adds = match (&step.work, written) {
            (Work::Conv(conv), Some(shape)) => {
                let spec = layers.convs[conv.layer].packed.spec();
                spec.weights_len() * shape.batch * shape.pixels()
            }
            (Work::Transposed(conv), _) => {
                let input = plan.shape(step.reads[0]);
                let spec = layers.transposed[conv.layer].packed.spec();
                spec.weights_len() * input.batch * input.pixels()
            }
            _ => 0,
        };
        let maps: usize = step.values().map(|&value| plan.bytes(value)).sum();
        let outside = match (&step.work, step.work.result()) {
            (Work::Block(_), _) => plan.input.batch_len(),
            (Work::Conv(conv), _) if conv.on_picture => plan.input.batch_len(),
            (_, Some(output)) => plan.results[output].len(),
            _ => 0,
        };
        let weights = plan.weight_bytes(index, &step.work, layers);
        StepTime {
            bytes: (maps + outside * size_of::<f32>() + weights) as u64,
            name: self.name(step).into(),
            algorithm: plan.label(index, &step.work, layers),
            shape: written.map(|s| Shape::new(s.batch, s.channels, s.height, s.width)),
            multiply_adds: multiply_adds as u64,
            seconds,
        }
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
    let tensor = |shape: Shape| Tensor {
        shape,
        data: vec![0.0; shape.len()],
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
