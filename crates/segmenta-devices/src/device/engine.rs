//! The graph learns on a device: its nodes as Burn's operations, with Burn's tape.
//!
//! Where the processor has a program compiled for a size, this walks the graph anew in each step. Results are handed
//! out without the tape, and the loss's gradient is handed in: the backward pass is that of `Σ result · gradient`.
//! `layers` says what a node is to Burn (with `attention` and `norms`), `sides` how resizes and mean pools are products
//! of matrices, `tape` what is kept between the passes.

use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use segmenta_graph::{Graph, Node, NodeData, Op, Shape};
use segmenta_kernels::{Isa, Threads};
use segmenta_losses::{LossSpec, Target};

use super::layers::{Layers, Measured};
use super::losses::{Truth, of_logits};
use super::sides::Sides;
use super::tape::{Gradients, Piece, first_not_finite};
use super::{DeviceError, Numbers, Pass, Place};

/// What the engine is made with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Threads for a device that computes on this processor; 0 takes one a core.
    pub threads: usize,
    /// Instruction set that is told of; the fastest if `None`.
    pub isa: Option<Isa>,
    /// The nodes whose values are the results.
    pub wanted: Vec<Node>,
    /// Whether each parameter learns.
    pub trains: Vec<bool>,
    /// Whether dropout and stochastic depth drop.
    pub drops: bool,
    /// Whether each value is looked at, so that a NaN or infinity names the node that made it. Slow.
    pub check: bool,
}

/// How long one node took.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The node's name.
    pub node: String,
    /// In which pass.
    pub pass: Pass,
    /// Its operation.
    pub kind: &'static str,
    /// How long it took.
    pub seconds: f64,
}

/// Results, the tape's pieces, and what batch norms measured.
type Walked = (Vec<Tensor<4>>, Vec<Piece>, Vec<Measured>);

/// A network that learns on a device of Burn's.
#[derive(Debug)]
pub struct Engine {
    graph: Arc<Graph>,
    place: Place,
    threads: Threads,
    isa: Isa,
    wanted: Vec<Node>,
    /// Whether each node is needed for them.
    needed: Vec<bool>,
    /// Whether something at or before a node learns.
    learns: Vec<bool>,
    /// Whether each parameter learns.
    pub(crate) trains: Vec<bool>,
    pub(crate) drops: bool,
    check: bool,
    sides: Sides,
    /// What the backward pass needs of the forward pass.
    pending: Option<Vec<Piece>>,
}

impl Engine {
    /// For a graph, on a device.
    ///
    /// # Errors
    /// No threads.
    pub fn new(place: Place, graph: Arc<Graph>, setup: Setup) -> Result<Self, DeviceError> {
        let Setup {
            threads,
            isa,
            wanted,
            trains,
            drops,
            check,
        } = setup;
        let mut learns: Vec<bool> = Vec::with_capacity(graph.nodes().len());
        for data in graph.nodes() {
            let own = data.parameters.iter().any(|p| trains[p.index()]);
            learns.push(own || data.inputs.iter().any(|input| learns[input.index()]));
        }
        Ok(Self {
            sides: Sides::new(&place.device),
            place,
            threads: Threads::new(threads).map_err(DeviceError::Threads)?,
            isa: isa.unwrap_or_else(Isa::fastest),
            needed: graph.needed_for(&wanted),
            wanted,
            learns,
            trains,
            drops,
            check,
            pending: None,
            graph,
        })
    }

    /// Whether each value is looked at from now on, as [`Setup::check`] says.
    pub fn set_check(&mut self, check: bool) {
        self.check = check;
    }

    /// The instruction set that is told of.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Threads of this machine.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Where it computes.
    pub fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn device(&self) -> &Device {
        &self.place.device
    }

    /// Waits until the device has done all that it was given.
    ///
    /// # Errors
    /// What the device says.
    pub fn sync(&self) -> Result<(), DeviceError> {
        let synced = self.device().sync();
        synced.map_err(|e| DeviceError::Device(e.to_string()))
    }

    /// Does work where the device wants it: on the engine's threads, if those compute. A GPU has a queue for each thread that gives it work, and
    /// queues wait for each other: it gets all from one thread.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        if self.place.is_this_processor() {
            self.threads.run(work)
        } else {
            work()
        }
    }

    /// The results for a batch, N×C×H×W each, from the parameters, in the graph's order and on the device. Moves
    /// running statistics. `timed` hears of each node, which is then waited for.
    ///
    /// # Errors
    /// An input that does not fit the network, a batch norm of one value; with [`Setup::check`] the first node that
    /// made a NaN.
    pub fn forward(
        &mut self,
        parameters: Vec<&mut Numbers>,
        input: Vec<f32>,
        shape: Shape,
        seed: u64,
        timed: Option<impl FnMut(Timing) + Send>,
    ) -> Result<Vec<(Shape, Numbers)>, DeviceError> {
        let mut parameters = parameters;
        let mut timed = timed;
        self.pending = None;
        let shapes = self.graph.shapes(shape)?;
        self.check_norms(&shapes)?;
        let empty = Sides::new(self.device());
        let mut sides = std::mem::replace(&mut self.sides, empty);
        sides.keep_for(shape);
        let layers = Layers::new(&self.graph, shapes, &mut sides, self, seed);
        let input = Tensor::from_data(TensorData::new(input, extents(shape)), self.device());
        let own = &parameters;
        let walked = self.run(|| self.walk(layers, own, input, timed.as_mut()));
        self.sides = sides;
        let (results, pieces, measured) = walked?;
        for norm in measured {
            let [mean, variance, counter] = norm.running();
            let running = parameters.get_disjoint_mut([mean, variance, counter]);
            if let Ok(running) = running {
                norm.track(running.map(|numbers| &mut **numbers));
            }
        }
        self.pending = Some(pieces);
        Ok(results.into_iter().map(flat).collect())
    }

    /// Computes every node that is needed.
    fn walk(
        &self,
        mut layers: Layers<'_>,
        parameters: &[&mut Numbers],
        input: Tensor<4>,
        mut timed: Option<&mut (impl FnMut(Timing) + Send)>,
    ) -> Result<Walked, DeviceError> {
        // One tape for the whole network; or, where each node is to be looked at or timed, one for each.
        let cut = self.check || timed.is_some();
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
                piece.parameter(p.index(), &parameters[p.index()].0, trains)
            });
            let own: Vec<Tensor<1>> = own.collect();
            let mut y = layers.compute(at, data, inputs, &own);
            if cut {
                self.sync()?;
                self.timed(timed.as_deref_mut(), at, Pass::Forward, start);
                self.check(at, Pass::Forward, &y)?;
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

    /// The losses of results, each with its gradient times its factor, for one target.
    ///
    /// # Errors
    /// What the device says.
    pub fn losses<'n>(
        &self,
        loss: &LossSpec,
        results: impl Iterator<Item = (&'n Numbers, f32)> + Send,
        target: &Target,
    ) -> Result<Vec<(f32, Numbers)>, DeviceError> {
        self.run(|| {
            let truth = Truth::new(target, self.device());
            let of_one =
                |(logits, factor): (&Numbers, f32)| of_logits(loss, logits, &truth, factor);
            let made = results.map(of_one).collect::<Result<_, _>>();
            made.map_err(DeviceError::Device)
        })
    }

    /// The gradients of all parameters that learn, by their index, from those of the results of the last forward pass,
    /// which have the results' shapes. `timed` as in [`Engine::forward`].
    ///
    /// # Errors
    /// No forward pass before it; with [`Setup::check`] the first node that made a NaN.
    pub fn backward(
        &mut self,
        gradients: Vec<(Shape, Numbers)>,
        timed: Option<impl FnMut(Timing) + Send>,
    ) -> Result<Vec<(usize, Numbers)>, DeviceError> {
        let pieces = self.pending.take().ok_or(DeviceError::NoForward)?;
        let this = &*self;
        let gradients = gradients.into_iter();
        let gradients = gradients.map(|(shape, numbers)| numbers.0.reshape(extents(shape)));
        let gradients = gradients.collect();
        self.run(|| this.unwind(pieces, gradients, timed))
    }

    fn unwind(
        &self,
        pieces: Vec<Piece>,
        results: Vec<Tensor<4>>,
        mut timed: Option<impl FnMut(Timing) + Send>,
    ) -> Result<Vec<(usize, Numbers)>, DeviceError> {
        let mut gradients = Gradients::default();
        for (node, gradient) in self.wanted.iter().zip(results) {
            gradients.add(node.index(), gradient.to_device(self.device()));
        }
        for piece in pieces.into_iter().rev() {
            let (start, node) = (Instant::now(), piece.node());
            let made = piece.backward(&mut gradients);
            let Some(at) = node else { continue };
            self.sync()?;
            self.timed(timed.as_mut(), at, Pass::Backward, start);
            for gradient in &made.inputs {
                self.check(at, Pass::Backward, gradient)?;
            }
            for gradient in &made.parameters {
                self.check(at, Pass::Backward, gradient)?;
            }
        }
        let made = gradients.of_parameters().into_iter();
        Ok(made.map(|(at, gradient)| (at, Numbers(gradient))).collect())
    }

    /// A batch norm of one value a channel, before anything is computed.
    fn check_norms(&self, shapes: &[Shape]) -> Result<(), DeviceError> {
        for (node, data) in self.graph.iter() {
            let at = node.index();
            let is_norm = matches!(data.op, Op::BatchNorm(_)) && self.needed[at];
            if is_norm && self.trains[data.parameters[0].index()] {
                check_values(data, shapes[at])?;
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

    fn timed(
        &self,
        timed: Option<&mut (impl FnMut(Timing) + Send)>,
        at: usize,
        pass: Pass,
        start: Instant,
    ) {
        let data = &self.graph.nodes()[at];
        if let Some(timed) = timed {
            timed(Timing {
                node: data.name.clone(),
                pass,
                kind: data.op.kind(),
                seconds: start.elapsed().as_secs_f64(),
            });
        }
    }

    /// Looks for a NaN or an infinity in what a node made, if that is asked for.
    fn check<const D: usize>(
        &self,
        at: usize,
        pass: Pass,
        values: &Tensor<D>,
    ) -> Result<(), DeviceError> {
        if !self.check {
            return Ok(());
        }
        let found = first_not_finite(values).map_err(DeviceError::Device)?;
        found.map_or(Ok(()), |value| {
            let node = self.graph.nodes()[at].name.clone();
            Err(DeviceError::NotFinite { node, pass, value })
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

/// Whether a batch norm in training has values enough to find a variance.
fn check_values(norm: &NodeData, shape: Shape) -> Result<(), DeviceError> {
    if shape.batch * shape.pixels() > 1 {
        return Ok(());
    }
    Err(DeviceError::OneValue {
        node: norm.name.clone(),
        channels: shape.channels,
    })
}

/// A shape as Burn has it.
fn extents(shape: Shape) -> [usize; 4] {
    [shape.batch, shape.channels, shape.height, shape.width]
}

fn flat(map: Tensor<4>) -> (Shape, Numbers) {
    let shape = Shape::from(map.dims());
    (shape, Numbers(map.reshape([shape.len()])))
}
