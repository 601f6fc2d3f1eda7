//! MA-Net (Fan et al. 2020, doi:10.1109/ACCESS.2020.3025372): pixels that look at each other in the
//! middle, and a decoder whose channels are scaled by what encoder and decoder say.

use segmenta_graph::{Builder, Conv2d, Node, Scope};

use super::blocks::{UnetBlock, conv_relu, read_norm, way_up};
use super::unet::read_channels;
use super::{Decoder, Plan, extent};
use crate::gate::Gate;

pub(crate) static MANET: Decoder = Decoder {
    settings: &[
        "decoder_channels",
        "decoder_use_norm",
        "decoder_pab_channels",
        "decoder_interpolation",
    ],
    channels_by_block: true,
    ..Decoder::plain(build, |settings, shape_of| {
        read_channels(settings, shape_of, |i| format!("decoder.blocks.{i}"));
        settings.decoder_use_norm = read_norm(shape_of, "decoder.blocks.0.conv1");
        settings.decoder_pab_channels = extent(shape_of, "decoder.center.top_conv.weight", 0);
    })
};

fn build(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    let pab = plan.settings.decoder_pab_channels.unwrap_or(64);
    let mut x = position_attention(g, &(name / "center"), plan.last(), pab);
    let maps = way_up(g, &plan.features, plan.depth);
    for (i, ((like, skip), &channels)) in maps.iter().zip(plan.each_width()).enumerate() {
        let block = UnetBlock {
            plan,
            name: name / "blocks" / i,
            channels,
        };
        x = match skip.as_deref() {
            Some(&[skip]) => fused(g, &block, x, skip),
            _ => {
                let x = g.resize_like(x, *like, plan.filter(), &block.name);
                block.convs(g, x)
            }
        };
    }
    x
}

/// Each pixel plus what all pixels that are like it hold.
fn position_attention(g: &mut Builder, name: &Scope, x: Node, compared: usize) -> Node {
    let compare = Conv2d::pointwise(compared).with_bias();
    let spread = Conv2d::square(3, g.channels(x)).with_bias();
    let top = g.conv(x, &(name / "top_conv"), compare);
    let center = g.conv(x, &(name / "center_conv"), compare);
    let bottom = g.conv(x, &(name / "bottom_conv"), spread);
    let seen = g.position_attention([center, top, bottom], name);
    let sum = g.add(x, seen, name);
    g.conv(sum, &(name / "out_conv"), spread)
}

/// `x` brought to the skip's channels and size, scaled by what both say, beside the skip, convolved twice.
fn fused(g: &mut Builder, block: &UnetBlock<'_>, x: Node, skip: Node) -> Node {
    const REDUCTION: usize = 16;
    let (plan, name) = (block.plan, &block.name);
    let channels = g.channels(skip);
    let high = name / "hl_conv";
    let x = conv_relu(
        g,
        &(&high / 0),
        x,
        Conv2d::square(3, g.channels(x)),
        plan.norm(),
    );
    let x = conv_relu(g, &(&high / 1), x, Conv2d::pointwise(channels), plan.norm());
    let x = g.resize_like(x, skip, plan.filter(), name);
    let gate = Gate::new(channels / REDUCTION);
    let [low, high] = [("SE_ll", skip), ("SE_hl", x)].map(|(module, map)| {
        let module = name / module;
        gate.scales(g, map, [&(&module / 1), &(&module / 3)])
    });
    let scales = g.add(high, low, name);
    let x = g.mul(x, scales, name);
    let both = g.concat(&[x, skip], name);
    block.convs(g, both)
}
