//! LR-ASPP (Howard et al. 2019, arXiv:1905.02244) as torchvision builds it: MobileNetV3-Large at
//! stride 16, its channels gated by the whole picture, plus scores of an earlier stage.

use segmenta_graph::{Activation, Builder, Conv2d, Filter, Graph, GraphError, Scope};

use crate::encoders::mobilenet_v3;
use crate::fcn::output;
use crate::options::Options;

pub(crate) fn mobilenet_v3_large(options: &Options) -> Result<Graph, GraphError> {
    const WIDTH: usize = 128;
    let root = Scope::root();
    let (mut g, input) = Builder::new(options.in_channels);
    let stages = mobilenet_v3::dilated_large(&mut g, &(&root / "backbone"), input);

    let head = &root / "classifier";
    let (cbr, scale) = (&head / "cbr", &head / "scale");
    let x = g.conv_bn_relu(
        stages.high,
        &(&cbr / 0),
        &(&cbr / 1),
        Conv2d::pointwise(WIDTH),
    );
    let gate = g.global_avg_pool(stages.high, &(&scale / 0));
    let gate = g.conv(gate, &(&scale / 1), Conv2d::pointwise(WIDTH));
    let gate = g.activation(gate, Activation::Sigmoid);
    let x = g.mul(x, gate, &head);
    let x = g.resize_like(x, stages.low, Filter::BILINEAR, &head);

    let classes = Conv2d::pointwise(options.classes).with_bias();
    let low = g.conv(stages.low, &(&head / "low_classifier"), classes);
    let high = g.conv(x, &(&head / "high_classifier"), classes);
    let logits = g.add(low, high, &head);
    output(&mut g, "out", logits, input);
    g.finish()
}
