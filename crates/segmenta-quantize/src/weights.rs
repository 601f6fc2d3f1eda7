//! A network's parameters, and their weights rounded to 8 bits.

use segmenta_graph::{Graph, Node, ParameterId};
use segmenta_runtime::quantise_weights;

/// The values of a network's parameters, in the graph's order.
#[derive(Clone, Debug)]
pub struct Parameters(Vec<Vec<f32>>);

impl Parameters {
    /// As many as the graph has, each as long as its shape.
    pub fn new(values: Vec<Vec<f32>>) -> Self {
        Self(values)
    }

    /// One of them.
    pub fn get(&self, id: ParameterId) -> &[f32] {
        &self.0[id.index()]
    }

    /// All of them.
    pub fn values(&self) -> &[Vec<f32>] {
        &self.0
    }

    pub(crate) fn get_mut(&mut self, id: ParameterId) -> &mut Vec<f32> {
        &mut self.0[id.index()]
    }
}

/// Rounds the weights of a layer to what 8-bit numbers with a scale an output channel stand for: the numbers and the
/// scales, whose products the parameters then are.
pub fn round_weights(
    graph: &Graph,
    parameters: &mut Parameters,
    layer: Node,
) -> (Vec<i8>, Vec<f32>) {
    let data = graph.node(layer);
    let weights = parameters.get_mut(data.parameters[0]);
    let (numbers, scales) = quantise_weights(weights, data.channels);
    let of_a_channel = (weights.len() / scales.len().max(1)).max(1);
    let rows = weights.chunks_exact_mut(of_a_channel);
    for ((row, numbers), scale) in rows.zip(numbers.chunks_exact(of_a_channel)).zip(&scales) {
        for (weight, &number) in row.iter_mut().zip(numbers) {
            *weight = f32::from(number) * scale;
        }
    }
    (numbers, scales)
}
