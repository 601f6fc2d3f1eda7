//! PSPNet (Zhao et al. 2016, arXiv:1612.01105): a shallow encoder's last map beside its means over grids of
//! windows.

use segmenta_graph::{Builder, Conv2d, Filter, Node, Scope};

use super::blocks::{conv_relu, pyramid, read_norm};
use super::{Decoder, Plan, extent};
use crate::settings::NormKind;

pub(crate) static PSPNET: Decoder = Decoder {
    settings: &[
        "psp_out_channels",
        "psp_dropout",
        "decoder_use_norm",
        "upsampling",
    ],
    depth: 3,
    ..Decoder::plain(build, |settings, shape_of| {
        settings.decoder_use_norm = read_norm(shape_of, "decoder.conv");
        settings.psp_out_channels = extent(shape_of, "decoder.conv.0.weight", 0);
    })
};

fn build(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    let x = plan.last();
    let quarter = Conv2d::pointwise(g.channels(x) / 4);
    let psp = name / "psp";
    let mut maps = pyramid(g, x, |g, i, grid, mean| {
        let module = &psp / "blocks" / i / "pool";
        // One value has no variance to norm by.
        let norm = if grid == 1 {
            NormKind::Identity.into()
        } else {
            plan.norm()
        };
        let y = conv_relu(g, &(&module / 1), mean, quarter, norm);
        g.resize_like(y, x, Filter::ALIGNED, &module)
    });
    maps.push(x);
    let all = g.concat(&maps, &psp);
    let out = Conv2d::pointwise(plan.settings.psp_out_channels.unwrap_or(512));
    let y = conv_relu(g, &(name / "conv"), all, out, plan.norm());
    let dropout = plan.settings.psp_dropout.unwrap_or(0.2);
    g.dropout2d(y, dropout, &(name / "dropout"))
}
