//! The graph itself: what engines read.

use crate::error::GraphError;
use crate::op::{Filter, Op};
use crate::parameter::{Parameter, ParameterId};
use crate::shape::Shape;
use crate::side::{Side, Sides};

/// Index of a node in its graph. A node's inputs always stand before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(pub(crate) u32);

impl Node {
    /// Position in [`Graph::nodes`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One node: what it computes, from what, under which name, and the shape that comes out.
#[derive(Clone, Debug)]
pub struct NodeData {
    /// Name of the module in the state dict's spelling (`backbone.layer1.0.conv1`).
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// The nodes whose values it reads.
    pub inputs: Vec<Node>,
    /// Its state-dict entries, in the order that [`Op`] documents.
    pub parameters: Vec<ParameterId>,
    /// Channels that come out.
    pub channels: usize,
    /// Height that comes out.
    pub height: Side,
    /// Width that comes out.
    pub width: Side,
}

/// A named result: `out`, and `aux` where the network has an auxiliary head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Name, as torchvision's result dictionary has it.
    pub name: String,
    /// The node whose value it is.
    pub node: Node,
}

/// A network: nodes in an order in which they can be computed, parameters by name, outputs.
#[derive(Clone, Debug)]
pub struct Graph {
    pub(crate) nodes: Vec<NodeData>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) sides: Sides,
}

impl Graph {
    /// All nodes, inputs before those that read them; the first is the network's input.
    pub fn nodes(&self) -> &[NodeData] {
        &self.nodes
    }

    /// One node.
    pub fn node(&self, node: Node) -> &NodeData {
        &self.nodes[node.index()]
    }

    /// All nodes with their index.
    pub fn iter(&self) -> impl Iterator<Item = (Node, &NodeData)> {
        (0..).map(Node).zip(&self.nodes)
    }

    /// All state-dict entries in the order of the modules.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// One state-dict entry.
    pub fn parameter(&self, id: ParameterId) -> &Parameter {
        &self.parameters[id.index()]
    }

    /// Names of the entries of the layers that read the network's input, padded, pooled or as it is: those
    /// whose shapes depend on how many channels come in.
    pub fn input_parameters(&self) -> Vec<String> {
        let mut carries = vec![false; self.nodes.len()];
        let mut entries = Vec::new();
        for (node, data) in self.iter() {
            let reads_it =
                !data.inputs.is_empty() && data.inputs.iter().all(|i| carries[i.index()]);
            carries[node.index()] = match data.op {
                Op::Input => true,
                _ => reads_it && data.parameters.is_empty(),
            };
            if reads_it {
                entries.extend(&data.parameters);
            }
        }
        let names = entries.iter().map(|&id| self.parameter(id).name.clone());
        names.collect()
    }

    /// Number of values that training changes: what PyTorch counts as parameters.
    pub fn trainable_count(&self) -> usize {
        let trainable = self.parameters.iter().filter(|p| p.is_trainable());
        trainable.map(Parameter::len).sum()
    }

    /// The named results, the main one first.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The node of a named result.
    ///
    /// # Errors
    /// [`GraphError::NoOutput`] lists the names there are.
    pub fn output(&self, name: &str) -> Result<Node, GraphError> {
        let found = self.outputs.iter().find(|o| o.name == name);
        found.map(|o| o.node).ok_or_else(|| GraphError::NoOutput {
            name: name.into(),
            known: {
                let names: Vec<_> = self.outputs.iter().map(|o| o.name.as_str()).collect();
                names.join(", ")
            },
        })
    }

    /// The same network, whose results that are `wanted` are resized to the input's size.
    #[must_use]
    pub fn with_results_like_input(
        mut self,
        filter: Filter,
        wanted: impl Fn(&Self, &Output) -> bool,
    ) -> Self {
        for at in 0..self.outputs.len() {
            let Output { name, node } = self.outputs[at].clone();
            if !wanted(&self, &self.outputs[at]) {
                continue;
            }
            self.nodes.push(NodeData {
                name,
                op: Op::ResizeLike {
                    like: Node(0),
                    filter,
                },
                inputs: vec![node],
                parameters: Vec::new(),
                channels: self.node(node).channels,
                height: Sides::HEIGHT,
                width: Sides::WIDTH,
            });
            self.outputs[at].node = Node(self.nodes.len() as u32 - 1);
        }
        self
    }

    /// Channels of the network's input.
    pub fn in_channels(&self) -> usize {
        self.nodes[0].channels
    }

    /// Which nodes the given ones need, themselves included.
    pub fn needed_for(&self, wanted: &[Node]) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        needed[0] = true;
        for node in wanted {
            needed[node.index()] = true;
        }
        for i in (0..self.nodes.len()).rev().filter(|&i| i > 0) {
            if needed[i] {
                for input in &self.nodes[i].inputs {
                    needed[input.index()] = true;
                }
            }
        }
        needed
    }

    /// Whether a node's map has one pixel for every input: a mean over all pixels and what is made of it.
    pub fn is_one_pixel(&self, node: Node) -> bool {
        let data = self.node(node);
        let is_one = |side| self.sides.fixed_pixels(side) == Some(1);
        is_one(data.height) && is_one(data.width)
    }

    /// Whether a node has one size, whatever the input's.
    pub fn has_fixed_size(&self, node: Node) -> bool {
        let data = self.node(node);
        [data.height, data.width]
            .iter()
            .all(|&side| self.sides.fixed_pixels(side).is_some())
    }

    /// The symbolic height and width of a node, such as `⌈H/8⌉×⌈W/8⌉`.
    pub fn symbolic_size(&self, node: Node) -> String {
        let data = self.node(node);
        format!(
            "{}×{}",
            self.sides.display(data.height),
            self.sides.display(data.width)
        )
    }

    /// The shape of every node for an input of `input`.
    ///
    /// # Errors
    /// [`GraphError::Input`] for another number of channels or an empty input,
    /// [`GraphError::TooSmall`] naming the first node that would have no pixel.
    pub fn shapes(&self, input: Shape) -> Result<Vec<Shape>, GraphError> {
        if input.channels != self.in_channels() || input.is_empty() {
            return Err(GraphError::Input {
                expected: self.in_channels(),
                got: input.to_string(),
            });
        }
        let sides = self.sides.values(input.height, input.width);
        let size_of = |data: &NodeData| [sides[data.height.index()], sides[data.width.index()]];
        let shape_of = |data: &NodeData| match size_of(data).map(usize::try_from) {
            [Ok(h), Ok(w)] if h > 0 && w > 0 => Ok(Shape::new(input.batch, data.channels, h, w)),
            _ => Err(GraphError::TooSmall {
                node: data.name.clone(),
                op: data.op.kind(),
                height: input.height,
                width: input.width,
                got: size_of(data).map(|side| side.to_string()).join("×"),
                least: self.least_side(),
            }),
        };
        self.nodes.iter().map(shape_of).collect()
    }
    /// The side of the smallest square input that leaves every node a pixel, if it is no larger than
    /// pictures are.
    pub fn least_side(&self) -> Option<usize> {
        const LARGEST: usize = 1 << 14;
        let fits = |side: usize| {
            let sides = self.sides.values(side, side);
            let of = |side: Side| sides[side.index()];
            self.nodes
                .iter()
                .all(|n| of(n.height) > 0 && of(n.width) > 0)
        };
        // Sides never shrink as the input grows.
        let (mut too_small, mut enough) = (0, LARGEST);
        while enough - too_small > 1 {
            let middle = usize::midpoint(too_small, enough);
            if fits(middle) {
                enough = middle;
            } else {
                too_small = middle;
            }
        }
        fits(enough).then_some(enough)
    }
}
