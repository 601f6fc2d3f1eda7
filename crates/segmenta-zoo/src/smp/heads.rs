//! What stands on a decoder: logits for each pixel; and on an encoder: a class for the whole picture.

use segmenta_graph::{Activation, Builder, Conv2d, Filter, Node, Scope};

use super::Plan;
use crate::settings::{LabelHead, OutputActivation, Pooling};

/// A convolution to the classes, enlarged to the input, or as much as asked for.
pub(super) fn segmentation(
    g: &mut Builder,
    x: Node,
    plan: &Plan<'_>,
    window: usize,
    classes: usize,
) -> Node {
    let name = Scope::root() / "segmentation_head";
    let conv = Conv2d::square(window, classes).with_bias();
    let logits = g.conv(x, &(&name / 0), conv);
    let logits = enlarged(g, logits, plan, &(&name / 1));
    activated(g, logits, plan.settings.activation, &(&name / 2))
}

/// Logits as large as the input, or as many times larger as the settings say.
pub(super) fn enlarged(g: &mut Builder, logits: Node, plan: &Plan<'_>, name: &Scope) -> Node {
    match plan.settings.upsampling {
        None if g.same_size(logits, plan.input) => logits,
        None => g.resize_like(logits, plan.input, Filter::ALIGNED, name),
        Some(1) => logits,
        Some(factor) => g.upsample(logits, factor, Filter::ALIGNED, name),
    }
}

/// Each channel's mean or maximum, and a linear layer.
pub(super) fn classification(g: &mut Builder, x: Node, head: LabelHead) -> Node {
    let name = Scope::root() / "classification_head";
    let pooled = match head.pooling {
        Pooling::Avg => g.global_avg_pool(x, &(&name / 0)),
        Pooling::Max => g.global_max_pool(x, &(&name / 0)),
    };
    let pooled = g.dropout(pooled, head.dropout, &(&name / 2));
    let label = g.linear(pooled, &(&name / 3), head.classes);
    activated(g, label, head.activation, &(&name / 4))
}

/// What follows logits.
pub(super) fn activated(
    g: &mut Builder,
    x: Node,
    activation: Option<OutputActivation>,
    name: &Scope,
) -> Node {
    let channels = g.channels(x);
    match activation {
        None | Some(OutputActivation::Identity) => x,
        Some(OutputActivation::Sigmoid) => g.activation(x, Activation::Sigmoid),
        Some(OutputActivation::Tanh) => g.activation(x, Activation::Tanh),
        Some(OutputActivation::Softmax) => g.softmax(x, channels, false, name),
        Some(OutputActivation::LogSoftmax) => g.softmax(x, channels, true, name),
    }
}
