//! What rounding weights adds to a layer's output on average, taken off its bias (Nagel et al. 2019,
//! arXiv:1906.04721, section 4.2, with means that were seen).

use segmenta_graph::{Graph, Node, Op};

use crate::chain::Readers;
use crate::observations::Observations;
use crate::weights::Parameters;

/// Corrects the bias of a layer whose weights were rounded from `before`, or the shift of its batch norm; layers that
/// have neither, or read what was not seen, stay as they are. Edges are taken for the inside of the picture.
///
/// Gives the largest correction over the output's scale, as far as the batch norm says one; 0 if there was none.
pub fn correct_biases(
    graph: &Graph,
    parameters: &mut Parameters,
    seen: &Observations,
    layer: Node,
    before: &[f32],
) -> f32 {
    let data = graph.node(layer);
    let Some(means) = seen.means(graph, data.inputs[0]) else {
        return 0.0;
    };
    let groups = match data.op {
        Op::Conv2d(conv) => conv.groups,
        _ => 1,
    };
    let rounded = parameters.get(data.parameters[0]);
    let (outs, per_group) = (data.channels, means.len() / groups);
    let of_a_channel = rounded.len() / outs;
    let taps = of_a_channel / per_group;
    let shift: Vec<f64> = (0..outs)
        .map(|out| {
            let first = out / (outs / groups) * per_group;
            let range = out * of_a_channel..(out + 1) * of_a_channel;
            let pairs = rounded[range.clone()].iter().zip(&before[range]);
            let errors = pairs.enumerate().map(|(at, (after, before))| {
                f64::from(after - before) * f64::from(means[first + at / taps])
            });
            errors.sum()
        })
        .collect();
    let norm = Readers::of(graph).layer(graph, layer).norm;
    let mut largest = 0.0_f32;
    if let Some(norm) = norm {
        let data = graph.node(norm);
        let Op::BatchNorm(own) = data.op else {
            unreachable!("a batch norm")
        };
        let scale = parameters.get(data.parameters[0]).to_vec();
        let variance = parameters.get(data.parameters[3]).to_vec();
        let bias = parameters.get_mut(data.parameters[1]);
        for channel in 0..outs {
            let factor = f64::from(scale[channel])
                / (f64::from(variance[channel]) + f64::from(own.eps)).sqrt();
            bias[channel] -= (shift[channel] * factor) as f32;
            largest = largest.max((shift[channel] * factor).abs() as f32);
        }
    } else if let Some(&id) = data.parameters.get(1) {
        for (bias, shift) in parameters.get_mut(id).iter_mut().zip(&shift) {
            *bias -= *shift as f32;
            largest = largest.max(shift.abs() as f32);
        }
    }
    largest
}
