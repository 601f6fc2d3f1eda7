//! OneFormer of transformers (`OneFormerForUniversalSegmentation`; Jain et al. 2023, arXiv:2211.06220): Mask2Former whose
//! queries begin as what the task's name became, and have seen the map that masks are made of. The task is always "the
//! task is semantic", whose tokens are part of the network.

use segmenta_graph::{Activation, Builder, Conv2d, Filter, Graph, InitRule, Node, Scope};
use serde_json::json;

use super::deformable::{Fields, PixelDecoder, memory};
use super::mask2former::{Decoder, Names};
use super::queries::{MaskSize, classified, declare, packed_attention, residual};
use super::{Class, backbone, no_values};
use crate::config::Config;
use crate::options::Options;
use crate::smp::Refusal;

pub(crate) static ONEFORMER: Class = Class {
    fields: &[
        "backbone",
        "backbone_config",
        "common_stride",
        "conv_dim",
        "decoder_layers",
        "dim_feedforward",
        "dropout",
        "encoder_feedforward_dim",
        "encoder_layers",
        "enforce_input_proj",
        "hidden_dim",
        "layer_norm_eps",
        "mask_dim",
        "num_attention_heads",
        "num_queries",
        "pre_norm",
        "query_dec_layers",
        "strides",
        "task_inputs",
        "task_seq_len",
        "use_task_norm",
    ],
    build,
    former: |name| backbone::former(name, "model.pixel_level_module.encoder."),
    // The names say nothing of heads and of much else: only a `config.json` does.
    read: |_, _| {},
    values: no_values,
};

/// "the task is semantic" in the tokens of CLIP's vocabulary, between its marks of begin and end; what is left of
/// `task_seq_len` is 0.
const SEMANTIC: [f64; 7] = [49406.0, 518.0, 10549.0, 533.0, 29119.0, 1550.0, 49407.0];

const FIELDS: Fields = Fields {
    width: "conv_dim",
    mask: "mask_dim",
    strides: "strides",
};

static NAMES: Names = Names {
    norm: "decoder_norm",
    embedder: "mask_embed.layers",
    cross: ["cross_attn.multihead_attn", "cross_attn.norm"],
    own: ["self_attn.self_attn", "self_attn.norm"],
    mlp: ["ffn.linear1", "ffn.linear2", "ffn.norm"],
    order: &["cross_attn", "self_attn", "ffn"],
};

fn build(options: &Options) -> Result<Graph, Refusal> {
    let config = &options.config;
    let refuse = |what: String| Err(Refusal::Option(what));
    let eps = config.number("layer_norm_eps", 1e-5)? as f32;
    let pixel_decoder = PixelDecoder::new(config, &FIELDS, eps)?;
    let (conv, mask) = (pixel_decoder.width, pixel_decoder.mask);
    let width = config.count("hidden_dim", 256)?;
    // transformers keeps no weights of the layers that would join other widths.
    if [conv, mask] != [width; 2] || config.flag("enforce_input_proj", false)? {
        return refuse(format!(
            "has one width, not {conv}, {mask} and {width} (conv_dim, mask_dim, hidden_dim), and no layer between them \
             (enforce_input_proj)"
        ));
    }
    let queries = config.count("num_queries", 150)?;
    if queries < 2 {
        return refuse("has two queries at least, of which one is the task (num_queries)".into());
    }
    let decoder = Decoder {
        names: &NAMES,
        heads: config.count("num_attention_heads", 8)?,
        mask,
        // Of ten one is the prediction before the first.
        layers: config.count("decoder_layers", 10)? - 1,
        hidden: config.count("dim_feedforward", 2048)?,
        activation: Activation::Relu,
        norm_first: config.flag("pre_norm", false)?,
        eps,
    };
    let task = Task::new(config, width)?;
    let norms_task = config.flag("use_task_norm", true)?;
    let begun = config.whole("query_dec_layers", 2)?;

    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let model = &root / "model";
    let pixels = &model / "pixel_level_module";
    let of_backbone = backbone::config_of(
        config,
        &[
            ("model_type", json!("swin")),
            ("drop_path_rate", json!(0.3)),
            (
                "out_features",
                json!(["stage1", "stage2", "stage3", "stage4"]),
            ),
        ],
    )?;
    let maps = backbone::build(&mut g, input, &(&pixels / "encoder"), &of_backbone)?;
    let rule = g.set_init(InitRule::XavierUniform);
    let (levels, masked) = pixel_decoder.build(&mut g, &maps, &(&pixels / "decoder"))?;
    let module = &model / "transformer_module";
    g.module_order(&model, &["pixel_level_module", "transformer_module"]);
    g.module_order(&module, &["queries_embedder", "decoder", "level_embed"]);
    let name = &module / "decoder";
    let order = [
        "query_transformer",
        "decoder_norm",
        "layers",
        "query_input_projection",
        "class_embed",
        "mask_embed",
    ];
    g.module_order(&name, &order);
    let mut token = task.build(&mut g, &(&model / "task_encoder" / "task_mlp" / "layers"));
    if norms_task {
        token = g.sharing(|g| g.layer_norm(token, &(&name / "decoder_norm"), eps));
    }
    let entry = &module / "queries_embedder" / "weight";
    let places = g.table(&entry, &[queries, width], [1, queries]);
    let memory = memory(&mut g, levels, width, false, &module);

    // All but the task have seen where on the map they might be.
    let own = g.part(places, 0, queries - 1, &entry);
    let first = if norms_task {
        g.resize_like(token, own, Filter::Nearest, &name)
    } else {
        g.scale(own, 0.0, &name)
    };
    let project = Conv2d::pointwise(width).with_bias();
    let seen = g.conv(masked, &(&name / "query_input_projection"), project);
    let waves = g.sine_positions(masked, width, &name);
    let keys = g.add(waves, seen, &name);
    let before = &name / "query_transformer" / "decoder";
    let mut row = first;
    for layer in 0..begun {
        let module = &before / "layers" / layer;
        row = decoder.begin(&mut g, [row, own], [keys, waves], &module);
    }
    row = g.layer_norm(row, &(&before / "norm"), eps);
    row = g.join(row, token, &name);

    let (row, masks) = decoder.build(&mut g, [row, places], memory, masked, &name);
    let classes = classified(&mut g, row, &(&name / "class_embed"), options.classes);
    let criterion = &root / "criterion";
    g.module_order(&criterion, &["logit_scale", "empty_weight"]);
    // Of the loss that compares queries with texts.
    g.buffer(&(&criterion / "logit_scale"), &[], (1.0_f32 / 0.07).ln());
    g.set_init(rule);
    declare(&mut g, classes, masks, MaskSize::Own);
    g.finish().map_err(Refusal::Graph)
}

impl Decoder {
    /// A layer of queries that see the whole map that masks are made of.
    fn begin(
        &self,
        g: &mut Builder,
        [x, places]: [Node; 2],
        [keys, values]: [Node; 2],
        name: &Scope,
    ) -> Node {
        let order = [
            "self_attn",
            "multihead_attn",
            "linear1",
            "linear2",
            "norm1",
            "norm2",
            "norm3",
        ];
        g.module_order(name, &order);
        let width = g.channels(x);
        let norm = name / "norm1";
        let x = residual(g, x, (&norm, self.eps), self.norm_first, |g, x| {
            let own = name / "self_attn";
            let placed = g.add(x, places, &own);
            packed_attention(g, [placed, placed, x], None, self.heads, &own)
        });
        let norm = name / "norm2";
        let x = residual(g, x, (&norm, self.eps), self.norm_first, |g, x| {
            let cross = name / "multihead_attn";
            let placed = g.add(x, places, &cross);
            packed_attention(g, [placed, keys, values], None, self.heads, &cross)
        });
        let norm = name / "norm3";
        residual(g, x, (&norm, self.eps), self.norm_first, |g, x| {
            let y = g.linear(x, &(name / "linear1"), self.hidden);
            let y = g.activation(y, self.activation);
            g.linear(y, &(name / "linear2"), width)
        })
    }
}

/// The name of the task, in tokens.
struct Task {
    /// Tokens, as the numbers that the network takes them for.
    tokens: Vec<f64>,
    width: usize,
}

impl Task {
    /// `task_inputs` are the tokens of another text, which no file of transformers has.
    fn new(config: &Config, width: usize) -> Result<Self, Refusal> {
        let length = config.count("task_seq_len", 77)?;
        let given = config.given().get("task_inputs");
        let tokens = match given {
            None => {
                let mut tokens = SEMANTIC.to_vec();
                tokens.resize(length, 0.0);
                tokens
            }
            Some(value) => {
                let numbers = value.as_array().map(|tokens| {
                    let number = |token: &serde_json::Value| token.as_f64();
                    tokens.iter().filter_map(number).collect::<Vec<f64>>()
                });
                let fitting = numbers.filter(|numbers| numbers.len() == length);
                fitting.ok_or_else(|| {
                    Refusal::Option(format!(
                        "takes {length} numbers in the field `task_inputs`, as many as task_seq_len says"
                    ))
                })?
            }
        };
        Ok(Self { tokens, width })
    }

    /// What becomes of them: a row of one pixel. The first of two layers is the sum of its columns, a token's worth of
    /// each.
    fn build(&self, g: &mut Builder, name: &Scope) -> Node {
        let (first, second) = (name / 0 / 0, name / 1 / 0);
        let (length, width) = (self.tokens.len(), self.width);
        let entry = &first / "weight";
        let matrix = g.table(&entry, &[width, length], [1, width]);
        let columns = g.transpose(matrix, &entry);
        let mut sum = g.table(&(&first / "bias"), &[width], [1, 1]);
        for (at, &token) in self.tokens.iter().enumerate() {
            if token != 0.0 {
                let column = g.part(columns, at, 1, &entry);
                let part = g.scale(column, token as f32, &entry);
                sum = g.add(sum, part, &entry);
            }
        }
        let active = g.relu(sum);
        g.linear(active, &second, width)
    }
}
