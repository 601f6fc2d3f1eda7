//! ConvNeXt (Liu et al. 2022, arXiv:2201.03545) as transformers has it: depthwise 7×7 windows, a norm of each pixel's
//! channels, two linear layers and a scale for each channel. Norms between stages and of the maps that are read add
//! 1e-6; `layer_norm_eps` is the classifier's, which is not there.

use segmenta_graph::{Builder, Conv2d, InitRule, Node, Scope};

use super::{Blocks, normed};
use crate::config::Config;
use crate::smp::Refusal;

const EPS: f32 = 1e-6;

pub(super) fn build(
    g: &mut Builder,
    input: Node,
    name: &Scope,
    config: &Config,
) -> Result<Vec<Node>, Refusal> {
    let stages = config.count("num_stages", 4)?;
    let depths = config.counts("depths", &[3, 3, 9, 3], stages)?;
    let widths = config.counts("hidden_sizes", &[96, 192, 384, 768], stages)?;
    let patch = config.count("patch_size", 4)?;
    let scale = config.number("layer_scale_init_value", 1e-6)? as f32;
    let blocks = Blocks::new(config, &depths, 0.0)?;
    let wanted = config.stages(stages)?;

    let rule = g.set_init(InitRule::Transformer);
    let embeddings = name / "embeddings";
    let patches = tiles(patch, widths[0]);
    let mut x = g.conv(input, &(&embeddings / "patch_embeddings"), patches);
    x = g.layer_norm(x, &(&embeddings / "layernorm"), EPS);
    let (mut maps, mut at) = (vec![x], 0);
    for (stage, (&depth, &width)) in depths.iter().zip(&widths).enumerate() {
        let module = name / "encoder" / "stages" / stage;
        let below = &module / "downsampling_layer";
        // The stem is the first stage's.
        if stage > 0 || g.channels(x) != width {
            x = g.layer_norm(x, &(&below / 0), EPS);
            let side = if stage > 0 { 2 } else { 1 };
            x = g.conv(x, &(&below / 1), tiles(side, width));
        }
        for block in 0..depth {
            x = layer(g, x, &(&module / "layers" / block), &blocks, scale, at);
            at += 1;
        }
        maps.push(x);
    }
    let read = normed(g, &maps, &wanted, name, EPS);
    g.set_init(rule);
    Ok(read)
}

/// Windows beside each other.
fn tiles(side: usize, channels: usize) -> Conv2d {
    Conv2d {
        padding: [0, 0],
        ..Conv2d::square(side, channels).stride(side).with_bias()
    }
}

fn layer(g: &mut Builder, x: Node, name: &Scope, blocks: &Blocks, scale: f32, at: usize) -> Node {
    let width = g.channels(x);
    g.module_order(name, &["layer_scale_parameter"]);
    let window = Conv2d::square(7, width).depthwise(width).with_bias();
    let y = g.conv(x, &(name / "dwconv"), window);
    let y = g.layer_norm(y, &(name / "layernorm"), EPS);
    let y = g.linear(y, &(name / "pwconv1"), 4 * width);
    let y = g.activation(y, blocks.activation);
    let mut y = g.linear(y, &(name / "pwconv2"), width);
    if scale > 0.0 {
        y = g.layer_scale(y, &(name / "layer_scale_parameter"), scale);
    }
    let y = g.stochastic_depth(y, blocks.dropped(at), &(name / "drop_path"));
    g.add(y, x, name)
}
