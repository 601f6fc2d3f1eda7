//! DeepLabV3+ on MobileNetV2 as transformers has it (`MobileNetV2ForSemanticSegmentation`), after TensorFlow's DeepLab
//! (Chen et al. 2018, arXiv:1802.02611): padded as TensorFlow pads, strides beyond the output stride become dilations
//! of the blocks that follow, and of the pyramid a 1×1 branch and the mean of the map are left.

use segmenta_graph::{
    Activation, BatchNorm, Builder, Conv2d, Filter, Graph, InitRule, Node, Scope,
};

use super::Class;
use crate::options::Options;
use crate::smp::Refusal;

pub(crate) static MOBILENET_V2: Class = Class {
    fields: &[
        "classifier_dropout_prob",
        "depth_divisible_by",
        "depth_multiplier",
        "expand_ratio",
        "finegrained_output",
        "first_layer_is_expansion",
        "hidden_act",
        "layer_norm_eps",
        "min_depth",
        "output_stride",
        "tf_padding",
    ],
    build,
    former: |_| None,
    // The names say nothing of strides and paddings: only a `config.json` does.
    read: |_, _| {},
    values: super::no_values,
};

/// Channels after the stem and after each block, at full width.
const CHANNELS: [usize; 17] = [
    16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320,
];
/// Strides of the blocks.
const STRIDES: [usize; 16] = [2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1];
/// Channels of the head.
const HEAD: usize = 256;

/// What all layers have in common.
struct Layers {
    activation: Activation,
    norm: BatchNorm,
    /// Zeros as TensorFlow's SAME has them, instead of alike on all sides.
    tensorflow: bool,
}

fn build(options: &Options) -> Result<Graph, Refusal> {
    let config = &options.config;
    let multiplier = config.number("depth_multiplier", 1.0)?;
    let divisor = config.count("depth_divisible_by", 8)?;
    let least = config.count("min_depth", 8)?;
    let ratio = config.number("expand_ratio", 6.0)?;
    let output_stride = config.count("output_stride", 32)?;
    let rounded = |channels: f64| divisible(channels.round_ties_even(), divisor, least);
    let scaled = |channels: usize| rounded(channels as f64 * multiplier);
    let layers = Layers {
        activation: config.activation("hidden_act", Activation::Relu6)?,
        norm: BatchNorm {
            eps: config.number("layer_norm_eps", 0.001)? as f32,
            // PyTorch's share of the new statistic, as the library sets it.
            momentum: 0.997,
        },
        tensorflow: config.flag("tf_padding", true)?,
    };

    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    g.set_init(InitRule::Transformer);
    g.set_batch_norm(layers.norm);
    let encoder = &root / "mobilenet_v2";

    let stem = &encoder / "conv_stem";
    let width = scaled(32);
    let first = Conv2d::square(3, width).stride(2);
    let mut x = layers.active(&mut g, input, &(&stem / "first_conv"), first);
    if !config.flag("first_layer_is_expansion", true)? {
        x = layers.active(&mut g, x, &(&stem / "expand_1x1"), Conv2d::pointwise(width));
    }
    let depthwise = Conv2d::square(3, width).depthwise(width);
    x = layers.active(&mut g, x, &(&stem / "conv_3x3"), depthwise);
    let reduce = Conv2d::pointwise(scaled(CHANNELS[0]));
    x = layers.linear(&mut g, x, &(&stem / "reduce_1x1"), reduce);

    let (mut reached, mut dilation) = (2, 1);
    for (at, stride) in STRIDES.into_iter().enumerate() {
        let window = |channels| Conv2d::square(3, channels).depthwise(channels);
        let name = &encoder / "layer" / at;
        let hidden = rounded(g.channels(x) as f64 * ratio);
        let window = if reached == output_stride {
            // A stride that is left out spreads the windows of the blocks after its own.
            let spread = window(hidden).dilation(dilation);
            dilation *= stride;
            spread
        } else {
            reached *= stride;
            window(hidden).stride(stride)
        };
        let y = layers.active(
            &mut g,
            x,
            &(&name / "expand_1x1"),
            Conv2d::pointwise(hidden),
        );
        let y = layers.active(&mut g, y, &(&name / "conv_3x3"), window);
        let reduce = Conv2d::pointwise(scaled(CHANNELS[at + 1]));
        let y = layers.linear(&mut g, y, &(&name / "reduce_1x1"), reduce);
        let adds = window.stride == [1, 1] && g.same_shape(x, y);
        x = if adds { g.add(x, y, &name) } else { y };
    }
    // What a classifier would read: in the file, and of no use here.
    let fine = config.flag("finegrained_output", true)? && multiplier < 1.0;
    let last = if fine { 1280 } else { scaled(1280) };
    layers.active(&mut g, x, &(&encoder / "conv_1x1"), Conv2d::pointwise(last));

    let head = &root / "segmentation_head";
    let relu = Layers {
        activation: Activation::Relu,
        norm: BatchNorm {
            eps: 1e-5,
            ..layers.norm
        },
        ..layers
    };
    g.set_batch_norm(relu.norm);
    let (pool, narrow) = (&head / "conv_pool", Conv2d::pointwise(HEAD));
    let mean = g.global_avg_pool(x, &(&head / "avg_pool"));
    let mean = relu.active(&mut g, mean, &pool, narrow);
    let mean = g.resize_like(mean, x, Filter::ALIGNED, &pool);
    let local = relu.active(&mut g, x, &(&head / "conv_aspp"), narrow);
    let both = g.concat(&[mean, local], &head);
    let y = relu.active(&mut g, both, &(&head / "conv_projection"), narrow);
    let dropout = config.probability("classifier_dropout_prob", 0.8)?;
    let y = g.dropout2d(y, dropout, &(&head / "dropout"));
    let classes = Conv2d::pointwise(options.classes).with_bias();
    let logits = g.conv(y, &(&head / "classifier" / "convolution"), classes);
    g.output("out", logits);
    g.finish().map_err(Refusal::Graph)
}

impl Layers {
    /// Convolution, batch norm and non-linearity.
    fn active(&self, g: &mut Builder, x: Node, name: &Scope, conv: Conv2d) -> Node {
        let y = self.linear(g, x, name, conv);
        g.activation(y, self.activation)
    }

    /// Convolution and batch norm.
    fn linear(&self, g: &mut Builder, x: Node, name: &Scope, conv: Conv2d) -> Node {
        let (mut x, mut conv) = (x, conv);
        if self.tensorflow && conv.stride == [2, 2] {
            // Zeros above and left where a side is odd, and one below and right in any case.
            x = g.pad_to_even(x, name);
            conv = Conv2d {
                padding: [0, 0],
                extra_padding: [1, 1],
                ..conv
            };
        }
        g.conv_bn(x, &(name / "convolution"), &(name / "normalization"), conv)
    }
}

/// A multiple of `divisor`, `least` or more, and no more than a tenth below.
pub(super) fn divisible(channels: f64, divisor: usize, least: usize) -> usize {
    let whole = (channels + divisor as f64 / 2.0) as usize / divisor * divisor;
    let rounded = whole.max(least);
    if (rounded as f64) < 0.9 * channels {
        rounded + divisor
    } else {
        rounded
    }
}
