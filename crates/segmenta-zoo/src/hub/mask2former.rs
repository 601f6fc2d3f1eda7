//! Mask2Former of transformers (`Mask2FormerForUniversalSegmentation`; Cheng et al. 2022, arXiv:2112.01527): a backbone,
//! deformable attention over its three smallest maps, and queries that attend to where their own masks are so far.

use segmenta_graph::{Activation, Builder, Filter, Graph, InitRule, Node, Scope};
use serde_json::json;

use super::deformable::{Fields, LEVELS, PixelDecoder, memory};
use super::queries::{
    EPS, MaskSize, attention, classified, declare, embedded, in_heads, packed_attention, residual,
};
use super::{Class, backbone, no_values};
use crate::options::Options;
use crate::smp::Refusal;

pub(crate) static MASK2FORMER: Class = Class {
    fields: &[
        "activation_function",
        "backbone",
        "backbone_config",
        "common_stride",
        "decoder_layers",
        "dim_feedforward",
        "dropout",
        "encoder_feedforward_dim",
        "encoder_layers",
        "enforce_input_projection",
        "feature_size",
        "feature_strides",
        "hidden_dim",
        "mask_feature_size",
        "num_attention_heads",
        "num_queries",
        "pre_norm",
    ],
    build,
    former: |name| backbone::former(name, ENCODER),
    // The names say nothing of heads and of much else: only a `config.json` does.
    read: |_, _| {},
    values: no_values,
};

/// What stands before the backbone's names.
const ENCODER: &str = "model.pixel_level_module.encoder.";
/// Rows and columns that masks are resized to before they are weighed, whatever the input is.
const SIZE: [usize; 2] = [384; 2];

const FIELDS: Fields = Fields {
    width: "feature_size",
    mask: "mask_feature_size",
    strides: "feature_strides",
};

/// How the decoder's modules are called.
pub(super) struct Names {
    /// The norm of what is compared, of the decoder.
    pub(super) norm: &'static str,
    /// What masks are made by, of the decoder.
    pub(super) embedder: &'static str,
    /// Of a layer: attention to a level, and its norm.
    pub(super) cross: [&'static str; 2],
    /// Of a layer: attention to each other, and its norm.
    pub(super) own: [&'static str; 2],
    /// Of a layer: the two layers of its perceptron, and its norm.
    pub(super) mlp: [&'static str; 3],
    /// The modules of a layer in the order of its state dict.
    pub(super) order: &'static [&'static str],
}

static NAMES: Names = Names {
    norm: "layernorm",
    embedder: "mask_predictor.mask_embedder",
    cross: ["cross_attn", "cross_attn_layer_norm"],
    own: ["self_attn", "self_attn_layer_norm"],
    mlp: ["fc1", "fc2", "final_layer_norm"],
    order: &[
        "self_attn",
        "self_attn_layer_norm",
        "cross_attn",
        "cross_attn_layer_norm",
    ],
};

/// The decoder of queries.
pub(super) struct Decoder {
    pub(super) names: &'static Names,
    pub(super) heads: usize,
    /// Channels of the map that masks are made of.
    pub(super) mask: usize,
    pub(super) layers: usize,
    pub(super) hidden: usize,
    pub(super) activation: Activation,
    /// Whether norms come before what they belong to, not behind it.
    pub(super) norm_first: bool,
    pub(super) eps: f32,
}

fn build(options: &Options) -> Result<Graph, Refusal> {
    let config = &options.config;
    let pixel_decoder = PixelDecoder::new(config, &FIELDS, EPS)?;
    let heads = config.count("num_attention_heads", 8)?;
    let width = in_heads(config.count("hidden_dim", 256)?, "hidden_dim", heads)?;
    let queries = config.count("num_queries", 100)?;
    let projects = config.flag("enforce_input_projection", false)?;
    let decoder = Decoder {
        names: &NAMES,
        heads,
        mask: pixel_decoder.mask,
        // Of ten one is the prediction before the first.
        layers: config.count("decoder_layers", 10)? - 1,
        hidden: config.count("dim_feedforward", 2048)?,
        activation: config.activation("activation_function", Activation::Relu)?,
        norm_first: config.flag("pre_norm", false)?,
        eps: EPS,
    };

    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let pixels = &root / "model" / "pixel_level_module";
    let of_backbone = backbone::config_of(
        config,
        &[
            ("model_type", json!("swin")),
            ("depths", json!([2, 2, 18, 2])),
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
    let module = &root / "model" / "transformer_module";
    let order = [
        "queries_embedder",
        "queries_features",
        "input_projections",
        "decoder",
        "level_embed",
    ];
    g.module_order(&module, &order);
    let [places, row] = ["queries_embedder", "queries_features"].map(|table| {
        let entry = &module / table / "weight";
        g.table(&entry, &[queries, width], [1, queries])
    });
    let memory = memory(&mut g, levels, width, projects, &module);
    let name = &module / "decoder";
    g.module_order(&name, &["layers", "layernorm", "mask_predictor"]);
    let (row, masks) = decoder.build(&mut g, [row, places], memory, masked, &name);
    let classes = classified(&mut g, row, &(&root / "class_predictor"), options.classes);
    g.set_init(rule);
    declare(&mut g, classes, masks, MaskSize::Fixed(SIZE));
    g.finish().map_err(Refusal::Graph)
}

impl Decoder {
    /// What became of the queries `row` at their places, normed, and the logits of their masks.
    pub(super) fn build(
        &self,
        g: &mut Builder,
        [mut row, places]: [Node; 2],
        memory: [[Node; 2]; LEVELS],
        masked: Node,
        name: &Scope,
    ) -> (Node, Node) {
        let (mut normed, mut masks) = self.predict(g, row, masked, name);
        for layer in 0..self.layers {
            let module = name / "layers" / layer;
            let seen = memory[layer % LEVELS];
            row = self.layer(g, [row, places], seen, masks, &module);
            (normed, masks) = self.predict(g, row, masked, name);
        }
        (normed, masks)
    }

    /// Queries, normed, and the logits of their masks. Its modules are called after each layer.
    fn predict(&self, g: &mut Builder, row: Node, masked: Node, name: &Scope) -> (Node, Node) {
        g.sharing(|g| {
            let normed = g.layer_norm(row, &(name / self.names.norm), self.eps);
            let embedder = name / self.names.embedder;
            let embedded = embedded(g, normed, &embedder, self.mask);
            (normed, g.product(masked, embedded, &embedder))
        })
    }

    /// Attention to what the queries' masks leave of a level, then of the queries to each other.
    fn layer(
        &self,
        g: &mut Builder,
        [x, places]: [Node; 2],
        [keys, values]: [Node; 2],
        masks: Node,
        name: &Scope,
    ) -> Node {
        g.module_order(name, self.names.order);
        let width = g.channels(x);
        let [cross, norm] = self.names.cross.map(|module| name / module);
        let x = residual(g, x, (&norm, self.eps), self.norm_first, |g, x| {
            let mask = g.resize_like(masks, values, Filter::BILINEAR, &cross);
            let queries = g.add(x, places, &cross);
            let maps = [queries, keys, values];
            packed_attention(g, maps, Some(mask), self.heads, &cross)
        });
        let [own, norm] = self.names.own.map(|module| name / module);
        let x = residual(g, x, (&norm, self.eps), self.norm_first, |g, x| {
            let placed = g.add(x, places, &own);
            attention(g, [placed, placed, x], self.heads, &own, "out_proj")
        });
        let [first, second, norm] = self.names.mlp.map(|module| name / module);
        residual(g, x, (&norm, self.eps), self.norm_first, |g, x| {
            let y = g.linear(x, &first, self.hidden);
            let y = g.activation(y, self.activation);
            g.linear(y, &second, width)
        })
    }
}
