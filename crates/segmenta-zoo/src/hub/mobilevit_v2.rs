//! DeepLabV3 on MobileViTV2 as transformers has it (`MobileViTV2ForSemanticSegmentation`; Mehta and Rastegari 2022,
//! arXiv:2206.02680): as MobileViT, with an attention whose cost is linear: one channel says how much each patch counts
//! in the mean of all keys, by which the values are multiplied.

use segmenta_graph::{Builder, Conv2d, Filter, Graph, InitRule, Node, Pool2d, Scope};

use super::Class;
use super::mobilenet_v2::divisible;
use super::mobilevit::{Layers, dilations, head, normed};
use crate::options::Options;
use crate::smp::Refusal;

pub(crate) static MOBILEVIT_V2: Class = Class {
    fields: &[
        "aspp_dropout_prob",
        "aspp_out_channels",
        "atrous_rates",
        "attn_dropout",
        "base_attn_unit_dims",
        "classifier_dropout_prob",
        "conv_kernel_size",
        "expand_ratio",
        "ffn_dropout",
        "ffn_multiplier",
        "hidden_act",
        "layer_norm_eps",
        "n_attn_blocks",
        "output_stride",
        "patch_size",
        "width_multiplier",
    ],
    build,
    former: |_| None,
    // The names say nothing of strides: only a `config.json` does.
    read: |_, _| {},
    values: super::no_values,
};

/// Channels of the last three stages at full width.
const CHANNELS: [usize; 3] = [256, 384, 512];

/// A stage's transformer.
struct Transformer {
    width: usize,
    hidden: usize,
    dropout: f32,
}

fn build(options: &Options) -> Result<Graph, Refusal> {
    let config = &options.config;
    let layers = Layers::new(config, 2.0)?;
    let multiplier = config.number("width_multiplier", 1.0)?;
    let widths = config.counts("base_attn_unit_dims", &[128, 192, 256], 3)?;
    let blocks = config.counts("n_attn_blocks", &[2, 4, 3], 3)?;
    let hidden = config.number("ffn_multiplier", 2.0)?;
    let dropout = config.probability("ffn_dropout", 0.0)?;
    if config.probability("attn_dropout", 0.0)? > 0.0 {
        return Err(Refusal::Option(
            "has no dropout of attention's weights; give attn_dropout as 0, which changes no result \
             of a trained network"
                .into(),
        ));
    }
    let [fourth, fifth] = dilations(config)?;
    let scaled =
        |channels: usize, divisor| divisible(channels as f64 * multiplier, divisor, divisor);

    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    g.set_init(InitRule::Transformer);
    let name = &root / "mobilevitv2";
    let stem = divisible((32.0 * multiplier).clamp(16.0, 64.0), 8, 16);
    let stem = Conv2d::square(3, stem).stride(2);
    let x = layers.active(&mut g, input, &(&name / "conv_stem"), stem);
    let stage = &name / "encoder" / "layer";
    let x = layers.inverted_stage(&mut g, x, &(&stage / 0), scaled(64, 16), [1, 1]);
    let mut x = layers.inverted_stage(&mut g, x, &(&stage / 1), scaled(128, 8), [2, 2]);
    for (at, dilation) in [1, fourth, fifth].into_iter().enumerate() {
        let width = scaled(widths[at], 8);
        let transformer = Transformer {
            width,
            hidden: ((width as f64 * hidden) as usize / 16 * 16).max(1),
            dropout,
        };
        let module = &stage / (at + 2);
        x = layers.below(&mut g, x, &module, scaled(CHANNELS[at], 8), dilation);
        x = transformer.stage(&mut g, x, &module, &layers, blocks[at]);
    }
    let name = &root / "segmentation_head";
    let logits = head(&mut g, x, &name, config, 512, options.classes)?;
    g.output("out", logits);
    g.finish().map_err(Refusal::Graph)
}

impl Transformer {
    fn stage(
        &self,
        g: &mut Builder,
        x: Node,
        name: &Scope,
        layers: &Layers,
        blocks: usize,
    ) -> Node {
        let channels = g.channels(x);
        let window = Conv2d::square(layers.kernel, channels).depthwise(channels);
        let x = layers.active(g, x, &(name / "conv_kxk"), window);
        let narrow = Conv2d::pointwise(self.width);
        let map = g.conv(x, &(name / "conv_1x1" / "convolution"), narrow);
        // What is no whole patch is left out, and zero afterwards.
        let (patch, pool) = (layers.patch, Pool2d::square(layers.patch));
        let patches = g.max_pool(map, name, pool);
        let whole = g.upsample(patches, patch, Filter::Nearest, name);
        let mut x = g.fit_like(map, whole, name);
        for block in 0..blocks {
            let module = name / "transformer" / "layer" / block;
            let y = g.group_norm(x, &(&module / "layernorm_before"), 1, layers.eps);
            let y = self.attention(g, y, &(&module / "attention"), patch);
            x = g.add(y, x, &module);
            let y = g.group_norm(x, &(&module / "layernorm_after"), 1, layers.eps);
            let ffn = &module / "ffn";
            let wide = Conv2d::pointwise(self.hidden).with_bias();
            let y = g.conv(y, &(&ffn / "conv1" / "convolution"), wide);
            let y = g.activation(y, layers.activation);
            let y = g.dropout(y, self.dropout, &(&ffn / "dropout1"));
            let y = g.conv(y, &(&ffn / "conv2" / "convolution"), narrow.with_bias());
            let y = g.dropout(y, self.dropout, &(&ffn / "dropout2"));
            x = g.add(y, x, &module);
        }
        let x = g.group_norm(x, &(name / "layernorm"), 1, layers.eps);
        let x = g.fit_like(x, map, name);
        normed(
            g,
            x,
            &(name / "conv_projection"),
            Conv2d::pointwise(channels),
        )
    }

    fn attention(&self, g: &mut Builder, x: Node, name: &Scope, patch: usize) -> Node {
        let width = self.width;
        let all = Conv2d::pointwise(1 + 2 * width).with_bias();
        let all = g.conv(x, &(name / "qkv_proj" / "convolution"), all);
        let parts = [(0, 1), (1, width), (1 + width, width)];
        // Patches as pixels: each place within them has means of its own.
        let [scores, keys, values] = parts.map(|(first, channels)| {
            let part = g.slice(all, first, channels, name);
            g.space_to_depth(part, patch, name)
        });
        // One query for each place: a softmax of one value is 1, times which a score stays as it is.
        let mean = g.global_avg_pool(scores, name);
        let query = g.softmax(mean, 1, false, name);
        let context = g.attention([query, scores, keys], patch * patch, name);
        let values = g.relu(values);
        let y = g.mul(values, context, name);
        let y = g.depth_to_space(y, patch, x, name);
        let linear = Conv2d::pointwise(width).with_bias();
        g.conv(y, &(name / "out_proj" / "convolution"), linear)
    }
}
