//! The steps of the backward pass: those of the forward pass from the last to the first. Each step turns the gradient of
//! its output into the gradients of its inputs, as its operation says.
//!
//! A gradient that several readers give is the first one's buffer, added to in place where nobody else reads
//! it; a convolution adds while it writes. What a sum passes on to its terms, and a concatenation to its
//! parts, is not copied.

use segmenta_graph::{Node, Shape};
use segmenta_kernels::{Activation, Isa, MapShape};

use crate::layers::Layers;
use crate::ops::{Accumulate, Add, ApplyGradient};
use crate::place::Placed;
use crate::terms::map_shape;
use crate::value::{Buffers, Element, Value};
use crate::work::{Step, Work};

/// What of a network learns, for inputs of one size.
#[derive(Clone, Copy, Debug)]
pub struct Learning<'a> {
    /// The instruction set in use.
    pub isa: Isa,
    /// Shapes of all nodes.
    pub shapes: &'a [Shape],
    /// Whether each parameter learns.
    pub trains: &'a [bool],
    /// Whether something at or before each node learns.
    pub learns: &'a [bool],
    /// The layers of the forward pass.
    pub layers: &'a Layers,
}

/// The steps of the backward pass of those that are placed.
pub fn backward(placed: &mut Placed, learning: Learning<'_>) -> Vec<Step> {
    let Placed { buffers, steps, .. } = placed;
    let mut backward = Backward {
        learning,
        buffers,
        gradients: vec![None; learning.shapes.len()],
        steps: Vec::new(),
        at: None,
    };
    for step in steps.iter().rev() {
        backward.step(step);
    }
    backward.steps
}

/// The steps so far, and the gradient of each node that has one and has not passed it on.
pub(crate) struct Backward<'a> {
    pub(crate) learning: Learning<'a>,
    buffers: &'a mut Buffers,
    gradients: Vec<Option<Value>>,
    steps: Vec<Step>,
    /// The node that steps are written for, and the one whose value it made.
    at: Option<[Node; 2]>,
}

impl Backward<'_> {
    fn step(&mut self, step: &Step) {
        self.at = Some([step.node, step.output]);
        let dy = match step.work {
            // Results take their gradients from the loss.
            Work::Emit(_) => Some(step.reads[0]),
            Work::Copy(_) => None,
            _ => self.gradients[step.output.index()].take(),
        };
        if let Some(dy) = dy {
            step.work.backward(step, dy, self);
        }
    }

    /// The shape of a node.
    pub(crate) fn shape(&self, node: Node) -> MapShape {
        map_shape(self.learning.shapes[node.index()])
    }

    /// Whether a parameter learns.
    pub(crate) fn trains(&self, parameter: usize) -> bool {
        self.learning.trains[parameter]
    }

    /// The gradient that a node has so far.
    pub(crate) fn so_far(&self, node: Node) -> Option<Value> {
        self.gradients[node.index()]
    }

    /// Gives a node the gradient that `work` computes from `reads`.
    pub(crate) fn give(&mut self, node: Node, work: impl Into<Work>, reads: Vec<Value>) {
        if self.learning.learns[node.index()] {
            let to = self.fresh(node);
            self.push(work, reads, vec![to]);
            self.pass(node, to);
        }
    }

    /// Gives a node a gradient that is there.
    pub(crate) fn pass(&mut self, node: Node, gradient: Value) {
        if !self.learning.learns[node.index()] {
            return;
        }
        let sum = match self.gradients[node.index()] {
            None => gradient,
            Some(sum) if self.is_shared(node, sum) || sum.buffer == gradient.buffer => {
                let to = self.fresh(node);
                self.push(Add(Activation::None), vec![sum, gradient], vec![to]);
                to
            }
            Some(sum) => {
                self.push(Accumulate, vec![gradient], vec![sum]);
                sum
            }
        };
        self.gradients[node.index()] = Some(sum);
    }

    /// Replaces the gradient that a node has so far.
    pub(crate) fn replace(&mut self, node: Node, gradient: Value) {
        self.gradients[node.index()] = Some(gradient);
    }

    /// Whether another node has yet to read some of a node's gradient.
    pub(crate) fn is_shared(&self, node: Node, gradient: Value) -> bool {
        let others = self.gradients.iter().enumerate();
        let mut others = others.filter(|(other, _)| *other != node.index());
        others.any(|(_, other)| other.is_some_and(|other| other.overlaps(gradient)))
    }

    /// The gradient before a non-linearity that only clamps and wrote `y`.
    pub(crate) fn before(
        &mut self,
        activation: Activation,
        y: Value,
        dy: Value,
        of: Node,
    ) -> Value {
        if activation == Activation::None {
            return dy;
        }
        let dz = self.fresh(of);
        self.push(ApplyGradient(activation), vec![y, dy], vec![dz]);
        dz
    }

    /// Room for the gradient of a node.
    pub(crate) fn fresh(&mut self, node: Node) -> Value {
        let channels = self.shape(node).channels;
        self.buffers.allocate(channels, node, Element::F32)
    }

    /// Writes a step down.
    pub(crate) fn push(&mut self, work: impl Into<Work>, reads: Vec<Value>, writes: Vec<Value>) {
        let [node, output] = self.at.expect("a step is being gone back");
        self.steps.push(Step {
            node,
            output,
            inputs: Vec::new(),
            work: work.into(),
            reads,
            writes,
            precise: false,
        });
    }
}
