//! Networks as ONNX files.
//!
//! *In*: a graph, its weights by name, and what the file's input and results are to be. *Out*: a [`Network`], an ONNX
//! model that is written with its weights inside, or beside it where there are more than 2 GB.
//! Every kind of node has ONNX's own operations (opsets 17 to 21), in single precision; sizes that are not fixed are
//! computed in the file, so that one file serves all of them.

mod attention;
mod maps;
mod nodes;
pub mod proto;
mod save;
mod windows;
mod writer;

use segmenta_graph::{Graph, GraphError, Node, Op, Parameter, Shape};

use proto::{
    Dimension, Entry, GraphProto, ModelProto, OperatorSetId, ShapeProto, TensorProto, TensorType,
    TypeProto, ValueInfoProto,
};
use writer::{F32, U8, Writer};

pub use save::{Network, SaveError};

/// Opsets that can be written.
pub const OPSETS: std::ops::RangeInclusive<i64> = 17..=21;

/// Which extents of the input are left open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dynamic {
    /// How many pictures; otherwise one.
    pub batch: bool,
    /// Rows of pixels.
    pub height: bool,
    /// Columns of pixels.
    pub width: bool,
}

/// Pictures of bytes as a network's input: channels times 1 / (255 · std), less mean / std.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bytes {
    /// Means of red, green and blue, from 0 to 1.
    pub mean: [f32; 3],
    /// What is then divided by.
    pub std: [f32; 3],
    /// Whether the network reads blue first.
    pub blue_first: bool,
}

/// What is written.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Version of ONNX's operations, one of [`OPSETS`].
    pub opset: i64,
    /// What is left open.
    pub dynamic: Dynamic,
    /// Rows and columns of the input, where they are not left open.
    pub size: [usize; 2],
    /// Results, by name; empty for the main one.
    pub results: Vec<String>,
    /// Take u8 NHWC pictures instead of f32 NCHW tensors.
    pub bytes: Option<Bytes>,
    /// Give u8 labels N×H×W of the first result instead of the results; of a single class, where it is above
    /// this number.
    pub labels: Option<f32>,
    /// Words about the model.
    pub metadata: Vec<(String, String)>,
}

/// Why a network cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A node has no counterpart.
    #[error("`{node}` ({op}) cannot be written: {why} · the network · {remedy}")]
    Node {
        /// The module.
        node: String,
        /// Its kind.
        op: &'static str,
        /// The reason.
        why: &'static str,
        /// What helps.
        remedy: &'static str,
    },
    /// No such opset.
    #[error("opset {0} cannot be written · --opset · take one from 17 to 21")]
    Opset(i64),
    /// Bytes for a network of other channels.
    #[error(
        "pictures of bytes have 3 channels, the network reads {0} · --with-preprocessing · leave it out"
    )]
    Channels(usize),
    /// Labels of more classes than a byte counts.
    #[error("{0} classes are more than a byte counts · --labels · leave it out")]
    Classes(usize),
    /// An input that the network does not take, or a result that it does not have.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Writes a network. `read` gives a parameter's values in row-major order.
///
/// # Errors
/// What cannot be written, naming the node; and those of `read`.
pub fn export<E: From<ExportError>>(
    graph: &Graph,
    options: &ExportOptions,
    mut read: impl FnMut(&Parameter) -> Result<Vec<f32>, E>,
) -> Result<Network, E> {
    let results = check(graph, options)?;
    let Dynamic {
        batch,
        height,
        width,
    } = options.dynamic;
    let [rows, columns] = options.size;
    let channels = graph.in_channels();
    let shape = Shape::new(1, channels, rows, columns);
    // Also says whether the network takes such an input at all.
    let shapes = graph.shapes(shape).map_err(ExportError::from)?;
    let mut writer = Writer::new(graph, options.opset, (!height && !width).then_some(shapes));
    let needed = needed(graph, &results, writer.shapes.is_none());

    let input = writer.unique("input");
    if batch {
        writer.module.clone_from(&input);
        writer.batch = writer.extent(&input, 0);
    }
    writer.values[0] = match &options.bytes {
        Some(bytes) => writer.normalised(&input, bytes),
        None => input.clone(),
    };
    let mut names = vec![None; graph.parameters().len()];
    for (node, data) in graph.iter().filter(|(node, _)| needed[node.index()]) {
        if data.op == Op::Input {
            continue;
        }
        let read_entries = match data.op {
            Op::BatchNorm(_) => 4,
            _ => data.parameters.len(),
        };
        let mut own = Vec::new();
        for &id in &data.parameters[..read_entries] {
            if names[id.index()].is_none() {
                let parameter = graph.parameter(id);
                let values = read(parameter)?;
                names[id.index()] = Some(writer.weights(parameter, &data.op, &values));
            }
            own.extend(names[id.index()].clone());
        }
        writer.module.clone_from(&data.name);
        writer.values[node.index()] = writer.node(node, data, &own)?;
    }

    let open = |open: bool, name: &str, fixed: usize| Dimension {
        dim_value: (!open).then_some(fixed as i64),
        dim_param: open.then(|| name.into()),
    };
    let n = open(batch, "batch", 1);
    let [h, w] = [open(height, "height", rows), open(width, "width", columns)];
    let c = open(false, "", channels);
    let inputs = match options.bytes {
        Some(_) => vec![described(
            input,
            U8,
            [n.clone(), h.clone(), w.clone(), c].into(),
        )],
        None => vec![described(
            input,
            F32,
            [n.clone(), c, h.clone(), w.clone()].into(),
        )],
    };
    let outputs = if let Some(threshold) = options.labels {
        writer.module = "labels".into();
        let made = writer.labels(results[0].1, threshold);
        let name = writer.named_result("labels", &made);
        vec![described(name, U8, vec![n, h, w])]
    } else {
        let mut outputs = Vec::new();
        for (name, node) in &results {
            let value = writer.values[node.index()].clone();
            let name = writer.named_result(name, &value);
            let channels = open(false, "", graph.node(*node).channels);
            let sides: Vec<Dimension> = match &writer.shapes {
                Some(shapes) => {
                    let shape = shapes[node.index()];
                    [shape.height, shape.width]
                        .map(|side| open(false, "", side))
                        .into()
                }
                None => {
                    let symbolic = graph.symbolic_size(*node);
                    let side = |text: &str| match text.parse() {
                        Ok(pixels) => open(false, "", pixels),
                        Err(_) if text == "H" => h.clone(),
                        Err(_) if text == "W" => w.clone(),
                        Err(_) => open(true, &format!("{name}_{text}"), 0),
                    };
                    symbolic.split('×').map(side).collect()
                }
            };
            let dims = [n.clone(), channels].into_iter().chain(sides).collect();
            outputs.push(described(name, F32, dims));
        }
        outputs
    };
    let metadata = options.metadata.iter().map(|(key, value)| Entry {
        key: key.clone(),
        value: value.clone(),
    });
    Ok(Network(ModelProto {
        // The first version that has the opset, at least 8, which every reader of them knows.
        ir_version: match options.opset {
            ..=18 => 8,
            19..=20 => 9,
            _ => 10,
        },
        producer_name: "segmenta".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(GraphProto {
            node: writer.nodes,
            name: "network".into(),
            initializer: writer.tensors,
            input: inputs,
            output: outputs,
        }),
        opset_import: vec![OperatorSetId {
            domain: String::new(),
            version: options.opset,
        }],
        metadata_props: metadata.collect(),
    }))
}

/// The results, by name and node.
fn check(graph: &Graph, options: &ExportOptions) -> Result<Vec<(String, Node)>, ExportError> {
    if !OPSETS.contains(&options.opset) {
        return Err(ExportError::Opset(options.opset));
    }
    if options.bytes.is_some() && graph.in_channels() != 3 {
        return Err(ExportError::Channels(graph.in_channels()));
    }
    let main = [graph.outputs()[0].name.clone()];
    let names = match &options.results[..] {
        [] => &main[..],
        names => names,
    };
    let mut results = Vec::new();
    for name in names {
        results.push((name.clone(), graph.output(name)?));
    }
    let classes = graph.node(results[0].1).channels;
    if options.labels.is_some() && classes > 256 {
        return Err(ExportError::Classes(classes));
    }
    Ok(results)
}

/// Nodes that results need, also those of which only the size is read where it is computed.
fn needed(graph: &Graph, results: &[(String, Node)], sizes: bool) -> Vec<bool> {
    let mut wanted: Vec<Node> = results.iter().map(|(_, node)| *node).collect();
    loop {
        let needed = graph.needed_for(&wanted);
        let likes = graph.iter().filter(|(node, _)| needed[node.index()]);
        let likes = likes.filter_map(|(_, data)| like(&data.op));
        let more: Vec<Node> = likes.filter(|like| !needed[like.index()]).collect();
        if more.is_empty() || !sizes {
            return needed;
        }
        wanted.extend(more);
    }
}

/// The node whose size an operation takes.
fn like(op: &Op) -> Option<Node> {
    match *op {
        Op::SinePositions { like }
        | Op::Patches { like }
        | Op::FromWindows { like, .. }
        | Op::DepthToSpace { like, .. }
        | Op::ResizeLike { like, .. }
        | Op::FitLike { like } => Some(like),
        Op::Part { like, .. } => like,
        Op::Input
        | Op::Conv2d(_)
        | Op::ConvTranspose2d(_)
        | Op::Linear { .. }
        | Op::BatchNorm(_)
        | Op::GroupNorm { .. }
        | Op::LayerNorm { .. }
        | Op::Activation(_)
        | Op::Softmax { .. }
        | Op::Attention { .. }
        | Op::MaskedAttention { .. }
        | Op::DeformableAttention { .. }
        | Op::Rotary { .. }
        | Op::PositionAttention
        | Op::Tokens { .. }
        | Op::Table
        | Op::Join
        | Op::Transpose
        | Op::Product
        | Op::Windows { .. }
        | Op::WindowAttention { .. }
        | Op::SpaceToDepth { .. }
        | Op::Scale { .. }
        | Op::Slice { .. }
        | Op::Add
        | Op::Mul
        | Op::Concat
        | Op::MaxPool2d(_)
        | Op::MaxUnpool2d
        | Op::AvgPool2d { .. }
        | Op::AdaptiveAvgPool2d { .. }
        | Op::GlobalAvgPool
        | Op::GlobalMaxPool
        | Op::ResizeTo { .. }
        | Op::Upsample { .. }
        | Op::PadToEven
        | Op::Dropout { .. }
        | Op::Dropout2d { .. }
        | Op::StochasticDepth { .. } => None,
    }
}

impl Writer<'_> {
    /// A parameter under its own name.
    fn weights(&mut self, parameter: &Parameter, op: &Op, values: &[f32]) -> String {
        let name = self.unique(&parameter.name);
        let mut dims: Vec<i64> = parameter.shape.iter().map(|&dim| dim as i64).collect();
        // A linear layer is a convolution of 1×1 windows.
        if matches!(op, Op::Linear { .. } | Op::Conv2d(_)) && dims.len() > 1 {
            dims.resize(4, 1);
        }
        self.tensors.push(TensorProto {
            dims,
            data_type: F32,
            name: name.clone(),
            raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            ..TensorProto::default()
        });
        name
    }

    /// Bytes N×H×W×3 as the network's input.
    fn normalised(&mut self, input: &str, bytes: &Bytes) -> String {
        self.module = "preprocessing".into();
        let mut x = self.cast(input, F32);
        x = self.transpose(&x, [0, 3, 1, 2]);
        if bytes.blue_first {
            let order = self.i64s(&[2, 1, 0]);
            x = self.op("Gather", &[&x, &order], vec![writer::int("axis", 1)]);
        }
        let order = |values: [f32; 3]| {
            if bytes.blue_first {
                [values[2], values[1], values[0]]
            } else {
                values
            }
        };
        let (mean, std) = (order(bytes.mean), order(bytes.std));
        let scale = self.f32(255.0);
        let mean = self.f32s(&[1, 3, 1, 1], &mean);
        let std = self.f32s(&[1, 3, 1, 1], &std);
        x = self.op("Div", &[&x, &scale], vec![]);
        x = self.op("Sub", &[&x, &mean], vec![]);
        self.op("Div", &[&x, &std], vec![])
    }

    /// A result by its own name.
    fn named_result(&mut self, name: &str, value: &str) -> String {
        let name = self.unique(name);
        self.nodes.push(proto::NodeProto {
            input: vec![value.into()],
            output: vec![name.clone()],
            name: name.clone(),
            op_type: "Identity".into(),
            attribute: Vec::new(),
        });
        name
    }
}

fn described(name: String, elem_type: i32, dim: Vec<Dimension>) -> ValueInfoProto {
    let shape = Some(ShapeProto { dim });
    ValueInfoProto {
        name,
        r#type: Some(TypeProto {
            tensor_type: Some(TensorType { elem_type, shape }),
        }),
    }
}
