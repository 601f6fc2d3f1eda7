//! FCN (Long et al. 2015, arXiv:1411.4038) as the paper and the tutorials have it: scores of a
//! ResNet's stages, enlarged by transposed convolutions that begin as bilinear interpolation. What
//! they give beyond the picture is cut off.

use segmenta_graph::{Builder, Conv2d, ConvTranspose2d, Graph, GraphError, InitRule, Node, Scope};

use crate::encoders::resnet::{self, RESNET18, RESNET34};
use crate::options::Options;

/// FCN-32s: the scores of the last stage, enlarged at once.
pub(crate) fn resnet18_stride32(options: &Options) -> Result<Graph, GraphError> {
    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let [.., last] = resnet::strided(&mut g, &(&root / "backbone"), input, RESNET18);
    let x = scores(&mut g, &(&root / "score"), last, options);
    let up = ConvTranspose2d::upsample(32, options.classes).with_bias();
    let x = enlarged(&mut g, &(&root / "up"), x, input, up);
    g.output("out", x);
    g.finish()
}

/// FCN-8s: the scores of three stages, each enlarged to the one before and added to it.
pub(crate) fn resnet34_stride8(options: &Options) -> Result<Graph, GraphError> {
    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let stages = resnet::strided(&mut g, &(&root / "backbone"), input, RESNET34);
    let twice = ConvTranspose2d::upsample(2, options.classes);
    let mut x = scores(&mut g, &(&root / "score32"), stages[4], options);
    for (stage, stride) in [(stages[3], 16), (stages[2], 8)] {
        let name = &root / format!("score{stride}");
        let seen = scores(&mut g, &name, stage, options);
        let up = &root / format!("up{}", 2 * stride);
        x = enlarged(&mut g, &up, x, seen, twice);
        x = g.add(x, seen, &name);
    }
    let up = ConvTranspose2d::upsample(8, options.classes);
    let x = enlarged(&mut g, &(&root / "up8"), x, input, up);
    g.output("out", x);
    g.finish()
}

fn scores(g: &mut Builder, name: &Scope, x: Node, options: &Options) -> Node {
    g.conv(x, name, Conv2d::pointwise(options.classes).with_bias())
}

fn enlarged(g: &mut Builder, name: &Scope, x: Node, like: Node, up: ConvTranspose2d) -> Node {
    let rule = g.set_init(InitRule::Bilinear);
    let x = g.conv_transpose(x, name, up);
    g.set_init(rule);
    g.fit_like(x, like, name)
}
