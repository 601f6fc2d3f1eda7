//! ResNet (He et al. 2015, arXiv:1512.03385) and ResNeXt (Xie et al. 2016, arXiv:1611.05431) in
//! torchvision's form ("v1.5": the stride sits on the 3×3 of a bottleneck), with strides that can turn
//! into dilations.

use segmenta_graph::{Builder, Conv2d, InitRule, Node, Pool2d, Scope};

use crate::encoders::{Encoder, Family, Features, OutputStride, Site, Traits};
use crate::gate::Gate;

pub(crate) static FAMILY: Family = Family {
    name: "ResNet, ResNeXt (He et al. 2015, Xie et al. 2016)",
    entry: "layer1.0.bn1.weight",
    encoders: &[
        Encoder::new("resnet18", |g, site| encode(g, site, RESNET18)),
        Encoder::new("resnet34", |g, site| encode(g, site, RESNET34)),
        Encoder::new("resnet50", |g, site| encode(g, site, RESNET50)),
        Encoder::new("resnet101", |g, site| encode(g, site, RESNET101)),
        Encoder::new("resnet152", |g, site| encode(g, site, RESNET152)),
        Encoder::new("resnext50_32x4d", |g, site| {
            encode(g, site, RESNET50.next(4))
        }),
        Encoder::new("resnext101_32x4d", |g, site| {
            encode(g, site, RESNET101.next(4))
        }),
        Encoder::new("resnext101_32x8d", |g, site| {
            encode(g, site, RESNET101.next(8))
        }),
        Encoder::new("resnext101_32x16d", |g, site| {
            encode(g, site, RESNET101.next(16))
        }),
        Encoder::new("resnext101_32x32d", |g, site| {
            encode(g, site, RESNET101.next(32))
        }),
        Encoder::new("resnext101_32x48d", |g, site| {
            encode(g, site, RESNET101.next(48))
        }),
    ],
    traits: Traits::PLAIN,
};

/// What a layer is made of.
#[derive(Clone, Copy, Debug)]
enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3, 1×1, four times as wide at the end.
    Bottleneck,
}

/// One of the family: its block, how many of them each of the four layers has, the groups of the 3×3
/// and the channels of one group in the first layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResNet {
    block: Block,
    counts: [usize; 4],
    groups: usize,
    per_group: usize,
}

pub(crate) const RESNET18: ResNet = plain(Block::Basic, [2, 2, 2, 2]);
pub(crate) const RESNET34: ResNet = plain(Block::Basic, [3, 4, 6, 3]);
pub(crate) const RESNET50: ResNet = plain(Block::Bottleneck, [3, 4, 6, 3]);
pub(crate) const RESNET101: ResNet = plain(Block::Bottleneck, [3, 4, 23, 3]);
const RESNET152: ResNet = plain(Block::Bottleneck, [3, 8, 36, 3]);

const fn plain(block: Block, counts: [usize; 4]) -> ResNet {
    ResNet {
        block,
        counts,
        groups: 1,
        per_group: 64,
    }
}

impl ResNet {
    /// The ResNeXt of as many blocks: 32 groups of `per_group` channels.
    const fn next(self, per_group: usize) -> Self {
        Self {
            groups: 32,
            per_group,
            ..self
        }
    }
}

/// Stride of a layer, dilation of its first block, and of the others.
type Layer = (usize, usize, usize);

/// The maps after the stem and after each layer.
fn encode(g: &mut Builder, site: &Site<'_>, net: ResNet) -> Features {
    let OutputStride(limit) = site.output_stride;
    let layer = |reached: usize, stride: usize| match reached / limit {
        0 | 1 => (stride, 1, 1),
        dilation => (1, dilation, dilation),
    };
    let layers = [layer(4, 1), layer(8, 2), layer(16, 2), layer(32, 2)];
    let maps = build(g, site.name, site.input, net, layers);
    Features::new(site.input, maps)
}

/// The maps at strides 2, 4, 8, 16, 32.
pub(crate) fn strided(g: &mut Builder, name: &Scope, x: Node, net: ResNet) -> [Node; 5] {
    build(
        g,
        name,
        x,
        net,
        [(1, 1, 1), (2, 1, 1), (2, 1, 1), (2, 1, 1)],
    )
}

/// The same at output stride 8: layers 3 and 4 dilate instead of striding, as torchvision's
/// segmentation networks ask (`replace_stride_with_dilation = [False, True, True]`). A layer's
/// first block still has the dilation of the layer before.
pub(crate) fn dilated(g: &mut Builder, name: &Scope, x: Node, net: ResNet) -> [Node; 5] {
    build(
        g,
        name,
        x,
        net,
        [(1, 1, 1), (2, 1, 1), (1, 1, 2), (1, 2, 4)],
    )
}

fn build(g: &mut Builder, name: &Scope, x: Node, net: ResNet, layers: [Layer; 4]) -> [Node; 5] {
    let heads_rule = g.set_init(InitRule::KaimingNormal);
    let (stem, mut x) = stem(g, name, x);
    let mut maps = [stem; 5];
    for (layer, (stride, first, rest)) in layers.into_iter().enumerate() {
        let module = name / format!("layer{}", layer + 1);
        for i in 0..net.counts[layer] {
            let (stride, dilation) = if i == 0 { (stride, first) } else { (1, rest) };
            x = net.block(g, &(&module / i), x, 64 << layer, stride, dilation);
        }
        maps[layer + 1] = x;
    }
    g.set_init(heads_rule);
    maps
}

/// A 7×7 convolution and a pool, each of stride 2: the convolution's map and the pool's.
pub(crate) fn stem(g: &mut Builder, name: &Scope, x: Node) -> (Node, Node) {
    let conv = Conv2d::square(7, 64).stride(2);
    let conv = g.conv_bn_relu(x, &(name / "conv1"), &(name / "bn1"), conv);
    let pool = Pool2d::square(3).stride(2).padding(1);
    (conv, g.max_pool(conv, &(name / "maxpool"), pool))
}

impl ResNet {
    fn block(
        self,
        g: &mut Builder,
        name: &Scope,
        x: Node,
        planes: usize,
        stride: usize,
        dilation: usize,
    ) -> Node {
        let spread = |width| Conv2d::square(3, width).dilation(dilation);
        let (convs, out) = match self.block {
            Block::Basic => {
                let convs = vec![spread(planes).stride(stride), spread(planes)];
                (convs, planes)
            }
            Block::Bottleneck => {
                let width = planes * self.per_group / 64 * self.groups;
                let out = 4 * planes;
                let convs = vec![
                    Conv2d::pointwise(width),
                    spread(width).stride(stride).groups(self.groups),
                    Conv2d::pointwise(out),
                ];
                (convs, out)
            }
        };
        let residual = Residual {
            convs,
            reduction: None,
            shortcut: Conv2d::pointwise(out).stride(stride),
        };
        residual.build(g, name, x)
    }
}

/// Convolutions with batch norms, ReLUs between them; their result, scaled by squeeze-and-excitation if
/// there is a `reduction`, plus the input, which `shortcut` fits to it where it must; and a ReLU.
pub(crate) struct Residual {
    pub(crate) convs: Vec<Conv2d>,
    pub(crate) reduction: Option<usize>,
    pub(crate) shortcut: Conv2d,
}

impl Residual {
    pub(crate) fn build(&self, g: &mut Builder, name: &Scope, x: Node) -> Node {
        let mut y = x;
        for (conv, i) in self.convs.iter().zip(1..) {
            if i > 1 {
                y = g.relu(y);
            }
            let (module, norm) = (name / format!("conv{i}"), name / format!("bn{i}"));
            y = g.conv_bn(y, &module, &norm, *conv);
        }
        if let Some(reduction) = self.reduction {
            let module = name / "se_module";
            let gate = Gate::new(g.channels(y) / reduction);
            y = gate.apply(g, y, [&(&module / "fc1"), &(&module / "fc2")]);
        }
        join(g, name, x, y, self.shortcut)
    }
}

/// `relu(y + x)`, with `x` fitted to `y` by a convolution where they differ.
pub(crate) fn join(g: &mut Builder, name: &Scope, x: Node, y: Node, fit: Conv2d) -> Node {
    let shortcut = if g.same_shape(x, y) {
        x
    } else {
        let down = name / "downsample";
        g.conv_bn(x, &(&down / 0), &(&down / 1), fit)
    };
    let sum = g.add(y, shortcut, name);
    g.relu(sum)
}
