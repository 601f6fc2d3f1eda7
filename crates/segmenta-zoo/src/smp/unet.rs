//! U-Net (Ronneberger et al. 2015, arXiv:1505.04597): a decoder that enlarges, joins what the encoder saw
//! at that size, and convolves twice.

use segmenta_graph::{Builder, Node, Scope};

use super::blocks::{UnetBlock, center, read_norm, way_up};
use super::{Decoder, Plan, ShapeOf, extent};
use crate::settings::{Attention, Channels, Settings};

pub(crate) static UNET: Decoder = Decoder {
    settings: &[
        "decoder_channels",
        "decoder_use_norm",
        "decoder_attention_type",
        "decoder_interpolation",
    ],
    channels_by_block: true,
    ..Decoder::plain(build, |settings, shape_of| {
        read_channels(settings, shape_of, |i| format!("decoder.blocks.{i}"));
        let gate = "decoder.blocks.0.attention1.attention.cSE.1.weight";
        settings.decoder_attention_type = shape_of(gate).map(|_| Attention::Scse);
        settings.decoder_use_norm = read_norm(shape_of, "decoder.blocks.0.conv1");
    })
};

fn build(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    let mut x = center(g, name, plan);
    let maps = way_up(g, &plan.features, plan.depth);
    for (i, ((like, skip), &channels)) in maps.iter().zip(plan.each_width()).enumerate() {
        let block = UnetBlock {
            plan,
            name: name / "blocks" / i,
            channels,
        };
        x = block.build(g, x, *like, skip.as_deref());
    }
    x
}

/// Depth and channels of blocks whose names `block` gives.
pub(super) fn read_channels(
    settings: &mut Settings,
    shape_of: ShapeOf<'_>,
    block: impl Fn(usize) -> String,
) {
    let of = |i| extent(shape_of, &format!("{}.conv1.0.weight", block(i)), 0);
    let channels: Vec<usize> = (0..5).map_while(of).collect();
    if !channels.is_empty() {
        settings.encoder_depth = Some(channels.len());
        settings.decoder_channels = Some(Channels::Each(channels));
    }
}
