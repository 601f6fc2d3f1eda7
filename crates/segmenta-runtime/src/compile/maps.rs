//! Parts of maps, and maps times a number.

use segmenta_graph::{Node, NodeData};
use segmenta_kernels::Activation;

use super::{Draft, DraftWork, see_through};
use crate::program::{Value, Work};

impl Draft<'_> {
    /// Some channels: a look at the whole where they begin a block and fill it, or are its last; else a
    /// copy.
    pub(super) fn slice(&mut self, node: Node, data: &NodeData, first: usize) {
        let whole = self.value(see_through(self.graph, data.inputs[0]));
        let lanes = self.isa.lanes();
        let value = Value {
            first: whole.first + first,
            channels: data.channels,
            ..whole
        };
        let is_end = first + data.channels == whole.channels;
        let whole_blocks = data.channels.is_multiple_of(lanes) || is_end;
        if value.first.is_multiple_of(lanes) && whole_blocks {
            self.values[node.index()] = Some(value);
            self.absorbed[node.index()] = true;
        } else {
            self.push_ready(node, data, Work::Slice { first });
        }
    }

    /// A map times a number, where no convolution before it could take that in.
    pub(super) fn scale(&mut self, node: Node, data: &NodeData, by: f32) {
        self.pointwise(node, data, |activation: Activation| {
            DraftWork::Ready(Work::Affine {
                scale: vec![by; data.channels],
                shift: vec![0.0; data.channels],
                activation,
            })
        });
    }
}
