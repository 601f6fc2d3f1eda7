//! UPerNet (Xiao et al. 2018, arXiv:1807.10221): a pyramid of means on the last map, and an FPN of all from
//! stride 4 on, side by side at the end.

use segmenta_graph::{Builder, Conv2d, Filter, Node, Scope};

use super::blocks::{conv_relu, pyramid, read_norm};
use super::{Decoder, Head, Plan, extent};
use crate::settings::{Channels, Norm};

pub(crate) static UPERNET: Decoder = Decoder {
    settings: &["decoder_channels", "decoder_use_norm", "upsampling"],
    head: Head::Window(1),
    ..Decoder::plain(build, |settings, shape_of| {
        let width = extent(shape_of, "decoder.fusion_block.0.weight", 0);
        settings.decoder_channels = width.map(Channels::One);
        settings.decoder_use_norm = read_norm(shape_of, "decoder.fusion_block");
        let norm = |i: &usize| shape_of(&format!("decoder.feature_norms.{i}.weight")).is_some();
        let levels = (0..4).take_while(norm).count();
        settings.encoder_depth = (levels > 1).then_some(levels + 1);
    })
};

fn build(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    let width = plan.width(256);
    let (narrow, spread) = (Conv2d::pointwise(width), Conv2d::square(3, width));
    let levels = (2..=plan.depth).filter_map(|level| plan.features.level(level));
    let mut features = Vec::new();
    for (i, feature) in levels.enumerate() {
        features.push(g.layer_norm(feature, &(name / "feature_norms" / i), 1e-6));
    }
    let last = features[features.len() - 1];

    let psp = name / "psp";
    let mut maps = pyramid(g, last, |g, i, _, mean| {
        let module = &psp / "blocks" / i;
        let y = conv_relu(g, &(&module / 1), mean, narrow, plan.norm());
        g.resize_like(y, last, Filter::BILINEAR, &module)
    });
    maps.insert(0, last);
    let all = g.concat(&maps, &psp);
    let mut x = conv_relu(g, &(&psp / "out_conv"), all, spread, Norm::default());

    let mut summed = vec![x];
    for (i, &feature) in features.iter().rev().skip(1).enumerate() {
        let module = name / "fpn_lateral_blocks" / i;
        let lateral = conv_relu(
            g,
            &(&module / "conv_norm_relu"),
            feature,
            narrow,
            plan.norm(),
        );
        let above = g.resize_like(x, lateral, Filter::BILINEAR, &module);
        x = g.add(above, lateral, &module);
        summed.push(x);
    }
    for (i, map) in summed.iter_mut().skip(1).enumerate() {
        *map = conv_relu(
            g,
            &(name / "fpn_conv_blocks" / i),
            *map,
            spread,
            plan.norm(),
        );
    }
    let finest = summed[summed.len() - 1];
    let mut parts = Vec::new();
    for &map in summed.iter().rev() {
        let same = g.same_size(map, finest);
        parts.push(if same {
            map
        } else {
            g.resize_like(map, finest, Filter::BILINEAR, name)
        });
    }
    let all = g.concat(&parts, name);
    conv_relu(g, &(name / "fusion_block"), all, spread, plan.norm())
}
