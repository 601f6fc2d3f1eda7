//! EoMT of transformers (`EomtForUniversalSegmentation`, `EomtDinov3ForUniversalSegmentation`; Kerssies et al. 2025,
//! arXiv:2503.19108): a plain vision transformer whose last blocks see queries beside the patches. Patches, enlarged,
//! times what a query becomes are its mask.
//!
//! While it learns, queries of the last blocks attend only to patches of their own mask. The state dict says in
//! `attn_mask_probs` how much of that is left: 0 once training is over.

use segmenta_graph::{
    Activation, Builder, Conv2d, ConvTranspose2d, Filter, Graph, InitRule, Node, Scope,
};
use serde_json::json;

use super::queries::{MaskSize, classified, declare};
use super::{Class, ValuesOf, undone};
use crate::config::Config;
use crate::options::Options;
use crate::smp::{Refusal, ShapeOf};

pub(crate) static EOMT: Class = Class {
    fields: &[
        "attention_dropout",
        MASK_PROBS,
        "drop_path_rate",
        "hidden_act",
        "hidden_dropout_prob",
        "hidden_size",
        "image_size",
        "layer_norm_eps",
        "mlp_ratio",
        "num_attention_heads",
        "num_blocks",
        "num_hidden_layers",
        "num_queries",
        "num_register_tokens",
        "num_upscale_blocks",
        "patch_size",
        "use_swiglu_ffn",
    ],
    build: |options| build(options, Form::Dinov2),
    former: |name| {
        let old = undone(name, &[(".mlp.weights_out.", ".mlp.down_proj.")]);
        (old != name).then_some(old)
    },
    read: |options, shape_of| read(options, shape_of, EOMT.fields),
    values: read_values,
};

pub(crate) static EOMT_DINOV3: Class = Class {
    fields: &[
        "attention_dropout",
        MASK_PROBS,
        "drop_path_rate",
        "hidden_act",
        "hidden_dropout_prob",
        "hidden_size",
        "image_size",
        "intermediate_size",
        "key_bias",
        "layer_norm_eps",
        "mlp_bias",
        "num_attention_heads",
        "num_blocks",
        "num_hidden_layers",
        "num_queries",
        "num_register_tokens",
        "num_upscale_blocks",
        "patch_size",
        "proj_bias",
        "query_bias",
        "rope_parameters",
        "rope_theta",
        "use_gated_mlp",
        "value_bias",
    ],
    build: |options| build(options, Form::Dinov3),
    former: |_| None,
    read: |options, shape_of| read(options, shape_of, EOMT_DINOV3.fields),
    values: read_values,
};

/// The buffer that says how likely queries are masked in each of the last blocks.
const MASK_PROBS: &str = "attn_mask_probs";
/// Layers that are looked for in a state dict.
const MOST: usize = 1 << 10;

/// Which backbone's blocks it has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A table of positions.
    Dinov2,
    /// Queries and keys turned by their positions, and biases that may be missing.
    Dinov3,
}

/// Which linear layers have a bias.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a layer")]
struct Biases {
    keys: bool,
    values: bool,
    queries: bool,
    out: bool,
    mlp: bool,
}

struct Net {
    form: Form,
    width: usize,
    heads: usize,
    hidden: usize,
    gated: bool,
    biases: Biases,
    /// How fast positions turn what attends.
    theta: f32,
    eps: f32,
    activation: Activation,
    dropout: f32,
    dropped: f32,
    queries: usize,
    /// Class and register tokens, which stand before the patches.
    prefix: usize,
    classes: usize,
    upscales: usize,
}

fn build(options: &Options, form: Form) -> Result<Graph, Refusal> {
    let config = &options.config;
    let width = config.count("hidden_size", 1024)?;
    let heads = config.count("num_attention_heads", 16)?;
    let registers = config.whole("num_register_tokens", 4)?;
    let (layers, blocks) = (
        config.count("num_hidden_layers", 24)?,
        config.whole("num_blocks", 4)?,
    );
    let refuse = |what: String| Err(Refusal::Option(what));
    if !width.is_multiple_of(heads) {
        return refuse(format!(
            "cannot part {width} channels between {heads} heads (hidden_size, num_attention_heads)"
        ));
    }
    if !(1..=layers).contains(&blocks) {
        return refuse(format!(
            "has {layers} layers and cannot show queries to the last {blocks} of them (num_hidden_layers, num_blocks)"
        ));
    }
    if config.probability("attention_dropout", 0.0)? > 0.0 {
        return refuse(
            "has no dropout of attention's weights; give attention_dropout as 0, which changes no \
             result of a trained network"
                .into(),
        );
    }
    let (gated, hidden) = match form {
        Form::Dinov2 => {
            let gated = config.flag("use_swiglu_ffn", false)?;
            let hidden = (width as f64 * config.number("mlp_ratio", 4.0)?) as usize;
            let kept = (hidden * 2 / 3).next_multiple_of(8);
            (gated, if gated { kept } else { hidden })
        }
        Form::Dinov3 => (
            config.flag("use_gated_mlp", false)?,
            config.count("intermediate_size", 4096)?,
        ),
    };
    let bias = |name: &str, default: bool| match form {
        Form::Dinov2 => Ok(true),
        Form::Dinov3 => config.flag(name, default),
    };
    let net = Net {
        form,
        width,
        heads,
        hidden,
        gated,
        biases: Biases {
            keys: bias("key_bias", false)?,
            values: bias("value_bias", true)?,
            queries: bias("query_bias", true)?,
            out: bias("proj_bias", true)?,
            mlp: bias("mlp_bias", true)?,
        },
        theta: config.rope_theta()?,
        eps: config.number("layer_norm_eps", 1e-6)? as f32,
        activation: config.activation("hidden_act", Activation::Gelu)?,
        dropout: config.probability("hidden_dropout_prob", 0.0)?,
        dropped: config.probability("drop_path_rate", 0.0)?,
        queries: config.count("num_queries", 200)?,
        prefix: 1 + registers,
        classes: options.classes,
        upscales: config.count("num_upscale_blocks", 2)?,
    };
    if form == Form::Dinov3 && !width.is_multiple_of(4 * heads) {
        return refuse(format!(
            "turns channels four at a time and cannot part {width} of them between {heads} heads (hidden_size, \
             num_attention_heads)"
        ));
    }
    if net.hidden == 0 {
        return refuse("has no layer of 0 channels; give another mlp_ratio".into());
    }
    let masked = mask_probs(config, blocks)?;
    let [image, patch] =
        [("image_size", 640), ("patch_size", 16)].map(|(name, default)| config.pair(name, default));
    let (image, patch) = (image?, patch?);
    let grid = [0, 1].map(|axis| image[axis] / patch[axis]);
    if grid.contains(&0) {
        return refuse(format!(
            "has no patch of {patch:?} pixels in a picture of {image:?} (image_size, patch_size)"
        ));
    }

    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let rule = g.set_init(InitRule::Transformer);
    g.module_order(
        &root,
        &[
            MASK_PROBS,
            "embeddings",
            "layernorm",
            "query",
            "layers",
            "upscale_block",
            "mask_head",
            "class_predictor",
        ],
    );
    g.buffer(&(&root / MASK_PROBS), &[blocks], 0.0);
    let (mut row, patches) = net.embed(&mut g, input, patch, grid, registers);
    let mut mask = None;
    for layer in 0..layers {
        if let Some(at) = (layer + blocks).checked_sub(layers) {
            if at == 0 {
                let queries = g.table(
                    &(&root / "query" / "weight"),
                    &[net.queries, width],
                    [1, net.queries],
                );
                row = g.join(queries, row, &(&root / "query"));
            }
            if masked[at] {
                let norm = g.sharing(|g| g.layer_norm(row, &(&root / "layernorm"), net.eps));
                let masks = net.masks(&mut g, norm, patches);
                let name = &root / "attention_mask" / at;
                mask = Some(g.resize_like(masks, patches, Filter::BILINEAR, &name));
            }
        }
        row = net.layer(&mut g, row, patches, mask, &(&root / "layers" / layer));
    }
    let norm = g.sharing(|g| g.layer_norm(row, &(&root / "layernorm"), net.eps));
    let masks = net.masks(&mut g, norm, patches);
    let queries = g.part(norm, 0, net.queries, &(&root / "queries"));
    let classes = classified(&mut g, queries, &(&root / "class_predictor"), net.classes);
    g.set_init(rule);
    declare(&mut g, classes, masks, MaskSize::Like(input));
    g.finish().map_err(Refusal::Graph)
}

/// Whether queries are masked in each of the last blocks.
fn mask_probs(config: &Config, blocks: usize) -> Result<Vec<bool>, Refusal> {
    let probabilities = config.numbers(MASK_PROBS, &vec![0.0; blocks], blocks)?;
    if let Some(part) = probabilities.iter().find(|&&p| p != 0.0 && p != 1.0) {
        return Err(Refusal::Option(format!(
            "masks some queries at random where {MASK_PROBS} is {part}, as in the middle of its training; make it 0 or \
             1 in its weights"
        )));
    }
    Ok(probabilities.into_iter().map(|p| p == 1.0).collect())
}

impl Net {
    /// The row of class token, register tokens and patches, and the patches' map.
    fn embed(
        &self,
        g: &mut Builder,
        input: Node,
        patch: [usize; 2],
        grid: [usize; 2],
        registers: usize,
    ) -> (Node, Node) {
        let name = &Scope::root() / "embeddings";
        let modules = ["cls_token", "register_tokens", "patch_embeddings"];
        g.module_order(&name, &modules);
        let conv = Conv2d {
            kernel: patch,
            stride: patch,
            ..Conv2d::pointwise(self.width).with_bias()
        };
        let embed = &name / "patch_embeddings";
        let mut patches = match self.form {
            Form::Dinov2 => g.conv(input, &(&embed / "projection"), conv),
            Form::Dinov3 => g.conv(input, &embed, conv),
        };
        if self.form == Form::Dinov2 {
            let entry = &name / "position_embeddings" / "weight";
            let table = g.table(&entry, &[grid[0] * grid[1], self.width], grid);
            // As they are in pictures of `image_size`; others transformers refuses.
            let positions = g.resize_like(table, patches, Filter::BILINEAR, &entry);
            patches = g.add(patches, positions, &name);
        }
        let class = &name / "cls_token";
        let mut prefix = g.table(&class, &[1, 1, self.width], [1, 1]);
        if registers > 0 {
            let entry = &name / "register_tokens";
            let tokens = g.table(&entry, &[1, registers, self.width], [1, registers]);
            prefix = g.join(prefix, tokens, &name);
        }
        let row = g.join(prefix, patches, &name);
        (g.dropout(row, self.dropout, &(&name / "dropout")), patches)
    }

    /// One block. Of the row's tokens the last are those of the map `patches`; of a mask the first queries see what it
    /// leaves them.
    fn layer(
        &self,
        g: &mut Builder,
        x: Node,
        patches: Node,
        mask: Option<Node>,
        name: &Scope,
    ) -> Node {
        let y = g.layer_norm(x, &(name / "norm1"), self.eps);
        let y = self.attention(g, y, patches, mask, &(name / "attention"));
        let y = g.layer_scale(y, &(name / "layer_scale1" / "lambda1"), 1.0);
        let y = g.stochastic_depth(y, self.dropped, &(name / "drop_path"));
        let x = g.add(y, x, name);
        let y = g.layer_norm(x, &(name / "norm2"), self.eps);
        let y = self.mlp(g, y, &(name / "mlp"));
        let y = g.layer_scale(y, &(name / "layer_scale2" / "lambda1"), 1.0);
        let y = g.stochastic_depth(y, self.dropped, &(name / "drop_path"));
        g.add(y, x, name)
    }

    fn attention(
        &self,
        g: &mut Builder,
        x: Node,
        patches: Node,
        mask: Option<Node>,
        name: &Scope,
    ) -> Node {
        let layer =
            |g: &mut Builder, module: &str, bias| linear(g, x, &(name / module), self.width, bias);
        let mut keys = layer(g, "k_proj", self.biases.keys);
        let values = layer(g, "v_proj", self.biases.values);
        let mut queries = layer(g, "q_proj", self.biases.queries);
        if self.form == Form::Dinov3 {
            [queries, keys] =
                [queries, keys].map(|row| g.rotary(row, patches, self.heads, self.theta, name));
        }
        let maps = [queries, keys, values];
        let y = match mask {
            Some(mask) => g.masked_attention(maps, mask, self.heads, name),
            None => g.attention(maps, self.heads, name),
        };
        let out = match self.form {
            Form::Dinov2 => "out_proj",
            Form::Dinov3 => "o_proj",
        };
        linear(g, y, &(name / out), self.width, self.biases.out)
    }

    fn mlp(&self, g: &mut Builder, x: Node, name: &Scope) -> Node {
        let bias = self.biases.mlp;
        let layer = |g: &mut Builder, x, module: &str, channels| {
            linear(g, x, &(name / module), channels, bias)
        };
        if self.gated {
            let gate = layer(g, x, "gate_proj", self.hidden);
            let gate = g.activation(
                gate,
                match self.form {
                    Form::Dinov2 => Activation::Silu,
                    Form::Dinov3 => self.activation,
                },
            );
            let y = layer(g, x, "up_proj", self.hidden);
            let y = g.mul(y, gate, name);
            return layer(g, y, "down_proj", self.width);
        }
        let [first, last] = match self.form {
            Form::Dinov2 => ["fc1", "fc2"],
            Form::Dinov3 => ["up_proj", "down_proj"],
        };
        let y = layer(g, x, first, self.hidden);
        let y = g.activation(y, self.activation);
        layer(g, y, last, self.width)
    }

    /// The logits of the queries' masks, of a row that is normed; its modules may have been called before.
    fn masks(&self, g: &mut Builder, row: Node, patches: Node) -> Node {
        let root = Scope::root();
        g.sharing(|g| {
            let before = self.queries + self.prefix;
            let map = g.part_like(row, before, &[], patches, &(&root / "patches"));
            let map = self.upscale(g, map, &(&root / "upscale_block"));
            let head = &root / "mask_head";
            let mut y = g.part(row, 0, self.queries, &(&root / "queries"));
            for layer in ["fc1", "fc2"] {
                y = g.linear(y, &(&head / layer), self.width);
                y = g.activation(y, self.activation);
            }
            y = g.linear(y, &(&head / "fc3"), self.width);
            g.product(map, y, &(&root / "masks_queries_logits"))
        })
    }

    fn upscale(&self, g: &mut Builder, mut x: Node, name: &Scope) -> Node {
        // Of its own: transformers does not take the configuration's.
        const EPS: f32 = 1e-6;
        for at in 0..self.upscales {
            let block = name / "block" / at;
            let tiles = ConvTranspose2d::tiles(2, self.width).with_bias();
            let y = g.conv_transpose(x, &(&block / "conv1"), tiles);
            let y = g.activation(y, self.activation);
            let depthwise = Conv2d::square(3, self.width).depthwise(self.width);
            let y = g.conv(y, &(&block / "conv2"), depthwise);
            x = g.layer_norm(y, &(&block / "layernorm2d"), EPS);
        }
        x
    }
}

fn linear(g: &mut Builder, x: Node, name: &Scope, channels: usize, bias: bool) -> Node {
    if bias {
        g.linear(x, name, channels)
    } else {
        g.linear_without_bias(x, name, channels)
    }
}

/// Of what entries say, what is one of the class's `fields`.
fn read(options: &mut Options, shape_of: ShapeOf<'_>, fields: &[&str]) {
    let extent = |name: &str, axis: usize| shape_of(name)?.get(axis).copied();
    let table = shape_of("query.weight").unwrap_or_default();
    let &[queries, width] = &table[..] else {
        return;
    };
    let count = |entry: &dyn Fn(usize) -> String| {
        let there = |at: &usize| shape_of(&entry(*at)).is_some();
        (0..MOST).take_while(there).count()
    };
    let mut set = |field: &str, value| {
        if fields.contains(&field) {
            options.config.set(field, value);
        }
    };
    set("num_queries", json!(queries));
    set("hidden_size", json!(width));
    let layers = count(&|at| format!("layers.{at}.norm1.weight"));
    set("num_hidden_layers", json!(layers));
    // Of nearly all there are; no entry says how many channels a head has.
    set("num_attention_heads", json!((width / 64).max(1)));
    let upscales = count(&|at| format!("upscale_block.block.{at}.conv1.weight"));
    set("num_upscale_blocks", json!(upscales));
    let there = |entry: &str| json!(shape_of(&format!("layers.0.{entry}")).is_some());
    for field in ["use_swiglu_ffn", "use_gated_mlp"] {
        set(field, there("mlp.gate_proj.weight"));
    }
    for (field, entry) in [
        ("key_bias", "attention.k_proj.bias"),
        ("value_bias", "attention.v_proj.bias"),
        ("query_bias", "attention.q_proj.bias"),
        ("proj_bias", "attention.o_proj.bias"),
        ("mlp_bias", "mlp.down_proj.bias"),
    ] {
        set(field, there(entry));
    }
    if let Some(hidden) = extent("layers.0.mlp.fc1.weight", 0) {
        set("mlp_ratio", json!(hidden as f64 / width.max(1) as f64));
    }
    if let Some(hidden) = extent("layers.0.mlp.up_proj.weight", 0) {
        set("intermediate_size", json!(hidden));
    }
    if let Some(registers) = extent("embeddings.register_tokens", 1) {
        set("num_register_tokens", json!(registers));
    }
    if let Some(blocks) = extent(MASK_PROBS, 0) {
        set("num_blocks", json!(blocks));
    }
    let patch = extent("embeddings.patch_embeddings.projection.weight", 2);
    let Some(patch) = patch.or_else(|| extent("embeddings.patch_embeddings.weight", 2)) else {
        return;
    };
    set("patch_size", json!(patch));
    if let Some(cells) = extent("embeddings.position_embeddings.weight", 0) {
        let side = (cells as f64).sqrt().round() as usize;
        set("image_size", json!(side * patch));
    }
}

impl Config {
    /// How much slower each pair of channels turns than the one before: `rope_parameters` say it, or in older files
    /// `rope_theta`.
    fn rope_theta(&self) -> Result<f32, String> {
        let parameters = self.given().get("rope_parameters");
        let own = parameters.and_then(|value| value.get("rope_theta")?.as_f64());
        let theta = match own {
            Some(theta) => theta,
            None => self.number("rope_theta", 100.0)?,
        };
        if theta.is_finite() && theta > 0.0 {
            return Ok(theta as f32);
        }
        Err(format!(
            "reads {theta} in the field `rope_theta`, not a number above 0"
        ))
    }
}

/// Whether queries are still masked.
fn read_values(options: &mut Options, values_of: ValuesOf<'_>) {
    if let Some(values) = values_of(MASK_PROBS) {
        options.config.set(MASK_PROBS, json!(values));
    }
}
