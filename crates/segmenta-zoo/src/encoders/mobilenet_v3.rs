//! MobileNetV3-Large (Howard et al. 2019, arXiv:1905.02244) under torchvision's names, and in the form of
//! its segmentation networks, whose last stage dilates instead of striding (output stride 16).

use segmenta_graph::{Activation, BatchNorm, Builder, Conv2d, InitRule, Node, Scope};

use super::mobilenet_v2::divisible_by_8;
use super::{Encoder, Family, Features, OutputStride, Site, Traits};
use crate::gate::Gate;
use Activation::{Hardswish, Relu};

pub(crate) static FAMILY: Family = Family {
    name: "MobileNetV3 of torchvision (Howard et al. 2019)",
    entry: "features.0.0.weight",
    encoders: &[Encoder::new("mobilenet_v3_large", encode)],
    traits: Traits::PLAIN,
};

/// What torchvision gives MobileNetV3's batch norms (the heads keep PyTorch's).
const BATCH_NORM: BatchNorm = BatchNorm {
    eps: 1e-3,
    momentum: 0.01,
};

/// One row of table 1 of the paper.
struct Block {
    kernel: usize,
    expanded: usize,
    out: usize,
    squeeze: bool,
    activation: Activation,
    stride: usize,
}

/// Kernel, expanded and output channels, squeeze-and-excitation, activation, stride.
#[rustfmt::skip]
const BLOCKS: [Block; 15] = [
    row(3,  16,  16, false, Relu,      1),
    row(3,  64,  24, false, Relu,      2),
    row(3,  72,  24, false, Relu,      1),
    row(5,  72,  40, true,  Relu,      2),
    row(5, 120,  40, true,  Relu,      1),
    row(5, 120,  40, true,  Relu,      1),
    row(3, 240,  80, false, Hardswish, 2),
    row(3, 200,  80, false, Hardswish, 1),
    row(3, 184,  80, false, Hardswish, 1),
    row(3, 184,  80, false, Hardswish, 1),
    row(3, 480, 112, true,  Hardswish, 1),
    row(3, 672, 112, true,  Hardswish, 1),
    row(5, 672, 160, true,  Hardswish, 2),
    row(5, 960, 160, true,  Hardswish, 1),
    row(5, 960, 160, true,  Hardswish, 1),
];

const fn row(
    kernel: usize,
    expanded: usize,
    out: usize,
    squeeze: bool,
    activation: Activation,
    stride: usize,
) -> Block {
    Block {
        kernel,
        expanded,
        out,
        squeeze,
        activation,
        stride,
    }
}

/// What the dilated encoder gives.
pub(crate) struct Stages {
    /// After block 4: 40 channels at stride 8. LR-ASPP's skip and DeepLabV3's auxiliary head.
    pub(crate) low: Node,
    /// After the last 1×1 convolution: 960 channels at stride 16.
    pub(crate) high: Node,
}

/// The dilated large encoder under `name` (torchvision's `backbone`).
pub(crate) fn dilated_large(g: &mut Builder, name: &Scope, x: Node) -> Stages {
    let features = features(g, name, x, OutputStride(16));
    Stages {
        low: features[4],
        high: features[BLOCKS.len() + 1],
    }
}

fn encode(g: &mut Builder, site: &Site<'_>) -> Features {
    let name = site.name / "features";
    let features = features(g, &name, site.input, site.output_stride);
    let stages = [1, 3, 6, 12, BLOCKS.len() + 1].map(|index| features[index]);
    Features::new(site.input, stages)
}

/// The stem, the blocks and the last 1×1 convolution.
fn features(g: &mut Builder, name: &Scope, x: Node, output_stride: OutputStride) -> Vec<Node> {
    let heads_norm = g.set_batch_norm(BATCH_NORM);
    let heads_rule = g.set_init(InitRule::KaimingNormal);
    let stem = Conv2d::square(3, 16).stride(2);
    let mut x = conv_bn_act(g, x, &(name / 0), stem, Hardswish);
    let (mut features, mut reached) = (vec![x], 2);
    for (block, index) in BLOCKS.iter().zip(1..) {
        reached *= block.stride;
        let depthwise = Conv2d::square(block.kernel, block.expanded)
            .stride(block.stride)
            .depthwise(block.expanded);
        let depthwise = output_stride.fit(reached, depthwise);
        x = inverted_residual(g, &(name / index / "block"), x, block, depthwise);
        features.push(x);
    }
    let last = Conv2d::pointwise(6 * g.channels(x));
    features.push(conv_bn_act(
        g,
        x,
        &(name / (BLOCKS.len() + 1)),
        last,
        Hardswish,
    ));
    g.set_batch_norm(heads_norm);
    g.set_init(heads_rule);
    features
}

/// 1×1 expand, depthwise, squeeze-and-excitation, 1×1 project, plus the input where it fits.
fn inverted_residual(
    g: &mut Builder,
    name: &Scope,
    x: Node,
    block: &Block,
    depthwise: Conv2d,
) -> Node {
    let (mut y, mut part) = (x, 0);
    if block.expanded != g.channels(x) {
        let expand = Conv2d::pointwise(block.expanded);
        y = conv_bn_act(g, y, &(name / part), expand, block.activation);
        part += 1;
    }
    y = conv_bn_act(g, y, &(name / part), depthwise, block.activation);
    part += 1;
    if block.squeeze {
        let gate = Gate {
            outer: Activation::Hardsigmoid,
            ..Gate::new(divisible_by_8((block.expanded / 4) as f64))
        };
        let module = name / part;
        y = gate.apply(g, y, [&(&module / "fc1"), &(&module / "fc2")]);
        part += 1;
    }
    let project = name / part;
    y = g.conv_bn(
        y,
        &(&project / 0),
        &(&project / 1),
        Conv2d::pointwise(block.out),
    );
    if g.same_shape(x, y) {
        g.add(x, y, name)
    } else {
        y
    }
}

fn conv_bn_act(g: &mut Builder, x: Node, name: &Scope, conv: Conv2d, act: Activation) -> Node {
    let y = g.conv_bn(x, &(name / 0), &(name / 1), conv);
    g.activation(y, act)
}
