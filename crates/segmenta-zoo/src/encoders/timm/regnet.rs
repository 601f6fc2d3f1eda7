//! RegNet (Radosavovic et al. 2020, arXiv:2003.13678) as timm builds it, X and, with scaled channels, Y: widths and
//! depths are what the paper's rule makes of its four numbers.

use segmenta_graph::{Builder, Conv2d, InitRule, Node, Scope};

use crate::encoders::{Encoder, Family, Features, Site};
use crate::gate::Gate;

pub(crate) static FAMILY: Family = Family {
    name: "RegNet of timm (Radosavovic et al. 2020)",
    entry: "model.s1.b1.conv1.conv.weight",
    encoders: &[
        Encoder::new("tu-regnetx_002", |g, site| {
            encode(g, site, [1, 1, 4, 7], [24, 56, 152, 368], 8, false)
        }),
        Encoder::new("tu-regnetx_004", |g, site| {
            encode(g, site, [1, 2, 7, 12], [32, 64, 160, 384], 16, false)
        }),
        Encoder::new("tu-regnetx_006", |g, site| {
            encode(g, site, [1, 3, 5, 7], [48, 96, 240, 528], 24, false)
        }),
        Encoder::new("tu-regnetx_008", |g, site| {
            encode(g, site, [1, 3, 7, 5], [64, 128, 288, 672], 16, false)
        }),
        Encoder::new("tu-regnetx_016", |g, site| {
            encode(g, site, [2, 4, 10, 2], [72, 168, 408, 912], 24, false)
        }),
        Encoder::new("tu-regnetx_032", |g, site| {
            encode(g, site, [2, 6, 15, 2], [96, 192, 432, 1008], 48, false)
        }),
        Encoder::new("tu-regnetx_040", |g, site| {
            encode(g, site, [2, 5, 14, 2], [80, 240, 560, 1360], 40, false)
        }),
        Encoder::new("tu-regnetx_064", |g, site| {
            encode(g, site, [2, 4, 10, 1], [168, 392, 784, 1624], 56, false)
        }),
        Encoder::new("tu-regnetx_080", |g, site| {
            encode(g, site, [2, 5, 15, 1], [80, 240, 720, 1920], 120, false)
        }),
        Encoder::new("tu-regnetx_120", |g, site| {
            encode(g, site, [2, 5, 11, 1], [224, 448, 896, 2240], 112, false)
        }),
        Encoder::new("tu-regnetx_160", |g, site| {
            encode(g, site, [2, 6, 13, 1], [256, 512, 896, 2048], 128, false)
        }),
        Encoder::new("tu-regnetx_320", |g, site| {
            encode(g, site, [2, 7, 13, 1], [336, 672, 1344, 2520], 168, false)
        }),
        Encoder::new("tu-regnety_002", |g, site| {
            encode(g, site, [1, 1, 4, 7], [24, 56, 152, 368], 8, true)
        }),
        Encoder::new("tu-regnety_004", |g, site| {
            encode(g, site, [1, 3, 6, 6], [48, 104, 208, 440], 8, true)
        }),
        Encoder::new("tu-regnety_006", |g, site| {
            encode(g, site, [1, 3, 7, 4], [48, 112, 256, 608], 16, true)
        }),
        Encoder::new("tu-regnety_008", |g, site| {
            encode(g, site, [1, 3, 8, 2], [64, 128, 320, 768], 16, true)
        }),
        Encoder::new("tu-regnety_016", |g, site| {
            encode(g, site, [2, 6, 17, 2], [48, 120, 336, 888], 24, true)
        }),
        Encoder::new("tu-regnety_032", |g, site| {
            encode(g, site, [2, 5, 13, 1], [72, 216, 576, 1512], 24, true)
        }),
        Encoder::new("tu-regnety_040", |g, site| {
            encode(g, site, [2, 6, 12, 2], [128, 192, 512, 1088], 64, true)
        }),
        Encoder::new("tu-regnety_064", |g, site| {
            encode(g, site, [2, 7, 14, 2], [144, 288, 576, 1296], 72, true)
        }),
        Encoder::new("tu-regnety_080", |g, site| {
            encode(g, site, [2, 4, 10, 1], [168, 448, 896, 2016], 56, true)
        }),
        Encoder::new("tu-regnety_120", |g, site| {
            encode(g, site, [2, 5, 11, 1], [224, 448, 896, 2240], 112, true)
        }),
        Encoder::new("tu-regnety_160", |g, site| {
            encode(g, site, [2, 4, 11, 1], [224, 448, 1232, 3024], 112, true)
        }),
        Encoder::new("tu-regnety_320", |g, site| {
            encode(g, site, [2, 5, 12, 1], [232, 696, 1392, 3712], 232, true)
        }),
    ],
    traits: super::TRAITS,
};

const STEM: usize = 32;

/// `group` are the channels of a 3×3 convolution's group, or all where a stage has fewer.
fn encode(
    g: &mut Builder,
    site: &Site<'_>,
    counts: [usize; 4],
    widths: [usize; 4],
    group: usize,
    scales: bool,
) -> Features {
    let rule = g.set_init(InitRule::KaimingNormal);
    let name = site.name / "model";
    let stem = Conv2d::square(3, STEM).stride(2);
    let mut x = active(g, site.input, &(&name / "stem"), stem);
    let mut maps = [Some(site.input), Some(x), None, None, None, None];
    let stages = counts.into_iter().zip(widths).enumerate();
    for (stage, (count, width)) in stages.take(site.depth - 1) {
        let module = &name / format!("s{}", stage + 1);
        for at in 1..=count {
            let block = Block {
                width,
                groups: width / group.min(width),
                stride: if at == 1 { 2 } else { 1 },
                scales,
            };
            x = block.build(g, x, &(&module / format!("b{at}")));
        }
        maps[stage + 2] = Some(x);
    }
    g.set_init(rule);
    Features::of_levels(maps)
}

struct Block {
    width: usize,
    groups: usize,
    stride: usize,
    scales: bool,
}

impl Block {
    fn build(&self, g: &mut Builder, x: Node, name: &Scope) -> Node {
        let entering = g.channels(x);
        let pointwise = Conv2d::pointwise(self.width);
        let spread = Conv2d::square(3, self.width).groups(self.groups);
        let y = active(g, x, &(name / "conv1"), pointwise);
        let mut y = active(g, y, &(name / "conv2"), spread.stride(self.stride));
        if self.scales {
            let module = name / "se";
            // A quarter of what comes in, halves going to the even number.
            let squeezed = (entering as f64 / 4.0).round_ties_even() as usize;
            y = Gate::new(squeezed).apply(g, y, [&(&module / "fc1"), &(&module / "fc2")]);
        }
        let y = normed(g, y, &(name / "conv3"), pointwise);
        let shortcut = if self.stride > 1 || entering != self.width {
            normed(g, x, &(name / "downsample"), pointwise.stride(self.stride))
        } else {
            x
        };
        let sum = g.add(y, shortcut, name);
        g.relu(sum)
    }
}

/// Convolution and batch norm.
fn normed(g: &mut Builder, x: Node, name: &Scope, conv: Conv2d) -> Node {
    g.conv_bn(x, &(name / "conv"), &(name / "bn"), conv)
}

fn active(g: &mut Builder, x: Node, name: &Scope, conv: Conv2d) -> Node {
    let y = normed(g, x, name, conv);
    g.relu(y)
}
