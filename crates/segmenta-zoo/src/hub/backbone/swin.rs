//! Swin Transformer (Liu et al. 2021, arXiv:2103.14030) as transformers has it under heads: windows stay as large as
//! they are, and every other block rolls them, also where a map is smaller; a block's norm comes before its map is filled
//! up with zeros, which are attended to.

use segmenta_graph::{Builder, Conv2d, InitRule, Node, Scope};

use super::{Blocks, normed};
use crate::config::Config;
use crate::smp::Refusal;

/// Of norms that `layer_norm_eps` does not reach.
const EPS: f32 = 1e-5;

/// Version 4's names and version 5's, of what stands behind `swin.`.
pub(super) const RULES: [(&str, &str); 7] = [
    (".attention.self.query.", ".attention.q_proj."),
    (".attention.self.key.", ".attention.k_proj."),
    (".attention.self.value.", ".attention.v_proj."),
    (".attention.output.dense.", ".attention.o_proj."),
    (
        ".attention.self.relative_position_bias_table",
        ".attention.relative_position_bias.relative_position_bias_table",
    ),
    (".intermediate.dense.", ".mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),
];

/// What all blocks of a stage have in common.
struct Stage {
    blocks: Blocks,
    heads: usize,
    /// Side of a window.
    window: usize,
    hidden: usize,
    bias: bool,
    eps: f32,
}

pub(super) fn build(
    g: &mut Builder,
    input: Node,
    name: &Scope,
    config: &Config,
) -> Result<Vec<Node>, Refusal> {
    let depths = config.list("depths", &[2, 2, 6, 2])?;
    let stages = depths.len();
    let heads = config.counts("num_heads", &[3, 6, 12, 24], stages)?;
    let width = config.count("embed_dim", 96)?;
    let window = config.count("window_size", 7)?;
    let patch = config.count("patch_size", 4)?;
    let ratio = config.number("mlp_ratio", 4.0)?;
    let blocks = Blocks::new(config, &depths, 0.1)?;
    let bias = config.flag("qkv_bias", true)?;
    let eps = config.number("layer_norm_eps", 1e-5)? as f32;
    let wanted = config.stages(stages)?;
    if config.flag("use_absolute_embeddings", false)? {
        return Err(Refusal::Option(
            "has no absolute position embeddings in a Swin backbone (use_absolute_embeddings)"
                .into(),
        ));
    }
    if config.probability("attention_probs_dropout_prob", 0.0)? > 0.0 {
        return Err(Refusal::Option(
            "has no dropout of attention's weights; give attention_probs_dropout_prob as 0, which \
             changes no result of a trained network"
                .into(),
        ));
    }

    let rule = g.set_init(InitRule::Transformer);
    let swin = name / "swin";
    let embeddings = &swin / "embeddings";
    let patches = Conv2d {
        padding: [0, 0],
        // Filled up with zeros below and right to whole patches.
        extra_padding: [patch - 1; 2],
        ..Conv2d::square(patch, width).stride(patch).with_bias()
    };
    let projection = &embeddings / "patch_embeddings" / "projection";
    let x = g.conv(input, &projection, patches);
    let x = g.layer_norm(x, &(&embeddings / "norm"), EPS);
    let mut x = g.dropout(x, blocks.dropout, &(&embeddings / "dropout"));
    let (mut maps, mut at) = (vec![x], 0);
    for (index, (&depth, &heads)) in depths.iter().zip(&heads).enumerate() {
        let channels = width << index;
        let stage = Stage {
            blocks,
            heads,
            window,
            hidden: (channels as f64 * ratio) as usize,
            bias,
            eps,
        };
        if !channels.is_multiple_of(heads) || stage.hidden == 0 {
            return Err(Refusal::Option(format!(
                "cannot part {channels} channels between {heads} heads (embed_dim, num_heads)"
            )));
        }
        let module = &swin / "encoder" / "layers" / index;
        for block in 0..depth {
            let shift = if block % 2 == 1 { window / 2 } else { 0 };
            x = stage.block(g, x, &(&module / "blocks" / block), shift, at);
            at += 1;
        }
        maps.push(x);
        if index + 1 < stages {
            let below = &module / "downsample";
            g.module_order(&below, &["reduction", "norm"]);
            let y = g.space_to_depth(x, 2, &below);
            let y = g.layer_norm(y, &(&below / "norm"), EPS);
            x = g.linear_without_bias(y, &(&below / "reduction"), 2 * channels);
        }
    }
    // The classifier's, which no head reads; files of version 4 may lack it.
    g.layer_norm(x, &(&swin / "layernorm"), eps);
    let read = normed(g, &maps, &wanted, name, EPS);
    g.set_init(rule);
    Ok(read)
}

impl Stage {
    fn block(&self, g: &mut Builder, x: Node, name: &Scope, shift: usize, at: usize) -> Node {
        let dropped = self.blocks.dropped(at);
        let order = ["attention", "layernorm_before", "layernorm_after", "mlp"];
        g.module_order(name, &order);
        let y = g.layer_norm(x, &(name / "layernorm_before"), self.eps);
        let y = self.attention(g, y, &(name / "attention"), shift);
        let y = g.stochastic_depth(y, dropped, &(name / "drop_path"));
        let x = g.add(y, x, name);
        let y = g.layer_norm(x, &(name / "layernorm_after"), self.eps);
        let mlp = name / "mlp";
        let width = g.channels(x);
        let y = g.linear(y, &(&mlp / "fc1"), self.hidden);
        let y = g.activation(y, self.blocks.activation);
        let y = g.linear(y, &(&mlp / "fc2"), width);
        let y = g.dropout(y, self.blocks.dropout, &(&mlp / "dropout"));
        let y = g.stochastic_depth(y, dropped, &(name / "drop_path"));
        g.add(y, x, name)
    }

    fn attention(&self, g: &mut Builder, map: Node, name: &Scope, shift: usize) -> Node {
        let order = [
            "q_proj",
            "k_proj",
            "v_proj",
            "o_proj",
            "relative_position_bias",
        ];
        g.module_order(name, &order);
        let width = g.channels(map);
        let x = g.windows(map, self.window, shift, name);
        let [queries, keys, values] = ["q_proj", "k_proj", "v_proj"].map(|module| {
            let name = name / module;
            if self.bias {
                g.linear(x, &name, width)
            } else {
                g.linear_without_bias(x, &name, width)
            }
        });
        let bias = name / "relative_position_bias" / "relative_position_bias_table";
        let distances = 2 * self.window - 1;
        let shape = [distances * distances, self.heads];
        let table = g.table(&bias, &shape, [distances; 2]);
        let maps = [queries, keys, values];
        let y = g.window_attention(maps, table, None, [self.heads, shift], name);
        let y = g.linear(y, &(name / "o_proj"), width);
        let y = g.dropout(y, self.blocks.dropout, &(name / "dropout"));
        g.from_windows(y, map, self.window, shift, name)
    }
}
