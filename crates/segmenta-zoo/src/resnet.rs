//! ResNet (He et al. 2015, arXiv:1512.03385) in torchvision's form ("v1.5": the stride sits on the
//! 3×3 of a bottleneck), with strides that can turn into dilations.

use segmenta_graph::{Builder, Conv2d, MaxPool2d, Node, Scope};

/// How many bottlenecks each of the four layers has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth([usize; 4]);

pub(crate) const RESNET50: Depth = Depth([3, 4, 6, 3]);
pub(crate) const RESNET101: Depth = Depth([3, 4, 23, 3]);

/// What the encoder gives: the maps after each of its layers.
pub(crate) struct Stages {
    /// After layer 3: 1024 channels; where auxiliary heads sit.
    pub(crate) layer3: Node,
    /// After layer 4: 2048 channels.
    pub(crate) layer4: Node,
}

/// The encoder at output stride 8: layers 3 and 4 dilate instead of striding, as torchvision's
/// segmentation networks ask (`replace_stride_with_dilation = [False, True, True]`).
pub(crate) fn dilated_bottlenecks(g: &mut Builder, name: &Scope, x: Node, depth: Depth) -> Stages {
    let stem = Conv2d::square(7, 64).stride(2);
    let x = g.conv_bn_relu(x, &(name / "conv1"), &(name / "bn1"), stem);
    let pool = MaxPool2d {
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let x = g.max_pool(x, &(name / "maxpool"), pool);

    let [one, two, three, four] = depth.0;
    let x = layer(g, &(name / "layer1"), x, 64, one, 1, [1, 1]);
    let x = layer(g, &(name / "layer2"), x, 128, two, 2, [1, 1]);
    // A layer's first block still has the dilation of the layer before.
    let layer3 = layer(g, &(name / "layer3"), x, 256, three, 1, [1, 2]);
    let layer4 = layer(g, &(name / "layer4"), layer3, 512, four, 1, [2, 4]);
    Stages { layer3, layer4 }
}

/// `blocks` bottlenecks; the first takes the stride and the first dilation, the rest the second.
fn layer(
    g: &mut Builder,
    name: &Scope,
    mut x: Node,
    width: usize,
    blocks: usize,
    stride: usize,
    [first, rest]: [usize; 2],
) -> Node {
    for i in 0..blocks {
        let (stride, dilation) = if i == 0 { (stride, first) } else { (1, rest) };
        x = bottleneck(g, &(name / i), x, width, stride, dilation);
    }
    x
}

/// 1×1 reduce, 3×3 (stride, dilation), 1×1 expand by four, plus the shortcut.
fn bottleneck(
    g: &mut Builder,
    name: &Scope,
    x: Node,
    width: usize,
    stride: usize,
    dilation: usize,
) -> Node {
    let spread = Conv2d::square(3, width).stride(stride).dilation(dilation);
    let expand = Conv2d::pointwise(4 * width);
    let y = g.conv_bn_relu(
        x,
        &(name / "conv1"),
        &(name / "bn1"),
        Conv2d::pointwise(width),
    );
    let y = g.conv_bn_relu(y, &(name / "conv2"), &(name / "bn2"), spread);
    let y = g.conv_bn(y, &(name / "conv3"), &(name / "bn3"), expand);
    let shortcut = if g.same_shape(x, y) {
        x
    } else {
        let down = name / "downsample";
        g.conv_bn(x, &(&down / 0), &(&down / 1), expand.stride(stride))
    };
    let sum = g.add(y, shortcut, name);
    g.relu(sum)
}
