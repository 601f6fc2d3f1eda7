//! U-Net++ (Zhou et al. 2018, arXiv:1807.10165): between encoder and decoder more decoders, each joined
//! with all maps of its size that are there already.

use segmenta_graph::{Builder, Node, Scope};

use super::blocks::{UnetBlock, center, read_norm};
use super::unet::read_channels;
use super::{Decoder, Plan};
use crate::settings::Attention;

pub(crate) static UNETPLUSPLUS: Decoder = Decoder {
    settings: &[
        "decoder_channels",
        "decoder_use_norm",
        "decoder_attention_type",
        "decoder_interpolation",
    ],
    refuses: |plan| needs_every_level(plan),
    channels_by_block: true,
    ..Decoder::plain(build, |settings, shape_of| {
        read_channels(settings, shape_of, |i| format!("decoder.blocks.x_0_{i}"));
        let gate = "decoder.blocks.x_0_0.attention1.attention.cSE.1.weight";
        settings.decoder_attention_type = shape_of(gate).map(|_| Attention::Scse);
        settings.decoder_use_norm = read_norm(shape_of, "decoder.blocks.x_0_0.conv1");
    })
};

/// Why an encoder without a map at stride 2 does not do.
pub(super) fn needs_every_level(plan: &Plan<'_>) -> Option<String> {
    let lacks = plan.features.level(1).is_none();
    lacks.then(|| {
        let name = plan.encoder.name;
        format!("needs a map at stride 2, which `{name}` does not give")
    })
}

/// Block `x_i_j` enlarges what it gets to the size of level `depth − 1 − j` of the encoder, and joins the
/// maps of the blocks `x_(i+1)_j` to `x_j_j` and the encoder's; `x_0_j` is on the way up.
fn build(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    // In SMP it is there and nobody reads it.
    center(g, name, plan);
    let name = name / "blocks";
    let block_name = |row: usize, column: usize| format!("x_{row}_{column}");
    let last = plan.depth - 1;
    let mut order: Vec<String> = (0..last)
        .flat_map(|column| (0..=column).map(move |row| block_name(row, column)))
        .collect();
    order.push(block_name(0, last));
    let order: Vec<&str> = order.iter().map(String::as_str).collect();
    g.module_order(&name, &order);

    let encoded: Vec<Node> = (0..=plan.depth)
        .rev()
        .filter_map(|level| plan.features.level(level))
        .collect();
    let widths = plan.each_width();
    // The results of each column, from row 0 on, as far as they are there.
    let mut columns: Vec<Vec<Option<Node>>> = (0..last).map(|j| vec![None; j + 1]).collect();
    for distance in 0..last {
        for row in 0..last - distance {
            let column = row + distance;
            let skip = encoded[column + 1];
            let x = if distance == 0 {
                encoded[row]
            } else {
                columns[column - 1][row].unwrap_or(encoded[row])
            };
            let mut beside: Vec<Node> = columns[column][row + 1..]
                .iter()
                .flatten()
                .copied()
                .collect();
            beside.push(skip);
            let block = UnetBlock {
                plan,
                name: &name / block_name(row, column),
                channels: if row == 0 {
                    widths[column]
                } else {
                    g.channels(skip)
                },
            };
            columns[column][row] = Some(block.build(g, x, skip, Some(&beside)));
        }
    }
    let block = UnetBlock {
        plan,
        name: &name / block_name(0, last),
        channels: widths[last],
    };
    let x = columns[last - 1][0].unwrap_or(encoded[0]);
    block.build(g, x, plan.input, None)
}
