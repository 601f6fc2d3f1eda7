//! Swin Transformer (Liu et al. 2021, arXiv:2103.14030) as timm builds it: windows, of which every other block's are
//! rolled, but for the last stage's, which one window covers at the size that a network is named after. timm takes no
//! other size; here a map of another one is filled up with zeros to whole windows.

use segmenta_graph::{Activation, Builder, Conv2d, InitRule, Node, Scope};

use crate::encoders::{Encoder, Family, Features, Site};

pub(crate) static FAMILY: Family = Family {
    name: "Swin Transformer of timm (Liu et al. 2021)",
    entry: "model.layers_0.blocks.0.attn.relative_position_bias_table",
    encoders: &[
        Encoder::new("tu-swin_tiny_patch4_window7_224", |g, site| {
            encode(g, site, 96, 6, 7)
        }),
        Encoder::new("tu-swin_small_patch4_window7_224", |g, site| {
            encode(g, site, 96, 18, 7)
        }),
        Encoder::new("tu-swin_base_patch4_window7_224", |g, site| {
            encode(g, site, 128, 18, 7)
        }),
        Encoder::new("tu-swin_large_patch4_window7_224", |g, site| {
            encode(g, site, 192, 18, 7)
        }),
        Encoder::new("tu-swin_base_patch4_window12_384", |g, site| {
            encode(g, site, 128, 18, 12)
        }),
        Encoder::new("tu-swin_large_patch4_window12_384", |g, site| {
            encode(g, site, 192, 18, 12)
        }),
    ],
    traits: super::TRAITS,
};

const EPS: f32 = 1e-5;
/// Channels of a head.
const HEAD: usize = 32;
const PATCH: usize = 4;
/// Share of the last block's maps that training drops; earlier blocks less, in proportion.
const DROPPED: f32 = 0.1;

/// `blocks` are the third stage's, `window` the side of a window.
fn encode(
    g: &mut Builder,
    site: &Site<'_>,
    width: usize,
    blocks: usize,
    window: usize,
) -> Features {
    let rule = g.set_init(InitRule::Transformer);
    let name = site.name / "model";
    let embed = &name / "patch_embed";
    let patches = Conv2d {
        padding: [0, 0],
        ..Conv2d::square(PATCH, width).stride(PATCH).with_bias()
    };
    let x = g.conv(site.input, &(&embed / "proj"), patches);
    let mut x = g.layer_norm(x, &(&embed / "norm"), EPS);
    let depths = [2, 2, blocks, 2];
    let last = depths.iter().sum::<usize>() - 1;
    let mut maps = [Some(site.input), None, None, None, None, None];
    let mut index = 0;
    for (stage, depth) in depths.into_iter().enumerate().take(site.depth - 1) {
        let module = &name / format!("layers_{stage}");
        if stage > 0 {
            let below = &module / "downsample";
            let y = g.space_to_depth(x, 2, &below);
            let y = g.layer_norm(y, &(&below / "norm"), EPS);
            x = g.linear_without_bias(y, &(&below / "reduction"), width << stage);
        }
        for at in 0..depth {
            let is_rolled = at % 2 == 1 && stage < 3;
            let block = Block {
                window,
                shift: if is_rolled { window / 2 } else { 0 },
                dropped: DROPPED * index as f32 / last as f32,
            };
            x = block.build(g, x, &(&module / "blocks" / at));
            index += 1;
        }
        maps[stage + 2] = Some(x);
    }
    g.set_init(rule);
    Features::of_levels(maps)
}

struct Block {
    window: usize,
    shift: usize,
    dropped: f32,
}

impl Block {
    fn build(&self, g: &mut Builder, x: Node, name: &Scope) -> Node {
        let width = g.channels(x);
        let y = g.layer_norm(x, &(name / "norm1"), EPS);
        let y = self.attention(g, y, &(name / "attn"));
        let y = g.stochastic_depth(y, self.dropped, name);
        let x = g.add(y, x, name);
        let y = g.layer_norm(x, &(name / "norm2"), EPS);
        let y = g.linear(y, &(name / "mlp" / "fc1"), 4 * width);
        let y = g.activation(y, Activation::Gelu);
        let y = g.linear(y, &(name / "mlp" / "fc2"), width);
        let y = g.stochastic_depth(y, self.dropped, name);
        g.add(y, x, name)
    }

    fn attention(&self, g: &mut Builder, map: Node, name: &Scope) -> Node {
        let (side, shift) = (self.window, self.shift);
        let width = g.channels(map);
        let heads = width / HEAD;
        let distances = 2 * side - 1;
        let bias = name / "relative_position_bias_table";
        let table = g.table(&bias, &[distances * distances, heads], [distances; 2]);
        let x = g.windows(map, side, shift, name);
        let x = g.linear(x, &(name / "qkv"), 3 * width);
        let parts = [0, 1, 2].map(|i| g.slice(x, i * width, width, name));
        let y = g.window_attention(parts, table, None, [heads, shift], name);
        let y = g.linear(y, &(name / "proj"), width);
        g.from_windows(y, map, side, shift, name)
    }
}
