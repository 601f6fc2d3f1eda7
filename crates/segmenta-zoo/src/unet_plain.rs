//! U-Net (Ronneberger et al. 2015, arXiv:1505.04597) without a trained encoder, as tutorials build
//! it: padded 3×3 convolutions with batch norm, two at each size, 64 channels to 1024. What comes up
//! is enlarged bilinearly, or by a transposed convolution that halves its channels.

use segmenta_graph::{
    Builder, Conv2d, ConvTranspose2d, Filter, Graph, GraphError, Node, Pool2d, Scope,
};

use crate::options::Options;

const CHANNELS: [usize; 5] = [64, 128, 256, 512, 1024];

/// Enlarges to the size of the skip, exactly twice where it divides; channels stay, and the first
/// convolution after it sees the sum of both.
pub(crate) fn bilinear(options: &Options) -> Result<Graph, GraphError> {
    build(options, |g, name, x, skip| {
        g.resize_like(x, skip, Filter::ALIGNED, name)
    })
}

/// Enlarges twice, with zeros below and right where the skip has a pixel more.
pub(crate) fn transposed(options: &Options) -> Result<Graph, GraphError> {
    build(options, |g, name, x, skip| {
        let twice = ConvTranspose2d::tiles(2, g.channels(x) / 2).with_bias();
        let x = g.conv_transpose(x, name, twice);
        g.fit_like(x, skip, name)
    })
}

fn build(
    options: &Options,
    up: fn(&mut Builder, &Scope, Node, Node) -> Node,
) -> Result<Graph, GraphError> {
    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let mut x = input;
    let mut skips = Vec::new();
    for (i, channels) in CHANNELS.into_iter().enumerate() {
        let name = &root / "encoder" / i;
        if i > 0 {
            skips.push(x);
            x = g.max_pool(x, &(&name / "pool"), Pool2d::square(2));
        }
        x = double_conv(&mut g, &name, x, channels);
    }
    for (i, skip) in skips.into_iter().rev().enumerate() {
        let name = &root / "decoder" / i;
        let channels = g.channels(skip);
        x = up(&mut g, &(&name / "up"), x, skip);
        x = g.concat(&[skip, x], &name);
        x = double_conv(&mut g, &name, x, channels);
    }
    let classes = Conv2d::pointwise(options.classes).with_bias();
    let logits = g.conv(x, &(&root / "head"), classes);
    g.output("out", logits);
    g.finish()
}

fn double_conv(g: &mut Builder, name: &Scope, mut x: Node, channels: usize) -> Node {
    for i in 1..=2 {
        let (conv, norm) = (name / format!("conv{i}"), name / format!("norm{i}"));
        x = g.conv_bn_relu(x, &conv, &norm, Conv2d::square(3, channels));
    }
    x
}
