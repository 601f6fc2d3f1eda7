//! DPT (Ranftl et al. 2021, arXiv:2103.13413): maps of several blocks of a plain transformer, brought to four
//! sizes, and fused from the smallest on.

use segmenta_graph::{Activation, Builder, Conv2d, ConvTranspose2d, Filter, InitRule, Node, Scope};

use super::{Decoder, Head, Plan, extent, heads};
use crate::encoders::TransformerBlock;
use crate::settings::Readout;

pub(crate) static DPT: Decoder = Decoder {
    settings: &[
        "encoder_output_indices",
        "decoder_readout",
        "decoder_intermediate_channels",
        "decoder_fusion_channels",
    ],
    depth: 4,
    depths: 1..=4,
    on_transformer: true,
    default_encoder: "tu-vit_base_patch16_224.augreg_in21k",
    refuses,
    head: Head::Whole(head),
    ..Decoder::plain(build, |settings, shape_of| {
        let of = |i| {
            let name = format!("decoder.reassemble_blocks.{i}.project_to_out_channel.weight");
            extent(shape_of, &name, 0)
        };
        let channels: Vec<usize> = (0..4).map_while(of).collect();
        if !channels.is_empty() {
            settings.encoder_depth = Some(channels.len());
            settings.decoder_intermediate_channels = Some(channels);
        }
        let fused = "decoder.fusion_blocks.0.project.weight";
        settings.decoder_fusion_channels = extent(shape_of, fused, 0);
        if shape_of("decoder.projection_blocks.0.project.0.weight").is_none() {
            settings.decoder_readout = Some(Readout::Ignore);
        }
    })
};

const CHANNELS: [usize; 4] = [256, 512, 1024, 1024];

fn refuses(plan: &Plan<'_>) -> Option<String> {
    let (settings, depth) = (plan.settings, plan.depth);
    let channels = settings.decoder_intermediate_channels.as_ref();
    let blocks = plan.features.blocks.len();
    let indices = settings.encoder_output_indices.as_ref();
    if let Some(channels) = channels.filter(|c| c.len() != depth) {
        let given = channels.len();
        return Some(format!(
            "takes {depth} decoder_intermediate_channels, not {given}"
        ));
    }
    if let Some(indices) = indices.filter(|i| i.len() != depth) {
        let given = indices.len();
        return Some(format!("takes {depth} encoder_output_indices, not {given}"));
    }
    let beyond = indices?.iter().find(|&&index| index >= blocks)?;
    Some(format!(
        "reads blocks 0 to {}; there is no block {beyond}",
        blocks - 1
    ))
}

/// The blocks that are read: evenly from the first to the last, unless the settings say which.
pub(super) fn read_blocks(plan: &Plan<'_>) -> Vec<TransformerBlock> {
    let blocks = &plan.features.blocks;
    match &plan.settings.encoder_output_indices {
        Some(indices) => indices.iter().map(|&index| blocks[index]).collect(),
        None if blocks.is_empty() => Vec::new(),
        None => (1..=plan.depth)
            .map(|i| blocks[blocks.len() * i / plan.depth - 1])
            .collect(),
    }
}

fn build(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    let settings = plan.settings;
    let channels = settings.decoder_intermediate_channels.as_deref();
    let channels = channels.unwrap_or(&CHANNELS[..plan.depth]);
    let width = settings.decoder_fusion_channels.unwrap_or(256);
    let readout = settings.decoder_readout.unwrap_or_default();

    let blocks = read_blocks(plan);
    let projected: Vec<Node> = blocks
        .iter()
        .enumerate()
        .map(|(i, &block)| with_token(g, &(name / "projection_blocks" / i), block, readout))
        .collect();
    let mut maps = Vec::new();
    for (i, (&map, &channels)) in projected.iter().zip(channels).enumerate() {
        maps.push(reassembled(
            g,
            &(name / "reassemble_blocks" / i),
            map,
            i,
            channels,
            width,
        ));
    }
    let mut fused = None;
    for (i, &map) in maps.iter().rev().enumerate() {
        let name = name / "fusion_blocks" / i;
        let mut x = residual(g, &(&name / "residual_conv_block1"), map);
        if let Some(before) = fused {
            x = g.add(x, before, &name);
        }
        x = residual(g, &(&name / "residual_conv_block2"), x);
        x = match maps.len().checked_sub(i + 2) {
            Some(next) => g.resize_like(x, maps[next], Filter::ALIGNED, &name),
            None => g.upsample(x, 2, Filter::ALIGNED, &name),
        };
        let project = Conv2d::pointwise(width).with_bias();
        fused = Some(g.conv(x, &(&name / "project"), project));
    }
    fused.expect("at least one block is read")
}

/// A block's map with what its class token says.
fn with_token(g: &mut Builder, name: &Scope, block: TransformerBlock, readout: Readout) -> Node {
    let map = block.patches;
    if readout == Readout::Ignore {
        return map;
    }
    let token = g.resize_like(block.token, map, Filter::Nearest, name);
    if readout == Readout::Add {
        return g.add(map, token, name);
    }
    let both = g.concat(&[map, token], name);
    let rule = g.set_init(InitRule::XavierUniform);
    let y = g.linear(both, &(name / "project" / 0), g.channels(map));
    g.set_init(rule);
    g.activation(y, Activation::Gelu)
}

/// Map `index` of the four at stride `4 << index`.
fn reassembled(
    g: &mut Builder,
    name: &Scope,
    x: Node,
    index: usize,
    channels: usize,
    width: usize,
) -> Node {
    let out = Conv2d::pointwise(channels).with_bias();
    let x = g.conv(x, &(name / "project_to_out_channel"), out);
    let up = name / "upsample";
    let x = match index {
        0 | 1 => {
            // SMP leaves transposed convolutions as PyTorch draws them.
            let rule = g.set_init(InitRule::PyTorch);
            let tiles = ConvTranspose2d::tiles(4 >> index, channels).with_bias();
            let x = g.conv_transpose(x, &up, tiles);
            g.set_init(rule);
            x
        }
        2 => x,
        _ => g.conv(x, &up, Conv2d::square(3, channels).stride(2).with_bias()),
    };
    g.conv(
        x,
        &(name / "project_to_feature_dim"),
        Conv2d::square(3, width),
    )
}

/// The map plus what two convolutions make of it.
fn residual(g: &mut Builder, name: &Scope, x: Node) -> Node {
    let conv = Conv2d::square(3, g.channels(x));
    let y = (1..=2).fold(x, |y, i| {
        let y = g.relu(y);
        let (conv_name, norm) = (name / format!("conv_{i}"), name / format!("batch_norm_{i}"));
        g.conv_bn(y, &conv_name, &norm, conv)
    });
    g.add(y, x, name)
}

/// Two convolutions, and logits twice as large as the map; of whole patches, which are cut to the input.
fn head(g: &mut Builder, x: Node, plan: &Plan<'_>, classes: usize) -> Node {
    let name = Scope::root() / "segmentation_head";
    let module = &name / "head";
    let conv = Conv2d::square(3, g.channels(x));
    let y = g.conv_bn_relu(x, &(&module / 0), &(&module / 1), conv);
    let y = g.dropout(y, 0.1, &(&module / 3));
    let y = g.conv(y, &(&module / 4), Conv2d::pointwise(classes).with_bias());
    let y = g.upsample(y, 2, Filter::ALIGNED, &name);
    let y = g.fit_like(y, plan.input, &name);
    heads::activated(g, y, plan.settings.activation, &(&name / "activation"))
}
