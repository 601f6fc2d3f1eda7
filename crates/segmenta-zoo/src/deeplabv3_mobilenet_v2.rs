//! DeepLabV3 on MobileNetV2 as TensorFlow's DeepLab model zoo has it
//! (`deeplabv3_mnv2_pascal_trainval_2018_01_29`): output stride 8, no atrous branches, and logits
//! resized with aligned corners. The encoder carries torchvision's names.

use segmenta_graph::{Builder, Conv2d, Filter, Graph, GraphError, Node, Scope};

use crate::encoders::mobilenet_v2;
use crate::options::Options;

pub(crate) fn build(options: &Options) -> Result<Graph, GraphError> {
    const WIDTH: usize = 256;
    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let x = mobilenet_v2::dilated_features(&mut g, &(&root / "features"), input, options.width);

    let conv_relu = |g: &mut Builder, x: Node, name: &str| {
        let y = g.conv(x, &(&root / name), Conv2d::pointwise(WIDTH).with_bias());
        g.relu(y)
    };
    let mean = g.global_avg_pool(x, &(&root / "image_pooling"));
    let mean = conv_relu(&mut g, mean, "image_pooling");
    let mean = g.resize_like(mean, x, Filter::ALIGNED, &(&root / "image_pooling"));
    let local = conv_relu(&mut g, x, "aspp0");
    let both = g.concat(&[mean, local], &(&root / "concat"));
    let y = conv_relu(&mut g, both, "concat_projection");
    let classes = Conv2d::pointwise(options.classes).with_bias();
    let logits = g.conv(y, &(&root / "logits"), classes);
    let logits = g.resize_like(logits, input, Filter::ALIGNED, &(&root / "out"));
    g.output("out", logits);
    g.finish()
}
