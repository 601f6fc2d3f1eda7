//! MaskFormer of transformers (`MaskFormerForInstanceSegmentation`; Cheng et al. 2021, arXiv:2107.06278): a backbone, an
//! FPN whose largest map masks are made of, and DETR's decoder of queries on the smallest map.

use segmenta_graph::{Activation, Builder, Conv2d, Filter, Graph, InitRule, Node, Scope};
use serde_json::json;

use super::queries::{
    EPS, GROUPS, MaskSize, attention, classified, declare, embedded, grouped, in_heads, residual,
};
use super::{Class, backbone, no_values, undone};
use crate::config::Config;
use crate::options::Options;
use crate::smp::Refusal;

pub(crate) static MASKFORMER: Class = Class {
    fields: &[
        "backbone",
        "backbone_config",
        "decoder_config",
        "fpn_feature_size",
        "mask_feature_size",
    ],
    build,
    former,
    // The names say nothing of heads and of much else: only a `config.json` does.
    read: |_, _| {},
    values: no_values,
};

/// Version 4's names and version 5's, of the decoder of queries. Its Swin keeps its old names.
const RULES: [(&str, &str); 3] = [
    (".out_proj.", ".o_proj."),
    (".fc1.", ".mlp.fc1."),
    (".fc2.", ".mlp.fc2."),
];

fn former(name: &str) -> Option<String> {
    if !name.starts_with("model.transformer_module.decoder.") {
        return None;
    }
    let old = undone(name, &RULES);
    (old != name).then_some(old)
}

/// DETR's decoder.
struct Decoder {
    width: usize,
    heads: usize,
    hidden: usize,
    layers: usize,
    queries: usize,
    activation: Activation,
    /// Whether the last norm comes after every layer, too.
    norms_each: bool,
}

fn build(options: &Options) -> Result<Graph, Refusal> {
    let config = &options.config;
    let decoder = Decoder::new(&config.nested("decoder_config")?)?;
    let width = grouped(config, "fpn_feature_size")?;
    let mask = config.count("mask_feature_size", 256)?;

    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let pixels = &root / "model" / "pixel_level_module";
    let maps = backbone::build(&mut g, input, &(&pixels / "encoder"), &of_backbone(config)?)?;
    if maps.len() < 2 {
        return Err(Refusal::Option(
            "reads two maps of its backbone at least (out_features in backbone_config)".into(),
        ));
    }
    let rule = g.set_init(InitRule::XavierUniform);
    let finest = pyramid(&mut g, &maps, width, &(&pixels / "decoder" / "fpn"));
    let conv = Conv2d::square(3, mask).with_bias();
    let masked = g.conv(finest, &(&pixels / "decoder" / "mask_projection"), conv);

    let module = &root / "model" / "transformer_module";
    let row = decoder.build(&mut g, maps[maps.len() - 1], &module);
    g.module_order(&root, &["model", "class_predictor", "mask_embedder"]);
    let embedder = &root / "mask_embedder";
    let embedded = embedded(&mut g, row, &embedder, mask);
    let masks = g.product(masked, embedded, &embedder);
    let classes = classified(&mut g, row, &(&root / "class_predictor"), options.classes);
    g.set_init(rule);
    declare(&mut g, classes, masks, MaskSize::Own);
    g.finish().map_err(Refusal::Graph)
}

/// What is said of the backbone. Of a Swin transformers makes one of its own, with the maps of its first four stages
/// whatever is asked for; saved again, the file names that one.
fn of_backbone(config: &Config) -> Result<Config, Refusal> {
    let mut fields = backbone::config_of(
        config,
        &[
            ("model_type", json!("swin")),
            ("depths", json!([2, 2, 18, 2])),
            ("drop_path_rate", json!(0.3)),
            ("embed_dim", json!(128)),
            ("num_heads", json!([4, 8, 16, 32])),
            ("window_size", json!(12)),
        ],
    )?;
    if fields.word("model_type", "")? == "swin" {
        fields.set("model_type", json!("maskformer-swin"));
        fields.set(
            "out_features",
            json!(["stage1", "stage2", "stage3", "stage4"]),
        );
    }
    Ok(fields)
}

/// The FPN's largest map.
fn pyramid(g: &mut Builder, maps: &[Node], width: usize, name: &Scope) -> Node {
    let block = |g: &mut Builder, x: Node, name: &Scope| {
        let y = g.conv(x, &(name / 0), Conv2d::square(3, width));
        let y = g.group_norm(y, &(name / 1), GROUPS, EPS);
        g.relu(y)
    };
    let mut x = block(g, maps[maps.len() - 1], &(name / "stem"));
    for (at, &map) in maps.iter().rev().skip(1).enumerate() {
        let layer = name / "layers" / at;
        let project = &layer / "proj";
        let lateral = g.conv(map, &(&project / 0), Conv2d::pointwise(width));
        let lateral = g.group_norm(lateral, &(&project / 1), GROUPS, EPS);
        let up = g.resize_like(x, lateral, Filter::Nearest, &layer);
        let sum = g.add(up, lateral, &layer);
        x = block(g, sum, &(&layer / "block"));
    }
    x
}

impl Decoder {
    fn new(fields: &Config) -> Result<Self, Refusal> {
        let kind = fields.word("model_type", "detr")?;
        if kind != "detr" {
            return Err(Refusal::Option(format!(
                "has DETR's decoder of queries and no other, such as `{kind}` (model_type in decoder_config)"
            )));
        }
        let heads = fields.count("decoder_attention_heads", 8)?;
        Ok(Self {
            width: in_heads(fields.count("d_model", 256)?, "d_model", heads)?,
            heads,
            hidden: fields.count("decoder_ffn_dim", 2048)?,
            layers: fields.whole("decoder_layers", 6)?,
            queries: fields.count("num_queries", 100)?,
            activation: fields.activation("activation_function", Activation::Relu)?,
            norms_each: fields.flag("auxiliary_loss", false)?,
        })
    }

    /// What becomes of the queries, normed.
    fn build(&self, g: &mut Builder, map: Node, name: &Scope) -> Node {
        g.module_order(name, &["queries_embedder", "input_projection", "decoder"]);
        let decoder = name / "decoder";
        g.module_order(&decoder, &["layers", "layernorm"]);
        let entry = name / "queries_embedder" / "weight";
        let places = g.table(&entry, &[self.queries, self.width], [1, self.queries]);
        let mut values = map;
        if g.channels(map) != self.width {
            let conv = Conv2d::pointwise(self.width).with_bias();
            values = g.conv(map, &(name / "input_projection"), conv);
        }
        let waves = g.sine_positions(values, self.width, name);
        let keys = g.add(values, waves, name);
        // Queries begin as zeros: all that tells them apart are their places.
        let mut row = g.scale(places, 0.0, name);
        let norm =
            |g: &mut Builder, row| g.sharing(|g| g.layer_norm(row, &(&decoder / "layernorm"), EPS));
        for layer in 0..self.layers {
            let module = &decoder / "layers" / layer;
            row = self.layer(g, row, places, [keys, values], &module);
            if self.norms_each {
                row = norm(g, row);
            }
        }
        norm(g, row)
    }

    fn layer(
        &self,
        g: &mut Builder,
        x: Node,
        places: Node,
        [keys, values]: [Node; 2],
        name: &Scope,
    ) -> Node {
        let norm = name / "self_attn_layer_norm";
        let x = residual(g, x, (&norm, EPS), false, |g, x| {
            let own = name / "self_attn";
            let placed = g.add(x, places, &own);
            attention(g, [placed, placed, x], self.heads, &own, "o_proj")
        });
        let norm = name / "encoder_attn_layer_norm";
        let x = residual(g, x, (&norm, EPS), false, |g, x| {
            let cross = name / "encoder_attn";
            let placed = g.add(x, places, &cross);
            attention(g, [placed, keys, values], self.heads, &cross, "o_proj")
        });
        let norm = name / "final_layer_norm";
        residual(g, x, (&norm, EPS), false, |g, x| {
            let mlp = name / "mlp";
            let y = g.linear(x, &(&mlp / "fc1"), self.hidden);
            let y = g.activation(y, self.activation);
            g.linear(y, &(&mlp / "fc2"), self.width)
        })
    }
}
