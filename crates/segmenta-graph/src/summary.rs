//! What a network costs for one input: shapes, parameters, multiply-adds, bytes.

use std::fmt::Write;

use crate::error::GraphError;
use crate::graph::{Graph, NodeData};
use crate::op::{Filter, Op};
use crate::shape::Shape;

/// One node of a [`Summary`].
#[derive(Clone, Debug)]
pub struct SummaryRow {
    /// The node's name.
    pub name: String,
    /// Its kind, with window, stride, dilation and groups where it has them.
    pub kind: String,
    /// The shape that comes out.
    pub shape: Shape,
    /// Trainable values.
    pub parameters: usize,
    /// Multiplications followed by an addition; what the field calls MACs, half its FLOPs.
    pub multiply_adds: u64,
}

/// A network's cost for one input size.
#[derive(Clone, Debug)]
pub struct Summary {
    /// A row a node, in the order of computation.
    pub rows: Vec<SummaryRow>,
    /// Trainable values.
    pub parameters: usize,
    /// Multiply-adds of one forward pass.
    pub multiply_adds: u64,
    /// Bytes of all weights and statistics in f32.
    pub weight_bytes: usize,
    /// Bytes of all nodes' results in f32, as if each were kept.
    pub activation_bytes: usize,
}

impl Graph {
    /// Counts the nodes that the outputs named in `outputs` need (all, if it is empty).
    ///
    /// # Errors
    /// As [`Graph::shapes`] and [`Graph::output`].
    pub fn summary(&self, input: Shape, outputs: &[&str]) -> Result<Summary, GraphError> {
        let shapes = self.shapes(input)?;
        let wanted = if outputs.is_empty() {
            self.outputs().iter().map(|o| o.node).collect()
        } else {
            let nodes: Result<Vec<_>, _> = outputs.iter().map(|o| self.output(o)).collect();
            nodes?
        };
        let needed = self.needed_for(&wanted);
        let mut summary = Summary {
            rows: Vec::new(),
            parameters: 0,
            multiply_adds: 0,
            weight_bytes: 0,
            activation_bytes: 0,
        };
        for (node, data) in self.iter().filter(|(n, _)| needed[n.index()]) {
            let shape = shapes[node.index()];
            let entries = data.parameters.iter().map(|&id| self.parameter(id));
            let (mut parameters, mut values) = (0, 0);
            for entry in entries {
                values += entry.len();
                parameters += if entry.is_trainable() { entry.len() } else { 0 };
            }
            let input = data.inputs.first().map(|i| shapes[i.index()]);
            let keys = data.inputs.get(1).map(|i| shapes[i.index()]);
            let table = data.inputs.get(3).map(|i| shapes[i.index()]);
            let window = table.map_or(0, |t| t.height.div_ceil(2) * t.width.div_ceil(2));
            let multiply_adds = multiply_adds(data, input.unwrap_or(shape), keys, window, shape);
            summary.parameters += parameters;
            summary.multiply_adds += multiply_adds;
            summary.weight_bytes += values * size_of::<f32>();
            summary.activation_bytes += shape.len() * size_of::<f32>();
            summary.rows.push(SummaryRow {
                name: data.name.clone(),
                kind: describe(&data.op),
                shape,
                parameters,
                multiply_adds,
            });
        }
        Ok(summary)
    }
}

/// Multiply-adds of one node. Norms count one a value (they end in a scale and a shift), a
/// bilinear sample three, a bicubic one eight, an attention both of its products; what only adds, compares or copies counts
/// nothing.
fn multiply_adds(
    data: &NodeData,
    input: Shape,
    keys: Option<Shape>,
    window: usize,
    output: Shape,
) -> u64 {
    let count = match data.op {
        Op::Conv2d(conv) => {
            output.len() * input.channels * conv.kernel[0] * conv.kernel[1] / conv.groups
        }
        // Every input meets every tap once.
        Op::ConvTranspose2d(conv) => {
            input.len() * output.channels * conv.kernel[0] * conv.kernel[1] / conv.groups
        }
        Op::Linear { .. } => output.len() * input.channels,
        Op::BatchNorm(_)
        | Op::GroupNorm { .. }
        | Op::LayerNorm { .. }
        | Op::Scale { .. }
        | Op::Rotary { .. }
        | Op::Mul => output.len(),
        // A point has four corners, which each channel of its head weighs.
        Op::DeformableAttention { heads, .. } => {
            4 * output.len() * keys.map_or(0, |offsets| offsets.channels / 2 / heads)
        }
        Op::Product => output.len() * input.channels,
        Op::Attention { .. } | Op::MaskedAttention { .. } | Op::PositionAttention => {
            (input.len() + output.len()) * keys.map_or(0, |k| k.pixels())
        }
        // Of a window there are as many keys as pixels; the table says how many.
        Op::WindowAttention { .. } => (input.len() + output.len()) * window,
        Op::ResizeLike { filter, .. }
        | Op::ResizeTo { filter, .. }
        | Op::Upsample { filter, .. } => match filter {
            Filter::Nearest => 0,
            Filter::Bilinear { .. } => 3 * output.len(),
            // Four taps over columns, and four over rows.
            Filter::Bicubic => 8 * output.len(),
        },
        Op::Input
        | Op::Activation(_)
        | Op::Softmax { .. }
        | Op::Tokens { .. }
        | Op::Patches { .. }
        | Op::Table
        | Op::SinePositions { .. }
        | Op::Join
        | Op::Part { .. }
        | Op::Transpose
        | Op::Windows { .. }
        | Op::FromWindows { .. }
        | Op::SpaceToDepth { .. }
        | Op::DepthToSpace { .. }
        | Op::Slice { .. }
        | Op::Add
        | Op::Concat
        | Op::MaxPool2d(_)
        | Op::MaxUnpool2d
        | Op::AvgPool2d { .. }
        | Op::AdaptiveAvgPool2d { .. }
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::FitLike { .. }
        | Op::PadToEven
        | Op::Dropout { .. }
        | Op::Dropout2d { .. }
        | Op::StochasticDepth { .. } => 0,
    };
    count as u64
}

/// Writing to a `String` cannot fail, so what `write!` gives back is not looked at.
fn describe(op: &Op) -> String {
    let mut text = op.kind().to_string();
    let mut window = |kernel: [usize; 2], stride: usize, dilation: usize, groups: usize| {
        let _ = write!(text, " {}×{}", kernel[0], kernel[1]);
        for (word, value) in [
            ("stride", stride),
            ("dilation", dilation),
            ("groups", groups),
        ] {
            if value > 1 {
                let _ = write!(text, " {word} {value}");
            }
        }
    };
    match *op {
        Op::Conv2d(c) => window(c.kernel, c.stride[0], c.dilation[0], c.groups),
        Op::ConvTranspose2d(c) => window(c.kernel, c.stride[0], c.dilation[0], c.groups),
        Op::MaxPool2d(p) | Op::AvgPool2d { window: p, .. } => {
            window([p.kernel; 2], p.stride, 1, 1);
        }
        Op::AdaptiveAvgPool2d { size } => window(size, 1, 1, 1),
        Op::GroupNorm { groups, .. } => {
            let _ = write!(text, " groups {groups}");
        }
        Op::Attention { heads } | Op::MaskedAttention { heads } => {
            let _ = write!(text, " heads {heads}");
        }
        _ => {}
    }
    text
}
