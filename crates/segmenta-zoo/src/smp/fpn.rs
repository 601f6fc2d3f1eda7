//! FPN for segmentation (Lin et al. 2017, arXiv:1612.03144; Kirillov et al. 2019, arXiv:1901.02446): the
//! encoder's last four maps, each with what coarser ones saw, brought to one size and together.

use segmenta_graph::{Builder, Conv2d, Filter, Node, Scope};

use super::{Decoder, Head, Plan, extent};
use crate::settings::MergePolicy;

pub(crate) static FPN: Decoder = Decoder {
    settings: &[
        "decoder_pyramid_channels",
        "decoder_segmentation_channels",
        "decoder_merge_policy",
        "decoder_dropout",
        "decoder_interpolation",
        "upsampling",
    ],
    refuses: |plan| {
        let lacks = (plan.depth - 3..plan.depth).any(|level| plan.features.level(level).is_none());
        lacks.then(|| {
            let name = plan.encoder.name;
            format!("reads the encoder's last four maps; `{name}` gives so many at depth 5 only")
        })
    },
    head: Head::Window(1),
    ..Decoder::plain(build, |settings, shape_of| {
        settings.decoder_pyramid_channels = extent(shape_of, "decoder.p5.weight", 0);
        let merged = "decoder.seg_blocks.0.block.0.block.0.weight";
        settings.decoder_segmentation_channels = extent(shape_of, merged, 0);
        let head = extent(shape_of, "segmentation_head.0.weight", 1);
        if head != settings.decoder_segmentation_channels {
            settings.decoder_merge_policy = Some(MergePolicy::Cat);
        }
    })
};

fn build(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    let settings = plan.settings;
    let width = settings.decoder_pyramid_channels.unwrap_or(256);
    let channels = settings.decoder_segmentation_channels.unwrap_or(128);
    let lateral = Conv2d::pointwise(width).with_bias();

    let mut pyramid = vec![g.conv(plan.last(), &(name / "p5"), lateral)];
    for step in 1..4 {
        let Some(skip) = plan.features.level(plan.depth - step) else {
            break;
        };
        let module = name / format!("p{}", 5 - step);
        let above = pyramid[step - 1];
        let above = g.resize_like(above, skip, plan.filter(), &module);
        let skip = g.conv(skip, &(&module / "skip_conv"), lateral);
        pyramid.push(g.add(above, skip, &module));
    }

    let mut maps = Vec::new();
    for (i, &level) in pyramid.iter().enumerate() {
        let module = name / "seg_blocks" / i / "block";
        let finer = &pyramid[i + 1..];
        let mut x = level;
        for block in 0..finer.len().max(1) {
            let module = &module / block / "block";
            x = g.conv(x, &(&module / 0), Conv2d::square(3, channels));
            x = g.group_norm(x, &(&module / 1), 32, 1e-5);
            x = g.relu(x);
            if let Some(&like) = finer.get(block) {
                x = g.resize_like(x, like, Filter::ALIGNED, &module);
            }
        }
        maps.push(x);
    }
    let merge = name / "merge";
    let x = match settings.decoder_merge_policy.unwrap_or_default() {
        MergePolicy::Cat => g.concat(&maps, &merge),
        MergePolicy::Add => {
            let (&first, rest) = maps.split_first().expect("a pyramid has levels");
            rest.iter().fold(first, |sum, &map| g.add(sum, map, &merge))
        }
    };
    let dropout = settings.decoder_dropout.unwrap_or(0.2);
    g.dropout2d(x, dropout, &(name / "dropout"))
}
