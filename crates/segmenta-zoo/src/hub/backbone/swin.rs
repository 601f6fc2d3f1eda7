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

/// How a Swin's modules are called.
pub(super) struct Names {
    /// What holds all but the norms of the maps.
    model: &'static str,
    /// The modules of a block, in the order of its state dict, where that is not the order in which they work.
    block: &'static [&'static str],
    /// Those of its attention.
    attention: &'static [&'static str],
    /// Of the attention: queries, keys, values.
    projections: [&'static str; 3],
    /// Of the attention: what comes after it.
    out: &'static str,
    /// Of the attention: the table of biases by distance.
    table: &'static str,
    /// Of the block: the two layers of its perceptron.
    mlp: [&'static str; 2],
    /// Whether every stage's map has a norm, with its place as its name, instead of those that are read.
    all_normed: bool,
}

/// transformers 5's.
pub(super) const NAMES: Names = Names {
    model: "swin",
    block: &["attention", "layernorm_before", "layernorm_after", "mlp"],
    attention: &[
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "relative_position_bias",
    ],
    projections: ["q_proj", "k_proj", "v_proj"],
    out: "o_proj",
    table: "relative_position_bias.relative_position_bias_table",
    mlp: ["mlp.fc1", "mlp.fc2"],
    all_normed: false,
};

/// MaskFormer's, whose Swin is a copy that keeps version 4's.
pub(super) const MASKFORMER: Names = Names {
    model: "model",
    block: &[],
    attention: &["self", "output"],
    projections: ["self.query", "self.key", "self.value"],
    out: "output.dense",
    table: "self.relative_position_bias_table",
    mlp: ["intermediate.dense", "output.dense"],
    all_normed: true,
};

/// What all blocks of a stage have in common.
struct Stage {
    names: &'static Names,
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
    names: &'static Names,
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
    if names.all_normed && wanted.contains(&0) {
        return Err(Refusal::Option(
            "has no norm for its backbone's stem (out_features in backbone_config)".into(),
        ));
    }
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
    let swin = name / names.model;
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
            names,
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
    let read = if names.all_normed {
        let norms = name / "hidden_states_norms";
        let mut normed = |stage: usize| g.layer_norm(maps[stage], &(&norms / (stage - 1)), EPS);
        let normed: Vec<Node> = (1..=stages).map(&mut normed).collect();
        wanted.iter().map(|&stage| normed[stage - 1]).collect()
    } else {
        normed(g, &maps, &wanted, name, EPS)
    };
    g.set_init(rule);
    Ok(read)
}

impl Stage {
    fn block(&self, g: &mut Builder, x: Node, name: &Scope, shift: usize, at: usize) -> Node {
        let dropped = self.blocks.dropped(at);
        g.module_order(name, self.names.block);
        let y = g.layer_norm(x, &(name / "layernorm_before"), self.eps);
        let y = self.attention(g, y, &(name / "attention"), shift);
        let y = g.stochastic_depth(y, dropped, &(name / "drop_path"));
        let x = g.add(y, x, name);
        let y = g.layer_norm(x, &(name / "layernorm_after"), self.eps);
        let width = g.channels(x);
        let [first, second] = self.names.mlp.map(|module| name / module);
        let y = g.linear(y, &first, self.hidden);
        let y = g.activation(y, self.blocks.activation);
        let y = g.linear(y, &second, width);
        let y = g.dropout(y, self.blocks.dropout, &(&second / "dropout"));
        let y = g.stochastic_depth(y, dropped, &(name / "drop_path"));
        g.add(y, x, name)
    }

    fn attention(&self, g: &mut Builder, map: Node, name: &Scope, shift: usize) -> Node {
        g.module_order(name, self.names.attention);
        // The table stands among the parameters of its module, before the layers.
        g.module_order(&(name / "self"), &["relative_position_bias_table"]);
        let width = g.channels(map);
        let x = g.windows(map, self.window, shift, name);
        let [queries, keys, values] = self.names.projections.map(|module| {
            let name = name / module;
            if self.bias {
                g.linear(x, &name, width)
            } else {
                g.linear_without_bias(x, &name, width)
            }
        });
        let bias = name / self.names.table;
        let distances = 2 * self.window - 1;
        let shape = [distances * distances, self.heads];
        let table = g.table(&bias, &shape, [distances; 2]);
        let maps = [queries, keys, values];
        let y = g.window_attention(maps, table, None, [self.heads, shift], name);
        let y = g.linear(y, &(name / self.names.out), width);
        let y = g.dropout(y, self.blocks.dropout, &(name / "dropout"));
        g.from_windows(y, map, self.window, shift, name)
    }
}
