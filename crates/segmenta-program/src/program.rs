//! A network as steps over values, for any input size.

use segmenta_graph::Node;
use segmenta_kernels::Isa;
use segmenta_kernels::low::Engine;

use crate::layers::{Layers, Packed};
use crate::place::Placed;
use crate::value::Buffer;
use crate::work::{Step, Work};

/// The steps of the forward pass, and of the backward pass where there is one.
#[derive(Debug)]
pub struct Program {
    pub(crate) buffers: Vec<Buffer>,
    /// From the input to the results.
    pub forward: Vec<Step>,
    /// From the gradients of the results to those of the parameters; empty for a network that does not learn.
    pub backward: Vec<Step>,
    /// The nodes whose values are the results, in the order asked for.
    pub results: Vec<Node>,
    /// The instruction set whose blocks maps lie in.
    pub isa: Isa,
    /// What computes on maps of low precision.
    pub engine: Engine,
}

impl Program {
    /// Of steps that are placed, and those of their backward pass.
    pub fn new(
        isa: Isa,
        engine: Engine,
        placed: Placed,
        backward: Vec<Step>,
        layers: &Layers,
    ) -> Self {
        let mut forward = placed.steps;
        forward.retain(|step| !step.work.is_place());
        let mut buffers = placed.buffers.as_slice().to_vec();
        for step in &forward {
            if let Work::Conv(conv) = &step.work
                && let Packed::Low(packed) = &layers.convs[conv.layer].packed
            {
                let halo = &mut buffers[step.reads[0].buffer].halo;
                *halo = [0, 1].map(|axis| halo[axis].max(packed.halo()[axis]));
            }
        }
        Self {
            buffers,
            forward,
            backward,
            results: placed.results,
            isa,
            engine,
        }
    }

    /// The steps of both passes.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.forward.iter().chain(&self.backward)
    }

    /// A step, counted from the first of the forward pass on.
    pub fn step(&self, index: usize) -> &Step {
        match index.checked_sub(self.forward.len()) {
            None => &self.forward[index],
            Some(backward) => &self.backward[backward],
        }
    }

    /// Bytes of all weights, in all forms.
    pub fn weight_bytes(&self, layers: &Layers) -> usize {
        self.steps().map(|s| s.work.weight_bytes(layers)).sum()
    }

    /// The parameters whose gradients the backward pass writes.
    pub fn learned(&self, layers: &Layers) -> Vec<usize> {
        let steps = self.backward.iter();
        let mut learned: Vec<usize> = steps
            .flat_map(|step| step.work.parameters(layers))
            .collect();
        // Layers may share an entry.
        learned.sort_unstable();
        learned.dedup();
        learned
    }
}
