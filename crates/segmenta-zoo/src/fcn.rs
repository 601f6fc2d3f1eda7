//! FCN (Long et al. 2015, arXiv:1411.4038) as torchvision builds it: a dilated ResNet, a head of
//! one 3×3 convolution, and logits resized bilinearly to the input.

use segmenta_graph::{Builder, Conv2d, Filter, Graph, GraphError, Node, Scope};

use crate::encoders::resnet::{self, ResNet};
use crate::options::Options;

pub(crate) fn resnet50(options: &Options) -> Result<Graph, GraphError> {
    build(options, resnet::RESNET50)
}

pub(crate) fn resnet101(options: &Options) -> Result<Graph, GraphError> {
    build(options, resnet::RESNET101)
}

fn build(options: &Options, net: ResNet) -> Result<Graph, GraphError> {
    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let stages = resnet::dilated(&mut g, &(&root / "backbone"), input, net);
    let logits = head(&mut g, &(&root / "classifier"), stages[4], options.classes);
    output(&mut g, "out", logits, input);
    if options.aux {
        auxiliary(&mut g, stages[3], input, options.classes);
    }
    g.finish()
}

/// 3×3 convolution to a quarter of the channels, dropout, 1×1 convolution to the classes.
pub(crate) fn head(g: &mut Builder, name: &Scope, x: Node, classes: usize) -> Node {
    let inner = Conv2d::square(3, g.channels(x) / 4);
    let x = g.conv_bn_relu(x, &(name / 0), &(name / 1), inner);
    let x = g.dropout(x, 0.1, &(name / 3));
    g.conv(x, &(name / 4), Conv2d::pointwise(classes).with_bias())
}

/// torchvision's auxiliary head on an earlier stage: result `aux`, weights `aux_classifier.*`.
pub(crate) fn auxiliary(g: &mut Builder, x: Node, input: Node, classes: usize) {
    let logits = head(g, &(&Scope::root() / "aux_classifier"), x, classes);
    output(g, "aux", logits, input);
}

/// Logits resized to the input, as a named result.
pub(crate) fn output(g: &mut Builder, name: &str, logits: Node, input: Node) {
    let logits = g.resize_like(logits, input, Filter::BILINEAR, &(&Scope::root() / name));
    g.output(name, logits);
}
