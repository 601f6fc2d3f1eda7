//! What timm builds of rows of blocks: EfficientNetV2 (Tan and Le 2021, arXiv:2104.00298) and MobileNetV4 of convolutions
//! (Qin et al. 2024, arXiv:2404.10518).

use segmenta_graph::{Activation, BatchNorm, Builder, Conv2d, InitRule, Node, Scope};

use crate::encoders::mobilenet_v2::divisible_by_8;
use crate::encoders::{Encoder, Family, Features, Site};
use crate::gate::Gate;

pub(crate) static EFFICIENTNET_V2: Family = Family {
    name: "EfficientNetV2 of timm (Tan and Le 2021)",
    entry: "model.blocks.1.0.conv_exp.weight",
    encoders: &[
        Encoder::new("tu-tf_efficientnetv2_b0", |g, site| {
            encode(g, site, &Net::tensorflow(32, BASE))
        }),
        Encoder::new("tu-tf_efficientnetv2_s", |g, site| {
            encode(g, site, &Net::tensorflow(24, SMALL))
        }),
        Encoder::new("tu-tf_efficientnetv2_m", |g, site| {
            encode(g, site, &Net::tensorflow(24, MEDIUM))
        }),
        Encoder::new("tu-tf_efficientnetv2_l", |g, site| {
            encode(g, site, &Net::tensorflow(32, LARGE))
        }),
        Encoder::new("tu-efficientnetv2_rw_s", |g, site| {
            encode(g, site, &Net::plain(24, Activation::Silu, SMALL_RW))
        }),
    ],
    traits: super::TRAITS,
};

pub(crate) static MOBILENET_V4: Family = Family {
    name: "MobileNetV4 of timm (Qin et al. 2024)",
    entry: "model.blocks.2.0.pw_exp.conv.weight",
    encoders: &[
        Encoder::new("tu-mobilenetv4_conv_small", |g, site| {
            encode(g, site, &Net::plain(32, Activation::Relu, V4_SMALL))
        }),
        Encoder::new("tu-mobilenetv4_conv_medium", |g, site| {
            encode(g, site, &Net::plain(32, Activation::Relu, V4_MEDIUM))
        }),
        Encoder::new("tu-mobilenetv4_conv_large", |g, site| {
            encode(g, site, &Net::plain(24, Activation::Relu, V4_LARGE))
        }),
    ],
    traits: super::TRAITS,
};

/// What a block is made of.
#[derive(Clone, Copy)]
enum Kind {
    /// A convolution, added to what it reads where `adds` and both are alike.
    Plain { adds: bool },
    /// A convolution that widens, and a 1×1 one.
    Fused,
    /// 1×1, depthwise, channels scaled, 1×1.
    Inverted,
    /// Depthwise with a window of `before`, 1×1, depthwise, 1×1; a window of 0 is none.
    Universal { before: usize },
}

/// As many blocks one after the other, of which the first strides.
#[derive(Clone, Copy)]
struct Row {
    kind: Kind,
    blocks: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
}

const fn row(kind: Kind, [blocks, kernel, stride, expansion, channels]: [usize; 5]) -> Row {
    Row {
        kind,
        blocks,
        kernel,
        stride,
        expansion,
        channels,
    }
}

/// Plain 3×3 convolutions of one width.
const fn plain(blocks: usize, channels: usize) -> Row {
    row(Kind::Plain { adds: true }, [blocks, 3, 1, 1, channels])
}

/// A plain convolution, after which nothing is added.
const fn single(kernel: usize, stride: usize, channels: usize) -> Row {
    row(
        Kind::Plain { adds: false },
        [1, kernel, stride, 1, channels],
    )
}

const fn fused(blocks: usize, stride: usize, expansion: usize, channels: usize) -> Row {
    row(Kind::Fused, [blocks, 3, stride, expansion, channels])
}

const fn inverted(blocks: usize, stride: usize, expansion: usize, channels: usize) -> Row {
    row(Kind::Inverted, [blocks, 3, stride, expansion, channels])
}

/// Windows before and within, stride, expansion, channels.
const fn universal(blocks: usize, before: usize, rest: [usize; 4]) -> Row {
    let [kernel, stride, expansion, channels] = rest;
    let kind = Kind::Universal { before };
    row(kind, [blocks, kernel, stride, expansion, channels])
}

type Stages = &'static [&'static [Row]];

const BASE: Stages = &[
    &[plain(1, 16)],
    &[fused(2, 2, 4, 32)],
    &[fused(2, 2, 4, 48)],
    &[inverted(3, 2, 4, 96)],
    &[inverted(5, 1, 6, 112)],
    &[inverted(8, 2, 6, 192)],
];
const SMALL: Stages = &[
    &[plain(2, 24)],
    &[fused(4, 2, 4, 48)],
    &[fused(4, 2, 4, 64)],
    &[inverted(6, 2, 4, 128)],
    &[inverted(9, 1, 6, 160)],
    &[inverted(15, 2, 6, 256)],
];
const SMALL_RW: Stages = &[
    &[fused(2, 1, 1, 24)],
    &[fused(4, 2, 4, 48)],
    &[fused(4, 2, 4, 64)],
    &[inverted(6, 2, 4, 128)],
    &[inverted(9, 1, 6, 160)],
    &[inverted(15, 2, 6, 272)],
];
const MEDIUM: Stages = &[
    &[plain(3, 24)],
    &[fused(5, 2, 4, 48)],
    &[fused(5, 2, 4, 80)],
    &[inverted(7, 2, 4, 160)],
    &[inverted(14, 1, 6, 176)],
    &[inverted(18, 2, 6, 304)],
    &[inverted(5, 1, 6, 512)],
];
const LARGE: Stages = &[
    &[plain(4, 32)],
    &[fused(7, 2, 4, 64)],
    &[fused(7, 2, 4, 96)],
    &[inverted(10, 2, 4, 192)],
    &[inverted(19, 1, 6, 224)],
    &[inverted(25, 2, 6, 384)],
    &[inverted(7, 1, 6, 640)],
];
const V4_SMALL: Stages = &[
    &[single(3, 2, 32), single(1, 1, 32)],
    &[single(3, 2, 96), single(1, 1, 64)],
    &[
        universal(1, 5, [5, 2, 3, 96]),
        universal(4, 0, [3, 1, 2, 96]),
        universal(1, 3, [0, 1, 4, 96]),
    ],
    &[
        universal(1, 3, [3, 2, 6, 128]),
        universal(1, 5, [5, 1, 4, 128]),
        universal(1, 0, [5, 1, 4, 128]),
        universal(1, 0, [5, 1, 3, 128]),
        universal(2, 0, [3, 1, 4, 128]),
    ],
    &[single(1, 1, 960)],
];
const V4_MEDIUM: Stages = &[
    &[fused(1, 2, 4, 48)],
    &[
        universal(1, 3, [5, 2, 4, 80]),
        universal(1, 3, [3, 1, 2, 80]),
    ],
    &[
        universal(1, 3, [5, 2, 6, 160]),
        universal(2, 3, [3, 1, 4, 160]),
        universal(1, 3, [5, 1, 4, 160]),
        universal(1, 3, [3, 1, 4, 160]),
        universal(1, 3, [0, 1, 4, 160]),
        universal(1, 0, [0, 1, 2, 160]),
        universal(1, 3, [0, 1, 4, 160]),
    ],
    &[
        universal(1, 5, [5, 2, 6, 256]),
        universal(1, 5, [5, 1, 4, 256]),
        universal(2, 3, [5, 1, 4, 256]),
        universal(1, 0, [0, 1, 4, 256]),
        universal(1, 3, [0, 1, 4, 256]),
        universal(1, 3, [5, 1, 2, 256]),
        universal(1, 5, [5, 1, 4, 256]),
        universal(2, 0, [0, 1, 4, 256]),
        universal(1, 5, [0, 1, 2, 256]),
    ],
    &[single(1, 1, 960)],
];
const V4_LARGE: Stages = &[
    &[fused(1, 2, 4, 48)],
    &[
        universal(1, 3, [5, 2, 4, 96]),
        universal(1, 3, [3, 1, 4, 96]),
    ],
    &[
        universal(1, 3, [5, 2, 4, 192]),
        universal(3, 3, [3, 1, 4, 192]),
        universal(1, 3, [5, 1, 4, 192]),
        universal(5, 5, [3, 1, 4, 192]),
        universal(1, 3, [0, 1, 4, 192]),
    ],
    &[
        universal(4, 5, [5, 2, 4, 512]),
        universal(1, 5, [0, 1, 4, 512]),
        universal(1, 5, [3, 1, 4, 512]),
        universal(2, 5, [0, 1, 4, 512]),
        universal(1, 5, [3, 1, 4, 512]),
        universal(1, 5, [5, 1, 4, 512]),
        universal(3, 5, [0, 1, 4, 512]),
    ],
    &[single(1, 1, 960)],
];

/// A network: the stem's channels, the non-linearity, its stages.
struct Net {
    stem: usize,
    activation: Activation,
    stages: Stages,
    /// Whether windows that stride are padded, and batch norms divide, as TensorFlow does it.
    tensorflow: bool,
}

impl Net {
    const fn plain(stem: usize, activation: Activation, stages: Stages) -> Self {
        Self {
            stem,
            activation,
            stages,
            tensorflow: false,
        }
    }

    const fn tensorflow(stem: usize, stages: Stages) -> Self {
        Self {
            tensorflow: true,
            ..Self::plain(stem, Activation::Silu, stages)
        }
    }

    fn conv(&self, g: &mut Builder, x: Node, names: [&Scope; 2], conv: Conv2d) -> Node {
        let (mut x, mut conv) = (x, conv);
        if self.tensorflow && conv.stride == [2, 2] {
            // Zeros above and left where a side is odd, and one below and right in any case.
            x = g.pad_to_even(x, names[0]);
            conv = Conv2d {
                padding: [0, 0],
                extra_padding: [1, 1],
                ..conv
            };
        }
        g.conv_bn(x, names[0], names[1], conv)
    }

    fn active(&self, g: &mut Builder, x: Node, names: [&Scope; 2], conv: Conv2d) -> Node {
        let y = self.conv(g, x, names, conv);
        g.activation(y, self.activation)
    }
}

/// The last map of each stride, from 2 on.
fn encode(g: &mut Builder, site: &Site<'_>, net: &Net) -> Features {
    let rule = g.set_init(InitRule::KaimingNormal);
    let norm = if net.tensorflow {
        BatchNorm {
            eps: 1e-3,
            ..BatchNorm::default()
        }
    } else {
        BatchNorm::default()
    };
    let before = g.set_batch_norm(norm);
    let name = site.name / "model";
    let stem = Conv2d::square(3, net.stem).stride(2);
    let names = [&(&name / "conv_stem"), &(&name / "bn1")];
    let mut x = net.active(g, site.input, names, stem);
    let mut maps = vec![x];
    for (stage, rows) in net.stages.iter().enumerate() {
        let module = &name / "blocks" / stage;
        let all = rows
            .iter()
            .flat_map(|row| (0..row.blocks).map(move |at| (row, at)));
        for (index, (row, at)) in all.enumerate() {
            let stride = if at == 0 { row.stride } else { 1 };
            x = net.block(g, x, &(&module / index), row, stride);
        }
        match maps.last_mut() {
            Some(last) if rows[0].stride == 1 => *last = x,
            _ => maps.push(x),
        }
    }
    g.set_batch_norm(before);
    g.set_init(rule);
    Features::new(site.input, [maps[0], maps[1], maps[2], maps[3], maps[4]])
}

impl Net {
    fn block(&self, g: &mut Builder, x: Node, name: &Scope, row: &Row, stride: usize) -> Node {
        let entering = g.channels(x);
        let wide = match row.kind {
            Kind::Universal { .. } => divisible_by_8((entering * row.expansion) as f64),
            _ => entering * row.expansion,
        };
        let spread = |channels| Conv2d::square(row.kernel, channels).stride(stride);
        let pointwise = Conv2d::pointwise;
        let norm = |at: usize| name / format!("bn{at}");
        let (y, adds) = match row.kind {
            Kind::Plain { adds } => {
                let names = [&(name / "conv"), &norm(1)];
                (self.active(g, x, names, spread(row.channels)), adds)
            }
            Kind::Fused => {
                let y = self.active(g, x, [&(name / "conv_exp"), &norm(1)], spread(wide));
                let names = [&(name / "conv_pwl"), &norm(2)];
                (self.conv(g, y, names, pointwise(row.channels)), true)
            }
            Kind::Inverted => {
                let y = self.active(g, x, [&(name / "conv_pw"), &norm(1)], pointwise(wide));
                let depthwise = spread(wide).depthwise(wide);
                let y = self.active(g, y, [&(name / "conv_dw"), &norm(2)], depthwise);
                let module = name / "se";
                let gate = Gate {
                    inner: self.activation,
                    ..Gate::new(entering / 4)
                };
                let names = [&(&module / "conv_reduce"), &(&module / "conv_expand")];
                let y = gate.apply(g, y, names);
                let names = [&(name / "conv_pwl"), &norm(3)];
                (self.conv(g, y, names, pointwise(row.channels)), true)
            }
            Kind::Universal { before } => (
                self.universal(g, x, name, row, [before, stride, wide]),
                true,
            ),
        };
        if adds && stride == 1 && entering == row.channels {
            g.add(y, x, name)
        } else {
            y
        }
    }

    fn universal(
        &self,
        g: &mut Builder,
        x: Node,
        name: &Scope,
        row: &Row,
        [before, stride, wide]: [usize; 3],
    ) -> Node {
        let names = |module: &str| [name / module / "conv", name / module / "bn"];
        let mut y = x;
        if before > 0 {
            let [conv, norm] = names("dw_start");
            let width = g.channels(x);
            // The window within strides where there is one.
            let stride = if row.kernel == 0 { stride } else { 1 };
            let window = Conv2d::square(before, width).depthwise(width);
            y = self.conv(g, y, [&conv, &norm], window.stride(stride));
        }
        let [conv, norm] = names("pw_exp");
        y = self.active(g, y, [&conv, &norm], Conv2d::pointwise(wide));
        if row.kernel > 0 {
            let [conv, norm] = names("dw_mid");
            let window = Conv2d::square(row.kernel, wide).depthwise(wide);
            y = self.active(g, y, [&conv, &norm], window.stride(stride));
        }
        let [conv, norm] = names("pw_proj");
        self.conv(g, y, [&conv, &norm], Conv2d::pointwise(row.channels))
    }
}
