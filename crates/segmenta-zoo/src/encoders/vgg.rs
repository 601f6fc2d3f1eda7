//! VGG (Simonyan and Zisserman 2014, arXiv:1409.1556), with batch norm or without. It gives a map of the
//! input's size, and its last is what the last pool leaves.

use segmenta_graph::{Builder, Conv2d, InitRule, Pool2d};

use super::{Encoder, Family, Features, Site, Traits};

pub(crate) static FAMILY: Family = Family {
    name: "VGG (Simonyan and Zisserman 2014)",
    entry: "features.0.weight",
    traits: Traits {
        dilates: false,
        ends_in_pool: true,
        ..Traits::PLAIN
    },
    encoders: &[
        Encoder::new("vgg11", |g, site| encode(g, site, [1, 1, 2, 2, 2], false)),
        Encoder::new("vgg11_bn", |g, site| encode(g, site, [1, 1, 2, 2, 2], true)),
        Encoder::new("vgg13", |g, site| encode(g, site, [2, 2, 2, 2, 2], false)),
        Encoder::new("vgg13_bn", |g, site| encode(g, site, [2, 2, 2, 2, 2], true)),
        Encoder::new("vgg16", |g, site| encode(g, site, [2, 2, 3, 3, 3], false)),
        Encoder::new("vgg16_bn", |g, site| encode(g, site, [2, 2, 3, 3, 3], true)),
        Encoder::new("vgg19", |g, site| encode(g, site, [2, 2, 4, 4, 4], false)),
        Encoder::new("vgg19_bn", |g, site| encode(g, site, [2, 2, 4, 4, 4], true)),
    ],
};

const CHANNELS: [usize; 5] = [64, 128, 256, 512, 512];

/// `counts` convolutions at each size.
fn encode(g: &mut Builder, site: &Site<'_>, counts: [usize; 5], norm: bool) -> Features {
    let rule = g.set_init(InitRule::KaimingNormal);
    let name = site.name / "features";
    let (mut x, mut index) = (site.input, 0);
    let mut maps = [Some(x); 6];
    for ((count, channels), level) in counts.into_iter().zip(CHANNELS).zip(0..) {
        for _ in 0..count {
            x = g.conv(x, &(&name / index), Conv2d::square(3, channels).with_bias());
            if norm {
                index += 1;
                x = g.batch_norm(x, &(&name / index));
            }
            x = g.relu(x);
            index += 2;
        }
        maps[level] = Some(x);
        x = g.max_pool(x, &(&name / index), Pool2d::square(2));
        index += 1;
    }
    maps[5] = Some(x);
    g.set_init(rule);
    Features::of_levels(maps)
}
