//! U-Net (Ronneberger et al. 2015, arXiv:1505.04597) as segmentation_models_pytorch 0.6 builds it:
//! any encoder; a decoder that enlarges by the nearest pixel, joins what the encoder saw at that size,
//! and convolves twice. A map is enlarged to the size of what it joins, so every input size fits.

use segmenta_graph::{
    Activation, Builder, Conv2d, Filter, Graph, GraphError, InitRule, Node, Scope,
};

use crate::encoder::{Encoder, recognise};
use crate::options::{LabelHead, Options};

/// SMP's channels for five blocks; shallower decoders take the last ones.
const DECODER_CHANNELS: [usize; 5] = [256, 128, 64, 32, 16];

pub(crate) fn build(options: &Options, encoder: &Encoder) -> Result<Graph, GraphError> {
    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let stages = encoder.build(&mut g, &(&root / "encoder"), input);
    let depth = options.encoder_depth;
    let last = stages[depth - 1];
    let channels = match &options.decoder_channels[..] {
        [] => &DECODER_CHANNELS[DECODER_CHANNELS.len() - depth..],
        given => given,
    };

    let rule = g.set_init(InitRule::KaimingUniform);
    let mut x = last;
    let skips = stages[..depth - 1].iter().rev().copied().map(Some);
    for (i, (skip, &channels)) in skips.chain([None]).zip(channels).enumerate() {
        let name = &root / "decoder" / "blocks" / i;
        x = g.resize_like(x, skip.unwrap_or(input), Filter::Nearest, &name);
        if let Some(skip) = skip {
            x = g.concat(&[x, skip], &name);
        }
        if options.attention {
            let scaled = squeeze_excitation(&mut g, &(&name / "attention1" / "attention"), x);
            // SMP has it in the last block, too, and leaves it out there.
            if skip.is_some() {
                x = scaled;
            }
        }
        for part in ["conv1", "conv2"] {
            let (conv, norm) = (&name / part / 0, &name / part / 1);
            x = g.conv_bn_relu(x, &conv, &norm, Conv2d::square(3, channels));
        }
        if options.attention {
            x = squeeze_excitation(&mut g, &(&name / "attention2" / "attention"), x);
        }
    }

    g.set_init(InitRule::XavierUniform);
    let classes = Conv2d::square(3, options.classes).with_bias();
    let logits = g.conv(x, &(&root / "segmentation_head" / 0), classes);
    g.output("out", logits);
    if let Some(LabelHead { classes, dropout }) = options.label {
        let name = &root / "classification_head";
        let mean = g.global_avg_pool(last, &(&name / 0));
        let mean = g.dropout(mean, dropout, &(&name / 2));
        let label = g.linear(mean, &(&name / 3), classes);
        g.output("label", label);
    }
    g.set_init(rule);
    g.finish()
}

/// Spatial and channel squeeze-and-excitation (Roy et al. 2018, arXiv:1803.02579): the map scaled a
/// channel, plus the map scaled a pixel.
fn squeeze_excitation(g: &mut Builder, name: &Scope, x: Node) -> Node {
    const REDUCTION: usize = 16;
    let channels = g.channels(x);
    let (by_channel, by_pixel) = (name / "cSE", name / "sSE");
    let mean = g.global_avg_pool(x, &(&by_channel / 0));
    let squeezed = Conv2d::pointwise((channels / REDUCTION).max(1)).with_bias();
    let y = g.conv(mean, &(&by_channel / 1), squeezed);
    let y = g.relu(y);
    let y = g.conv(
        y,
        &(&by_channel / 3),
        Conv2d::pointwise(channels).with_bias(),
    );
    let y = g.activation(y, Activation::Sigmoid);
    let channels_scaled = g.mul(x, y, &by_channel);
    let y = g.conv(x, &(&by_pixel / 0), Conv2d::pointwise(1).with_bias());
    let y = g.activation(y, Activation::Sigmoid);
    let pixels_scaled = g.mul(x, y, &by_pixel);
    g.add(channels_scaled, pixels_scaled, name)
}

/// What a state dict says of the options with which its network was built.
pub(crate) fn read_options(options: &mut Options, shape_of: &dyn Fn(&str) -> Option<Vec<usize>>) {
    let root = Scope::root();
    options.encoder = recognise(&(&root / "encoder"), shape_of);
    let blocks = (0..5).map_while(|i| {
        let shape = shape_of(&format!("decoder.blocks.{i}.conv1.0.weight"))?;
        shape.first().copied()
    });
    let channels: Vec<usize> = blocks.collect();
    if !channels.is_empty() {
        options.encoder_depth = channels.len();
        options.decoder_channels = channels;
    }
    options.attention = shape_of("decoder.blocks.0.attention1.attention.cSE.1.weight").is_some();
    options.label = shape_of("classification_head.3.weight").map(|shape| LabelHead {
        classes: shape.first().copied().unwrap_or_default(),
        dropout: LabelHead::DROPOUT,
    });
}
