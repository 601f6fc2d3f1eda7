//! DeepLabV3 on MobileViT as transformers has it (`MobileViTForSemanticSegmentation`; Mehta and Rastegari 2021,
//! arXiv:2110.02178): inverted residuals, and blocks in which the pixels at one place of their patches attend to each
//! other. What MobileViTV2 shares with it is here.

use segmenta_graph::{
    Activation, BatchNorm, Builder, Conv2d, Filter, Graph, InitRule, Node, Scope,
};

use super::Class;
use super::mobilenet_v2::divisible;
use crate::config::Config;
use crate::options::Options;
use crate::smp::Refusal;

pub(crate) static MOBILEVIT: Class = Class {
    fields: &[
        "aspp_dropout_prob",
        "aspp_out_channels",
        "atrous_rates",
        "attention_probs_dropout_prob",
        "classifier_dropout_prob",
        "conv_kernel_size",
        "expand_ratio",
        "hidden_act",
        "hidden_dropout_prob",
        "hidden_sizes",
        "layer_norm_eps",
        "mlp_ratio",
        "neck_hidden_sizes",
        "num_attention_heads",
        "output_stride",
        "patch_size",
        "qkv_bias",
    ],
    build,
    former: |_| None,
    // The names say nothing of heads and strides: only a `config.json` does.
    read: |_, _| {},
    values: super::no_values,
};

/// Blocks of transformer in the last three stages.
const BLOCKS: [usize; 3] = [2, 4, 3];

/// What the layers of both versions have in common.
pub(super) struct Layers {
    pub(super) activation: Activation,
    /// How much wider an inverted residual is within.
    pub(super) expand: f64,
    /// Side of a patch.
    pub(super) patch: usize,
    /// Side of the window before a block.
    pub(super) kernel: usize,
    pub(super) eps: f32,
}

impl Layers {
    pub(super) fn new(config: &Config, expand: f64) -> Result<Self, Refusal> {
        Ok(Self {
            activation: config.activation("hidden_act", Activation::Silu)?,
            expand: config.number("expand_ratio", expand)?,
            patch: config.count("patch_size", 2)?,
            kernel: config.count("conv_kernel_size", 3)?,
            eps: config.number("layer_norm_eps", 1e-5)? as f32,
        })
    }

    /// Convolution, batch norm and the network's non-linearity.
    pub(super) fn active(&self, g: &mut Builder, x: Node, name: &Scope, conv: Conv2d) -> Node {
        let y = normed(g, x, name, conv);
        g.activation(y, self.activation)
    }

    /// An inverted residual of MobileNetV2.
    pub(super) fn inverted(
        &self,
        g: &mut Builder,
        x: Node,
        name: &Scope,
        width: usize,
        [stride, dilation]: [usize; 2],
    ) -> Node {
        let inner = divisible((g.channels(x) as f64 * self.expand).round_ties_even(), 8, 8);
        let y = self.active(g, x, &(name / "expand_1x1"), Conv2d::pointwise(inner));
        let window = Conv2d::square(3, inner).depthwise(inner).stride(stride);
        let y = self.active(g, y, &(name / "conv_3x3"), window.dilation(dilation));
        let y = normed(g, y, &(name / "reduce_1x1"), Conv2d::pointwise(width));
        if stride == 1 && g.same_shape(x, y) {
            g.add(x, y, name)
        } else {
            y
        }
    }

    /// Inverted residuals one after the other, the first of which strides.
    pub(super) fn inverted_stage(
        &self,
        g: &mut Builder,
        x: Node,
        name: &Scope,
        width: usize,
        [count, stride]: [usize; 2],
    ) -> Node {
        let layer = name / "layer";
        (0..count).fold(x, |x, at| {
            let stride = if at == 0 { stride } else { 1 };
            self.inverted(g, x, &(&layer / at), width, [stride, 1])
        })
    }

    /// The inverted residual before a stage's blocks: it strides, unless that became a dilation.
    pub(super) fn below(
        &self,
        g: &mut Builder,
        x: Node,
        name: &Scope,
        width: usize,
        dilation: usize,
    ) -> Node {
        let window = if dilation == 1 {
            [2, 1]
        } else {
            [1, dilation / 2]
        };
        self.inverted(g, x, &(name / "downsampling_layer"), width, window)
    }
}

/// The dilation of each of the last two stages.
pub(super) fn dilations(config: &Config) -> Result<[usize; 2], Refusal> {
    match config.count("output_stride", 32)? {
        8 => Ok([2, 4]),
        16 => Ok([1, 2]),
        // The library takes any other for the whole stride.
        _ => Ok([1, 1]),
    }
}

/// Convolution and batch norm.
pub(super) fn normed(g: &mut Builder, x: Node, name: &Scope, conv: Conv2d) -> Node {
    g.conv_bn(x, &(name / "convolution"), &(name / "normalization"), conv)
}

/// DeepLabV3's head on the last map, ending in the classes.
pub(super) fn head(
    g: &mut Builder,
    x: Node,
    name: &Scope,
    config: &Config,
    channels: usize,
    classes: usize,
) -> Result<Node, Refusal> {
    let relu = |g: &mut Builder, x, name: &Scope, conv| {
        let y = normed(g, x, name, conv);
        g.relu(y)
    };
    let width = config.count("aspp_out_channels", channels)?;
    let rates = config.counts("atrous_rates", &[6, 12, 18], 3)?;
    let aspp = name / "aspp";
    let convs = &aspp / "convs";
    let mut pyramid = vec![relu(g, x, &(&convs / 0), Conv2d::pointwise(width))];
    for (i, &rate) in rates.iter().enumerate() {
        let window = Conv2d::square(3, width).dilation(rate);
        pyramid.push(relu(g, x, &(&convs / (i + 1)), window));
    }
    let module = &convs / 4;
    let mean = g.global_avg_pool(x, &(&module / "global_pool"));
    let mean = relu(g, mean, &(&module / "conv_1x1"), Conv2d::pointwise(width));
    pyramid.push(g.resize_like(mean, x, Filter::BILINEAR, &module));
    let all = g.concat(&pyramid, &aspp);
    let y = relu(g, all, &(&aspp / "project"), Conv2d::pointwise(width));
    let dropped = config.probability("aspp_dropout_prob", 0.1)?;
    let y = g.dropout(y, dropped, &(&aspp / "dropout"));
    let dropped = config.probability("classifier_dropout_prob", 0.1)?;
    let y = g.dropout2d(y, dropped, &(name / "dropout"));
    let classes = Conv2d::pointwise(classes).with_bias();
    Ok(g.conv(y, &(name / "classifier" / "convolution"), classes))
}

/// A stage's transformer.
struct Transformer {
    width: usize,
    heads: usize,
    hidden: usize,
    bias: bool,
    dropout: f32,
}

fn build(options: &Options) -> Result<Graph, Refusal> {
    let config = &options.config;
    let layers = Layers::new(config, 4.0)?;
    let widths = config.counts("hidden_sizes", &[144, 192, 240], 3)?;
    let necks = config.counts("neck_hidden_sizes", &[16, 32, 64, 96, 128, 160, 640], 7)?;
    let heads = config.count("num_attention_heads", 4)?;
    let ratio = config.number("mlp_ratio", 2.0)?;
    let bias = config.flag("qkv_bias", true)?;
    let dropout = config.probability("hidden_dropout_prob", 0.1)?;
    if config.probability("attention_probs_dropout_prob", 0.0)? > 0.0 {
        return Err(Refusal::Option(
            "has no dropout of attention's weights; give attention_probs_dropout_prob as 0, which \
             changes no result of a trained network"
                .into(),
        ));
    }
    let [fourth, fifth] = dilations(config)?;

    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    g.set_init(InitRule::Transformer);
    g.set_batch_norm(BatchNorm::default());
    let name = &root / "mobilevit";
    let stem = Conv2d::square(3, necks[0]).stride(2);
    let x = layers.active(&mut g, input, &(&name / "conv_stem"), stem);
    let stage = &name / "encoder" / "layer";
    let x = layers.inverted_stage(&mut g, x, &(&stage / 0), necks[1], [1, 1]);
    let mut x = layers.inverted_stage(&mut g, x, &(&stage / 1), necks[2], [3, 2]);
    for (at, dilation) in [1, fourth, fifth].into_iter().enumerate() {
        let width = widths[at];
        if !width.is_multiple_of(heads) {
            return Err(Refusal::Option(format!(
                "cannot part {width} channels between {heads} heads (hidden_sizes, num_attention_heads)"
            )));
        }
        let transformer = Transformer {
            width,
            heads,
            hidden: ((width as f64 * ratio) as usize).max(1),
            bias,
            dropout,
        };
        let module = &stage / (at + 2);
        x = layers.below(&mut g, x, &module, necks[at + 3], dilation);
        x = layers.stage(&mut g, x, &module, &transformer, BLOCKS[at]);
    }
    let name = &root / "segmentation_head";
    let logits = head(&mut g, x, &name, config, 256, options.classes)?;
    g.output("out", logits);
    g.finish().map_err(Refusal::Graph)
}

impl Layers {
    fn stage(
        &self,
        g: &mut Builder,
        residual: Node,
        name: &Scope,
        transformer: &Transformer,
        blocks: usize,
    ) -> Node {
        let channels = g.channels(residual);
        let window = Conv2d::square(self.kernel, channels);
        let x = self.active(g, residual, &(name / "conv_kxk"), window);
        let narrow = Conv2d::pointwise(transformer.width);
        let map = g.conv(x, &(name / "conv_1x1" / "convolution"), narrow);
        // Maps that are no whole patches are resized to the next that are, and back.
        let patches = g.space_to_depth(map, self.patch, name);
        let whole = g.upsample(patches, self.patch, Filter::Nearest, name);
        let mut x = g.resize_like(map, whole, Filter::BILINEAR, name);
        for block in 0..blocks {
            let module = name / "transformer" / "layer" / block;
            x = transformer.block(g, x, &module, self);
        }
        let x = g.layer_norm(x, &(name / "layernorm"), self.eps);
        let x = g.resize_like(x, map, Filter::BILINEAR, name);
        let wide = Conv2d::pointwise(channels);
        let x = self.active(g, x, &(name / "conv_projection"), wide);
        let both = g.concat(&[residual, x], name);
        self.active(g, both, &(name / "fusion"), window)
    }
}

impl Transformer {
    fn block(&self, g: &mut Builder, x: Node, name: &Scope, layers: &Layers) -> Node {
        let order = [
            "attention",
            "intermediate",
            "output",
            "layernorm_before",
            "layernorm_after",
        ];
        g.module_order(name, &order);
        let y = g.layer_norm(x, &(name / "layernorm_before"), layers.eps);
        let attention = name / "attention";
        let y = self.attention(g, y, &(&attention / "attention"), layers.patch);
        let y = g.linear(y, &(&attention / "output" / "dense"), self.width);
        let y = g.dropout(y, self.dropout, &attention);
        let x = g.add(y, x, name);
        let y = g.layer_norm(x, &(name / "layernorm_after"), layers.eps);
        let y = g.linear(y, &(name / "intermediate" / "dense"), self.hidden);
        let y = g.activation(y, layers.activation);
        let y = g.linear(y, &(name / "output" / "dense"), self.width);
        let y = g.dropout(y, self.dropout, &(name / "output"));
        g.add(y, x, name)
    }

    /// Patches as pixels, each place within them a run of heads of its own.
    fn attention(&self, g: &mut Builder, x: Node, name: &Scope, patch: usize) -> Node {
        let maps = ["query", "key", "value"].map(|module| {
            let name = name / module;
            let y = if self.bias {
                g.linear(x, &name, self.width)
            } else {
                g.linear_without_bias(x, &name, self.width)
            };
            g.space_to_depth(y, patch, &name)
        });
        let y = g.attention(maps, patch * patch * self.heads, name);
        g.depth_to_space(y, patch, x, name)
    }
}
