//! SegFormer's decoder (Xie et al. 2021, arXiv:2105.15203): every map through a linear layer, all at stride
//! 4 side by side, one 1×1 convolution.

use segmenta_graph::{Builder, Conv2d, Filter, InitRule, Node, Scope};

use super::blocks::conv_relu;
use super::{Decoder, Head, Plan, extent};
use crate::settings::Norm;

pub(crate) static SEGFORMER: Decoder = Decoder {
    settings: &["decoder_segmentation_channels", "upsampling"],
    head: Head::Window(1),
    ..Decoder::plain(build, |settings, shape_of| {
        let fused = "decoder.fuse_stage.0.weight";
        settings.decoder_segmentation_channels = extent(shape_of, fused, 0);
    })
};

fn build(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    let width = plan.settings.decoder_segmentation_channels.unwrap_or(256);
    let like = plan.features.size_of(g, 2);
    let levels = (1..=plan.depth)
        .rev()
        .filter_map(|level| plan.features.level(level));
    let mut parts = Vec::new();
    let rule = g.set_init(InitRule::XavierUniform);
    for (i, map) in levels.enumerate() {
        let module = name / "mlp_stage" / i;
        let y = g.linear(map, &(&module / "linear"), width);
        let same = g.same_size(y, like);
        parts.push(if same {
            y
        } else {
            g.resize_like(y, like, Filter::BILINEAR, &module)
        });
    }
    g.set_init(rule);
    let all = g.concat(&parts, name);
    let fuse = Conv2d::pointwise(width);
    conv_relu(g, &(name / "fuse_stage"), all, fuse, Norm::default())
}
