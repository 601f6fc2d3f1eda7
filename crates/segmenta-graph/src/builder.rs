//! Building a graph, in the words of the papers.
//!
//! A builder's methods give a node back, never an error, so that architectures read as they are
//! described. The first thing that does not fit is kept and [`Builder::finish`] returns it.

use std::collections::HashSet;
use std::fmt::Display;

use crate::error::GraphError;
use crate::graph::{Graph, Node, NodeData, Output};
use crate::op::{Activation, Conv2d, MaxPool2d, Op};
use crate::parameter::{Parameter, ParameterId, Role};
use crate::scope::Scope;
use crate::side::{Side, Sides};

/// Batch norm's eps in PyTorch, and in the networks that do not say otherwise.
const BATCH_NORM_EPS: f32 = 1e-5;

/// Channels and symbolic size of a node: what two maps must share to be added.
type Extent = (usize, Side, Side);

/// A graph in the making.
#[derive(Debug)]
pub struct Builder {
    graph: Graph,
    names: HashSet<String>,
    batch_norm_eps: f32,
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
            names: HashSet::new(),
            batch_norm_eps: BATCH_NORM_EPS,
            error: None,
        };
        let extent = (channels, Sides::HEIGHT, Sides::WIDTH);
        let input = builder.push("input", Op::Input, &[], Vec::new(), extent);
        (builder, input)
    }

    /// The eps of the batch norms that follow (MobileNetV3 has 1e-3); gives the one before.
    pub fn set_batch_norm_eps(&mut self, eps: f32) -> f32 {
        std::mem::replace(&mut self.batch_norm_eps, eps)
    }

    /// Channels of a node.
    pub fn channels(&self, node: Node) -> usize {
        self.graph.node(node).channels
    }

    /// Whether two nodes have the same channels, height and width for every input.
    pub fn same_shape(&self, a: Node, b: Node) -> bool {
        self.extent(a) == self.extent(b)
    }

    /// Convolution; state-dict entries `NAME.weight` and, with bias, `NAME.bias`.
    pub fn conv(&mut self, x: Node, name: &Scope, conv: Conv2d) -> Node {
        let (channels, height, width) = self.extent(x);
        let groups = conv.groups.max(1);
        if !channels.is_multiple_of(groups) || !conv.out_channels.is_multiple_of(groups) {
            self.fail(name, &Op::Conv2d(conv), || {
                format!(
                    "{channels} channels in and {} out do not divide into {groups} groups",
                    conv.out_channels
                )
            });
        }
        let [kh, kw] = conv.kernel;
        let kernel = vec![conv.out_channels, channels / groups, kh, kw];
        let mut parameters = vec![self.parameter(&(name / "weight"), kernel, Role::Kernel)];
        if conv.bias {
            parameters.push(self.parameter(&(name / "bias"), vec![conv.out_channels], Role::Bias));
        }
        let sides = &mut self.graph.sides;
        let mut window = |of, axis: usize| {
            sides.window(
                of,
                conv.kernel[axis],
                conv.stride[axis],
                conv.padding[axis],
                conv.dilation[axis],
            )
        };
        let extent = (conv.out_channels, window(height, 0), window(width, 1));
        self.push(name, Op::Conv2d(conv), &[x], parameters, extent)
    }

    /// Batch norm; state-dict entries `weight`, `bias`, `running_mean`, `running_var`,
    /// `num_batches_tracked` under NAME.
    pub fn batch_norm(&mut self, x: Node, name: &Scope) -> Node {
        let extent = self.extent(x);
        let entries = [
            ("weight", Role::Scale),
            ("bias", Role::Shift),
            ("running_mean", Role::RunningMean),
            ("running_var", Role::RunningVar),
        ];
        let mut parameters: Vec<_> = entries
            .into_iter()
            .map(|(leaf, role)| self.parameter(&(name / leaf), vec![extent.0], role))
            .collect();
        parameters.push(self.parameter(&(name / "num_batches_tracked"), vec![], Role::Counter));
        let op = Op::BatchNorm {
            eps: self.batch_norm_eps,
        };
        self.push(name, op, &[x], parameters, extent)
    }

    /// A pointwise non-linearity, named after the node that it follows.
    pub fn activation(&mut self, x: Node, activation: Activation) -> Node {
        let name = self.graph.node(x).name.clone();
        let extent = self.extent(x);
        self.push(name, Op::Activation(activation), &[x], Vec::new(), extent)
    }

    /// [`Activation::Relu`].
    pub fn relu(&mut self, x: Node) -> Node {
        self.activation(x, Activation::Relu)
    }

    /// Convolution and batch norm.
    pub fn conv_bn(&mut self, x: Node, conv: &Scope, norm: &Scope, spec: Conv2d) -> Node {
        let y = self.conv(x, conv, spec);
        self.batch_norm(y, norm)
    }

    /// Convolution, batch norm and ReLU.
    pub fn conv_bn_relu(&mut self, x: Node, conv: &Scope, norm: &Scope, spec: Conv2d) -> Node {
        let y = self.conv_bn(x, conv, norm, spec);
        self.relu(y)
    }

    /// Sum of two maps of one shape.
    pub fn add(&mut self, a: Node, b: Node, name: &Scope) -> Node {
        if !self.same_shape(a, b) {
            let shapes = (self.describe(a), self.describe(b));
            self.fail(name, &Op::Add, || {
                format!("{} and {} cannot be added", shapes.0, shapes.1)
            });
        }
        let extent = self.extent(a);
        self.push(name, Op::Add, &[a, b], Vec::new(), extent)
    }

    /// `x` times `by`, which has the shape of `x` or one pixel a channel.
    pub fn mul(&mut self, x: Node, by: Node, name: &Scope) -> Node {
        let one = self.graph.sides.fixed(1);
        let (channels, height, width) = self.extent(x);
        if !self.same_shape(x, by) && self.extent(by) != (channels, one, one) {
            let shapes = (self.describe(x), self.describe(by));
            self.fail(name, &Op::Mul, || {
                format!("{} cannot be multiplied by {}", shapes.0, shapes.1)
            });
        }
        self.push(
            name,
            Op::Mul,
            &[x, by],
            Vec::new(),
            (channels, height, width),
        )
    }

    /// Maps of one size side by side along the channels.
    pub fn concat(&mut self, parts: &[Node], name: &Scope) -> Node {
        let (_, height, width) = self.extent(parts[0]);
        if let Some(&odd) = parts.iter().find(|&&p| {
            let (_, h, w) = self.extent(p);
            (h, w) != (height, width)
        }) {
            let shapes = (self.describe(parts[0]), self.describe(odd));
            self.fail(name, &Op::Concat, || {
                format!("{} and {} differ in size", shapes.0, shapes.1)
            });
        }
        let channels = parts.iter().map(|&p| self.channels(p)).sum();
        self.push(
            name,
            Op::Concat,
            parts,
            Vec::new(),
            (channels, height, width),
        )
    }

    /// Maximum over a moving window.
    pub fn max_pool(&mut self, x: Node, name: &Scope, pool: MaxPool2d) -> Node {
        let (channels, height, width) = self.extent(x);
        let sides = &mut self.graph.sides;
        let mut window = |of| sides.window(of, pool.kernel, pool.stride, pool.padding, 1);
        let extent = (channels, window(height), window(width));
        self.push(name, Op::MaxPool2d(pool), &[x], Vec::new(), extent)
    }

    /// Mean over all pixels: a 1×1 map.
    pub fn global_avg_pool(&mut self, x: Node, name: &Scope) -> Node {
        let one = self.graph.sides.fixed(1);
        let extent = (self.channels(x), one, one);
        self.push(name, Op::GlobalAvgPool, &[x], Vec::new(), extent)
    }

    /// Bilinear resize of `x` to the height and width of `like`.
    pub fn resize_like(&mut self, x: Node, like: Node, align_corners: bool, name: &Scope) -> Node {
        let (_, height, width) = self.extent(like);
        let op = Op::ResizeLike {
            like,
            align_corners,
        };
        let extent = (self.channels(x), height, width);
        self.push(name, op, &[x], Vec::new(), extent)
    }

    /// Dropout with probability `p` in training.
    pub fn dropout(&mut self, x: Node, p: f32, name: &Scope) -> Node {
        let extent = self.extent(x);
        self.push(name, Op::Dropout { p }, &[x], Vec::new(), extent)
    }

    /// Declares a result; the first declared is the main one.
    pub fn output(&mut self, name: &str, node: Node) {
        self.graph.outputs.push(Output {
            name: name.into(),
            node,
        });
    }

    /// The finished graph.
    ///
    /// # Errors
    /// The first thing that did not fit, with the name of its node.
    pub fn finish(self) -> Result<Graph, GraphError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self.graph),
        }
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

    fn parameter(&mut self, name: &Scope, shape: Vec<usize>, role: Role) -> ParameterId {
        let name = name.to_string();
        if !self.names.insert(name.clone()) {
            self.error
                .get_or_insert(GraphError::DuplicateParameter(name.clone()));
        }
        self.graph.parameters.push(Parameter { name, shape, role });
        ParameterId(self.graph.parameters.len() as u32 - 1)
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
