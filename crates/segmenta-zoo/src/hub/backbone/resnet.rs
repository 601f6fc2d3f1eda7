//! ResNet (He et al. 2015, arXiv:1512.03385) as transformers has it: torchvision's layers under names of their own, of
//! any widths and depths.

use segmenta_graph::{Activation, Builder, Conv2d, InitRule, Node, Pool2d, Scope};

use crate::config::Config;
use crate::smp::Refusal;

/// How many times narrower a bottleneck is than what goes in and out.
const REDUCTION: usize = 4;

/// What all blocks have in common.
struct Layers {
    activation: Activation,
    bottleneck: bool,
    /// Whether the first convolution of a bottleneck strides, instead of its 3×3.
    strides_first: bool,
}

pub(super) fn build(
    g: &mut Builder,
    input: Node,
    name: &Scope,
    config: &Config,
) -> Result<Vec<Node>, Refusal> {
    const STAGES: usize = 4;
    let depths = config.list("depths", &[3, 4, 6, 3])?;
    let stages = depths.len();
    let widths = config.counts("hidden_sizes", &[256, 512, 1024, 2048], stages)?;
    let layers = Layers {
        activation: config.activation("hidden_act", Activation::Relu)?,
        bottleneck: match config.word("layer_type", "bottleneck")? {
            "bottleneck" => true,
            "basic" => false,
            other => {
                return Err(Refusal::Option(format!(
                    "reads “{other}” in the field `layer_type`, not basic or bottleneck"
                )));
            }
        },
        strides_first: config.flag("downsample_in_bottleneck", false)?,
    };
    let first = if config.flag("downsample_in_first_stage", false)? {
        2
    } else {
        1
    };
    // By itself `backbone_config` means all stages, for heads that have no other default.
    let wanted = if config.given().is_empty() {
        (1..=STAGES).collect()
    } else {
        config.stages(stages)?
    };

    let rule = g.set_init(InitRule::KaimingNormal);
    let stem = name / "embedder" / "embedder";
    let window = Conv2d::square(7, config.count("embedding_size", 64)?).stride(2);
    let x = conv(g, input, &stem, window, Some(layers.activation));
    let pool = Pool2d::square(3).stride(2).padding(1);
    let mut x = g.max_pool(x, &(name / "embedder" / "pooler"), pool);
    let mut maps = vec![x];
    for (stage, (&depth, &width)) in depths.iter().zip(&widths).enumerate() {
        let module = name / "encoder" / "stages" / stage / "layers";
        for block in 0..depth {
            let stride = match (block, stage) {
                (0, 0) => first,
                (0, _) => 2,
                _ => 1,
            };
            x = layers.block(g, x, &(&module / block), width, stride);
        }
        maps.push(x);
    }
    g.set_init(rule);
    Ok(wanted.into_iter().map(|stage| maps[stage]).collect())
}

impl Layers {
    fn block(&self, g: &mut Builder, x: Node, name: &Scope, width: usize, stride: usize) -> Node {
        let shortcut = if g.channels(x) != width || stride != 1 {
            let window = Conv2d::pointwise(width).stride(stride);
            conv(g, x, &(name / "shortcut"), window, None)
        } else {
            x
        };
        let (layer, active) = (name / "layer", Some(self.activation));
        let y = if self.bottleneck {
            let narrow = (width / REDUCTION).max(1);
            let [before, within] = if self.strides_first {
                [stride, 1]
            } else {
                [1, stride]
            };
            let reduce = Conv2d::pointwise(narrow).stride(before);
            let y = conv(g, x, &(&layer / 0), reduce, active);
            let window = Conv2d::square(3, narrow).stride(within);
            let y = conv(g, y, &(&layer / 1), window, active);
            conv(g, y, &(&layer / 2), Conv2d::pointwise(width), None)
        } else {
            let window = Conv2d::square(3, width);
            let y = conv(g, x, &(&layer / 0), window.stride(stride), active);
            conv(g, y, &(&layer / 1), window, None)
        };
        let y = g.add(y, shortcut, name);
        g.activation(y, self.activation)
    }
}

/// Convolution, batch norm and, where there is one, a non-linearity.
fn conv(
    g: &mut Builder,
    x: Node,
    name: &Scope,
    conv: Conv2d,
    activation: Option<Activation>,
) -> Node {
    let y = g.conv_bn(x, &(name / "convolution"), &(name / "normalization"), conv);
    activation.map_or(y, |activation| g.activation(y, activation))
}
