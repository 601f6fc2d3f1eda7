//! MobileNetV3-Large (Howard et al. 2019, arXiv:1905.02244) in torchvision's dilated form, whose
//! last stage dilates instead of striding (output stride 16).

use segmenta_graph::{Activation, BatchNorm, Builder, Conv2d, InitRule, Node, Scope};

use crate::mobilenet_v2::divisible_by_8;
use Activation::{Hardswish, Relu};

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
    dilation: usize,
}

/// Kernel, expanded and output channels, squeeze-and-excitation, activation, stride, dilation.
#[rustfmt::skip]
const BLOCKS: [Block; 15] = [
    row(3,  16,  16, false, Relu,      1, 1),
    row(3,  64,  24, false, Relu,      2, 1),
    row(3,  72,  24, false, Relu,      1, 1),
    row(5,  72,  40, true,  Relu,      2, 1),
    row(5, 120,  40, true,  Relu,      1, 1),
    row(5, 120,  40, true,  Relu,      1, 1),
    row(3, 240,  80, false, Hardswish, 2, 1),
    row(3, 200,  80, false, Hardswish, 1, 1),
    row(3, 184,  80, false, Hardswish, 1, 1),
    row(3, 184,  80, false, Hardswish, 1, 1),
    row(3, 480, 112, true,  Hardswish, 1, 1),
    row(3, 672, 112, true,  Hardswish, 1, 1),
    row(5, 672, 160, true,  Hardswish, 1, 2),
    row(5, 960, 160, true,  Hardswish, 1, 2),
    row(5, 960, 160, true,  Hardswish, 1, 2),
];

const fn row(
    kernel: usize,
    expanded: usize,
    out: usize,
    squeeze: bool,
    activation: Activation,
    stride: usize,
    dilation: usize,
) -> Block {
    Block {
        kernel,
        expanded,
        out,
        squeeze,
        activation,
        stride,
        dilation,
    }
}

/// What the encoder gives.
pub(crate) struct Stages {
    /// After block 4: 40 channels at stride 8. LR-ASPP's skip and DeepLabV3's auxiliary head.
    pub(crate) low: Node,
    /// After the last 1×1 convolution: 960 channels at stride 16.
    pub(crate) high: Node,
}

/// The dilated large encoder under `name` (torchvision's `backbone`).
pub(crate) fn dilated_large(g: &mut Builder, name: &Scope, x: Node) -> Stages {
    const LOW: usize = 4;
    let heads_norm = g.set_batch_norm(BATCH_NORM);
    let heads_rule = g.set_init(InitRule::KaimingNormal);
    let stem = Conv2d::square(3, 16).stride(2);
    let mut x = conv_bn_act(g, x, &(name / 0), stem, Hardswish);
    let mut low = x;
    for (block, index) in BLOCKS.iter().zip(1..) {
        x = inverted_residual(g, &(name / index / "block"), x, block);
        if index == LOW {
            low = x;
        }
    }
    let last = Conv2d::pointwise(6 * g.channels(x));
    let high = conv_bn_act(g, x, &(name / (BLOCKS.len() + 1)), last, Hardswish);
    g.set_batch_norm(heads_norm);
    g.set_init(heads_rule);
    Stages { low, high }
}

/// 1×1 expand, depthwise, squeeze-and-excitation, 1×1 project, plus the input where it fits.
fn inverted_residual(g: &mut Builder, name: &Scope, x: Node, block: &Block) -> Node {
    let (mut y, mut part) = (x, 0);
    if block.expanded != g.channels(x) {
        let expand = Conv2d::pointwise(block.expanded);
        y = conv_bn_act(g, y, &(name / part), expand, block.activation);
        part += 1;
    }
    let depthwise = Conv2d::square(block.kernel, block.expanded)
        .stride(block.stride)
        .dilation(block.dilation)
        .depthwise(block.expanded);
    y = conv_bn_act(g, y, &(name / part), depthwise, block.activation);
    part += 1;
    if block.squeeze {
        y = squeeze_excitation(g, &(name / part), y);
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

/// Scales each channel by what the mean of all channels says (Hu et al. 2018, arXiv:1709.01507).
fn squeeze_excitation(g: &mut Builder, name: &Scope, x: Node) -> Node {
    let channels = g.channels(x);
    let squeezed = divisible_by_8((channels / 4) as f64);
    let mean = g.global_avg_pool(x, &(name / "avgpool"));
    let y = g.conv(
        mean,
        &(name / "fc1"),
        Conv2d::pointwise(squeezed).with_bias(),
    );
    let y = g.relu(y);
    let y = g.conv(y, &(name / "fc2"), Conv2d::pointwise(channels).with_bias());
    let scale = g.activation(y, Activation::Hardsigmoid);
    g.mul(x, scale, name)
}

fn conv_bn_act(g: &mut Builder, x: Node, name: &Scope, conv: Conv2d, act: Activation) -> Node {
    let y = g.conv_bn(x, &(name / 0), &(name / 1), conv);
    g.activation(y, act)
}
