//! MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), under torchvision's names.

use segmenta_graph::{Activation, Builder, Conv2d, InitRule, Node, Scope};

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

/// The encoder at output stride 8: strides beyond it become dilations of the blocks *after* the
/// one that would have strided. `width` multiplies the channels. Gives `features.17`.
pub(crate) fn dilated_features(g: &mut Builder, name: &Scope, x: Node, width: f64) -> Node {
    let [.., last] = blocks(g, name, x, width, 8);
    last
}

/// The whole encoder, its last 1×1 convolution included: the maps at strides 2, 4, 8, 16, 32.
pub(crate) fn encode(g: &mut Builder, name: &Scope, x: Node) -> [Node; 5] {
    let name = name / "features";
    let features = blocks(g, &name, x, 1.0, 32);
    let heads_rule = g.set_init(InitRule::KaimingNormal);
    let last = conv_bn_relu6(g, features[17], &(&name / 18), Conv2d::pointwise(1280));
    g.set_init(heads_rule);
    [features[1], features[3], features[6], features[13], last]
}

/// `features.0` to `features.17`.
fn blocks(g: &mut Builder, name: &Scope, x: Node, width: f64, output_stride: usize) -> [Node; 18] {
    let heads_rule = g.set_init(InitRule::KaimingNormal);
    let scaled = |channels: usize| divisible_by_8(channels as f64 * width);
    let stem = Conv2d::square(3, scaled(32)).stride(2);
    let mut x = conv_bn_relu6(g, x, &(name / 0), stem);
    let mut features = [x; 18];
    let (mut reached, mut dilation, mut index) = (2, 1, 1);
    for (expansion, channels, blocks, stage_stride) in STAGES {
        for i in 0..blocks {
            let mut stride = if i == 0 { stage_stride } else { 1 };
            let mut next_dilation = dilation;
            if reached * stride > output_stride {
                next_dilation *= stride;
                stride = 1;
            }
            reached *= stride;
            let block = &(name / index / "conv");
            x = inverted_residual(g, block, x, scaled(channels), expansion, stride, dilation);
            features[index] = x;
            dilation = next_dilation;
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
    channels: usize,
    expansion: usize,
    stride: usize,
    dilation: usize,
) -> Node {
    let hidden = g.channels(x) * expansion;
    let (mut y, mut part) = (x, 0);
    if expansion != 1 {
        y = conv_bn_relu6(g, y, &(name / part), Conv2d::pointwise(hidden));
        part += 1;
    }
    let depthwise = Conv2d::square(3, hidden).stride(stride).dilation(dilation);
    y = conv_bn_relu6(g, y, &(name / part), depthwise.depthwise(hidden));
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
