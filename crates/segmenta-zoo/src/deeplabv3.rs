//! DeepLabV3 (Chen et al. 2017, arXiv:1706.05587) as torchvision builds it: a dilated encoder,
//! atrous spatial pyramid pooling at rates 12, 24 and 36, and logits resized to the input.

use segmenta_graph::{Builder, Conv2d, Graph, GraphError, Node, Scope};

use crate::aspp::Aspp;
use crate::encoders::mobilenet_v3;
use crate::encoders::resnet::{self, ResNet};
use crate::fcn::{auxiliary, output};
use crate::options::Options;

const ATROUS_RATES: [usize; 3] = [12, 24, 36];
const WIDTH: usize = 256;

pub(crate) fn resnet50(options: &Options) -> Result<Graph, GraphError> {
    with_resnet(options, resnet::RESNET50)
}

pub(crate) fn resnet101(options: &Options) -> Result<Graph, GraphError> {
    with_resnet(options, resnet::RESNET101)
}

fn with_resnet(options: &Options, net: ResNet) -> Result<Graph, GraphError> {
    build(options, |g, backbone, input| {
        let [.., layer3, layer4] = resnet::dilated(g, backbone, input, net);
        [layer3, layer4]
    })
}

pub(crate) fn mobilenet_v3_large(options: &Options) -> Result<Graph, GraphError> {
    build(options, |g, backbone, input| {
        let stages = mobilenet_v3::dilated_large(g, backbone, input);
        [stages.low, stages.high]
    })
}

/// `encoder` gives the map for the auxiliary head and the last one.
fn build(
    options: &Options,
    encoder: impl Fn(&mut Builder, &Scope, Node) -> [Node; 2],
) -> Result<Graph, GraphError> {
    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let [early, last] = encoder(&mut g, &(&root / "backbone"), input);
    let logits = head(&mut g, &(&root / "classifier"), last, options.classes);
    output(&mut g, "out", logits, input);
    if options.aux {
        auxiliary(&mut g, early, input, options.classes);
    }
    g.finish()
}

fn head(g: &mut Builder, name: &Scope, x: Node, classes: usize) -> Node {
    let pyramid = Aspp {
        width: WIDTH,
        rates: ATROUS_RATES,
        separable: false,
        dropout: 0.5,
    };
    let x = pyramid.build(g, &(name / 0), x);
    let x = g.conv_bn_relu(x, &(name / 1), &(name / 2), Conv2d::square(3, WIDTH));
    g.conv(x, &(name / 4), Conv2d::pointwise(classes).with_bias())
}
