//! BEiT (Bao et al. 2021, arXiv:2106.08254) and Data2VecVision (Baevski et al. 2022, arXiv:2202.03555) as transformers
//! has them (`BeitForSemanticSegmentation`, `Data2VecVisionForSemanticSegmentation`): a plain transformer whose attention
//! has a bias for each distance, four of its maps at strides 4 to 32, and UPerNet's head at stride 4. Tables of biases are
//! for the picture's size in the file and are resized to others.

use segmenta_graph::{
    Activation, Builder, Conv2d, ConvTranspose2d, Filter, Graph, InitRule, Node, Pool2d, Scope,
};

use super::upernet::{self, Names};
use super::{Class, undone};
use crate::config::Config;
use crate::options::Options;
use crate::smp::Refusal;

const FIELDS: &[&str] = &[
    "attention_probs_dropout_prob",
    "auxiliary_channels",
    "auxiliary_concat_input",
    "auxiliary_num_convs",
    "drop_path_rate",
    "hidden_act",
    "hidden_dropout_prob",
    "hidden_size",
    "image_size",
    "intermediate_size",
    "layer_norm_eps",
    "layer_scale_init_value",
    "num_attention_heads",
    "num_hidden_layers",
    "out_indices",
    "patch_size",
    "pool_scales",
    "segmentation_indices",
    "use_absolute_position_embeddings",
    "use_auxiliary_head",
    "use_mask_token",
    "use_mean_pooling",
    "use_relative_position_bias",
    "use_shared_relative_position_bias",
];

pub(crate) static BEIT: Class = Class {
    fields: FIELDS,
    build: |options| build(options, &OF_BEIT),
    former: |name| former(name).or_else(|| former_head(name)),
    // The names say nothing of heads and of the maps that are read: only a `config.json` does.
    read: |_, _| {},
    values: super::no_values,
};

pub(crate) static DATA2VEC_VISION: Class = Class {
    fields: FIELDS,
    build: |options| build(options, &OF_DATA2VEC),
    former: former_head,
    read: |_, _| {},
    values: super::no_values,
};

/// How the parts of a network are called.
struct Parts {
    root: &'static str,
    layers: &'static str,
    shared_biases: &'static str,
    queries: &'static str,
    keys: &'static str,
    values: &'static str,
    output: &'static str,
    biases: &'static str,
    hidden: [&'static str; 2],
    /// Of the maps at stride 4, and of the one at 8.
    up: [&'static str; 4],
}

const OF_BEIT: Parts = Parts {
    root: "beit",
    layers: "layers",
    shared_biases: "shared_position_bias",
    queries: "attention.q_proj",
    keys: "attention.k_proj",
    values: "attention.v_proj",
    output: "attention.o_proj",
    biases: "relative_position_bias",
    hidden: ["mlp.fc1", "mlp.fc2"],
    up: [
        "fpn.fpn1.conv_transpose1",
        "fpn.fpn1.normalization",
        "fpn.fpn1.conv_transpose2",
        "fpn.fpn2",
    ],
};

/// Version 5 has left these as version 4 has BEiT's.
const OF_DATA2VEC: Parts = Parts {
    root: "data2vec_vision",
    layers: "encoder.layer",
    shared_biases: "encoder.relative_position_bias",
    queries: "attention.attention.query",
    keys: "attention.attention.key",
    values: "attention.attention.value",
    output: "attention.output.dense",
    biases: "attention.attention.relative_position_bias",
    hidden: ["intermediate.dense", "output.dense"],
    up: ["fpn1.0", "fpn1.1", "fpn1.3", "fpn2.0"],
};

/// The head's layers, as both have them.
const HEAD: Names = Names {
    conv: "convolution",
    norm: "normalization",
    bottleneck: "psp_bottleneck",
    pyramid: |name, at| name / "psp_modules" / "blocks" / at / "conv",
};

/// Version 4's names of what is no head.
fn former(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("beit.layers.") {
        let (layer, rest) = rest.split_once('.')?;
        let rules = [
            (OF_DATA2VEC.queries, OF_BEIT.queries),
            (OF_DATA2VEC.keys, OF_BEIT.keys),
            (OF_DATA2VEC.values, OF_BEIT.values),
            (OF_DATA2VEC.output, OF_BEIT.output),
            (
                "attention.attention.relative_position_bias.",
                "relative_position_bias.",
            ),
            (OF_DATA2VEC.hidden[0], OF_BEIT.hidden[0]),
            (OF_DATA2VEC.hidden[1], OF_BEIT.hidden[1]),
        ];
        return Some(format!(
            "beit.encoder.layer.{layer}.{}",
            undone(rest, &rules)
        ));
    }
    if let Some(rest) = name.strip_prefix("beit.shared_position_bias.") {
        return Some(format!("beit.encoder.relative_position_bias.{rest}"));
    }
    let parts = OF_BEIT.up.iter().zip(OF_DATA2VEC.up);
    let mut parts =
        parts.filter_map(|(new, old)| Some(format!("{old}{}", name.strip_prefix(new)?)));
    parts.next()
}

/// Version 4's names of the heads' layers.
fn former_head(name: &str) -> Option<String> {
    let is_head = name.starts_with("decode_head.") || name.starts_with("auxiliary_head.");
    let mut old = name.to_owned();
    if let Some(rest) = name.strip_prefix("decode_head.psp_modules.blocks.") {
        let (at, rest) = rest.split_once(".conv.")?;
        old = format!("decode_head.psp_modules.{at}.1.{rest}");
    }
    let rules = [
        (".bottleneck.", ".psp_bottleneck."),
        (".conv.", ".convolution."),
        (".bn.", ".normalization."),
    ];
    let old = undone(&old, &rules);
    (is_head && old != name).then_some(old)
}

/// What all layers have in common.
struct Layers<'a> {
    parts: &'a Parts,
    width: usize,
    hidden: usize,
    heads: usize,
    eps: f32,
    activation: Activation,
    scale: f32,
    dropout: f32,
    /// Rows and columns of the map that tables are for.
    grid: [usize; 2],
}

/// Biases by distance, and a class token's.
type Biases = (Node, Node);

fn build(options: &Options, parts: &Parts) -> Result<Graph, Refusal> {
    let config = &options.config;
    let patch = config.count("patch_size", 16)?;
    let grid = config.pair("image_size", 224)?.map(|side| side / patch);
    let layers = Layers {
        parts,
        width: config.count("hidden_size", 768)?,
        hidden: config.count("intermediate_size", 3072)?,
        heads: config.count("num_attention_heads", 12)?,
        eps: config.number("layer_norm_eps", 1e-12)? as f32,
        activation: config.activation("hidden_act", Activation::Gelu)?,
        scale: config.number("layer_scale_init_value", 0.1)? as f32,
        dropout: config.probability("hidden_dropout_prob", 0.0)?,
        grid,
    };
    let depth = config.count("num_hidden_layers", 12)?;
    let dropped = config.probability("drop_path_rate", 0.1)?;
    let read = wanted(config, depth)?;
    let relative = config.flag("use_relative_position_bias", false)?;
    let shared = config.flag("use_shared_relative_position_bias", false)?;
    layers.check(config, relative && shared)?;
    let width = layers.width;

    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    g.set_init(InitRule::Transformer);
    let name = &root / parts.root;
    let embeddings = &name / "embeddings";
    let tiles = Conv2d {
        padding: [0, 0],
        ..Conv2d::square(patch, width).stride(patch).with_bias()
    };
    let projection = &embeddings / "patch_embeddings" / "projection";
    let patches = g.conv(input, &projection, tiles);
    let mut token = g.table(&(&embeddings / "cls_token"), &[1, 1, width], [1, 1]);
    if config.flag("use_mask_token", false)? {
        // Of learning without labels: in the file, and of no use here.
        g.table(&(&embeddings / "mask_token"), &[1, 1, width], [1, 1]);
    }
    let mut map = patches;
    if config.flag("use_absolute_position_embeddings", false)? {
        let name = &embeddings / "position_embeddings";
        let cells = grid[0] * grid[1];
        let positions = g.table(&name, &[1, 1 + cells, width], [1, 1 + cells]);
        let own = g.part(positions, 0, 1, &name);
        token = g.add(token, own, &name);
        let others = g.part_of(positions, 1, grid, &name);
        let others = g.resize_like(others, patches, Filter::Bicubic, &name);
        map = g.add(patches, others, &name);
    }
    let row = g.join(token, map, &embeddings);
    let mut x = g.dropout(row, layers.dropout, &embeddings);
    // As large as the table of a map of that size; nobody reads its values.
    let twice = g.upsample(patches, 2, Filter::Nearest, &name);
    let distances = g.max_pool(twice, &name, Pool2d::square(2).stride(1));
    let of_all = shared.then(|| layers.biases(&mut g, &(&name / parts.shared_biases), distances));
    let mut states = vec![x];
    for at in 0..depth {
        let module = &name / parts.layers / at;
        let own = relative.then(|| layers.biases(&mut g, &(&module / parts.biases), distances));
        let drop = dropped * at as f32 / depth.saturating_sub(1).max(1) as f32;
        x = layers.layer(&mut g, x, &module, own.or(of_all), drop);
        states.push(x);
    }
    if !config.flag("use_mean_pooling", true)? {
        // The classifier's, which the head does not read.
        g.layer_norm(x, &(&name / "layernorm"), layers.eps);
    }
    let maps = read.map(|state| g.part_like(states[state], 1, &[], patches, &name));
    let maps = pyramid(&mut g, maps, parts);

    let head = &root / "decode_head";
    let scales = config.list("pool_scales", &[1, 2, 3, 6])?;
    let x = upernet::head(&mut g, &maps, &head, width, &scales, &HEAD);
    let classes = Conv2d::pointwise(options.classes).with_bias();
    let logits = g.conv(x, &(&head / "classifier"), classes);
    let aux = if config.flag("use_auxiliary_head", true)? {
        let name = &root / "auxiliary_head";
        Some(upernet::auxiliary(
            &mut g, &maps, &name, config, classes, &HEAD,
        )?)
    } else {
        None
    };
    upernet::finish(g, logits, aux, options)
}

/// After how many layers the four maps are taken that the head reads: one less than the file's numbers.
fn wanted(config: &Config, depth: usize) -> Result<[usize; 4], Refusal> {
    let older = config.list("segmentation_indices", &[3, 5, 7, 11])?;
    let numbers = config.counts("out_indices", &older, 4)?;
    if let Some(beyond) = numbers.iter().find(|&&number| number > depth + 1) {
        return Err(Refusal::Option(format!(
            "reads layer {beyond} of {depth} (out_indices, num_hidden_layers)"
        )));
    }
    Ok([0, 1, 2, 3].map(|i| numbers[i] - 1))
}

/// The maps at strides 4, 8, 16 and 32.
fn pyramid(g: &mut Builder, [a, b, c, d]: [Node; 4], parts: &Parts) -> [Node; 4] {
    let root = Scope::root();
    let [first, norm, second, other] = parts.up.map(|name| &root / name);
    let twice = ConvTranspose2d::tiles(2, g.channels(a)).with_bias();
    let x = g.conv_transpose(a, &first, twice);
    let x = g.batch_norm(x, &norm);
    let x = g.activation(x, Activation::Gelu);
    let x = g.conv_transpose(x, &second, twice);
    let y = g.conv_transpose(b, &other, twice);
    let half = g.max_pool(d, &(&root / "fpn4"), Pool2d::square(2));
    [x, y, c, half]
}

impl Layers<'_> {
    fn check(&self, config: &Config, both: bool) -> Result<(), Refusal> {
        let problem = if !self.width.is_multiple_of(self.heads) {
            format!(
                "cannot part {} channels between {} heads (hidden_size, num_attention_heads)",
                self.width, self.heads
            )
        } else if self.grid.contains(&0) {
            "has a picture smaller than a patch (image_size, patch_size)".into()
        } else if both {
            "takes biases of each layer or one table for all, not both (use_relative_position_bias, \
             use_shared_relative_position_bias)"
                .into()
        } else if config.probability("attention_probs_dropout_prob", 0.0)? > 0.0 {
            "has no dropout of attention's weights; give attention_probs_dropout_prob as 0, which \
             changes no result of a trained network"
                .into()
        } else {
            return Ok(());
        };
        Err(Refusal::Option(problem))
    }

    /// A table of biases, for maps as large as the picture's.
    fn biases(&self, g: &mut Builder, name: &Scope, distances: Node) -> Biases {
        let name = name / "relative_position_bias_table";
        let [rows, columns] = self.grid.map(|side| 2 * side - 1);
        let entries = rows * columns;
        let table = g.table(&name, &[entries + 3, self.heads], [1, entries + 3]);
        let own = g.part_of(table, 0, [rows, columns], &name);
        let by_distance = g.resize_like(own, distances, Filter::BILINEAR, &name);
        (by_distance, g.part(table, entries, 3, &name))
    }

    fn layer(
        &self,
        g: &mut Builder,
        x: Node,
        name: &Scope,
        biases: Option<Biases>,
        dropped: f32,
    ) -> Node {
        g.module_order(name, &["lambda_1", "lambda_2"]);
        let y = g.layer_norm(x, &(name / "layernorm_before"), self.eps);
        let queries = g.linear(y, &(name / self.parts.queries), self.width);
        let keys = g.linear_without_bias(y, &(name / self.parts.keys), self.width);
        let values = g.linear(y, &(name / self.parts.values), self.width);
        let maps = [queries, keys, values];
        let y = match biases {
            Some((table, token)) => {
                g.window_attention(maps, table, Some(token), [self.heads, 0], name)
            }
            None => g.attention(maps, self.heads, name),
        };
        let y = g.linear(y, &(name / self.parts.output), self.width);
        let x = self.residual(g, x, y, &(name / "lambda_1"), dropped);
        let y = g.layer_norm(x, &(name / "layernorm_after"), self.eps);
        let [wide, narrow] = self.parts.hidden.map(|module| name / module);
        let y = g.linear(y, &wide, self.hidden);
        let y = g.activation(y, self.activation);
        let y = g.linear(y, &narrow, self.width);
        self.residual(g, x, y, &(name / "lambda_2"), dropped)
    }

    fn residual(&self, g: &mut Builder, x: Node, y: Node, name: &Scope, dropped: f32) -> Node {
        let mut y = g.dropout(y, self.dropout, name);
        if self.scale > 0.0 {
            y = g.layer_scale(y, name, self.scale);
        }
        let y = g.stochastic_depth(y, dropped, name);
        g.add(y, x, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_4_had_other_names() {
        for (new, old) in [
            (
                "beit.layers.3.attention.o_proj.bias",
                "beit.encoder.layer.3.attention.output.dense.bias",
            ),
            (
                "beit.layers.0.relative_position_bias.relative_position_bias_table",
                "beit.encoder.layer.0.attention.attention.relative_position_bias.relative_position_bias_table",
            ),
            (
                "beit.shared_position_bias.relative_position_bias_table",
                "beit.encoder.relative_position_bias.relative_position_bias_table",
            ),
            ("fpn.fpn1.normalization.running_var", "fpn1.1.running_var"),
            ("fpn.fpn2.weight", "fpn2.0.weight"),
            (
                "decode_head.psp_modules.blocks.2.conv.normalization.bias",
                "decode_head.psp_modules.2.1.bn.bias",
            ),
            (
                "decode_head.psp_bottleneck.convolution.weight",
                "decode_head.bottleneck.conv.weight",
            ),
            (
                "auxiliary_head.convs.0.normalization.weight",
                "auxiliary_head.convs.0.bn.weight",
            ),
        ] {
            assert_eq!((BEIT.former)(new).as_deref(), Some(old));
        }
        assert_eq!((BEIT.former)("beit.embeddings.cls_token"), None);
        assert_eq!((DATA2VEC_VISION.former)("fpn1.0.weight"), None);
    }
}
