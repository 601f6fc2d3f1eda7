//! Xception (Chollet 2016, arXiv:1610.02357) in the form of R. Cadene's pretrained models: residual
//! blocks of depthwise separable convolutions.

use segmenta_graph::{Builder, Conv2d, Node, Pool2d, Scope};

use super::{Encoder, Family, Features, Site, Traits};

pub(crate) static FAMILY: Family = Family {
    name: "Xception (Chollet 2016)",
    entry: "block1.skip.weight",
    encoders: &[Encoder::new("xception", encode)],
    traits: Traits {
        dilates: false,
        ..Traits::PLAIN
    },
};

fn encode(g: &mut Builder, site: &Site<'_>) -> Features {
    let name = site.name;
    let layer = |i: usize| (name / format!("conv{i}"), name / format!("bn{i}"));
    let (conv, norm) = layer(1);
    let x = g.conv_bn_relu(site.input, &conv, &norm, Conv2d::square(3, 32).stride(2));
    let (conv, norm) = layer(2);
    let mut x = g.conv_bn_relu(x, &conv, &norm, Conv2d::square(3, 64));
    let mut maps = [x; 5];
    for index in 1..=12 {
        let (channels, stride) = match index {
            1 => ([128; 2].to_vec(), 2),
            2 => ([256; 2].to_vec(), 2),
            3 => ([728; 2].to_vec(), 2),
            12 => (vec![728, 1024], 2),
            _ => ([728; 3].to_vec(), 1),
        };
        x = block(
            g,
            &(name / format!("block{index}")),
            x,
            &channels,
            stride,
            index > 1,
        );
        match index {
            1 | 2 => maps[index] = x,
            11 => maps[3] = x,
            _ => {}
        }
    }
    let (conv, norm) = layer(3);
    x = separable(g, &conv, x, 1536);
    x = g.batch_norm(x, &norm);
    x = g.relu(x);
    let (conv, norm) = layer(4);
    x = separable(g, &conv, x, 2048);
    maps[4] = g.batch_norm(x, &norm);
    Features::new(site.input, maps)
}

/// Separable convolutions, ReLUs before them (before the first only where `relu_first` says so), and a
/// pool that halves; plus the input, which a 1×1 convolution fits to it.
fn block(
    g: &mut Builder,
    name: &Scope,
    x: Node,
    channels: &[usize],
    stride: usize,
    relu_first: bool,
) -> Node {
    let fit = (stride != 1).then(|| {
        let last = channels[channels.len() - 1];
        let fit = Conv2d::pointwise(last).stride(stride);
        g.conv_bn(x, &(name / "skip"), &(name / "skipbn"), fit)
    });
    let (mut y, mut index) = (x, 0);
    for (i, &channels) in channels.iter().enumerate() {
        if i > 0 || relu_first {
            y = g.relu(y);
            index += 1;
        }
        y = separable(g, &(name / "rep" / index), y, channels);
        y = g.batch_norm(y, &(name / "rep" / (index + 1)));
        index += 2;
    }
    if stride != 1 {
        let pool = Pool2d::square(3).stride(stride).padding(1);
        y = g.max_pool(y, &(name / "rep" / index), pool);
    }
    g.add(y, fit.unwrap_or(x), name)
}

/// A 3×3 convolution a channel, then a 1×1.
fn separable(g: &mut Builder, name: &Scope, x: Node, channels: usize) -> Node {
    let before = g.channels(x);
    let depthwise = Conv2d::square(3, before).depthwise(before);
    let y = g.conv(x, &(name / "conv1"), depthwise);
    g.conv(y, &(name / "pointwise"), Conv2d::pointwise(channels))
}
