//! Every node of a graph as ONNX's operations.

use segmenta_graph::{Activation, Conv2d, Filter, Node, NodeData, Op};

use crate::ExportError;
use crate::writer::{Dim, Writer, float, int, ints};

impl Writer<'_> {
    /// Writes a node; the name of its value.
    pub(crate) fn node(
        &mut self,
        node: Node,
        data: &NodeData,
        own: &[String],
    ) -> Result<String, ExportError> {
        let inputs: Vec<String> = data
            .inputs
            .iter()
            .map(|input| self.values[input.index()].clone())
            .collect();
        let x = inputs.first().map_or("", String::as_str);
        let channels = data.channels;
        Ok(match data.op {
            Op::Input => self.values[node.index()].clone(),
            Op::Conv2d(conv) => self.convolution(x, &conv, own),
            Op::Linear { out_channels, bias } => {
                let conv = Conv2d {
                    bias,
                    ..Conv2d::pointwise(out_channels)
                };
                self.convolution(x, &conv, own)
            }
            Op::ConvTranspose2d(conv) => {
                let [top, left] = conv.padding;
                let attributes = vec![
                    ints("kernel_shape", conv.kernel),
                    ints("strides", conv.stride),
                    ints("pads", [top, left, top, left]),
                    ints("output_padding", conv.output_padding),
                    ints("dilations", conv.dilation),
                    int("group", conv.groups as i64),
                ];
                self.op("ConvTranspose", &with(x, own), attributes)
            }
            Op::BatchNorm(norm) => {
                // The counter is not read.
                let epsilon = vec![float("epsilon", norm.eps)];
                self.op("BatchNormalization", &with(x, &own[..4]), epsilon)
            }
            Op::GroupNorm { groups, eps } => {
                let rows = self.reshape(x, &[0, groups as i64, -1]);
                let ones = self.f32s(&[groups], &vec![1.0; groups]);
                let zeros = self.f32s(&[groups], &vec![0.0; groups]);
                let epsilon = vec![float("epsilon", eps)];
                let rows = self.op("InstanceNormalization", &[&rows, &ones, &zeros], epsilon);
                let size = self.size(data.inputs[0]);
                let mut y = self.as_map(&rows, channels, size);
                if let [scale, shift] = own {
                    let [scale, shift] =
                        [scale, shift].map(|own| self.reshape(own, &[1, channels as i64, 1, 1]));
                    y = self.op("Mul", &[&y, &scale], vec![]);
                    y = self.op("Add", &[&y, &shift], vec![]);
                }
                y
            }
            Op::LayerNorm { eps } => self.layer_norm(x, eps, own),
            Op::Activation(activation) => self.activation(x, activation),
            Op::Softmax { parts, log } => {
                let kind = if log { "LogSoftmax" } else { "Softmax" };
                if parts == channels {
                    return Ok(self.op(kind, &[x], vec![int("axis", 1)]));
                }
                let runs = self.reshape(x, &[0, parts as i64, -1]);
                let runs = self.op(kind, &[&runs], vec![int("axis", 1)]);
                let size = self.size(data.inputs[0]);
                self.as_map(&runs, channels, size)
            }
            Op::Attention { heads } | Op::MaskedAttention { heads } => {
                self.attention(&inputs, data, heads)
            }
            Op::DeformableAttention { heads, points } => {
                self.deformable(&inputs, data, heads, points)
            }
            Op::Rotary { heads, theta } => self.rotary(x, data, heads, theta),
            Op::SinePositions { like } => {
                let size = self.size(like);
                self.sine(data, &size)
            }
            Op::PositionAttention => self.position_attention(&inputs, data),
            Op::Tokens { grid } => self.tokens(x, data, [&own[0], &own[1]], grid),
            Op::Patches { like } => {
                let end = Dim::Fixed(i64::MAX);
                let run = self.slice(x, 3, &Dim::Fixed(1), &end);
                let size = self.size(like);
                self.as_map(&run, channels, size)
            }
            Op::Table => {
                let [height, width] = self.fixed_size(node, data)?;
                let pixels = (height * width) as i64;
                let rows = self.reshape(&own[0], &[pixels, channels as i64]);
                let map = self.transpose(&rows, [1, 0]);
                self.of_each_picture(&map, channels, [height, width].map(Dim::from))
            }
            Op::Join => {
                let c = channels as i64;
                let rows = [0, 1].map(|i: usize| self.reshape(&inputs[i], &[0, c, 1, -1]));
                self.concat(&[&rows[0], &rows[1]], 3)
            }
            Op::Part { first, like } => {
                let mut from = Dim::from(first);
                for &other in &data.inputs[1..] {
                    let pixels = self.pixels(other);
                    from = self.add(&from, &pixels);
                }
                let size = match like {
                    Some(like) => self.size(like),
                    None => self.fixed_size(node, data)?.map(Dim::from),
                };
                let pixels = self.mul(&size[0], &size[1]);
                let to = self.add(&from, &pixels);
                let row = self.reshape(x, &[0, channels as i64, 1, -1]);
                let run = self.slice(&row, 3, &from, &to);
                self.as_map(&run, channels, size)
            }
            Op::Transpose => {
                let from = self.graph.node(data.inputs[0]).channels as i64;
                let row = self.reshape(x, &[0, from, 1, -1]);
                self.transpose(&row, [0, 3, 2, 1])
            }
            Op::Product => {
                let from = self.graph.node(data.inputs[0]).channels as i64;
                let [x, rows] = [0, 1].map(|i: usize| self.reshape(&inputs[i], &[0, from, -1]));
                let rows = self.transpose(&rows, [0, 2, 1]);
                let y = self.op("MatMul", &[&rows, &x], vec![]);
                let size = self.size(data.inputs[0]);
                self.as_map(&y, channels, size)
            }
            Op::Windows { side, shift } => self.windows(x, data, side, shift),
            Op::FromWindows { side, shift, like } => {
                let to = self.size(like);
                self.joined_windows(x, data, [side, shift], &to)
            }
            Op::WindowAttention { heads, shift } => {
                self.window_attention(&inputs, data, heads, shift)?
            }
            Op::SpaceToDepth { side } => self.space_to_depth(x, data, side),
            Op::DepthToSpace { side, like } => {
                let to = self.size(like);
                self.depth_to_space(x, data, side, &to)
            }
            Op::Scale { by } => {
                let by = self.f32(by);
                self.op("Mul", &[x, &by], vec![])
            }
            Op::Slice {
                first,
                channels: count,
            } => self.slice(x, 1, &first.into(), &(first + count).into()),
            Op::Add => self.op("Add", &[x, &inputs[1]], vec![]),
            Op::Mul => self.op("Mul", &[x, &inputs[1]], vec![]),
            Op::Concat => {
                let parts: Vec<&str> = inputs.iter().map(String::as_str).collect();
                self.concat(&parts, 1)
            }
            Op::MaxPool2d(pool) => self.op("MaxPool", &[x], pool_attributes(pool)),
            Op::MaxUnpool2d => self.unpool(x, data.inputs[1], data),
            Op::AvgPool2d {
                window,
                count_include_pad,
            } => {
                let mut attributes = pool_attributes(window);
                attributes.push(int("count_include_pad", count_include_pad.into()));
                self.op("AveragePool", &[x], attributes)
            }
            Op::AdaptiveAvgPool2d { size } => {
                let from = self.size(data.inputs[0]);
                self.adaptive_means(x, &from, size)
            }
            Op::GlobalAvgPool => self.op("GlobalAveragePool", &[x], vec![]),
            Op::GlobalMaxPool => self.op("GlobalMaxPool", &[x], vec![]),
            Op::ResizeLike { like, filter } => {
                let size = self.size(like);
                self.resize(x, channels, size, filter)
            }
            Op::ResizeTo { size, filter } => self.resize(x, channels, size.map(Dim::from), filter),
            Op::Upsample { factor, filter } => {
                let from = self.size(data.inputs[0]);
                let to = from.each_ref().map(|side| self.mul(side, &factor.into()));
                self.resize(x, channels, to, filter)
            }
            Op::FitLike { like } => {
                let [from, to] = [data.inputs[0], like].map(|node| self.size(node));
                self.fit(x, &from, &to)
            }
            Op::PadToEven => {
                let size = self.size(data.inputs[0]);
                let [above, left] = size.each_ref().map(|side| self.modulo(side, &2.into()));
                self.pad(x, [above, left, Dim::Fixed(0), Dim::Fixed(0)])
            }
            Op::Dropout { .. } | Op::Dropout2d { .. } | Op::StochasticDepth { .. } => x.into(),
        })
    }

    fn fixed_size(&mut self, node: Node, data: &NodeData) -> Result<[usize; 2], ExportError> {
        // Such a node has no value yet whose extents could be asked for.
        if (self.shapes.is_some() || self.graph.has_fixed_size(node))
            && let [Dim::Fixed(height), Dim::Fixed(width)] = self.size(node)
        {
            return Ok([height as usize, width as usize]);
        }
        Err(ExportError::Node {
            node: data.name.clone(),
            op: data.op.kind(),
            why: "its size depends on the picture's",
            remedy: "give --size without --dynamic height,width",
        })
    }

    fn convolution(&mut self, x: &str, conv: &Conv2d, own: &[String]) -> String {
        let [top, left] = conv.padding;
        let [below, right] = conv.extra_padding;
        let attributes = vec![
            ints("kernel_shape", conv.kernel),
            ints("strides", conv.stride),
            ints("pads", [top, left, top + below, left + right]),
            ints("dilations", conv.dilation),
            int("group", conv.groups as i64),
        ];
        self.op("Conv", &with(x, own), attributes)
    }

    fn activation(&mut self, x: &str, activation: Activation) -> String {
        match activation {
            Activation::Relu => self.op("Relu", &[x], vec![]),
            Activation::Relu6 => {
                let (zero, six) = (self.f32(0.0), self.f32(6.0));
                self.op("Clip", &[x, &zero, &six], vec![])
            }
            Activation::Hardswish => self.op("HardSwish", &[x], vec![]),
            Activation::Hardsigmoid => {
                let line = vec![float("alpha", 1.0 / 6.0), float("beta", 0.5)];
                self.op("HardSigmoid", &[x], line)
            }
            Activation::Sigmoid => self.op("Sigmoid", &[x], vec![]),
            Activation::Silu => {
                let gate = self.op("Sigmoid", &[x], vec![]);
                self.op("Mul", &[x, &gate], vec![])
            }
            Activation::Gelu => {
                // The operation of this name is only of opset 20.
                let root = self.f32(std::f32::consts::FRAC_1_SQRT_2);
                let (one, half) = (self.f32(1.0), self.f32(0.5));
                let y = self.op("Mul", &[x, &root], vec![]);
                let y = self.op("Erf", &[&y], vec![]);
                let y = self.op("Add", &[&y, &one], vec![]);
                let y = self.op("Mul", &[x, &y], vec![]);
                self.op("Mul", &[&y, &half], vec![])
            }
            Activation::Tanh => self.op("Tanh", &[x], vec![]),
        }
    }

    /// A map in `[N][H][W]` of classes, at the input's size: the likeliest, or above a threshold.
    pub(crate) fn labels(&mut self, result: Node, threshold: f32) -> String {
        let channels = self.graph.node(result).channels;
        let input = self.graph.iter().next().expect("a graph has an input").0;
        let to = self.size(input);
        let x = self.values[result.index()].clone();
        let map = self.resize(&x, channels, to, Filter::BILINEAR);
        let labels = if channels == 1 {
            let threshold = self.f32(threshold);
            let axes = self.i64s(&[1]);
            let above = self.op("Greater", &[&map, &threshold], vec![]);
            self.op("Squeeze", &[&above, &axes], vec![])
        } else {
            self.op("ArgMax", &[&map], vec![int("axis", 1), int("keepdims", 0)])
        };
        self.cast(&labels, crate::writer::U8)
    }
}

fn with<'a>(x: &'a str, own: &'a [String]) -> Vec<&'a str> {
    let own = own.iter().map(String::as_str);
    std::iter::once(x).chain(own).collect()
}

fn pool_attributes(pool: segmenta_graph::Pool2d) -> Vec<crate::proto::AttributeProto> {
    vec![
        ints("kernel_shape", [pool.kernel; 2]),
        ints("strides", [pool.stride; 2]),
        ints("pads", [pool.padding; 4]),
        int("ceil_mode", pool.ceil_mode.into()),
    ]
}
