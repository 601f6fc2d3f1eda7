//! HRNet (Wang et al. 2019, arXiv:1908.07919) as timm builds it: maps at strides 4 to 32 side by side, each of which hears
//! of all others again and again; what a decoder reads are their widened ones.

use segmenta_graph::{Builder, Conv2d, Filter, InitRule, Node, Scope};

use crate::encoders::resnet::Residual;
use crate::encoders::{Encoder, Family, Features, Site};

pub(crate) static FAMILY: Family = Family {
    name: "HRNet of timm (Wang et al. 2019)",
    entry: "model.stage2.0.fuse_layers.0.1.0.weight",
    encoders: &[
        Encoder::new("tu-hrnet_w18", |g, site| encode(g, site, 18)),
        Encoder::new("tu-hrnet_w30", |g, site| encode(g, site, 30)),
        Encoder::new("tu-hrnet_w32", |g, site| encode(g, site, 32)),
        Encoder::new("tu-hrnet_w40", |g, site| encode(g, site, 40)),
        Encoder::new("tu-hrnet_w44", |g, site| encode(g, site, 44)),
        Encoder::new("tu-hrnet_w48", |g, site| encode(g, site, 48)),
        Encoder::new("tu-hrnet_w64", |g, site| encode(g, site, 64)),
    ],
    traits: super::TRAITS,
};

const STEM: usize = 64;
/// Modules of the stages with two, three and four maps.
const MODULES: [usize; 3] = [1, 4, 3];
/// Blocks of a map in a module, and of the first stage.
const BLOCKS: usize = 4;
/// Channels within the last blocks of the four maps; four times as many come out.
const WIDENED: [usize; 4] = [32, 64, 128, 256];

fn encode(g: &mut Builder, site: &Site<'_>, width: usize) -> Features {
    let rule = g.set_init(InitRule::KaimingNormal);
    let name = site.name / "model";
    let half = Conv2d::square(3, STEM).stride(2);
    let stem = g.conv_bn_relu(site.input, &(&name / "conv1"), &(&name / "bn1"), half);
    let mut x = g.conv_bn_relu(stem, &(&name / "conv2"), &(&name / "bn2"), half);
    for at in 0..BLOCKS {
        x = bottleneck(g, x, &(&name / "layer1" / at), STEM);
    }
    let mut maps = vec![x];
    for (stage, modules) in MODULES.into_iter().enumerate() {
        let transition = &name / format!("transition{}", stage + 1);
        maps = parted(g, &maps, &transition, width);
        let module = &name / format!("stage{}", stage + 2);
        for at in 0..modules {
            maps = exchanged(g, &maps, &(&module / at));
        }
    }
    let module = &name / "incre_modules";
    let widened = maps.into_iter().zip(WIDENED).enumerate();
    let maps: Vec<Node> = widened
        .map(|(at, (map, planes))| bottleneck(g, map, &(&module / at / 0), planes))
        .collect();
    g.set_init(rule);
    Features::new(site.input, [stem, maps[0], maps[1], maps[2], maps[3]])
}

fn bottleneck(g: &mut Builder, x: Node, name: &Scope, planes: usize) -> Node {
    let narrow = Conv2d::pointwise(planes);
    let wide = Conv2d::pointwise(4 * planes);
    let residual = Residual {
        convs: vec![narrow, Conv2d::square(3, planes), wide],
        reduction: None,
        shortcut: wide,
    };
    residual.build(g, name, x)
}

/// The maps with one more, made of the coarsest: each map but those that have their width already through a convolution.
fn parted(g: &mut Builder, maps: &[Node], name: &Scope, width: usize) -> Vec<Node> {
    let mut parted = Vec::new();
    for at in 0..=maps.len() {
        let conv = Conv2d::square(3, width << at);
        let name = name / at;
        parted.push(match maps.get(at) {
            Some(&map) if g.channels(map) == width << at => map,
            Some(&map) => g.conv_bn_relu(map, &(&name / 0), &(&name / 1), conv),
            None => {
                let coarsest = maps[maps.len() - 1];
                let name = &name / 0;
                g.conv_bn_relu(coarsest, &(&name / 0), &(&name / 1), conv.stride(2))
            }
        });
    }
    parted
}

/// A module: blocks on each map, then each the sum of all, resized to it.
fn exchanged(g: &mut Builder, maps: &[Node], name: &Scope) -> Vec<Node> {
    let mut branches = Vec::new();
    for (at, &map) in maps.iter().enumerate() {
        let mut x = map;
        for block in 0..BLOCKS {
            let conv = Conv2d::square(3, g.channels(x));
            let residual = Residual {
                convs: vec![conv, conv],
                reduction: None,
                shortcut: conv,
            };
            x = residual.build(g, &(name / "branches" / at / block), x);
        }
        branches.push(x);
    }
    let mut fused = Vec::new();
    for to in 0..branches.len() {
        let mut sum: Option<Node> = None;
        for from in 0..branches.len() {
            let module = name / "fuse_layers" / to / from;
            let y = between(g, &branches, from, to, &module);
            sum = Some(match sum {
                Some(sum) => g.add(sum, y, &module),
                None => y,
            });
        }
        fused.extend(sum.map(|sum| g.relu(sum)));
    }
    fused
}

/// The map `from` as large and as wide as the map `to`.
fn between(g: &mut Builder, maps: &[Node], from: usize, to: usize, name: &Scope) -> Node {
    let (x, like) = (maps[from], maps[to]);
    let width = g.channels(like);
    if from > to {
        let y = g.conv_bn(x, &(name / 0), &(name / 1), Conv2d::pointwise(width));
        return g.resize_like(y, like, Filter::Nearest, name);
    }
    let mut y = x;
    for step in 1..=to - from {
        let name = name / (step - 1);
        let (conv, norm) = (&name / 0, &name / 1);
        let is_last = step == to - from;
        let channels = if is_last { width } else { g.channels(x) };
        let half = Conv2d::square(3, channels).stride(2);
        y = g.conv_bn(y, &conv, &norm, half);
        if !is_last {
            y = g.relu(y);
        }
    }
    y
}
