//! What is kept between the passes.

use std::collections::BTreeMap;

use burn::tensor::Tensor;

use super::numbers::values_of;

/// A stretch of the network on a tape of its own: all of it, or one node.
#[derive(Debug, Default)]
pub(super) struct Piece {
    /// The one node, if it is one.
    node: Option<usize>,
    /// What it begins with, by node; nothing if it begins with the network's input.
    inputs: Vec<(usize, Tensor<4>)>,
    parameters: BTreeMap<usize, Tensor<1>>,
    /// What it ends with, by node.
    outputs: Vec<(usize, Tensor<4>)>,
}

/// The gradients that one piece found.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) inputs: Vec<Tensor<4>>,
    pub(super) parameters: Vec<Tensor<1>>,
}

impl Piece {
    /// Says that it is this node alone.
    pub(super) fn of(self, node: usize) -> Self {
        Self {
            node: Some(node),
            ..self
        }
    }

    pub(super) fn node(&self) -> Option<usize> {
        self.node
    }

    /// Begins with the value of a node.
    pub(super) fn leaf(&mut self, node: usize, value: Tensor<4>) -> Tensor<4> {
        let leaf = value.require_grad();
        self.inputs.push((node, leaf.clone()));
        leaf
    }

    /// A parameter, on the tape if it learns.
    pub(super) fn parameter(
        &mut self,
        index: usize,
        values: &Tensor<1>,
        trains: bool,
    ) -> Tensor<1> {
        let leaf = || values.clone().autodiff().set_require_grad(trains);
        self.parameters.entry(index).or_insert_with(leaf).clone()
    }

    /// Ends with the value of a node.
    pub(super) fn output(&mut self, node: usize, value: Tensor<4>) {
        self.outputs.push((node, value));
    }

    /// From the gradients of its ends to those of its beginnings and parameters.
    pub(super) fn backward(self, gradients: &mut Gradients) -> Made {
        let mut made = Made::default();
        let products = self.outputs.into_iter().filter_map(|(node, y)| {
            let gradient = gradients.of_nodes.remove(&node)?;
            y.is_tracked().then(|| (y * gradient).sum())
        });
        let Some(sum) = products.reduce(|a, b| a + b) else {
            return made;
        };
        let mut tape = sum.backward();
        for (node, leaf) in self.inputs {
            if let Some(gradient) = leaf.grad_remove(&mut tape) {
                made.inputs.push(gradient.clone());
                gradients.add(node, gradient);
            }
        }
        for (index, leaf) in self.parameters {
            if let Some(gradient) = leaf.grad_remove(&mut tape) {
                made.parameters.push(gradient.clone());
                gradients.add_parameter(index, gradient);
            }
        }
        made
    }
}

/// Gradients found so far.
#[derive(Debug, Default)]
pub(super) struct Gradients {
    of_nodes: BTreeMap<usize, Tensor<4>>,
    of_parameters: BTreeMap<usize, Tensor<1>>,
}

impl Gradients {
    /// Adds to the gradient of a node's value.
    pub(super) fn add(&mut self, node: usize, gradient: Tensor<4>) {
        add(&mut self.of_nodes, node, gradient);
    }

    fn add_parameter(&mut self, index: usize, gradient: Tensor<1>) {
        add(&mut self.of_parameters, index, gradient);
    }

    pub(super) fn of_parameters(self) -> Vec<(usize, Tensor<1>)> {
        self.of_parameters.into_iter().collect()
    }
}

fn add<const D: usize>(all: &mut BTreeMap<usize, Tensor<D>>, at: usize, gradient: Tensor<D>) {
    let sum = match all.remove(&at) {
        Some(before) => before + gradient,
        None => gradient,
    };
    all.insert(at, sum);
}

/// The first NaN or infinity among values, which are read back: devices differ in what they tell of NaNs.
pub(super) fn first_not_finite<const D: usize>(values: &Tensor<D>) -> Result<Option<f32>, String> {
    let values = values_of(values.clone().inner())?;
    Ok(values.into_iter().find(|value| !value.is_finite()))
}
