//! Building a graph, in the words of the papers.
//!
//! A builder's methods give a node back, never an error, so that architectures read as they are
//! described. The first thing that does not fit is kept and [`Builder::finish`] returns it.

mod attention;
mod layers;
mod maps;
mod norms;
mod order;
mod parted;
mod rows;
mod windows;

use std::collections::HashMap;
use std::fmt::Display;

use crate::error::GraphError;
use crate::graph::{Graph, Node, NodeData, Output};
use crate::init::InitRule;
use crate::op::{BatchNorm, Op};
use crate::parameter::{Parameter, ParameterId, Role};
use crate::scope::Scope;
use crate::side::{Side, Sides};
use order::ModuleOrder;

/// Channels and symbolic size of a node: what two maps must share to be added.
type Extent = (usize, Side, Side);

/// A graph in the making.
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    names: HashMap<String, ParameterId>,
    /// Whether entries that there are may be taken once more.
    shares: bool,
    batch_norm: BatchNorm,
    init: InitRule,
    order: ModuleOrder,
    error: Option<GraphError>,
}

impl Builder {
    /// Starts a network on pictures of `channels` channels; gives the input's node too.
    pub fn new(channels: usize) -> (Self, Node) {
        let mut builder = Self {
            graph: Graph {
                nodes: Vec::new(),
                parameters: Vec::new(),
                outputs: Vec::new(),
                sides: Sides::default(),
            },
            names: HashMap::new(),
            shares: false,
            batch_norm: BatchNorm::default(),
            init: InitRule::default(),
            order: ModuleOrder::default(),
            error: None,
        };
        let extent = (channels, Sides::HEIGHT, Sides::WIDTH);
        let input = builder.push("input", Op::Input, &[], Vec::new(), extent);
        (builder, input)
    }

    /// Eps and momentum of the batch norms that follow; gives those before.
    pub fn set_batch_norm(&mut self, batch_norm: BatchNorm) -> BatchNorm {
        std::mem::replace(&mut self.batch_norm, batch_norm)
    }

    /// How the kernels and biases that follow are drawn; gives the rule before.
    pub fn set_init(&mut self, init: InitRule) -> InitRule {
        std::mem::replace(&mut self.init, init)
    }

    /// Builds layers that share their entries with layers of the same names: a module that is called more than once.
    /// Entries that there are not yet are made as ever.
    pub fn sharing<T>(&mut self, build: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.shares, true);
        let built = build(self);
        self.shares = before;
        built
    }

    /// Says in which order a state dict lists the modules directly under `name`, where it is not the order
    /// in which their layers are built: an attention that a module owns, but that works before it.
    pub fn module_order(&mut self, name: &Scope, children: &[&str]) {
        self.order.declare(name, children);
    }

    /// Channels of a node.
    pub fn channels(&self, node: Node) -> usize {
        self.graph.node(node).channels
    }

    /// Whether two nodes have the same channels, height and width for every input.
    pub fn same_shape(&self, a: Node, b: Node) -> bool {
        self.extent(a) == self.extent(b)
    }

    /// Whether two nodes have the same height and width for every input.
    pub fn same_size(&self, a: Node, b: Node) -> bool {
        let size = |node| {
            let (_, height, width) = self.extent(node);
            (height, width)
        };
        size(a) == size(b)
    }

    /// Declares a result; the first declared is the main one.
    pub fn output(&mut self, name: &str, node: Node) {
        self.graph.outputs.push(Output {
            name: name.into(),
            node,
        });
    }

    /// The finished graph, its parameters in the order of a state dict: module by module.
    ///
    /// # Errors
    /// The first thing that did not fit, with the name of its node.
    pub fn finish(mut self) -> Result<Graph, GraphError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.order.sort(&mut self.graph);
        Ok(self.graph)
    }

    fn extent(&self, node: Node) -> Extent {
        let data = self.graph.node(node);
        (data.channels, data.height, data.width)
    }

    fn describe(&self, node: Node) -> String {
        let data = self.graph.node(node);
        let size = self.graph.symbolic_size(node);
        format!("`{}` ({}×{size})", data.name, data.channels)
    }

    fn push(
        &mut self,
        name: impl Display,
        op: Op,
        inputs: &[Node],
        parameters: Vec<ParameterId>,
        (channels, height, width): Extent,
    ) -> Node {
        self.graph.nodes.push(NodeData {
            name: name.to_string(),
            op,
            inputs: inputs.to_vec(),
            parameters,
            channels,
            height,
            width,
        });
        Node(self.graph.nodes.len() as u32 - 1)
    }

    /// A layer's state-dict entry; `kernel` is the shape that the fans are counted from.
    fn parameter(
        &mut self,
        name: &Scope,
        shape: Vec<usize>,
        role: Role,
        kernel: &[usize],
    ) -> ParameterId {
        let name = name.to_string();
        let id = ParameterId(self.graph.parameters.len() as u32);
        match self.names.get(&name) {
            Some(&shared) if self.shares && self.graph.parameter(shared).shape == shape => {
                return shared;
            }
            Some(_) => {
                self.error
                    .get_or_insert(GraphError::DuplicateParameter(name.clone()));
            }
            None => {
                self.names.insert(name.clone(), id);
            }
        }
        let init = self.init.of(role, kernel);
        self.graph.parameters.push(Parameter {
            name,
            shape,
            role,
            init,
        });
        id
    }

    fn fail(&mut self, node: impl Display, op: &Op, problem: impl FnOnce() -> String) {
        if self.error.is_none() {
            self.error = Some(GraphError::Mismatch {
                node: node.to_string(),
                op: op.kind(),
                problem: problem(),
            });
        }
    }
}

#[cfg(test)]
mod tests;
