//! A network that learns: its graph in training, forward and backward.
//!
//! *In*: a [`Graph`], its [`Parameters`], batches as NCHW numbers. *Out*: [`Logits`], from which
//! any loss follows, and for the loss's gradients those of every parameter, which an
//! [`Optimizer`] takes.
//!
//! On this machine's processor both passes are one program over kernels of our own (`cpu`): it sees the whole
//! graph, so values have places in one arena, norms and non-linearities are fused, and gradients of sums and
//! concatenations are not copied. On any other device ([`DeviceSpec`]) the same nodes are Burn's operations with
//! its tape (`segmenta-devices`, with the features `cuda`, `wgpu` or `flex`); all numbers stay there ([`crate::Numbers`]). Evaluation is [`Engine::evaluator`]: the engine that `predict` runs, so that
//! what is measured is what will be used.

mod cpu;
mod device;
mod error;
mod executor;
mod logits;
mod parameters;

use std::fmt;
use std::sync::Arc;

use segmenta_graph::{Graph, Node, Op, Shape};
use segmenta_kernels::{Isa, Threads};
use segmenta_runtime::{Engine as Evaluator, EngineOptions as EvaluatorOptions};

pub use device::DeviceSpec;
pub use error::EngineError;
pub use logits::Logits;
pub use parameters::Parameters;

use crate::Numbers;
use crate::loss::{LossSpec, Target};
use crate::optim::{Optimizer, Parts, Step, Update};
use cpu::Setup;
use executor::Executor;

/// How a network is to learn.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where it learns.
    pub device: DeviceSpec,
    /// Threads; 0 takes one a core.
    pub threads: usize,
    /// Instruction set; the fastest that the processor has if `None`.
    pub isa: Option<Isa>,
    /// The results wanted, by name; empty for all (`out`, and `aux` where the network has it).
    pub outputs: Vec<String>,
    /// Parts that are frozen: their parameters get no gradient, and their batch norms stay as in evaluation.
    pub parts: Parts,
    /// Whether dropout and stochastic depth drop.
    pub drops: bool,
    /// What decides what they drop.
    pub seed: u64,
    /// Whether what batch norms wrote is computed again by the backward pass, not kept for it (gradient
    /// checkpointing, Chen et al. 2016, arXiv:1604.06174): about a third less memory for one more pass over it.
    pub checkpointing: bool,
    /// Whether each value is looked at, so that a NaN or infinity names the node that made it. Slow.
    pub debug_numerics: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            device: DeviceSpec::Cpu,
            threads: 0,
            isa: None,
            outputs: Vec::new(),
            parts: Parts::default(),
            drops: true,
            seed: 0,
            checkpointing: false,
            debug_numerics: false,
        }
    }
}

/// One of the two ways through a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// From the input to the logits.
    Forward,
    /// From the loss to the parameters.
    Backward,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
        })
    }
}

/// How long one thing took.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The graph's node that it was for.
    pub node: String,
    /// In which pass.
    pub phase: Phase,
    /// What it was, in a word or two.
    pub kind: &'static str,
    /// How long it took.
    pub seconds: f64,
}

/// A parameter's name and the gradient of its values.
pub type Gradient = (String, Numbers);

/// A network in training.
#[derive(Debug)]
pub struct Engine {
    graph: Arc<Graph>,
    /// The parameters that a backward pass must find a gradient for.
    learned: Vec<usize>,
    parameters: Parameters,
    options: EngineOptions,
    executor: Executor,
    /// Forward passes so far: what is dropped changes with it.
    steps: u64,
    /// Shapes of the results that wait for their backward pass.
    results: Option<Vec<Shape>>,
    timings: Option<Vec<Timing>>,
}

impl Engine {
    /// For a graph with these parameters, which are brought to the device.
    ///
    /// # Errors
    /// A result that the graph does not have, a frozen part that no parameter belongs to, no threads, a
    /// device that this build or machine does not have.
    pub fn new(
        graph: Graph,
        mut parameters: Parameters,
        options: EngineOptions,
    ) -> Result<Self, EngineError> {
        let wanted: Vec<Node> = if options.outputs.is_empty() {
            graph.outputs().iter().map(|output| output.node).collect()
        } else {
            let found = options.outputs.iter().map(|name| graph.output(name));
            found.collect::<Result<_, _>>()?
        };
        let entries = graph.parameters().iter();
        options.parts.check(entries.map(|p| &*p.name))?;
        let learns = |p: &segmenta_graph::Parameter| {
            p.is_trainable() && !options.parts.group(&p.name, p.shape.len(), 0.0).frozen
        };
        let trains: Vec<bool> = graph.parameters().iter().map(learns).collect();
        let learned = learned(&graph, &wanted, &trains);
        let setup = Setup {
            threads: options.threads,
            isa: options.isa,
            wanted,
            trains,
            drops: options.drops,
            recomputes: options.checkpointing,
            check: options.debug_numerics,
        };
        let graph = Arc::new(graph);
        let executor = Executor::new(options.device, graph.clone(), setup)?;
        executor.bring(&mut parameters);
        Ok(Self {
            executor,
            graph,
            learned,
            parameters,
            options,
            steps: 0,
            results: None,
            timings: None,
        })
    }

    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// What it is made of now.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Whether each value is looked at from now on, as [`EngineOptions::debug_numerics`] says.
    pub fn set_debug_numerics(&mut self, debug_numerics: bool) {
        self.options.debug_numerics = debug_numerics;
        self.executor.set_check(debug_numerics);
    }

    /// The same, to be changed: loaded, averaged, restored.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// Waits until the device has done all that it was given.
    ///
    /// # Errors
    /// What the device says.
    pub fn sync(&self) -> Result<(), EngineError> {
        self.executor.sync()
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.executor.isa()
    }

    /// The threads in use.
    pub fn threads(&self) -> &Threads {
        self.executor.threads()
    }

    /// Bytes of the arena in which values live between the passes; 0 where Burn's operations keep them.
    pub fn arena_bytes(&self) -> usize {
        self.executor.arena_bytes()
    }

    /// Forward passes taken; a run that goes on sets it, so that the same values are dropped.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Sets [`Engine::steps`].
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
    }

    /// Notes how long everything takes from now on, until [`Engine::take_timings`].
    pub fn time(&mut self) {
        self.timings = Some(Vec::new());
    }

    /// What was timed.
    pub fn take_timings(&mut self) -> Vec<Timing> {
        self.timings.take().unwrap_or_default()
    }

    /// The results for a batch, in training: batch norms measure the batch and move their running
    /// statistics. `input` is N×C×H×W.
    ///
    /// # Errors
    /// An input that does not fit the network, a batch norm of one value, not enough memory; with
    /// [`EngineOptions::debug_numerics`] the first node that made a NaN.
    pub fn forward(&mut self, input: Vec<f32>, shape: Shape) -> Result<Vec<Logits>, EngineError> {
        if input.len() != shape.len() {
            return Err(EngineError::Length {
                shape,
                expected: shape.len(),
                got: input.len(),
            });
        }
        let seed = self.options.seed ^ self.steps.wrapping_mul(0xd134_2543_de82_ef95);
        self.steps += 1;
        self.executor.bring(&mut self.parameters);
        let (parameters, timings) = (&mut self.parameters, &mut self.timings);
        self.results = None;
        let results = self
            .executor
            .forward(parameters, input, shape, seed, timings)?;
        self.results = Some(results.iter().map(Logits::shape).collect());
        Ok(results)
    }

    /// A loss of logits and its gradient times `factor`, where the engine computes.
    ///
    /// # Errors
    /// As [`LossSpec::value_and_gradient`]; what the device says.
    pub fn loss(
        &self,
        loss: &LossSpec,
        logits: &Logits,
        target: &Target,
        factor: f32,
    ) -> Result<(f32, Logits), EngineError> {
        let made = self.losses(loss, &[(logits, factor)], target)?;
        let made = made.into_iter().next();
        made.ok_or_else(|| EngineError::Device("no loss".into()))
    }

    /// As [`Engine::loss`], of several results for one target, which a device is given once.
    ///
    /// # Errors
    /// As [`Engine::loss`].
    pub fn losses(
        &self,
        loss: &LossSpec,
        results: &[(&Logits, f32)],
        target: &Target,
    ) -> Result<Vec<(f32, Logits)>, EngineError> {
        self.executor.losses(loss, results, target)
    }

    /// The gradients of all parameters that learn and that the results depend on, from the gradients of the
    /// last forward pass's results. [`Engine::update`] takes their memory back for the next step.
    ///
    /// # Errors
    /// No forward pass before it, or gradients of other shapes; with [`EngineOptions::debug_numerics`] the
    /// first node that made a NaN.
    pub fn backward(&mut self, gradients: Vec<Logits>) -> Result<Vec<Gradient>, EngineError> {
        let shapes: Vec<Shape> = gradients.iter().map(Logits::shape).collect();
        let Some(results) = &self.results else {
            return Err(EngineError::NoForward);
        };
        if shapes != *results {
            let list = |shapes: &[Shape]| {
                let shapes: Vec<String> = shapes.iter().map(Shape::to_string).collect();
                shapes.join(", ")
            };
            return Err(EngineError::Results {
                expected: list(results),
                got: list(&shapes),
            });
        }
        self.results = None;
        let (executor, timings) = (&mut self.executor, &mut self.timings);
        let gradients = executor.backward(&self.parameters, gradients, timings)?;
        // Each parameter or none: one without a gradient would keep its fresh values without a word.
        let has_one = |at: &usize| gradients.iter().any(|(made, _)| made == at);
        if let Some(&at) = self.learned.iter().find(|at| !has_one(at)) {
            let parameter = self.parameters.entries()[at].name.clone();
            return Err(EngineError::NoGradient { parameter });
        }
        let named = |(at, gradient): (usize, Numbers)| {
            (self.parameters.entries()[at].name.clone(), gradient)
        };
        Ok(gradients.into_iter().map(named).collect())
    }

    /// Moves the parameters along their gradients.
    ///
    /// # Errors
    /// As [`Optimizer::step`].
    pub fn update(
        &mut self,
        optimizer: &mut Optimizer,
        lr: f64,
        scale: f64,
        watch: bool,
        gradients: Vec<Gradient>,
    ) -> Result<Step, EngineError> {
        let mut of: Vec<Option<Gradient>> = vec![None; self.parameters.entries().len()];
        for (name, gradient) in gradients {
            if let Some(at) = self.parameters.position(&name) {
                of[at] = Some((name, gradient));
            }
        }
        self.executor.bring(&mut self.parameters);
        let all = self.parameters.numbers_mut().iter_mut().zip(&of);
        let updates = all.filter_map(|(parameter, gradient)| {
            let (name, gradient) = gradient.as_ref()?;
            Some(Update {
                name,
                parameter,
                gradient,
            })
        });
        let updates: Vec<Update<'_>> = updates.collect();
        let step = || optimizer.step(lr, scale, watch, updates);
        let done = self.executor.run(step)?;
        let gradients = of.into_iter().enumerate();
        let gradients = gradients.filter_map(|(at, gradient)| Some((at, gradient?.1)));
        self.executor.give_back(gradients);
        Ok(done)
    }

    /// The network in evaluation mode with the parameters as they are now: batch norms folded, nothing
    /// dropped.
    ///
    /// # Errors
    /// As [`Evaluator::new`]; what the device says.
    pub fn evaluator(&self, options: &EvaluatorOptions) -> Result<Evaluator, EngineError> {
        evaluator(&self.graph, &self.parameters, options)
    }
}

/// The parameters that learn and that the results depend on by their values; where a max pool found its maxima,
/// which is all that an unpooling takes of it, has no slope.
fn learned(graph: &Graph, wanted: &[Node], trains: &[bool]) -> Vec<usize> {
    let mut reached = vec![false; graph.nodes().len()];
    wanted.iter().for_each(|node| reached[node.index()] = true);
    let mut found = vec![false; trains.len()];
    for (at, data) in graph.nodes().iter().enumerate().rev() {
        if !reached[at] {
            continue;
        }
        let values = match data.op {
            Op::MaxUnpool2d => &data.inputs[..1],
            _ => &data.inputs[..],
        };
        values
            .iter()
            .for_each(|input| reached[input.index()] = true);
        for parameter in &data.parameters {
            found[parameter.index()] = trains[parameter.index()];
        }
    }
    let found = found.into_iter().enumerate();
    found
        .filter_map(|(at, found)| found.then_some(at))
        .collect()
}

/// A network in evaluation mode with these parameters.
///
/// # Errors
/// As [`Engine::evaluator`].
pub fn evaluator(
    graph: &Graph,
    parameters: &Parameters,
    options: &EvaluatorOptions,
) -> Result<Evaluator, EngineError> {
    let read = |parameter: &segmenta_graph::Parameter| {
        let at = parameters.position(&parameter.name);
        let at = at.ok_or_else(|| EngineError::Device(format!("no `{}`", parameter.name)))?;
        Ok::<_, EngineError>(parameters.values(at)?.into_owned())
    };
    Evaluator::new(graph.clone(), options, read)
}
