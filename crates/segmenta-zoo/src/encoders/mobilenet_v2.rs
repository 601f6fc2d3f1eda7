//! MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), under torchvision's names.

use segmenta_graph::{Activation, Builder, Conv2d, InitRule, Node, Scope};

use super::{Encoder, Family, Features, Site, Traits};

pub(crate) static FAMILY: Family = Family {
    name: "MobileNetV2 (Sandler et al. 2018)",
    entry: "features.0.0.weight",
    encoders: &[Encoder::new("mobilenet_v2", encode)],
    traits: Traits::PLAIN,
};

/// Expansion, channels, blocks, stride of each stage: table 2 of the paper.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// Channels rounded to a multiple of eight, never more than a tenth below: the rule of the
/// TensorFlow and torchvision MobileNets.
pub(crate) fn divisible_by_8(channels: f64) -> usize {
    let rounded = ((channels + 4.0) as usize / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * channels {
        rounded + 8
    } else {
        rounded
    }
}

/// The encoder at output stride 8, as TensorFlow's DeepLab has it: strides beyond it become dilations of
/// the blocks *after* the one that would have strided. `width` multiplies the channels. Gives
/// `features.17`.
pub(crate) fn dilated_features(g: &mut Builder, name: &Scope, x: Node, width: f64) -> Node {
    const OUTPUT_STRIDE: usize = 8;
    let [.., last] = blocks(g, name, x, width, |reached, conv| {
        let beyond = reached / OUTPUT_STRIDE;
        match (beyond, conv.stride) {
            (0 | 1, _) => conv,
            (_, [1, 1]) => conv.dilation(beyond),
            (_, [stride, _]) => conv.stride(1).dilation(beyond / stride),
        }
    });
    last
}

/// The whole encoder, its last 1×1 convolution included.
fn encode(g: &mut Builder, site: &Site<'_>) -> Features {
    let name = site.name / "features";
    let fit = |reached, conv| site.output_stride.fit(reached, conv);
    let features = blocks(g, &name, site.input, 1.0, fit);
    let heads_rule = g.set_init(InitRule::KaimingNormal);
    let last = conv_bn_relu6(g, features[17], &(&name / 18), Conv2d::pointwise(1280));
    g.set_init(heads_rule);
    let stages = [features[1], features[3], features[6], features[13], last];
    Features::new(site.input, stages)
}

/// `features.0` to `features.17`; `fit` may turn the stride of a depthwise convolution, with which its
/// stage reaches the stride given, into dilation.
fn blocks(
    g: &mut Builder,
    name: &Scope,
    x: Node,
    width: f64,
    fit: impl Fn(usize, Conv2d) -> Conv2d,
) -> [Node; 18] {
    let heads_rule = g.set_init(InitRule::KaimingNormal);
    let scaled = |channels: usize| divisible_by_8(channels as f64 * width);
    let stem = Conv2d::square(3, scaled(32)).stride(2);
    let mut x = conv_bn_relu6(g, x, &(name / 0), stem);
    let mut features = [x; 18];
    let (mut reached, mut index) = (2, 1);
    for (expansion, channels, blocks, stage_stride) in STAGES {
        reached *= stage_stride;
        for i in 0..blocks {
            let stride = if i == 0 { stage_stride } else { 1 };
            let hidden = g.channels(x) * expansion;
            let depthwise = Conv2d::square(3, hidden).stride(stride).depthwise(hidden);
            let block = &(name / index / "conv");
            x = inverted_residual(g, block, x, fit(reached, depthwise), scaled(channels));
            features[index] = x;
            index += 1;
        }
    }
    g.set_init(heads_rule);
    features
}

/// 1×1 expand, 3×3 depthwise, 1×1 project without activation, plus the input where it fits.
fn inverted_residual(
    g: &mut Builder,
    name: &Scope,
    x: Node,
    depthwise: Conv2d,
    channels: usize,
) -> Node {
    let hidden = depthwise.out_channels;
    let (mut y, mut part) = (x, 0);
    if hidden != g.channels(x) {
        y = conv_bn_relu6(g, y, &(name / part), Conv2d::pointwise(hidden));
        part += 1;
    }
    y = conv_bn_relu6(g, y, &(name / part), depthwise);
    let (project, norm) = (name / (part + 1), name / (part + 2));
    y = g.conv_bn(y, &project, &norm, Conv2d::pointwise(channels));
    if g.same_shape(x, y) {
        g.add(x, y, name)
    } else {
        y
    }
}

fn conv_bn_relu6(g: &mut Builder, x: Node, name: &Scope, conv: Conv2d) -> Node {
    let y = g.conv_bn(x, &(name / 0), &(name / 1), conv);
    g.activation(y, Activation::Relu6)
}
