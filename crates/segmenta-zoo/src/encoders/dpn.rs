//! Dual path networks (Chen et al. 2017, arXiv:1707.01629): each block adds to some channels, as a ResNet,
//! and appends others, as a DenseNet.

use segmenta_graph::{BatchNorm, Builder, Conv2d, Node, Pool2d, Scope};

use super::{Encoder, Family, Features, Site, Traits};

pub(crate) static FAMILY: Family = Family {
    name: "DPN (Chen et al. 2017)",
    entry: "features.conv1_1.conv.weight",
    encoders: &[
        Encoder::new("dpn68", |g, site| encode(g, site, &DPN68)),
        Encoder::new("dpn68b", |g, site| {
            encode(
                g,
                site,
                &Dpn {
                    split: true,
                    ..DPN68
                },
            )
        }),
        Encoder::new("dpn92", |g, site| encode(g, site, &DPN92)),
        Encoder::new("dpn98", |g, site| encode(g, site, &DPN98)),
        Encoder::new("dpn107", |g, site| encode(g, site, &DPN107)),
        Encoder::new("dpn131", |g, site| encode(g, site, &DPN131)),
    ],
    traits: Traits::PLAIN,
};

/// One of the family.
struct Dpn {
    /// Side and channels of the stem.
    stem: (usize, usize),
    /// Channels that are added to in the first stage; each stage doubles them.
    residual: usize,
    /// Channels of a block's 3×3 in the first stage; each stage doubles them.
    width: usize,
    groups: usize,
    counts: [usize; 4],
    /// Channels that each block appends.
    appended: [usize; 4],
    /// Whether what is added and what is appended come from two convolutions.
    split: bool,
}

const DPN68: Dpn = Dpn {
    stem: (3, 10),
    residual: 64,
    width: 128,
    groups: 32,
    counts: [3, 4, 12, 3],
    appended: [16, 32, 32, 64],
    split: false,
};
const DPN92: Dpn = large(64, 96, 32, [3, 4, 20, 3], [16, 32, 24, 128]);
const DPN98: Dpn = large(96, 160, 40, [3, 6, 20, 3], [16, 32, 32, 128]);
const DPN107: Dpn = large(128, 200, 50, [4, 8, 20, 3], [20, 64, 64, 128]);
const DPN131: Dpn = large(128, 160, 40, [4, 8, 28, 3], [16, 32, 32, 128]);

const fn large(
    stem: usize,
    width: usize,
    groups: usize,
    counts: [usize; 4],
    appended: [usize; 4],
) -> Dpn {
    Dpn {
        stem: (7, stem),
        residual: 256,
        width,
        groups,
        counts,
        appended,
        split: false,
    }
}

const BATCH_NORM: BatchNorm = BatchNorm {
    eps: 1e-3,
    momentum: 0.1,
};

fn encode(g: &mut Builder, site: &Site<'_>, net: &Dpn) -> Features {
    let heads_norm = g.set_batch_norm(BATCH_NORM);
    let name = site.name / "features";
    let first = &name / "conv1_1";
    let (side, channels) = net.stem;
    let stem = Conv2d::square(side, channels).stride(2);
    let stem = g.conv_bn_relu(site.input, &(&first / "conv"), &(&first / "bn"), stem);
    let pool = Pool2d::square(3).stride(2).padding(1);
    let mut x = g.max_pool(stem, &(&first / "pool"), pool);

    let mut maps = [stem; 5];
    for stage in 0..4 {
        let mut paths = None;
        for i in 0..net.counts[stage] {
            let block = Block {
                net,
                site,
                stage,
                name: &name / format!("conv{}_{}", stage + 2, i + 1),
            };
            let both = block.build(g, x, paths);
            x = g.concat(&both, &block.name);
            paths = Some(both);
        }
        maps[stage + 1] = if stage < 3 {
            g.relu(x)
        } else {
            let last = g.batch_norm(x, &(&name / "conv5_bn_ac" / "bn"));
            g.relu(last)
        };
    }
    g.set_batch_norm(heads_norm);
    Features::new(site.input, maps)
}

struct Block<'a> {
    net: &'a Dpn,
    site: &'a Site<'a>,
    stage: usize,
    name: Scope,
}

impl Block<'_> {
    /// What is added to and what is appended to, from `x`, which is both paths of the block before side
    /// by side; a stage's first block makes its paths anew.
    fn build(&self, g: &mut Builder, x: Node, paths: Option<[Node; 2]>) -> [Node; 2] {
        let (residual, width) = (
            self.net.residual << self.stage,
            self.net.width << self.stage,
        );
        let appended = self.net.appended[self.stage];
        let stride = if paths.is_none() && self.stage > 0 {
            2
        } else {
            1
        };
        let [residual_path, dense_path] = paths.unwrap_or_else(|| {
            let fit = Conv2d::pointwise(residual + 2 * appended).stride(stride);
            let y = self.layer(g, &format!("c1x1_w_s{stride}"), x, fit);
            self.cut(g, y, residual)
        });
        let y = self.layer(g, "c1x1_a", x, Conv2d::pointwise(width));
        let spread = Conv2d::square(3, width)
            .groups(self.net.groups)
            .stride(stride);
        let y = self.layer(g, "c3x3_b", y, spread);
        let [added, new] = if self.net.split {
            let y = g.batch_norm(y, &(&self.name / "c1x1_c" / "bn"));
            let y = g.relu(y);
            [("c1x1_c1", residual), ("c1x1_c2", appended)].map(|(name, channels)| {
                g.conv(y, &(&self.name / name), Conv2d::pointwise(channels))
            })
        } else {
            let y = self.layer(g, "c1x1_c", y, Conv2d::pointwise(residual + appended));
            self.cut(g, y, residual)
        };
        let residual = g.add(residual_path, added, &self.name);
        [residual, g.concat(&[dense_path, new], &self.name)]
    }

    /// Batch norm, ReLU and convolution.
    fn layer(&self, g: &mut Builder, name: &str, x: Node, conv: Conv2d) -> Node {
        let name = &self.name / name;
        let conv = self.site.output_stride.fit(4 << self.stage, conv);
        let y = g.batch_norm(x, &(&name / "bn"));
        let y = g.relu(y);
        g.conv(y, &(&name / "conv"), conv)
    }

    /// The first channels, and the others.
    fn cut(&self, g: &mut Builder, x: Node, first: usize) -> [Node; 2] {
        let rest = g.channels(x) - first;
        [
            g.slice(x, 0, first, &self.name),
            g.slice(x, first, rest, &self.name),
        ]
    }
}
