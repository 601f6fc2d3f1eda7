//! EfficientNet (Tan and Le 2019, arXiv:1905.11946) as timm builds it: padded alike on all sides; and its
//! Lite form, which clips at 6 and scales no channels.

use segmenta_graph::{Activation, Builder, Conv2d, InitRule, Node, Scope};

use super::efficientnet::STAGES;
use super::mobilenet_v2::divisible_by_8;
use super::{Encoder, Family, Features, Site, Traits};
use crate::gate::Gate;

pub(crate) static FAMILY: Family = Family {
    name: "EfficientNet, EfficientNet-Lite of timm (Tan and Le 2019)",
    entry: "conv_stem.weight",
    encoders: &[
        Encoder::new("timm-efficientnet-b0", |g, site| {
            encode(g, site, 1.0, 1.0, false)
        }),
        Encoder::new("timm-efficientnet-b1", |g, site| {
            encode(g, site, 1.0, 1.1, false)
        }),
        Encoder::new("timm-efficientnet-b2", |g, site| {
            encode(g, site, 1.1, 1.2, false)
        }),
        Encoder::new("timm-efficientnet-b3", |g, site| {
            encode(g, site, 1.2, 1.4, false)
        }),
        Encoder::new("timm-efficientnet-b4", |g, site| {
            encode(g, site, 1.4, 1.8, false)
        }),
        Encoder::new("timm-efficientnet-b5", |g, site| {
            encode(g, site, 1.6, 2.2, false)
        }),
        Encoder::new("timm-efficientnet-b6", |g, site| {
            encode(g, site, 1.8, 2.6, false)
        }),
        Encoder::new("timm-efficientnet-b7", |g, site| {
            encode(g, site, 2.0, 3.1, false)
        }),
        Encoder::new("timm-efficientnet-b8", |g, site| {
            encode(g, site, 2.2, 3.6, false)
        }),
        Encoder::new("timm-efficientnet-l2", |g, site| {
            encode(g, site, 4.3, 5.3, false)
        }),
        Encoder::new("timm-tf_efficientnet_lite0", |g, site| {
            encode(g, site, 1.0, 1.0, true)
        }),
        Encoder::new("timm-tf_efficientnet_lite1", |g, site| {
            encode(g, site, 1.0, 1.1, true)
        }),
        Encoder::new("timm-tf_efficientnet_lite2", |g, site| {
            encode(g, site, 1.1, 1.2, true)
        }),
        Encoder::new("timm-tf_efficientnet_lite3", |g, site| {
            encode(g, site, 1.2, 1.4, true)
        }),
        Encoder::new("timm-tf_efficientnet_lite4", |g, site| {
            encode(g, site, 1.4, 1.8, true)
        }),
    ],
    traits: Traits::PLAIN,
};

/// Share of the last block's maps that training drops; earlier blocks less, in proportion.
const DROPPED: f32 = 0.2;

/// The maps at strides 2, 4, 8, 16, 32. The last 1×1 convolution is there for its names: no map
/// reads it.
fn encode(g: &mut Builder, site: &Site<'_>, width: f64, depth: f64, lite: bool) -> Features {
    let rule = g.set_init(InitRule::KaimingNormal);
    let name = site.name;
    let act = if lite {
        Activation::Relu6
    } else {
        Activation::Silu
    };
    let widened = |channels: usize| divisible_by_8(channels as f64 * width);
    let count = |index: usize| {
        // Lite's first and last stages do not grow, nor do its ends.
        let grows = !(lite && (index == 0 || index == STAGES.len() - 1));
        let blocks = STAGES[index].blocks;
        if grows {
            (blocks as f64 * depth).ceil() as usize
        } else {
            blocks
        }
    };
    let all: usize = (0..STAGES.len()).map(count).sum();

    let stem = Conv2d::square(3, if lite { 32 } else { widened(32) }).stride(2);
    let mut x = g.conv_bn(site.input, &(name / "conv_stem"), &(name / "bn1"), stem);
    x = g.activation(x, act);
    let (mut maps, mut index, mut reached) = (vec![x], 0, 2);
    for (stage, row) in STAGES.iter().enumerate() {
        reached *= row.stride;
        for i in 0..count(stage) {
            let hidden = g.channels(x) * row.expansion;
            let stride = if i == 0 { row.stride } else { 1 };
            let depthwise = Conv2d::square(row.kernel, hidden).stride(stride);
            let block = Block {
                depthwise: site.output_stride.fit(reached, depthwise.depthwise(hidden)),
                channels: widened(row.channels),
                act,
                squeezed: (!lite).then_some(g.channels(x) / 4),
                dropped: DROPPED * index as f32 / all as f32,
            };
            x = block.build(g, &(name / "blocks" / stage / i), x, stride == 1);
            index += 1;
        }
        if [1, 2, 4, 6].contains(&stage) {
            maps.push(x);
        }
    }
    let head = Conv2d::pointwise(if lite { 1280 } else { widened(1280) });
    g.conv_bn(x, &(name / "conv_head"), &(name / "bn2"), head);
    g.set_init(rule);
    Features::new(site.input, [maps[0], maps[1], maps[2], maps[3], maps[4]])
}

/// An inverted residual, or a depthwise separable convolution where nothing is widened.
struct Block {
    depthwise: Conv2d,
    channels: usize,
    act: Activation,
    squeezed: Option<usize>,
    dropped: f32,
}

impl Block {
    fn build(&self, g: &mut Builder, name: &Scope, x: Node, keeps_size: bool) -> Node {
        let (narrow, wide) = (g.channels(x), self.depthwise.out_channels);
        let (mut y, mut norms) = (x, 1);
        let mut norm = || {
            norms += 1;
            name / format!("bn{}", norms - 1)
        };
        let project = if wide == narrow {
            "conv_pw"
        } else {
            let expand = Conv2d::pointwise(wide);
            y = g.conv_bn(y, &(name / "conv_pw"), &norm(), expand);
            y = g.activation(y, self.act);
            "conv_pwl"
        };
        y = g.conv_bn(y, &(name / "conv_dw"), &norm(), self.depthwise);
        y = g.activation(y, self.act);
        if let Some(squeezed) = self.squeezed {
            let module = name / "se";
            let gate = Gate {
                inner: self.act,
                ..Gate::new(squeezed)
            };
            let names = [&(&module / "conv_reduce"), &(&module / "conv_expand")];
            y = gate.apply(g, y, names);
        }
        let last = Conv2d::pointwise(self.channels);
        y = g.conv_bn(y, &(name / project), &norm(), last);
        if keeps_size && narrow == self.channels {
            y = g.stochastic_depth(y, self.dropped, name);
            y = g.add(y, x, name);
        }
        y
    }
}
