//! Concatenation: places that the parts are written to.

use segmenta_graph::{Node, NodeData};

use super::{Draft, DraftStep, DraftWork, see_through};
use crate::program::{BufferId, Layout, Value, Work};

impl Draft<'_> {
    /// Parts that were just computed are made to write into the whole; others are copied.
    pub(super) fn concat(&mut self, node: Node, data: &NodeData) {
        let whole = self.allocate(data.channels, node, Layout::Blocked);
        let parts = data.inputs.iter();
        let parts: Vec<Node> = parts.map(|&part| see_through(self.graph, part)).collect();
        // A buffer that several parts lie in cannot become the place of one: the others would be copied within
        // the whole, from what is written.
        let buffers: Vec<BufferId> = parts.iter().map(|&part| self.value(part).buffer).collect();
        let is_shared = |buffer| buffers.iter().filter(|&&other| other == buffer).count() > 1;
        let mut first = 0;
        for (&part, &buffer) in parts.iter().zip(&buffers) {
            let value = self.value(part);
            let place = Value {
                first,
                channels: value.channels,
                ..whole
            };
            first += value.channels;
            if !is_shared(buffer) && self.can_move(value, place, data.channels) {
                self.move_buffer(value.buffer, place);
            } else {
                let work = DraftWork::Ready(Work::Copy);
                let step = DraftStep::new(&data.name, work, vec![value], Some(place));
                self.drafts.steps.push(step);
            }
        }
        self.values[node.index()] = Some(whole);
        self.absorbed[node.index()] = true;
    }

    /// Whether what makes `value` may write to `place`: it has a buffer of its own, whole blocks
    /// (a block filled up would spill into the next part), and nobody computes it from the whole or
    /// some of the whole from it.
    fn can_move(&self, value: Value, place: Value, total: usize) -> bool {
        let lanes = self.isa.lanes();
        let own = self.drafts.buffers[value.buffer.0].channels == value.channels;
        let whole_blocks =
            value.channels.is_multiple_of(lanes) || place.first + value.channels == total;
        let crosses = |step: &DraftStep| {
            let writes = |to: Value| step.output.is_some_and(|o| o.buffer == to.buffer);
            let reads = |from: Value| step.inputs.iter().any(|i| i.buffer == from.buffer);
            writes(value) && reads(place) || writes(place) && reads(value)
        };
        own && place.first.is_multiple_of(lanes)
            && whole_blocks
            && !self.drafts.steps.iter().any(crosses)
    }

    fn move_buffer(&mut self, from: BufferId, to: Value) {
        let moved = |value: &mut Value| {
            if value.buffer == from {
                *value = Value {
                    buffer: to.buffer,
                    first: to.first + value.first,
                    channels: value.channels,
                };
            }
        };
        for step in &mut self.drafts.steps {
            step.inputs.iter_mut().for_each(moved);
            step.output.iter_mut().for_each(moved);
        }
        self.values.iter_mut().flatten().for_each(moved);
    }
}
