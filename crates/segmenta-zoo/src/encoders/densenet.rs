//! DenseNet (Huang et al. 2016, arXiv:1608.06993): each layer reads all maps of its block before it.

use segmenta_graph::{Builder, Conv2d, InitRule, Node, Pool2d, Scope};

use super::{Encoder, Family, Features, Site, Traits};

pub(crate) static FAMILY: Family = Family {
    name: "DenseNet (Huang et al. 2016)",
    entry: "features.conv0.weight",
    encoders: &[
        Encoder::new("densenet121", |g, site| {
            encode(g, site, 64, 32, [6, 12, 24, 16])
        }),
        Encoder::new("densenet169", |g, site| {
            encode(g, site, 64, 32, [6, 12, 32, 32])
        }),
        Encoder::new("densenet201", |g, site| {
            encode(g, site, 64, 32, [6, 12, 48, 32])
        }),
        Encoder::new("densenet161", |g, site| {
            encode(g, site, 96, 48, [6, 12, 36, 24])
        }),
    ],
    traits: Traits {
        dilates: false,
        former,
        ..Traits::PLAIN
    },
};

fn encode(
    g: &mut Builder,
    site: &Site<'_>,
    stem: usize,
    growth: usize,
    counts: [usize; 4],
) -> Features {
    let rule = g.set_init(InitRule::KaimingNormalIn);
    let name = site.name / "features";
    let conv = Conv2d::square(7, stem).stride(2);
    let stem = g.conv_bn_relu(site.input, &(&name / "conv0"), &(&name / "norm0"), conv);
    let pool = Pool2d::square(3).stride(2).padding(1);
    let mut x = g.max_pool(stem, &(&name / "pool0"), pool);
    let mut maps = [stem; 5];
    for (count, block) in counts.into_iter().zip(1..) {
        let module = &name / format!("denseblock{block}");
        for layer in 1..=count {
            let new = layer_of(g, &(&module / format!("denselayer{layer}")), x, growth);
            x = g.concat(&[x, new], &module);
        }
        if block == counts.len() {
            maps[block] = g.batch_norm(x, &(&name / "norm5"));
        } else {
            let transition = &name / format!("transition{block}");
            x = g.batch_norm(x, &(&transition / "norm"));
            x = g.relu(x);
            maps[block] = x;
            let half = Conv2d::pointwise(g.channels(x) / 2);
            x = g.conv(x, &(&transition / "conv"), half);
            x = g.avg_pool(x, &(&transition / "pool"), Pool2d::square(2), true);
        }
    }
    g.set_init(rule);
    Features::new(site.input, maps)
}

/// Norm, ReLU and 1×1, then norm, ReLU and 3×3: `growth` new channels.
fn layer_of(g: &mut Builder, name: &Scope, x: Node, growth: usize) -> Node {
    let y = g.batch_norm(x, &(name / "norm1"));
    let y = g.relu(y);
    let y = g.conv(y, &(name / "conv1"), Conv2d::pointwise(4 * growth));
    let y = g.batch_norm(y, &(name / "norm2"));
    let y = g.relu(y);
    g.conv(y, &(name / "conv2"), Conv2d::square(3, growth))
}

/// torchvision's names before modules' could have no dots: `denselayer1.norm.1.weight` for
/// `denselayer1.norm1.weight`. Its published files still have them.
fn former(entry: &str) -> Option<String> {
    let (layer, leaf) = entry.rsplit_once('.')?;
    let (block, part) = layer.rsplit_once('.')?;
    let number = block.rsplit('.').next()?.strip_prefix("denselayer")?;
    let kind = part.strip_suffix(['1', '2'])?;
    let is_old = number.bytes().all(|b| b.is_ascii_digit()) && matches!(kind, "norm" | "conv");
    is_old.then(|| format!("{block}.{kind}.{}.{leaf}", &part[kind.len()..]))
}
