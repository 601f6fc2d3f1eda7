//! PAN (Li et al. 2018, arXiv:1805.10180): the last map gated by a small pyramid of itself, and finer maps
//! gated by what coarser ones say.

use segmenta_graph::{Activation, Builder, Conv2d, Filter, Node, Scope};

use super::blocks::halved;
use super::{Decoder, Plan, extent};
use crate::settings::{Channels, Interpolation};

pub(crate) static PAN: Decoder = Decoder {
    settings: &[
        "encoder_output_stride",
        "decoder_channels",
        "decoder_interpolation",
        "upsampling",
    ],
    output_strides: &[16, 32],
    ..Decoder::plain(build, |settings, shape_of| {
        let width = extent(shape_of, "decoder.fpa.mid.0.conv.weight", 0);
        settings.decoder_channels = width.map(Channels::One);
    })
};

fn build(g: &mut Builder, name: &Scope, plan: &Plan<'_>) -> Node {
    let width = plan.width(32);
    let filter = match plan.settings.decoder_interpolation {
        Some(Interpolation::Nearest) => Filter::Nearest,
        Some(Interpolation::Bilinear) | None => Filter::ALIGNED,
    };
    let mut x = pyramid_attention(g, &(name / "fpa"), plan.last(), width);
    for level in (2..plan.depth).rev() {
        let module = name / format!("gau{}", level - 1);
        let Some(finer) = plan.features.level(level) else {
            continue;
        };
        x = gated(g, &module, finer, x, filter, width);
    }
    x
}

/// A convolution with bias, and a batch norm.
fn conv_bn(g: &mut Builder, name: &Scope, x: Node, window: usize, channels: usize) -> Node {
    let conv = Conv2d::square(window, channels).with_bias();
    g.conv_bn(x, &(name / "conv"), &(name / "bn"), conv)
}

fn conv_bn_relu(g: &mut Builder, name: &Scope, x: Node, window: usize, channels: usize) -> Node {
    let y = conv_bn(g, name, x, window, channels);
    g.relu(y)
}

/// One number a pixel, from three sizes, scales what a 1×1 convolution makes of the map; plus what the whole
/// picture says.
fn pyramid_attention(g: &mut Builder, name: &Scope, x: Node, width: usize) -> Node {
    const FILTER: Filter = Filter::ALIGNED;
    let whole = name / "branch1";
    let mean = g.global_avg_pool(x, &(&whole / 0));
    let mean = conv_bn_relu(g, &(&whole / 1), mean, 1, width);
    let mean = g.resize_like(mean, x, FILTER, &whole);
    let middle = conv_bn_relu(g, &(name / "mid" / 0), x, 1, width);

    let mut down = |module: &str, x: Node, windows: &[usize]| {
        let module = name / module;
        let half = halved(g, x, &(&module / 0));
        windows.iter().zip(1..).fold(half, |x, (&window, i)| {
            conv_bn_relu(g, &(&module / i), x, window, 1)
        })
    };
    let half = down("down1", x, &[7]);
    let quarter = down("down2", half, &[5]);
    let eighth = down("down3", quarter, &[3, 3]);
    let up = g.resize_like(eighth, quarter, FILTER, name);
    let quarter = conv_bn_relu(g, &(name / "conv2"), quarter, 5, 1);
    let up = g.add(quarter, up, name);
    let up = g.resize_like(up, half, FILTER, name);
    let half = conv_bn_relu(g, &(name / "conv1"), half, 7, 1);
    let up = g.add(up, half, name);
    let up = g.resize_like(up, x, FILTER, name);
    let scaled = g.mul(middle, up, name);
    g.add(scaled, mean, name)
}

/// The finer map scaled by what the coarser says, plus the coarser, enlarged.
fn gated(
    g: &mut Builder,
    name: &Scope,
    finer: Node,
    coarser: Node,
    filter: Filter,
    width: usize,
) -> Node {
    let up = g.resize_like(coarser, finer, filter, name);
    let mean = g.global_avg_pool(coarser, &(name / "conv1" / 0));
    let gate = conv_bn(g, &(name / "conv1" / 1), mean, 1, width);
    let gate = g.activation(gate, Activation::Sigmoid);
    let y = conv_bn_relu(g, &(name / "conv2"), finer, 3, width);
    let y = g.mul(y, gate, name);
    g.add(up, y, name)
}
