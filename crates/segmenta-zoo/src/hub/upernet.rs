//! UPerNet as transformers has it (`UperNetForSemanticSegmentation`; Xiao et al. 2018, arXiv:1807.10221) on any of its
//! backbones: means of the whole picture with the last map, an FPN of all, and the result as large as the picture. The
//! auxiliary head is in the state dict, and a result where one asks for it.

use segmenta_graph::{Builder, Conv2d, Filter, Graph, InitRule, Node, Scope};

use super::{Class, backbone};
use crate::config::Config;
use crate::options::Options;
use crate::smp::Refusal;

pub(crate) static UPERNET: Class = Class {
    fields: &[
        "auxiliary_channels",
        "auxiliary_concat_input",
        "auxiliary_num_convs",
        "backbone_config",
        "hidden_size",
        "pool_scales",
        "use_auxiliary_head",
    ],
    build,
    former: |name| backbone::former(name, "backbone."),
    // The names say nothing of windows and heads: only a `config.json` does.
    read: |_, _| {},
    values: super::no_values,
};

/// How a head calls its layers.
pub(super) struct Names {
    pub(super) conv: &'static str,
    pub(super) norm: &'static str,
    /// The convolution after the pyramid of means.
    pub(super) bottleneck: &'static str,
    /// Of the head and a place in the pyramid: the module after its mean.
    pub(super) pyramid: fn(&Scope, usize) -> Scope,
}

const NAMES: Names = Names {
    conv: "conv",
    norm: "batch_norm",
    bottleneck: "bottleneck",
    pyramid: |name, at| name / "psp_modules" / at / 1,
};

/// The map that the auxiliary head reads.
const AUXILIARY: usize = 2;

fn build(options: &Options) -> Result<Graph, Refusal> {
    let config = &options.config;
    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let of_backbone = config.nested("backbone_config")?;
    let maps = backbone::build(&mut g, input, &(&root / "backbone"), &of_backbone)?;

    let rule = g.set_init(InitRule::Transformer);
    let width = config.count("hidden_size", 512)?;
    let scales = config.list("pool_scales", &[1, 2, 3, 6])?;
    let x = head(
        &mut g,
        &maps,
        &(&root / "decode_head"),
        width,
        &scales,
        &NAMES,
    );
    let classes = Conv2d::pointwise(options.classes).with_bias();
    let x = g.conv(x, &(&root / "decode_head" / "classifier"), classes);
    let logits = g.resize_like(x, input, Filter::BILINEAR, &root);
    let aux = if config.flag("use_auxiliary_head", true)? {
        let name = &root / "auxiliary_head";
        Some(auxiliary(&mut g, &maps, &name, config, classes, &NAMES)?)
    } else {
        None
    };
    g.set_init(rule);
    finish(g, logits, aux, options)
}

/// The graph with its results: logits, and those of the auxiliary head where they are asked for.
pub(super) fn finish(
    mut g: Builder,
    logits: Node,
    aux: Option<Node>,
    options: &Options,
) -> Result<Graph, Refusal> {
    g.output("out", logits);
    if options.aux {
        let missing = "has no auxiliary head (use_auxiliary_head), whose result is asked for";
        g.output("aux", aux.ok_or_else(|| Refusal::Option(missing.into()))?);
    }
    g.finish().map_err(Refusal::Graph)
}

/// Means of the whole picture with the last map, and an FPN of all, at the first one's stride.
pub(super) fn head(
    g: &mut Builder,
    maps: &[Node],
    name: &Scope,
    width: usize,
    scales: &[usize],
    names: &Names,
) -> Node {
    let order = [
        "classifier",
        "psp_modules",
        names.bottleneck,
        "lateral_convs",
        "fpn_convs",
    ];
    g.module_order(name, &order);
    let (narrow, spread) = (Conv2d::pointwise(width), Conv2d::square(3, width));
    let last = maps[maps.len() - 1];
    let mut pyramid = vec![last];
    for (i, &scale) in scales.iter().enumerate() {
        let module = (names.pyramid)(name, i);
        let mean = g.adaptive_avg_pool(last, &module, [scale; 2]);
        let y = names.active(g, mean, &module, narrow);
        pyramid.push(g.resize_like(y, last, Filter::BILINEAR, &module));
    }
    let all = g.concat(&pyramid, name);
    let mut above = names.active(g, all, &(name / names.bottleneck), spread);
    let mut levels = vec![above];
    for (i, &map) in maps.iter().enumerate().rev().skip(1) {
        let lateral = names.active(g, map, &(name / "lateral_convs" / i), narrow);
        let up = g.resize_like(above, lateral, Filter::BILINEAR, name);
        above = g.add(lateral, up, name);
        levels.push(names.active(g, above, &(name / "fpn_convs" / i), spread));
    }
    levels.reverse();
    let finest = levels[0];
    for level in &mut levels[1..] {
        *level = g.resize_like(*level, finest, Filter::BILINEAR, name);
    }
    let all = g.concat(&levels, name);
    names.active(g, all, &(name / "fpn_bottleneck"), spread)
}

/// The logits of what learning has beside the head.
pub(super) fn auxiliary(
    g: &mut Builder,
    maps: &[Node],
    name: &Scope,
    config: &Config,
    classes: Conv2d,
    names: &Names,
) -> Result<Node, Refusal> {
    let Some(&map) = maps.get(AUXILIARY) else {
        return Err(Refusal::Option(format!(
            "has an auxiliary head on the third map of its backbone, which gives {} (out_features)",
            maps.len()
        )));
    };
    let window = Conv2d::square(3, config.count("auxiliary_channels", 256)?);
    let mut x = map;
    for i in 0..config.whole("auxiliary_num_convs", 1)? {
        x = names.active(g, x, &(name / "convs" / i), window);
    }
    if config.flag("auxiliary_concat_input", false)? {
        let both = g.concat(&[map, x], name);
        x = names.active(g, both, &(name / "conv_cat"), window);
    }
    Ok(g.conv(x, &(name / "classifier"), classes))
}

impl Names {
    /// Convolution, batch norm and ReLU.
    fn active(&self, g: &mut Builder, x: Node, name: &Scope, conv: Conv2d) -> Node {
        g.conv_bn_relu(x, &(name / self.conv), &(name / self.norm), conv)
    }
}
