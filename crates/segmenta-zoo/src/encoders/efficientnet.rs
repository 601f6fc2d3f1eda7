//! EfficientNet (Tan and Le 2019, arXiv:1905.11946) as SMP has it, which is the PyTorch port of
//! L. Melas-Kyriazi: TensorFlow's padding, laid down once for the size that a variant was trained at,
//! and all inputs padded so.

use segmenta_graph::{Activation, BatchNorm, Builder, Conv2d, Node, Scope};

use super::mobilenet_v2::divisible_by_8;
use super::{Encoder, Family, Features, Site, Traits};
use crate::gate::Gate;

pub(crate) static FAMILY: Family = Family {
    name: "EfficientNet (Tan and Le 2019)",
    entry: "_conv_stem.weight",
    encoders: &[
        Encoder::new("efficientnet-b0", |g, site| {
            encode(g, site, 1.0, 1.0, 224, [2, 4, 8, 15])
        }),
        Encoder::new("efficientnet-b1", |g, site| {
            encode(g, site, 1.0, 1.1, 240, [4, 7, 15, 22])
        }),
        Encoder::new("efficientnet-b2", |g, site| {
            encode(g, site, 1.1, 1.2, 260, [4, 7, 15, 22])
        }),
        Encoder::new("efficientnet-b3", |g, site| {
            encode(g, site, 1.2, 1.4, 300, [4, 7, 17, 25])
        }),
        Encoder::new("efficientnet-b4", |g, site| {
            encode(g, site, 1.4, 1.8, 380, [5, 9, 21, 31])
        }),
        Encoder::new("efficientnet-b5", |g, site| {
            encode(g, site, 1.6, 2.2, 456, [7, 12, 26, 38])
        }),
        Encoder::new("efficientnet-b6", |g, site| {
            encode(g, site, 1.8, 2.6, 528, [8, 14, 30, 44])
        }),
        Encoder::new("efficientnet-b7", |g, site| {
            encode(g, site, 2.0, 3.1, 600, [10, 17, 37, 54])
        }),
    ],
    traits: Traits::PLAIN,
};

/// TensorFlow's, its decay of 0.99 as a momentum.
const BATCH_NORM: BatchNorm = BatchNorm {
    eps: 1e-3,
    momentum: 0.01,
};

/// Share of the last block's maps that training drops; earlier blocks less, in proportion.
const DROPPED: f32 = 0.2;

/// A row of table 1 of the paper, at the size of B0.
pub(super) struct Stage {
    pub(super) blocks: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) expansion: usize,
    pub(super) channels: usize,
}

/// Blocks, kernel, stride, expansion, channels.
pub(super) const STAGES: [Stage; 7] = [
    row(1, 3, 1, 1, 16),
    row(2, 3, 2, 6, 24),
    row(2, 5, 2, 6, 40),
    row(3, 3, 2, 6, 80),
    row(3, 5, 1, 6, 112),
    row(4, 5, 2, 6, 192),
    row(1, 3, 1, 6, 320),
];

const fn row(
    blocks: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    channels: usize,
) -> Stage {
    Stage {
        blocks,
        kernel,
        stride,
        expansion,
        channels,
    }
}

/// The maps at strides 2, 4, 8, 16, 32: `width` and `depth` say how much wider and deeper than B0 it is,
/// `side` how large the pictures were that it was trained on, `read` which blocks SMP's decoders read (of
/// B0 the first at stride 16 with 112 channels, of the others the last). The last 1×1 convolution is there
/// for its names: no map reads it.
fn encode(
    g: &mut Builder,
    site: &Site<'_>,
    width: f64,
    depth: f64,
    side: usize,
    read: [usize; 4],
) -> Features {
    let heads_norm = g.set_batch_norm(BATCH_NORM);
    let name = site.name;
    let widened = |channels: usize| divisible_by_8(channels as f64 * width);
    let count = |stage: &Stage| (stage.blocks as f64 * depth).ceil() as usize;
    let all: usize = STAGES.iter().map(count).sum();

    let stem = Conv2d::square(3, widened(32)).stride(2).same_for(side);
    let mut x = g.conv_bn(site.input, &(name / "_conv_stem"), &(name / "_bn0"), stem);
    x = g.activation(x, Activation::Silu);
    let (mut side, mut index) = (side.div_ceil(2), 0);
    let mut maps = [x; 5];
    for stage in &STAGES {
        for i in 0..count(stage) {
            let stride = if i == 0 { stage.stride } else { 1 };
            let depthwise = Conv2d::square(stage.kernel, g.channels(x) * stage.expansion);
            let depthwise = depthwise.stride(stride).same_for(side);
            // A stage that dilates begins after the block that is read before it.
            let reached = match index {
                _ if index > read[2] => 32,
                _ if index > read[1] => 16,
                _ => 8,
            };
            let depthwise = site.output_stride.fit(reached, depthwise);
            let block = Block {
                depthwise,
                channels: widened(stage.channels),
                residual: i > 0,
                dropped: DROPPED * index as f32 / all as f32,
            };
            x = block.build(g, &(name / "_blocks" / index), x);
            if let Some(read) = read.iter().position(|&r| r == index) {
                maps[read + 1] = x;
            }
            side = side.div_ceil(stride);
            index += 1;
        }
    }
    let head = Conv2d::pointwise(widened(1280));
    g.conv_bn(x, &(name / "_conv_head"), &(name / "_bn1"), head);
    g.set_batch_norm(heads_norm);
    Features::new(site.input, maps)
}

/// An inverted residual with squeeze-and-excitation.
struct Block {
    depthwise: Conv2d,
    channels: usize,
    residual: bool,
    dropped: f32,
}

impl Block {
    fn build(&self, g: &mut Builder, name: &Scope, x: Node) -> Node {
        let (narrow, wide) = (g.channels(x), self.depthwise.out_channels);
        let mut y = x;
        if wide != narrow {
            let expand = Conv2d::pointwise(wide);
            y = g.conv_bn(y, &(name / "_expand_conv"), &(name / "_bn0"), expand);
            y = g.activation(y, Activation::Silu);
        }
        let depthwise = self.depthwise.depthwise(wide);
        y = g.conv_bn(y, &(name / "_depthwise_conv"), &(name / "_bn1"), depthwise);
        y = g.activation(y, Activation::Silu);
        let gate = Gate {
            inner: Activation::Silu,
            ..Gate::new(narrow / 4)
        };
        y = gate.apply(g, y, [&(name / "_se_reduce"), &(name / "_se_expand")]);
        let project = Conv2d::pointwise(self.channels);
        y = g.conv_bn(y, &(name / "_project_conv"), &(name / "_bn2"), project);
        if self.residual {
            y = g.stochastic_depth(y, self.dropped, name);
            y = g.add(y, x, name);
        }
        y
    }
}
