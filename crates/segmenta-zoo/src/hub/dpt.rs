//! DPT as transformers has it (`DPTForSemanticSegmentation`; Ranftl et al. 2021, arXiv:2103.13413) on a plain transformer:
//! the maps of four layers, each with what the class token says, fused from the smallest on. The result covers the part of
//! the picture that patches cover.

use segmenta_graph::{
    Activation, Builder, Conv2d, ConvTranspose2d, Filter, Graph, InitRule, Node, Scope,
};

use super::{Class, upernet};
use crate::config::Config;
use crate::options::Options;
use crate::smp::Refusal;

pub(crate) static DPT: Class = Class {
    fields: &[
        "attention_probs_dropout_prob",
        "backbone_config",
        "backbone_out_indices",
        "fusion_hidden_size",
        "head_in_index",
        "hidden_act",
        "hidden_dropout_prob",
        "hidden_size",
        "image_size",
        "intermediate_size",
        "is_hybrid",
        "layer_norm_eps",
        "neck_hidden_sizes",
        "neck_ignore_stages",
        "num_attention_heads",
        "num_hidden_layers",
        "patch_size",
        "qkv_bias",
        "readout_type",
        "reassemble_factors",
        "semantic_classifier_dropout",
        "use_auxiliary_head",
        "use_batch_norm_in_fusion_residual",
        "use_bias_in_fusion_residual",
    ],
    build,
    former: |_| None,
    // The names say nothing of heads and of the layers that are read: only a `config.json` does.
    read: |_, _| {},
    values: super::no_values,
};

/// What all layers of the transformer have in common.
struct Layers {
    width: usize,
    hidden: usize,
    heads: usize,
    bias: bool,
    eps: f32,
    activation: Activation,
    dropout: f32,
}

/// What becomes of the class token.
enum Readout {
    Ignored,
    Added,
    Projected,
}

/// Layers of the fusion.
#[derive(Clone, Copy)]
struct Fusion {
    width: usize,
    norm: bool,
    bias: bool,
}

fn build(options: &Options) -> Result<Graph, Refusal> {
    let config = &options.config;
    if config.flag("is_hybrid", false)? || !config.nested("backbone_config")?.given().is_empty() {
        return Err(Refusal::Option(
            "has a plain transformer and no other backbone (is_hybrid, backbone_config)".into(),
        ));
    }
    let patch = config.count("patch_size", 16)?;
    let grid = config.pair("image_size", 384)?.map(|side| side / patch);
    let layers = Layers {
        width: config.count("hidden_size", 768)?,
        hidden: config.count("intermediate_size", 3072)?,
        heads: config.count("num_attention_heads", 12)?,
        bias: config.flag("qkv_bias", true)?,
        eps: config.number("layer_norm_eps", 1e-12)? as f32,
        activation: config.activation("hidden_act", Activation::Gelu)?,
        dropout: config.probability("hidden_dropout_prob", 0.0)?,
    };
    layers.check(config, grid)?;
    let depth = config.count("num_hidden_layers", 12)?;
    let taps = config.wholes("backbone_out_indices", &[2, 5, 8, 11])?;
    if let Some(beyond) = taps.iter().find(|&&tap| tap >= depth) {
        return Err(Refusal::Option(format!(
            "reads layer {beyond} of {depth}, counted from 0 (backbone_out_indices, num_hidden_layers)"
        )));
    }
    let norm = config.flag("use_batch_norm_in_fusion_residual", false)?;
    let fusion = Fusion {
        width: config.count("fusion_hidden_size", 256)?,
        norm,
        bias: config.flag("use_bias_in_fusion_residual", !norm)?,
    };

    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    g.set_init(InitRule::Transformer);
    let name = &root / "dpt";
    let embeddings = &name / "embeddings";
    let projection = &embeddings / "patch_embeddings" / "projection";
    let patches = g.conv(input, &projection, tiles(patch, layers.width));
    let row = layers.embed(&mut g, patches, &embeddings, grid);
    let mut x = g.dropout(row, layers.dropout, &embeddings);
    let mut states = Vec::new();
    for at in 0..depth {
        x = layers.layer(&mut g, x, &(&name / "encoder" / "layer" / at));
        states.push(x);
    }
    // Nobody reads it here.
    g.layer_norm(x, &(&name / "layernorm"), layers.eps);

    let neck = &root / "neck";
    let read: Vec<Node> = taps.iter().map(|&tap| states[tap]).collect();
    let maps = layers.reassemble(
        &mut g,
        &read,
        patches,
        &(&neck / "reassemble_stage"),
        config,
    )?;
    let mut features = Vec::new();
    for (i, map) in maps.into_iter().enumerate() {
        let conv = Conv2d::square(3, fusion.width);
        features.push(g.conv(map, &(&neck / "convs" / i), conv));
    }
    let fused = fusion.fuse(&mut g, &features, &(&neck / "fusion_stage" / "layers"));
    let at = config.index("head_in_index", -1, fused.len())?;
    let dropout = config.probability("semantic_classifier_dropout", 0.1)?;
    let name = &root / "head";
    let x = fusion.head(&mut g, fused[at], &name, dropout, options.classes);
    let logits = g.upsample(x, 2, Filter::ALIGNED, &name);
    let aux = if config.flag("use_auxiliary_head", true)? {
        let (last, name) = (fused[fused.len() - 1], &root / "auxiliary_head");
        Some(fusion.head(&mut g, last, &name, 0.1, options.classes))
    } else {
        None
    };
    upernet::finish(g, logits, aux, options)
}

/// Windows beside each other.
fn tiles(side: usize, channels: usize) -> Conv2d {
    Conv2d {
        padding: [0, 0],
        ..Conv2d::square(side, channels).stride(side).with_bias()
    }
}

impl Layers {
    fn check(&self, config: &Config, grid: [usize; 2]) -> Result<(), Refusal> {
        let problem = if !self.width.is_multiple_of(self.heads) {
            format!(
                "cannot part {} channels between {} heads (hidden_size, num_attention_heads)",
                self.width, self.heads
            )
        } else if grid.contains(&0) {
            "has a picture smaller than a patch (image_size, patch_size)".into()
        } else if config.probability("attention_probs_dropout_prob", 0.0)? > 0.0 {
            "has no dropout of attention's weights; give attention_probs_dropout_prob as 0, which \
             changes no result of a trained network"
                .into()
        } else {
            return Ok(());
        };
        Err(Refusal::Option(problem))
    }

    /// The class token and the patches in a row, each with the embedding of its position.
    fn embed(&self, g: &mut Builder, patches: Node, name: &Scope, grid: [usize; 2]) -> Node {
        let token = g.table(&(name / "cls_token"), &[1, 1, self.width], [1, 1]);
        let positions = name / "position_embeddings";
        let cells = grid[0] * grid[1];
        let all = g.table(&positions, &[1, 1 + cells, self.width], [1, 1 + cells]);
        let own = g.part(all, 0, 1, &positions);
        let token = g.add(token, own, &positions);
        let others = g.part_of(all, 1, grid, &positions);
        let others = g.resize_like(others, patches, Filter::BILINEAR, &positions);
        let map = g.add(patches, others, &positions);
        g.join(token, map, name)
    }

    fn layer(&self, g: &mut Builder, x: Node, name: &Scope) -> Node {
        let attention = name / "attention";
        let order = [
            "attention",
            "intermediate",
            "output",
            "layernorm_before",
            "layernorm_after",
        ];
        g.module_order(name, &order);
        let y = g.layer_norm(x, &(name / "layernorm_before"), self.eps);
        let maps = ["query", "key", "value"].map(|module| {
            let name = &attention / "attention" / module;
            if self.bias {
                g.linear(y, &name, self.width)
            } else {
                g.linear_without_bias(y, &name, self.width)
            }
        });
        let y = g.attention(maps, self.heads, &attention);
        let y = g.linear(y, &(&attention / "output" / "dense"), self.width);
        let y = g.dropout(y, self.dropout, &attention);
        let x = g.add(y, x, name);
        let y = g.layer_norm(x, &(name / "layernorm_after"), self.eps);
        let y = g.linear(y, &(name / "intermediate" / "dense"), self.hidden);
        let y = g.activation(y, self.activation);
        let y = g.linear(y, &(name / "output" / "dense"), self.width);
        let y = g.dropout(y, self.dropout, &(name / "output"));
        g.add(y, x, name)
    }

    /// Rows of tokens as maps, each of its own width and stride.
    fn reassemble(
        &self,
        g: &mut Builder,
        states: &[Node],
        patches: Node,
        name: &Scope,
        config: &Config,
    ) -> Result<Vec<Node>, Refusal> {
        let readout = match config.word("readout_type", "project")? {
            "ignore" => Readout::Ignored,
            "add" => Readout::Added,
            "project" => Readout::Projected,
            other => {
                return Err(Refusal::Option(format!(
                    "reads “{other}” in the field `readout_type`, not ignore, add or project"
                )));
            }
        };
        if !config.wholes("neck_ignore_stages", &[])?.is_empty() {
            return Err(Refusal::Option(
                "reads all its maps from its transformer (neck_ignore_stages)".into(),
            ));
        }
        let count = states.len();
        let widths = config.counts("neck_hidden_sizes", &[96, 192, 384, 768], count)?;
        let factors = config.numbers("reassemble_factors", &[4.0, 2.0, 1.0, 0.5], count)?;
        g.module_order(name, &["layers", "readout_projects"]);
        let mut maps = Vec::new();
        for (i, &state) in states.iter().enumerate() {
            let project = name / "readout_projects" / i;
            let map = g.part_like(state, 1, &[], patches, &project);
            let token = g.part(state, 0, 1, &project);
            let everywhere = g.resize_like(token, patches, Filter::Nearest, &project);
            let x = match readout {
                Readout::Ignored => map,
                Readout::Added => g.add(map, everywhere, &project),
                Readout::Projected => {
                    let both = g.concat(&[map, everywhere], &project);
                    let y = g.linear(both, &(&project / 0), self.width);
                    g.activation(y, self.activation)
                }
            };
            let layer = name / "layers" / i;
            let width = widths[i];
            let narrow = Conv2d::pointwise(width).with_bias();
            let x = g.conv(x, &(&layer / "projection"), narrow);
            let (factor, resize) = (factors[i], &layer / "resize");
            maps.push(if factor > 1.0 {
                let tiles = ConvTranspose2d::tiles(factor as usize, width).with_bias();
                g.conv_transpose(x, &resize, tiles)
            } else if factor > 0.0 && factor < 1.0 {
                let window = Conv2d::square(3, width).with_bias();
                g.conv(x, &resize, window.stride((1.0 / factor) as usize))
            } else if factor == 1.0 {
                x
            } else {
                return Err(Refusal::Option(
                    "reads 0 in the field `reassemble_factors`; give numbers above".into(),
                ));
            });
        }
        Ok(maps)
    }
}

impl Fusion {
    /// From the last feature on, each enlarged to the one before it; all that come of it, in that order.
    fn fuse(&self, g: &mut Builder, features: &[Node], name: &Scope) -> Vec<Node> {
        let mut fused: Vec<Node> = Vec::new();
        for (i, &feature) in features.iter().rev().enumerate() {
            let layer = name / i;
            let order = ["projection", "residual_layer1", "residual_layer2"];
            g.module_order(&layer, &order);
            let first = &layer / "residual_layer1";
            let x = if let Some(&above) = fused.last() {
                let mut residual = feature;
                if !g.same_size(above, residual) {
                    residual = g.resize_like(residual, above, Filter::BILINEAR, &layer);
                }
                let residual = self.residual(g, residual, &first);
                g.add(above, residual, &layer)
            } else {
                // The deepest has it, and nobody reads what it makes.
                self.residual(g, feature, &first);
                feature
            };
            let x = self.residual(g, x, &(&layer / "residual_layer2"));
            let x = g.upsample(x, 2, Filter::ALIGNED, &layer);
            let projection = Conv2d::pointwise(self.width).with_bias();
            fused.push(g.conv(x, &(&layer / "projection"), projection));
        }
        fused
    }

    fn residual(&self, g: &mut Builder, x: Node, name: &Scope) -> Node {
        let conv = Conv2d {
            bias: self.bias,
            ..Conv2d::square(3, self.width)
        };
        let mut y = x;
        for i in [1, 2] {
            y = g.relu(y);
            y = g.conv(y, &(name / format!("convolution{i}")), conv);
            if self.norm {
                y = g.batch_norm(y, &(name / format!("batch_norm{i}")));
            }
        }
        g.add(y, x, name)
    }

    fn head(&self, g: &mut Builder, x: Node, name: &Scope, dropout: f32, classes: usize) -> Node {
        let head = name / "head";
        let conv = Conv2d::square(3, self.width);
        let x = g.conv_bn_relu(x, &(&head / 0), &(&head / 1), conv);
        let x = g.dropout(x, dropout, &(&head / 3));
        g.conv(x, &(&head / 4), Conv2d::pointwise(classes).with_bias())
    }
}
