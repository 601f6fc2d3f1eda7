//! ConvNeXt (Liu et al. 2022, arXiv:2201.03545) as timm builds it: four stages, no map at stride 2.

use segmenta_graph::{Activation, Builder, Conv2d, InitRule, Node, Scope};

use crate::encoders::{Encoder, Family, Features, Site};

pub(crate) static FAMILY: Family = Family {
    name: "ConvNeXt of timm (Liu et al. 2022)",
    entry: "model.stem_0.weight",
    encoders: &[
        Encoder::new("tu-convnext_atto", |g, site| {
            encode(g, site, 40, SMALL, true)
        }),
        Encoder::new("tu-convnext_femto", |g, site| {
            encode(g, site, 48, SMALL, true)
        }),
        Encoder::new("tu-convnext_pico", |g, site| {
            encode(g, site, 64, SMALL, true)
        }),
        Encoder::new("tu-convnext_nano", |g, site| {
            encode(g, site, 80, [2, 2, 8, 2], true)
        }),
        Encoder::new("tu-convnext_tiny", |g, site| {
            encode(g, site, 96, [3, 3, 9, 3], false)
        }),
        Encoder::new("tu-convnext_small", |g, site| {
            encode(g, site, 96, LARGE, false)
        }),
        Encoder::new("tu-convnext_base", |g, site| {
            encode(g, site, 128, LARGE, false)
        }),
        Encoder::new("tu-convnext_large", |g, site| {
            encode(g, site, 192, LARGE, false)
        }),
        Encoder::new("tu-convnext_xlarge", |g, site| {
            encode(g, site, 256, LARGE, false)
        }),
    ],
    traits: super::TRAITS,
};

const SMALL: [usize; 4] = [2, 2, 6, 2];
const LARGE: [usize; 4] = [3, 3, 27, 3];
const EPS: f32 = 1e-6;
/// What the scale of a block's result begins with.
const SCALE: f32 = 1e-6;

/// `convolves` where timm has 1×1 convolutions for linear layers: the same numbers in another shape.
fn encode(
    g: &mut Builder,
    site: &Site<'_>,
    width: usize,
    depths: [usize; 4],
    convolves: bool,
) -> Features {
    let rule = g.set_init(InitRule::Transformer);
    let name = site.name / "model";
    let mut x = g.conv(site.input, &(&name / "stem_0"), tiles(4, width));
    x = g.layer_norm(x, &(&name / "stem_1"), EPS);
    let mut maps = [Some(site.input), None, None, None, None, None];
    for (stage, depth) in depths.into_iter().enumerate().take(site.depth - 1) {
        let module = &name / format!("stages_{stage}");
        if stage > 0 {
            let below = &module / "downsample";
            x = g.layer_norm(x, &(&below / 0), EPS);
            x = g.conv(x, &(&below / 1), tiles(2, width << stage));
        }
        for at in 0..depth {
            x = block(g, x, &(&module / "blocks" / at), convolves);
        }
        maps[stage + 2] = Some(x);
    }
    g.set_init(rule);
    Features::of_levels(maps)
}

/// Windows beside each other.
fn tiles(side: usize, channels: usize) -> Conv2d {
    Conv2d {
        padding: [0, 0],
        ..Conv2d::square(side, channels).stride(side).with_bias()
    }
}

fn block(g: &mut Builder, x: Node, name: &Scope, convolves: bool) -> Node {
    let width = g.channels(x);
    g.module_order(name, &["gamma"]);
    let window = Conv2d::square(7, width).depthwise(width).with_bias();
    let y = g.conv(x, &(name / "conv_dw"), window);
    let y = g.layer_norm(y, &(name / "norm"), EPS);
    let linear = |g: &mut Builder, y: Node, module: &str, width: usize| {
        let name = name / "mlp" / module;
        if convolves {
            g.conv(y, &name, Conv2d::pointwise(width).with_bias())
        } else {
            g.linear(y, &name, width)
        }
    };
    let y = linear(g, y, "fc1", 4 * width);
    let y = g.activation(y, Activation::Gelu);
    let y = linear(g, y, "fc2", width);
    let y = g.layer_scale(y, &(name / "gamma"), SCALE);
    g.add(y, x, name)
}
