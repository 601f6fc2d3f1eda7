//! What follows what in a graph, where one node alone reads another.

use segmenta_graph::{Activation, Graph, Node, Op};

/// The readers of each node.
pub(crate) struct Readers(Vec<Vec<Node>>);

/// A convolution, the batch norm after it if there is one, the activation after that, and the node that they end in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layer {
    pub(crate) conv: Node,
    pub(crate) norm: Option<Node>,
    pub(crate) activation: Option<Activation>,
    /// The value that is stored.
    pub(crate) end: Node,
}

impl Readers {
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut readers = vec![Vec::new(); graph.nodes().len()];
        for (node, data) in graph.iter() {
            for input in &data.inputs {
                readers[input.index()].push(node);
            }
        }
        Self(readers)
    }

    /// The only reader of a node, which is no result.
    pub(crate) fn only(&self, graph: &Graph, node: Node) -> Option<Node> {
        let is_result = graph.outputs().iter().any(|output| output.node == node);
        match self.0[node.index()][..] {
            [reader] if !is_result => Some(reader),
            _ => None,
        }
    }

    /// The layer that begins with a convolution.
    pub(crate) fn layer(&self, graph: &Graph, conv: Node) -> Layer {
        let mut layer = Layer {
            conv,
            norm: None,
            activation: None,
            end: conv,
        };
        while let Some(next) = self.only(graph, layer.end) {
            match graph.node(next).op {
                Op::BatchNorm(_) if layer.norm.is_none() && layer.end == conv => {
                    layer.norm = Some(next);
                }
                Op::Activation(activation) => {
                    layer.activation = Some(activation);
                    layer.end = next;
                    break;
                }
                ref op if op.is_training_only() => {}
                _ => break,
            }
            layer.end = next;
        }
        layer
    }
}
