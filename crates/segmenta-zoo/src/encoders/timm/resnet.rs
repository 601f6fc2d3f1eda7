//! ResNet-D (He et al. 2018, arXiv:1812.01187) and ResNet-RS (Bello et al. 2021, arXiv:2103.07579) as timm builds them:
//! three 3×3 convolutions for a stem, shortcuts that are means before they are convolutions; RS scales channels and has a
//! convolution for the stem's pool.

use segmenta_graph::{Builder, Conv2d, InitRule, Node, Pool2d, Scope};

use crate::encoders::{Encoder, Family, Features, Site};
use crate::gate::Gate;

pub(crate) static FAMILY: Family = Family {
    name: "ResNet-D, ResNet-RS of timm (He et al. 2018, Bello et al. 2021)",
    entry: "model.conv1.6.weight",
    encoders: &[
        Encoder::new("tu-resnet18d", |g, site| {
            encode(g, site, Kind::Basic, [2, 2, 2, 2])
        }),
        Encoder::new("tu-resnet34d", |g, site| {
            encode(g, site, Kind::Basic, [3, 4, 6, 3])
        }),
        Encoder::new("tu-resnet26d", |g, site| {
            encode(g, site, Kind::D, [2, 2, 2, 2])
        }),
        Encoder::new("tu-resnet50d", |g, site| {
            encode(g, site, Kind::D, [3, 4, 6, 3])
        }),
        Encoder::new("tu-resnet101d", |g, site| {
            encode(g, site, Kind::D, [3, 4, 23, 3])
        }),
        Encoder::new("tu-resnet152d", |g, site| {
            encode(g, site, Kind::D, [3, 8, 36, 3])
        }),
        Encoder::new("tu-resnet200d", |g, site| {
            encode(g, site, Kind::D, [3, 24, 36, 3])
        }),
        Encoder::new("tu-resnetrs50", |g, site| {
            encode(g, site, Kind::Rs, [3, 4, 6, 3])
        }),
        Encoder::new("tu-resnetrs101", |g, site| {
            encode(g, site, Kind::Rs, [3, 4, 23, 3])
        }),
        Encoder::new("tu-resnetrs152", |g, site| {
            encode(g, site, Kind::Rs, [3, 8, 36, 3])
        }),
        Encoder::new("tu-resnetrs200", |g, site| {
            encode(g, site, Kind::Rs, [3, 24, 36, 3])
        }),
    ],
    traits: super::TRAITS,
};

/// What a block is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3, 1×1, four times as wide at the end.
    D,
    /// The same with channels scaled.
    Rs,
}

/// Channels of the stem's first convolutions; its last has twice as many.
const STEM: usize = 32;

fn encode(g: &mut Builder, site: &Site<'_>, kind: Kind, counts: [usize; 4]) -> Features {
    let rule = g.set_init(InitRule::KaimingNormal);
    let name = site.name / "model";
    let stem = &name / "conv1";
    let spread = |channels| Conv2d::square(3, channels);
    let x = g.conv_bn_relu(
        site.input,
        &(&stem / 0),
        &(&stem / 1),
        spread(STEM).stride(2),
    );
    let x = g.conv_bn_relu(x, &(&stem / 3), &(&stem / 4), spread(STEM));
    let first = g.conv_bn_relu(x, &(&stem / 6), &(&name / "bn1"), spread(2 * STEM));
    let pool = &name / "maxpool";
    let mut x = if kind == Kind::Rs {
        let conv = spread(2 * STEM).stride(2);
        g.conv_bn_relu(first, &(&pool / 0), &(&pool / 1), conv)
    } else {
        g.max_pool(first, &pool, Pool2d::square(3).stride(2).padding(1))
    };
    let mut maps = [Some(site.input), Some(first), None, None, None, None];
    for (layer, count) in counts.into_iter().enumerate().take(site.depth - 1) {
        let module = &name / format!("layer{}", layer + 1);
        for at in 0..count {
            let stride = if at == 0 && layer > 0 { 2 } else { 1 };
            x = block(g, x, &(&module / at), kind, 64 << layer, stride);
        }
        maps[layer + 2] = Some(x);
    }
    g.set_init(rule);
    Features::of_levels(maps)
}

fn block(g: &mut Builder, x: Node, name: &Scope, kind: Kind, planes: usize, stride: usize) -> Node {
    let spread = Conv2d::square(3, planes);
    let (convs, out) = match kind {
        Kind::Basic => (vec![spread.stride(stride), spread], planes),
        Kind::D | Kind::Rs => {
            let (narrow, wide) = (Conv2d::pointwise(planes), Conv2d::pointwise(4 * planes));
            (vec![narrow, spread.stride(stride), wide], 4 * planes)
        }
    };
    let mut y = x;
    for (conv, at) in convs.into_iter().zip(1..) {
        if at > 1 {
            y = g.relu(y);
        }
        let [module, norm] = ["conv", "bn"].map(|kind| name / format!("{kind}{at}"));
        y = g.conv_bn(y, &module, &norm, conv);
    }
    if kind == Kind::Rs {
        let module = name / "se";
        y = Gate::new(out / 4).apply(g, y, [&(&module / "fc1"), &(&module / "fc2")]);
    }
    let mut shortcut = x;
    if stride > 1 || g.channels(x) != out {
        let down = name / "downsample";
        if stride > 1 {
            // A window that hangs over the edge is the mean of what it covers.
            shortcut = g.avg_pool(x, &(&down / 0), Pool2d::square(2).ceil_mode(), false);
        }
        shortcut = g.conv_bn(shortcut, &(&down / 1), &(&down / 2), Conv2d::pointwise(out));
    }
    let sum = g.add(y, shortcut, name);
    g.relu(sum)
}
