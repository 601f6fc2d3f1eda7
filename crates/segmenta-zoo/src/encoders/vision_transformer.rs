//! Vision transformers (Dosovitskiy et al. 2020, arXiv:2010.11929) as timm builds them: patches of 16×16
//! pixels as tokens of one row, all blocks alike. What classifies a picture is there for its names.

use segmenta_graph::{Activation, Builder, Conv2d, InitRule, Node, Pool2d, Scope};

use super::{Encoder, Family, Features, Site, Traits, TransformerBlock};

/// `.augreg_in21k` names the weights; what they were trained on has other classes than ImageNet's thousand.
pub(crate) static FAMILY: Family = Family {
    name: "Vision Transformer of timm, for dpt (Dosovitskiy et al. 2020)",
    entry: "model.cls_token",
    encoders: &[
        Encoder::new("tu-vit_tiny_patch16_224", |g, site| {
            encode(g, site, 3, 1000)
        }),
        Encoder::new("tu-vit_small_patch16_224", |g, site| {
            encode(g, site, 6, 1000)
        }),
        Encoder::new("tu-vit_base_patch16_224", |g, site| {
            encode(g, site, 12, 1000)
        }),
        Encoder::new("tu-vit_tiny_patch16_224.augreg_in21k", |g, site| {
            encode(g, site, 3, 21_843)
        }),
        Encoder::new("tu-vit_small_patch16_224.augreg_in21k", |g, site| {
            encode(g, site, 6, 21_843)
        }),
        Encoder::new("tu-vit_base_patch16_224.augreg_in21k", |g, site| {
            encode(g, site, 12, 21_843)
        }),
    ],
    traits: Traits {
        dilates: false,
        ..Traits::PLAIN
    },
};

/// Side of a patch.
pub(crate) const PATCH: usize = 16;
/// Patches each way that positions were learned for.
const GRID: usize = 14;
const HEAD: usize = 64;
const BLOCKS: usize = 12;
const EPS: f32 = 1e-6;

fn encode(g: &mut Builder, site: &Site<'_>, heads: usize, classes: usize) -> Features {
    let rule = g.set_init(InitRule::Transformer);
    let name = site.name / "model";
    g.module_order(&name, &["cls_token", "pos_embed", "patch_embed", "blocks"]);
    let patches = whole_patches(g, site.input, &name);
    let embed = Conv2d {
        padding: [0, 0],
        ..Conv2d::square(PATCH, heads * HEAD)
            .stride(PATCH)
            .with_bias()
    };
    let map = g.conv(patches, &(&name / "patch_embed" / "proj"), embed);
    let mut x = g.tokens(map, &name, [GRID; 2]);
    let one = g.global_avg_pool(x, &name);
    let mut blocks = Vec::new();
    for i in 0..BLOCKS {
        let name = &name / "blocks" / i;
        x = block(g, &name, x, heads);
        blocks.push(TransformerBlock {
            patches: g.patches(x, map, &name),
            // The first of the row.
            token: g.fit_like(x, one, &name),
        });
    }
    let normed = g.layer_norm(x, &(&name / "norm"), EPS);
    g.linear(normed, &(&name / "head"), classes);
    g.set_init(rule);
    Features::of_blocks(blocks)
}

/// `x` filled up with zeros, below and right, to whole patches.
fn whole_patches(g: &mut Builder, x: Node, name: &Scope) -> Node {
    let count = g.max_pool(x, name, Pool2d::square(PATCH).ceil_mode());
    let size = g.upsample(count, PATCH, segmenta_graph::Filter::Nearest, name);
    g.fit_like(x, size, name)
}

/// Attention and a perceptron, each on what a norm leaves, each added.
fn block(g: &mut Builder, name: &Scope, x: Node, heads: usize) -> Node {
    let channels = g.channels(x);
    let attention = name / "attn";
    let y = g.layer_norm(x, &(name / "norm1"), EPS);
    let y = g.linear(y, &(&attention / "qkv"), 3 * channels);
    let parts = [0, 1, 2].map(|i| g.slice(y, i * channels, channels, &attention));
    let y = g.attention(parts, heads, &attention);
    let y = g.linear(y, &(&attention / "proj"), channels);
    let x = g.add(x, y, name);
    let y = g.layer_norm(x, &(name / "norm2"), EPS);
    let y = g.linear(y, &(name / "mlp" / "fc1"), 4 * channels);
    let y = g.activation(y, Activation::Gelu);
    let y = g.linear(y, &(name / "mlp" / "fc2"), channels);
    g.add(x, y, name)
}
