//! MobileOne (Vasu et al. 2022, arXiv:2206.04040) as it trains: sums of parallel convolutions, of a 1×1 and
//! of the input itself, each with its batch norm.

use segmenta_graph::{Builder, Conv2d, Node, Scope};

use super::{Encoder, Family, Features, Site, Traits};
use crate::gate::Gate;

pub(crate) static FAMILY: Family = Family {
    name: "MobileOne (Vasu et al. 2022)",
    entry: "stage0.rbr_scale.conv.weight",
    encoders: &[
        Encoder::new("mobileone_s0", |g, site| {
            encode(g, site, [48, 128, 256, 1024], 4, false)
        }),
        Encoder::new("mobileone_s1", |g, site| {
            encode(g, site, [96, 192, 512, 1280], 1, false)
        }),
        Encoder::new("mobileone_s2", |g, site| {
            encode(g, site, [96, 256, 640, 2048], 1, false)
        }),
        Encoder::new("mobileone_s3", |g, site| {
            encode(g, site, [128, 320, 768, 2048], 1, false)
        }),
        Encoder::new("mobileone_s4", |g, site| {
            encode(g, site, [192, 448, 896, 2048], 1, true)
        }),
    ],
    traits: Traits::PLAIN,
};

/// Blocks of each stage.
const BLOCKS: [usize; 4] = [2, 8, 10, 1];

/// `channels` of the stages, so many parallel convolutions, squeeze-and-excitation in the last ones.
fn encode(
    g: &mut Builder,
    site: &Site<'_>,
    channels: [usize; 4],
    branches: usize,
    gated: bool,
) -> Features {
    let stem = Block {
        conv: Conv2d::square(3, channels[0].min(64)).stride(2),
        branches: 1,
        gated: false,
    };
    let mut x = stem.build(g, site, 2, &(site.name / "stage0"), site.input);
    let mut maps = [x; 5];
    for (stage, (count, channels)) in BLOCKS.into_iter().zip(channels).enumerate() {
        let name = site.name / format!("stage{}", stage + 1);
        let gates = match stage {
            2 if gated => count / 2,
            3 if gated => count,
            _ => 0,
        };
        for i in 0..count {
            let stride = if i == 0 { 2 } else { 1 };
            let width = g.channels(x);
            let depthwise = Conv2d::square(3, width).stride(stride).depthwise(width);
            for (part, conv) in [depthwise, Conv2d::pointwise(channels)]
                .into_iter()
                .enumerate()
            {
                let block = Block {
                    conv,
                    branches,
                    gated: i >= count - gates,
                };
                x = block.build(g, site, 4 << stage, &(&name / (2 * i + part)), x);
            }
        }
        maps[stage + 1] = x;
    }
    Features::new(site.input, maps)
}

struct Block {
    conv: Conv2d,
    branches: usize,
    gated: bool,
}

impl Block {
    fn build(
        &self,
        g: &mut Builder,
        site: &Site<'_>,
        reached: usize,
        name: &Scope,
        x: Node,
    ) -> Node {
        g.module_order(name, &["se", "rbr_skip", "rbr_conv", "rbr_scale"]);
        let branch = |g: &mut Builder, name: Scope, conv: Conv2d| {
            let conv = site.output_stride.fit(reached, conv);
            g.conv_bn(x, &(&name / "conv"), &(&name / "bn"), conv)
        };
        let mut parts = Vec::new();
        if self.conv.kernel != [1, 1] {
            let point = Conv2d {
                kernel: [1, 1],
                padding: [0, 0],
                ..self.conv
            };
            parts.push(branch(g, name / "rbr_scale", point));
        }
        if self.conv.stride == [1, 1] && self.conv.out_channels == g.channels(x) {
            parts.push(g.batch_norm(x, &(name / "rbr_skip")));
        }
        for i in 0..self.branches {
            parts.push(branch(g, name / "rbr_conv" / i, self.conv));
        }
        let mut sum = parts[0];
        for &part in &parts[1..] {
            sum = g.add(sum, part, name);
        }
        if self.gated {
            let module = name / "se";
            let gate = Gate::new(g.channels(sum) / 16);
            sum = gate.apply(g, sum, [&(&module / "reduce"), &(&module / "expand")]);
        }
        g.relu(sum)
    }
}
