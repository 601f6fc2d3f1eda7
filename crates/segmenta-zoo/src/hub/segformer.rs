//! SegFormer as transformers has it (`SegformerForSemanticSegmentation`; Xie et al. 2021, arXiv:2105.15203): a mix
//! transformer and a head of linear layers. Unlike SMP's, keys and values have a layer each, every layer norm has
//! PyTorch's epsilon (`layer_norm_eps` in the file is read by nobody), and the result stays at stride 4.

use segmenta_graph::{Activation, Builder, Conv2d, Filter, Graph, InitRule, Node, Scope};
use serde_json::json;

use super::{Class, undone};
use crate::options::Options;
use crate::smp::{Refusal, ShapeOf};

pub(crate) static SEGFORMER: Class = Class {
    fields: &[
        "attention_probs_dropout_prob",
        "classifier_dropout_prob",
        "decoder_hidden_size",
        "depths",
        "drop_path_rate",
        "hidden_act",
        "hidden_dropout_prob",
        "hidden_sizes",
        "mlp_ratios",
        "num_attention_heads",
        "num_encoder_blocks",
        "patch_sizes",
        "sr_ratios",
        "strides",
    ],
    build,
    former: |name| former(name),
    read,
    values: super::no_values,
};

const EPS: f32 = 1e-5;
/// Stages and blocks that are looked for in a state dict.
const MOST: usize = 1 << 10;

/// Version 4's names and version 5's, of what stands behind the number of a stage or a block.
const RULES: [(&str, &str); 11] = [
    (".attention.self.query.", ".attention.q_proj."),
    (".attention.self.key.", ".attention.k_proj."),
    (".attention.self.value.", ".attention.v_proj."),
    (
        ".attention.self.sr.",
        ".attention.sequence_reduction.sequence_reduction.",
    ),
    (
        ".attention.self.layer_norm.",
        ".attention.sequence_reduction.layer_norm.",
    ),
    (".attention.output.dense.", ".attention.o_proj."),
    (".mlp.dense1.", ".mlp.fc1."),
    (".mlp.dense2.", ".mlp.fc2."),
    (".layer_norm_1.", ".layernorm_before."),
    (".layer_norm_2.", ".layernorm_after."),
    ("decode_head.linear_c.", "decode_head.linear_projections."),
];

fn former(name: &str) -> Option<String> {
    let Some(rest) = name.strip_prefix("segformer.stages.") else {
        let old = undone(name, &RULES);
        return (old != name).then_some(old);
    };
    // Version 4 has a list of each kind of module, with a number for each stage.
    let (stage, module) = rest.split_once('.')?;
    let (kind, rest) = module.split_once('.')?;
    let kind = if kind == "blocks" { "block" } else { kind };
    let old = format!("segformer.encoder.{kind}.{stage}.{rest}");
    Some(undone(&old, &RULES))
}

/// One stage of the encoder.
struct Stage {
    depth: usize,
    channels: usize,
    hidden: usize,
    heads: usize,
    /// How many times smaller the map of keys and values is, each way.
    reduction: usize,
    patch: usize,
    stride: usize,
}

/// What is the same in all blocks.
struct Rates {
    activation: Activation,
    dropout: f32,
}

fn build(options: &Options) -> Result<Graph, Refusal> {
    let config = &options.config;
    let stages = config.count("num_encoder_blocks", 4)?;
    let counts = |name, default: &[usize]| config.counts(name, default, stages);
    let (depths, channels) = (
        counts("depths", &[2, 2, 2, 2])?,
        counts("hidden_sizes", &[32, 64, 160, 256])?,
    );
    let heads = counts("num_attention_heads", &[1, 2, 5, 8])?;
    let (reductions, patches) = (
        counts("sr_ratios", &[8, 4, 2, 1])?,
        counts("patch_sizes", &[7, 3, 3, 3])?,
    );
    let strides = counts("strides", &[4, 2, 2, 2])?;
    let ratios = config.numbers("mlp_ratios", &[4.0; 4], stages)?;
    let rates = Rates {
        activation: config.activation("hidden_act", Activation::Gelu)?,
        dropout: config.probability("hidden_dropout_prob", 0.0)?,
    };
    if config.probability("attention_probs_dropout_prob", 0.0)? > 0.0 {
        return Err(Refusal::Option(
            "has no dropout of attention's weights; give attention_probs_dropout_prob as 0, which \
             changes no result of a trained network"
                .into(),
        ));
    }
    let dropped = config.probability("drop_path_rate", 0.1)?;
    let last = depths.iter().sum::<usize>().saturating_sub(1).max(1);

    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let rule = g.set_init(InitRule::Transformer);
    let (mut x, mut index, mut maps) = (input, 0, Vec::new());
    for at in 0..stages {
        let stage = Stage {
            depth: depths[at],
            channels: channels[at],
            hidden: (channels[at] as f64 * ratios[at]) as usize,
            heads: heads[at],
            reduction: reductions[at],
            patch: patches[at],
            stride: strides[at],
        };
        if stage.hidden == 0 {
            return Err(Refusal::Option(format!(
                "reads {} in the field `mlp_ratios`, which leaves no channel of {}",
                ratios[at], stage.channels
            )));
        }
        if !stage.channels.is_multiple_of(stage.heads) {
            return Err(Refusal::Option(format!(
                "cannot divide the channels of a stage between its heads: {} and {} (hidden_sizes, num_attention_heads)",
                stage.channels, stage.heads
            )));
        }
        let name = &root / "segformer" / "stages" / at;
        let drop = |block: usize| dropped * block as f32 / last as f32;
        x = stage.build(&mut g, x, &name, &rates, |block| drop(index + block));
        index += stage.depth;
        maps.push(x);
    }

    let head = &root / "decode_head";
    let width = config.count("decoder_hidden_size", 256)?;
    let mut parts = Vec::new();
    for (at, &map) in maps.iter().enumerate() {
        let name = &head / "linear_projections" / at;
        let y = g.linear(map, &(&name / "proj"), width);
        let same = g.same_size(y, maps[0]);
        parts.push(if same {
            y
        } else {
            g.resize_like(y, maps[0], Filter::BILINEAR, &name)
        });
    }
    parts.reverse();
    let all = g.concat(&parts, &head);
    let (fuse, norm) = (&head / "linear_fuse", &head / "batch_norm");
    let y = g.conv_bn_relu(all, &fuse, &norm, Conv2d::pointwise(width));
    let dropout = config.probability("classifier_dropout_prob", 0.1)?;
    let y = g.dropout(y, dropout, &(&head / "dropout"));
    let classes = Conv2d::pointwise(options.classes).with_bias();
    let logits = g.conv(y, &(&head / "classifier"), classes);
    g.set_init(rule);
    g.output("out", logits);
    g.finish().map_err(Refusal::Graph)
}

impl Stage {
    fn build(
        &self,
        g: &mut Builder,
        x: Node,
        name: &Scope,
        rates: &Rates,
        dropped: impl Fn(usize) -> f32,
    ) -> Node {
        let embed = name / "patch_embeddings";
        let patches = Conv2d::square(self.patch, self.channels)
            .stride(self.stride)
            .with_bias();
        let mut x = g.conv(x, &(&embed / "proj"), patches);
        x = g.layer_norm(x, &(&embed / "layer_norm"), EPS);
        for at in 0..self.depth {
            let block = name / "blocks" / at;
            let y = g.layer_norm(x, &(&block / "layernorm_before"), EPS);
            let y = self.attention(g, y, &(&block / "attention"));
            let y = g.dropout(y, rates.dropout, &(&block / "hidden_dropout"));
            let y = g.stochastic_depth(y, dropped(at), &(&block / "drop_path"));
            x = g.add(y, x, &block);
            let y = g.layer_norm(x, &(&block / "layernorm_after"), EPS);
            let y = self.mlp(g, y, &(&block / "mlp"), rates);
            let y = g.stochastic_depth(y, dropped(at), &(&block / "drop_path"));
            x = g.add(y, x, &block);
        }
        g.layer_norm(x, &(name / "layer_norm"), EPS)
    }

    fn attention(&self, g: &mut Builder, x: Node, name: &Scope) -> Node {
        let modules = ["q_proj", "k_proj", "v_proj", "o_proj", "sequence_reduction"];
        g.module_order(name, &modules);
        let queries = g.linear(x, &(name / "q_proj"), self.channels);
        let mut source = x;
        if self.reduction > 1 {
            let reduced = name / "sequence_reduction";
            let reduce = Conv2d {
                padding: [0, 0],
                ..Conv2d::square(self.reduction, self.channels)
                    .stride(self.reduction)
                    .with_bias()
            };
            source = g.conv(source, &(&reduced / "sequence_reduction"), reduce);
            source = g.layer_norm(source, &(&reduced / "layer_norm"), EPS);
        }
        let [keys, values] =
            ["k_proj", "v_proj"].map(|module| g.linear(source, &(name / module), self.channels));
        let y = g.attention([queries, keys, values], self.heads, name);
        g.linear(y, &(name / "o_proj"), self.channels)
    }

    fn mlp(&self, g: &mut Builder, x: Node, name: &Scope, rates: &Rates) -> Node {
        let y = g.linear(x, &(name / "fc1"), self.hidden);
        let depthwise = Conv2d::square(3, self.hidden)
            .depthwise(self.hidden)
            .with_bias();
        let y = g.conv(y, &(name / "dwconv" / "dwconv"), depthwise);
        let y = g.activation(y, rates.activation);
        let y = g.dropout(y, rates.dropout, &(name / "dropout"));
        let y = g.linear(y, &(name / "fc2"), self.channels);
        g.dropout(y, rates.dropout, &(name / "dropout"))
    }
}

fn read(options: &mut Options, shape_of: ShapeOf<'_>) {
    let stage = |at: usize, entry: &str| shape_of(&format!("segformer.stages.{at}.{entry}"));
    let embed = "patch_embeddings.proj.weight";
    let count = (0..MOST)
        .take_while(|&at| stage(at, embed).is_some())
        .count();
    if count == 0 {
        return;
    }
    let block = |at, block: usize, entry: &str| stage(at, &format!("blocks.{block}.{entry}"));
    let norm = "layernorm_before.weight";
    let extent = |shape: Option<Vec<usize>>, axis: usize| shape?.get(axis).copied();
    let (mut depths, mut sizes, mut patches) = (Vec::new(), Vec::new(), Vec::new());
    let (mut reductions, mut ratios) = (Vec::new(), Vec::new());
    for at in 0..count {
        let depth = (0..MOST)
            .take_while(|&b| block(at, b, norm).is_some())
            .count();
        let size = extent(stage(at, embed), 0).unwrap_or(1).max(1);
        depths.push(depth);
        sizes.push(size);
        patches.push(extent(stage(at, embed), 2).unwrap_or(3));
        let reduce = "attention.sequence_reduction.sequence_reduction.weight";
        reductions.push(extent(block(at, 0, reduce), 2).unwrap_or(1));
        let hidden = extent(block(at, 0, "mlp.fc1.weight"), 0).unwrap_or(4 * size);
        ratios.push(hidden as f64 / size as f64);
    }
    let config = &mut options.config;
    config.set("num_encoder_blocks", json!(count));
    config.set("depths", json!(depths));
    config.set("hidden_sizes", json!(sizes));
    config.set("patch_sizes", json!(patches));
    config.set("sr_ratios", json!(reductions));
    config.set("mlp_ratios", json!(ratios));
    if let Some(width) = extent(shape_of("decode_head.linear_fuse.weight"), 0) {
        config.set("decoder_hidden_size", json!(width));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::find;

    #[test]
    fn a_state_dict_says_its_depths_and_widths_under_either_names() {
        let class = find("SegformerForSemanticSegmentation").unwrap();
        let mut options = Options::new(19);
        options.config.set("depths", json!([3, 4, 6, 3]));
        options
            .config
            .set("hidden_sizes", json!([64, 128, 320, 512]));
        options.config.set("decoder_hidden_size", json!(768));
        let graph = class.build(&options).unwrap();
        for old in [false, true] {
            let shape_of = |name: &str| {
                let named = |entry: &str| {
                    let former = if old { former(entry) } else { None };
                    former.as_deref().unwrap_or(entry) == name
                };
                let entry = graph.parameters().iter().find(|p| named(&p.name));
                entry.map(|p| p.shape.clone())
            };
            let read = class.options_of(&shape_of);
            assert_eq!(read.classes, 19);
            let again = class.build(&read).unwrap();
            assert_eq!(again.parameters(), graph.parameters());
        }
    }
}
