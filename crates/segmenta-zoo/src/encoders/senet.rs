//! SENet, SE-ResNet and SE-ResNeXt (Hu et al. 2018, arXiv:1709.01507) in the form of R. Cadene's
//! pretrained models: residual blocks whose channels are scaled by what they all say.

use segmenta_graph::{Builder, Conv2d, Node, Pool2d, Scope};

use super::resnet::Residual;
use super::{Encoder, Family, Features, Site, Traits};

pub(crate) static FAMILY: Family = Family {
    name: "SENet, SE-ResNet, SE-ResNeXt (Hu et al. 2018)",
    entry: "layer0.conv1.weight",
    encoders: &[
        Encoder::new("se_resnet50", |g, site| {
            encode(g, site, Block::ResNet, [3, 4, 6, 3])
        }),
        Encoder::new("se_resnet101", |g, site| {
            encode(g, site, Block::ResNet, [3, 4, 23, 3])
        }),
        Encoder::new("se_resnet152", |g, site| {
            encode(g, site, Block::ResNet, [3, 8, 36, 3])
        }),
        Encoder::new("se_resnext50_32x4d", |g, site| {
            encode(g, site, Block::ResNeXt, [3, 4, 6, 3])
        }),
        Encoder::new("se_resnext101_32x4d", |g, site| {
            encode(g, site, Block::ResNeXt, [3, 4, 23, 3])
        }),
        Encoder::new("senet154", |g, site| {
            encode(g, site, Block::Wide, [3, 8, 36, 3])
        }),
    ],
    traits: Traits::PLAIN,
};

/// What the layers are made of.
#[derive(Clone, Copy, PartialEq)]
enum Block {
    /// A bottleneck whose first convolution strides.
    ResNet,
    /// One of 32 groups of 4 channels.
    ResNeXt,
    /// SENet-154's: wider, 64 groups, three convolutions of 3×3 as the stem, shortcuts of 3×3.
    Wide,
}

const REDUCTION: usize = 16;

fn encode(g: &mut Builder, site: &Site<'_>, block: Block, counts: [usize; 4]) -> Features {
    let name = site.name;
    let stem = stem(g, &(name / "layer0"), site.input, block);
    let pool = Pool2d::square(3).stride(2).ceil_mode();
    let mut x = g.max_pool(stem, &(name / "layer0_pool"), pool);
    let mut maps = [stem; 5];
    for (layer, count) in counts.into_iter().enumerate() {
        let module = name / format!("layer{}", layer + 1);
        for i in 0..count {
            let stride = if i == 0 && layer > 0 { 2 } else { 1 };
            let mut residual = block.residual(64 << layer, stride, layer);
            let reached = 4 << layer;
            let convs = residual.convs.iter_mut().chain([&mut residual.shortcut]);
            convs.for_each(|conv| *conv = site.output_stride.fit(reached, *conv));
            x = residual.build(g, &(&module / i), x);
        }
        maps[layer + 1] = x;
    }
    Features::new(site.input, maps)
}

fn stem(g: &mut Builder, name: &Scope, x: Node, block: Block) -> Node {
    let convs = if block == Block::Wide {
        let spread = |width| Conv2d::square(3, width);
        vec![spread(64).stride(2), spread(64), spread(128)]
    } else {
        vec![Conv2d::square(7, 64).stride(2)]
    };
    convs.into_iter().zip(1..).fold(x, |x, (conv, i)| {
        let (module, norm) = (name / format!("conv{i}"), name / format!("bn{i}"));
        g.conv_bn_relu(x, &module, &norm, conv)
    })
}

impl Block {
    fn residual(self, planes: usize, stride: usize, layer: usize) -> Residual {
        let out = 4 * planes;
        let (reduce, spread) = match self {
            Self::ResNet => {
                let reduce = Conv2d::pointwise(planes).stride(stride);
                (reduce, Conv2d::square(3, planes))
            }
            Self::ResNeXt => {
                let width = 2 * planes;
                let spread = Conv2d::square(3, width).groups(32).stride(stride);
                (Conv2d::pointwise(width), spread)
            }
            Self::Wide => {
                let spread = Conv2d::square(3, out).groups(64).stride(stride);
                (Conv2d::pointwise(2 * planes), spread)
            }
        };
        let side = if self == Self::Wide && layer > 0 {
            3
        } else {
            1
        };
        Residual {
            convs: vec![reduce, spread, Conv2d::pointwise(out)],
            reduction: Some(REDUCTION),
            shortcut: Conv2d::square(side, out).stride(stride),
        }
    }
}
