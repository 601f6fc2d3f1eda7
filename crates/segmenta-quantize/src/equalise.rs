//! Channels evened out between two layers.
//!
//! A value has one range for all of its channels, and a channel that is small in it is stored in few numbers. Where a
//! layer's output is read by one convolution alone, and what lies between is as large again when its input is, a
//! channel can be made larger there and the weights that read it smaller, and the network computes the same (Nagel et
//! al. 2019, arXiv:1906.04721). It matters where convolutions are depthwise: there weights have a scale for each channel
//! anyhow, and the outputs of channels differ most.

use segmenta_graph::{Activation, Graph, Node, Op};

use crate::chain::{Layer, Readers};
use crate::observations::Observations;
use crate::weights::Parameters;

/// What was evened out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Equalised {
    /// Pairs of layers, one of them depthwise, that may be.
    pub candidates: usize,
    /// Pairs that were: those whose value was seen.
    pub pairs: usize,
    /// Pairs that could not be, for the non-linearity between them.
    pub others: usize,
}

/// Where values are clipped, what was not seen may be so much larger than what was and is clipped no earlier.
const UNSEEN: f32 = 1.5;

/// A channel is not made more than so many times as large: one that was hardly ever seen says little.
const MOST: f32 = 64.0;

/// Evens channels out between pairs of layers of which one is depthwise. ReLU and what is clipped at 6 (within what was
/// seen) allow it; other non-linearities do not.
pub fn equalise(graph: &Graph, parameters: &mut Parameters, seen: &Observations) -> Equalised {
    let readers = Readers::of(graph);
    let mut equalised = Equalised::default();
    for (node, _) in graph.iter() {
        let Some(first) = as_conv(graph, node) else {
            continue;
        };
        let layer = readers.layer(graph, node);
        let Some(second) = readers.only(graph, layer.end) else {
            continue;
        };
        let Some(next) = as_conv(graph, second) else {
            continue;
        };
        let is_pair = next.depthwise || first.depthwise && next.groups == 1;
        if !is_pair {
            continue;
        }
        match layer.activation {
            None | Some(Activation::Relu | Activation::Relu6) => {
                equalised.candidates += 1;
                if let Some(observed) = seen.of(layer.end) {
                    let reach = match layer.activation {
                        Some(Activation::Relu6) => UNSEEN,
                        _ => 1.0,
                    };
                    let extremes = observed.channel_extremes();
                    let factors = factors(graph, parameters, second, next, extremes, reach);
                    scale_outputs(graph, parameters, &layer, &factors);
                    scale_inputs(graph, parameters, second, next, &factors);
                    equalised.pairs += 1;
                }
            }
            Some(_) => equalised.others += 1,
        }
    }
    equalised
}

#[derive(Clone, Copy)]
struct Conv {
    groups: usize,
    depthwise: bool,
}

fn as_conv(graph: &Graph, node: Node) -> Option<Conv> {
    let data = graph.node(node);
    let Op::Conv2d(conv) = data.op else {
        return None;
    };
    let ins = graph.node(data.inputs[0]).channels;
    Some(Conv {
        groups: conv.groups,
        depthwise: conv.groups > 1 && conv.groups == ins && conv.out_channels == ins,
    })
}

/// By how much each channel becomes larger: at least 1, so that nothing leaves the range of the value.
fn factors(
    graph: &Graph,
    parameters: &Parameters,
    second: Node,
    next: Conv,
    extremes: &[[f32; 2]],
    reach: f32,
) -> Vec<f32> {
    let sizes: Vec<f32> = extremes.iter().map(|[low, high]| high.max(-low)).collect();
    let largest = sizes.iter().copied().fold(0.0, f32::max);
    // How much the weights that read a channel matter beside the others of their scale.
    let shares = if next.depthwise {
        vec![1.0; sizes.len()]
    } else {
        let weights = parameters.get(graph.node(second).parameters[0]);
        let taps = weights.len() / (graph.node(second).channels * sizes.len());
        let mut most = vec![0.0_f32; sizes.len()];
        for (at, weight) in weights.iter().enumerate() {
            let channel = at / taps % sizes.len();
            most[channel] = most[channel].max(weight.abs());
        }
        let all = most.iter().copied().fold(0.0, f32::max);
        most.into_iter().map(|most| most / all).collect()
    };
    let each = sizes.iter().zip(&shares);
    let factor = |(&size, &share): (&f32, &f32)| {
        let room = largest / (size * reach);
        // A channel that is larger by this has weights smaller by it: both ends gain alike.
        let wanted = if next.depthwise {
            room
        } else {
            (room * share).sqrt()
        };
        let factor = wanted.min(room).clamp(1.0, MOST);
        if factor.is_finite() { factor } else { 1.0 }
    };
    each.map(factor).collect()
}

/// Makes the channels that a layer gives larger.
fn scale_outputs(graph: &Graph, parameters: &mut Parameters, layer: &Layer, factors: &[f32]) {
    let of = layer.norm.unwrap_or(layer.conv);
    for &id in graph.node(of).parameters.iter().take(2) {
        let values = parameters.get_mut(id);
        let of_a_channel = (values.len() / factors.len()).max(1);
        for (values, factor) in values.chunks_exact_mut(of_a_channel).zip(factors) {
            values.iter_mut().for_each(|value| *value *= factor);
        }
    }
}

/// Makes the weights that read channels smaller.
fn scale_inputs(
    graph: &Graph,
    parameters: &mut Parameters,
    second: Node,
    next: Conv,
    factors: &[f32],
) {
    let data = graph.node(second);
    let weights = parameters.get_mut(data.parameters[0]);
    let per_group = factors.len() / next.groups;
    let taps = weights.len() / (data.channels * per_group);
    for (at, weight) in weights.iter_mut().enumerate() {
        let channel = if next.depthwise {
            at / taps
        } else {
            at / taps % factors.len()
        };
        *weight /= factors[channel];
    }
}
