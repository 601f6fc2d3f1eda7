//! The graph learns on any device: its nodes as Burn's operations, with Burn's tape.
//!
//! Where `cpu` is a program compiled for a size, this walks the graph anew in each step. Results are handed out
//! without the tape, and the loss's gradient is handed in: the backward pass is that of `Σ result · gradient`.
//! `layers` says what a node is to Burn (with `attention` and `norms`), `sides` how resizes and mean pools are products of matrices, `tape` what
//! is kept between the passes.

mod attention;
mod layers;
mod norms;
mod sides;
mod tape;

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use segmenta_graph::{Graph, Node, Op, Shape};
use segmenta_kernels::{Isa, Threads};

use self::layers::{Layers, Measured};
use self::sides::Sides;
use self::tape::{Gradients, Piece, first_not_finite};
use super::cpu::Setup;
use super::executor::{extents, sync};
use super::{DeviceSpec, EngineError, Parameters, Phase, Timing};

/// Results, the tape's pieces, and what batch norms measured.
type Walked = (Vec<Tensor<4>>, Vec<Piece>, Vec<Measured>);

/// A network that learns on a device of Burn's.
#[derive(Debug)]
pub(super) struct Portable {
    graph: Arc<Graph>,
    device: Device,
    /// Whether that is this machine's processor.
    is_this_processor: bool,
    threads: Threads,
    isa: Isa,
    wanted: Vec<Node>,
    /// Whether each node is needed for them.
    needed: Vec<bool>,
    /// Whether something at or before a node learns.
    learns: Vec<bool>,
    /// Whether each parameter learns.
    trains: Vec<bool>,
    drops: bool,
    check: bool,
    sides: Sides,
    /// What the backward pass needs of the forward pass.
    pending: Option<Vec<Piece>>,
}

impl Portable {
    pub(super) fn new(
        spec: DeviceSpec,
        device: &Device,
        graph: Arc<Graph>,
        setup: Setup,
    ) -> Result<Self, EngineError> {
        let Setup {
            threads,
            isa,
            wanted,
            trains,
            drops,
            check,
            // Burn's tape keeps what it keeps.
            recomputes: _,
        } = setup;
        let mut learns: Vec<bool> = Vec::with_capacity(graph.nodes().len());
        for data in graph.nodes() {
            let own = data.parameters.iter().any(|p| trains[p.index()]);
            learns.push(own || data.inputs.iter().any(|input| learns[input.index()]));
        }
        Ok(Self {
            device: device.clone(),
            is_this_processor: spec.is_this_processor(),
            threads: Threads::new(threads).map_err(EngineError::Threads)?,
            isa: isa.unwrap_or_else(Isa::fastest),
            needed: graph.needed_for(&wanted),
            wanted,
            learns,
            trains,
            drops,
            check,
            sides: Sides::new(device),
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

    /// On the engine's threads, if those compute. A GPU has a queue for each thread that gives it work, and
    /// queues wait for each other: it gets all from one thread.
    pub(super) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        if self.is_this_processor {
            self.threads.run(work)
        } else {
            work()
        }
    }

    /// The results for a batch, N×C×H×W each, without a tape. Moves running statistics.
    pub(super) fn forward(
        &mut self,
        parameters: &mut Parameters,
        input: Vec<f32>,
        shape: Shape,
        seed: u64,
        timings: &mut Option<Vec<Timing>>,
    ) -> Result<Vec<Tensor<4>>, EngineError> {
        self.pending = None;
        let shapes = self.graph.shapes(shape)?;
        self.check_norms(&shapes)?;
        let mut sides = std::mem::replace(&mut self.sides, Sides::new(&self.device));
        sides.keep_for(shape);
        let layers = Layers::new(&self.graph, shapes, &mut sides, self, seed);
        let input = Tensor::from_data(TensorData::new(input, extents(shape)), &self.device);
        let walked = self.run(|| self.walk(layers, parameters, input, timings));
        self.sides = sides;
        let (results, pieces, measured) = walked?;
        for norm in measured {
            norm.track(parameters);
        }
        self.pending = Some(pieces);
        Ok(results)
    }

    /// Computes every node that is needed.
    fn walk(
        &self,
        mut layers: Layers<'_>,
        parameters: &Parameters,
        input: Tensor<4>,
        timings: &mut Option<Vec<Timing>>,
    ) -> Result<Walked, EngineError> {
        // One tape for the whole network; or, where each node is to be looked at or timed, one for each.
        let cut = self.check || timings.is_some();
        let mut values = self.values(input);
        let (mut pieces, mut piece) = (Vec::new(), Piece::default());
        for (node, data) in self.graph.iter() {
            let at = node.index();
            if !self.needed[at] || data.op == Op::Input {
                continue;
            }
            let start = Instant::now();
            let inputs = data.inputs.iter().map(|input| {
                let x = values.read(input.index());
                if cut && self.learns[input.index()] {
                    piece.leaf(input.index(), x)
                } else {
                    x
                }
            });
            let inputs: Vec<Tensor<4>> = inputs.collect();
            let own = data.parameters.iter().map(|p| {
                let trains = self.trains[p.index()];
                piece.parameter(p.index(), parameters.tensor(p.index()), trains)
            });
            let own: Vec<Tensor<1>> = own.collect();
            let mut y = layers.compute(at, data, inputs, &own);
            if cut {
                sync(&self.device)?;
                self.timed(timings, at, Phase::Forward, start);
                self.check(at, Phase::Forward, &y)?;
                let without_tape = y.clone().inner().autodiff();
                piece.output(at, std::mem::replace(&mut y, without_tape));
                pieces.push(std::mem::take(&mut piece).of(at));
            }
            values.write(at, y);
        }
        let wanted = self.wanted.iter().map(|node| {
            let y = values.read(node.index());
            if !cut {
                piece.output(node.index(), y.clone());
            }
            y.inner()
        });
        let results = wanted.collect();
        if !cut {
            pieces.push(piece);
        }
        Ok((results, pieces, layers.measured()))
    }

    /// The gradients of all parameters that learn, from those of the results of the last forward pass.
    pub(super) fn backward(
        &mut self,
        gradients: Vec<Tensor<4>>,
        timings: &mut Option<Vec<Timing>>,
    ) -> Result<Vec<(usize, Tensor<1>)>, EngineError> {
        let pieces = self.pending.take().ok_or(EngineError::NoForward)?;
        let this = &*self;
        self.run(|| this.unwind(pieces, gradients, timings))
    }

    fn unwind(
        &self,
        pieces: Vec<Piece>,
        results: Vec<Tensor<4>>,
        timings: &mut Option<Vec<Timing>>,
    ) -> Result<Vec<(usize, Tensor<1>)>, EngineError> {
        let mut gradients = Gradients::default();
        for (node, gradient) in self.wanted.iter().zip(results) {
            gradients.add(node.index(), gradient.to_device(&self.device));
        }
        for piece in pieces.into_iter().rev() {
            let (start, node) = (Instant::now(), piece.node());
            let made = piece.backward(&mut gradients);
            let Some(at) = node else { continue };
            sync(&self.device)?;
            self.timed(timings, at, Phase::Backward, start);
            for gradient in &made.inputs {
                self.check(at, Phase::Backward, gradient)?;
            }
            for gradient in &made.parameters {
                self.check(at, Phase::Backward, gradient)?;
            }
        }
        Ok(gradients.of_parameters())
    }

    /// A batch norm of one value a channel, before anything is computed.
    fn check_norms(&self, shapes: &[Shape]) -> Result<(), EngineError> {
        for (node, data) in self.graph.iter() {
            let at = node.index();
            let is_norm = matches!(data.op, Op::BatchNorm(_)) && self.needed[at];
            if is_norm && self.trains[data.parameters[0].index()] {
                EngineError::check_values(data, shapes[at])?;
            }
        }
        Ok(())
    }

    /// All values: none but the input yet, and how often each is to be read.
    fn values(&self, input: Tensor<4>) -> Values {
        let mut readers = vec![0; self.graph.nodes().len()];
        for (node, data) in self.graph.iter() {
            if self.needed[node.index()] {
                data.inputs.iter().for_each(|x| readers[x.index()] += 1);
            }
        }
        self.wanted.iter().for_each(|x| readers[x.index()] += 1);
        let mut values = vec![None; readers.len()];
        values[0] = Some(input.autodiff());
        Values { values, readers }
    }

    fn timed(&self, timings: &mut Option<Vec<Timing>>, at: usize, phase: Phase, start: Instant) {
        let data = &self.graph.nodes()[at];
        if let Some(all) = timings {
            all.push(Timing {
                node: data.name.clone(),
                phase,
                kind: data.op.kind(),
                seconds: start.elapsed().as_secs_f64(),
            });
        }
    }

    /// Looks for a NaN or an infinity in what a node made, if that is asked for.
    fn check<const D: usize>(
        &self,
        at: usize,
        phase: Phase,
        values: &Tensor<D>,
    ) -> Result<(), EngineError> {
        if !self.check {
            return Ok(());
        }
        let found = first_not_finite(values).map_err(EngineError::Device)?;
        found.map_or(Ok(()), |value| {
            let node = self.graph.nodes()[at].name.clone();
            Err(EngineError::NotFinite { node, phase, value })
        })
    }
}

/// The values of nodes, each until its last reader has it; what the tape needs longer it keeps.
struct Values {
    values: Vec<Option<Tensor<4>>>,
    readers: Vec<usize>,
}

impl Values {
    fn read(&mut self, at: usize) -> Tensor<4> {
        self.readers[at] -= 1;
        let value = match self.readers[at] {
            0 => self.values[at].take(),
            _ => self.values[at].clone(),
        };
        value.expect("inputs stand before what reads them")
    }

    fn write(&mut self, at: usize, value: Tensor<4>) {
        self.values[at] = Some(value);
    }
}
