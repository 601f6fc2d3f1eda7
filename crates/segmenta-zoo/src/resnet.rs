//! ResNet (He et al. 2015, arXiv:1512.03385) in torchvision's form ("v1.5": the stride sits on the
//! 3×3 of a bottleneck), with strides that can turn into dilations.

use segmenta_graph::{Builder, Conv2d, InitRule, Node, Pool2d, Scope};

/// What a layer is made of.
#[derive(Clone, Copy, Debug)]
enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3, 1×1, four times as wide at the end.
    Bottleneck,
}

/// One of the family: its block, and how many of them each of the four layers has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResNet(Block, [usize; 4]);

pub(crate) const RESNET18: ResNet = ResNet(Block::Basic, [2, 2, 2, 2]);
pub(crate) const RESNET34: ResNet = ResNet(Block::Basic, [3, 4, 6, 3]);
pub(crate) const RESNET50: ResNet = ResNet(Block::Bottleneck, [3, 4, 6, 3]);
pub(crate) const RESNET101: ResNet = ResNet(Block::Bottleneck, [3, 4, 23, 3]);

/// The maps after the stem and after each layer, at strides 2, 4, 8, 16, 32.
pub(crate) fn encode(g: &mut Builder, name: &Scope, x: Node, net: ResNet) -> [Node; 5] {
    build(g, name, x, net, &[[1, 1]; 4], [1, 2, 2, 2])
}

/// The same at output stride 8: layers 3 and 4 dilate instead of striding, as torchvision's
/// segmentation networks ask (`replace_stride_with_dilation = [False, True, True]`). A layer's
/// first block still has the dilation of the layer before.
pub(crate) fn dilated(g: &mut Builder, name: &Scope, x: Node, net: ResNet) -> [Node; 5] {
    let dilations = [[1, 1], [1, 1], [1, 2], [2, 4]];
    build(g, name, x, net, &dilations, [1, 2, 1, 1])
}

fn build(
    g: &mut Builder,
    name: &Scope,
    x: Node,
    ResNet(block, counts): ResNet,
    dilations: &[[usize; 2]; 4],
    strides: [usize; 4],
) -> [Node; 5] {
    let heads_rule = g.set_init(InitRule::KaimingNormal);
    let stem = Conv2d::square(7, 64).stride(2);
    let stem = g.conv_bn_relu(x, &(name / "conv1"), &(name / "bn1"), stem);
    let pool = Pool2d::square(3).stride(2).padding(1);
    let mut x = g.max_pool(stem, &(name / "maxpool"), pool);

    let mut maps = [stem; 5];
    for layer in 0..4 {
        let module = name / format!("layer{}", layer + 1);
        for i in 0..counts[layer] {
            let [first, rest] = dilations[layer];
            let (stride, dilation) = if i == 0 {
                (strides[layer], first)
            } else {
                (1, rest)
            };
            x = residual(g, &(&module / i), x, block, 64 << layer, stride, dilation);
        }
        maps[layer + 1] = x;
    }
    g.set_init(heads_rule);
    maps
}

/// A block, plus its input, which a 1×1 convolution fits to it where it must.
fn residual(
    g: &mut Builder,
    name: &Scope,
    x: Node,
    block: Block,
    width: usize,
    stride: usize,
    dilation: usize,
) -> Node {
    let spread = Conv2d::square(3, width).stride(stride).dilation(dilation);
    let [first, second, third] =
        [1, 2, 3].map(|i| (name / format!("conv{i}"), name / format!("bn{i}")));
    let y = match block {
        Block::Basic => {
            let y = g.conv_bn_relu(x, &first.0, &first.1, spread);
            g.conv_bn(y, &second.0, &second.1, Conv2d::square(3, width))
        }
        Block::Bottleneck => {
            let y = g.conv_bn_relu(x, &first.0, &first.1, Conv2d::pointwise(width));
            let y = g.conv_bn_relu(y, &second.0, &second.1, spread);
            g.conv_bn(y, &third.0, &third.1, Conv2d::pointwise(4 * width))
        }
    };
    let shortcut = if g.same_shape(x, y) {
        x
    } else {
        let down = name / "downsample";
        let fit = Conv2d::pointwise(g.channels(y)).stride(stride);
        g.conv_bn(x, &(&down / 0), &(&down / 1), fit)
    };
    let sum = g.add(y, shortcut, name);
    g.relu(sum)
}
