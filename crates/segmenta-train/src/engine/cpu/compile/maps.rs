//! Parts of maps and wholes of parts, which are places more often than copies; and results.

use segmenta_graph::{Filter, NodeData, Op};
use segmenta_runtime::lower::map_shape;

use super::{Draft, Step};
use crate::engine::cpu::program::{Instruction, Value, Work};

impl Draft<'_> {
    /// Parts that are whole blocks in buffers of their own are written in place; others are copied.
    pub(super) fn concat(&mut self, at: usize, data: &NodeData) {
        let whole = self.allocate(map_shape(self.shapes[at]));
        let parts = data.inputs.iter();
        // A buffer that several parts lie in cannot become the place of one: the others would be copied within
        // the whole, from what is written.
        let buffers: Vec<usize> = parts.map(|part| self.value(part.index()).buffer).collect();
        let is_shared = |buffer| buffers.iter().filter(|&&other| other == buffer).count() > 1;
        let mut first = 0;
        for (part, &buffer) in data.inputs.iter().zip(&buffers) {
            let value = self.value(part.index());
            let place = Value {
                first,
                channels: value.channels,
                ..whole
            };
            first += value.channels;
            if !is_shared(buffer) && self.can_move(value, place, data.channels) {
                self.move_buffer(value.buffer, place);
            } else {
                self.steps.push(Step {
                    instruction: Instruction {
                        node: at,
                        work: Work::Copy,
                        reads: vec![value],
                        writes: vec![place],
                        scratch_len: 0,
                    },
                    inputs: vec![],
                    output: at,
                });
            }
        }
        self.values[at] = Some(whole);
        self.steps.push(Step {
            instruction: Instruction {
                node: at,
                work: Work::Concat,
                reads: vec![],
                writes: vec![],
                scratch_len: 0,
            },
            inputs: data
                .inputs
                .iter()
                .map(|i| self.same_as[i.index()])
                .collect(),
            output: at,
        });
    }

    /// Whether what makes `value` may write to `place` instead: it has a buffer of its own, whole blocks (a
    /// block filled up would spill into the next part), and nobody computes it from the whole or some of the whole
    /// from it.
    fn can_move(&self, value: Value, place: Value, total: usize) -> bool {
        let lanes = self.purpose.isa.lanes();
        let own = self.buffers[value.buffer].channels == value.channels;
        let whole_blocks =
            value.channels.is_multiple_of(lanes) || place.first + value.channels == total;
        let crosses = |step: &Step| {
            let Instruction { reads, writes, .. } = &step.instruction;
            let among = |values: &[Value], of: Value| values.iter().any(|v| v.buffer == of.buffer);
            among(writes, value) && among(reads, place)
                || among(writes, place) && among(reads, value)
        };
        own && value.buffer != place.buffer
            && place.first.is_multiple_of(lanes)
            && whole_blocks
            && !self.steps.iter().any(crosses)
    }

    fn move_buffer(&mut self, from: usize, to: Value) {
        let moved = |value: &mut Value| {
            if value.buffer == from {
                *value = Value {
                    buffer: to.buffer,
                    first: to.first + value.first,
                    channels: value.channels,
                };
            }
        };
        for Step { instruction, .. } in &mut self.steps {
            instruction.reads.iter_mut().for_each(moved);
            instruction.writes.iter_mut().for_each(moved);
        }
        self.values.iter_mut().flatten().for_each(moved);
    }

    pub(super) fn emit(&mut self, output: usize, at: usize) {
        let data = &self.graph.nodes()[at];
        let resized = bilinear(&data.op).filter(|_| self.is_only_a_result(at));
        let (source, work) = match resized {
            Some(align_corners) => {
                let work = Work::EmitResized {
                    output,
                    align_corners,
                };
                (self.same_as[data.inputs[0].index()], work)
            }
            None => (at, Work::Emit(output)),
        };
        let shape = map_shape(self.shapes[source]);
        let value = self.value(source);
        self.steps.push(Step {
            instruction: Instruction {
                node: at,
                work,
                reads: vec![value],
                writes: vec![],
                scratch_len: resized.map_or(0, |_| shape.batch * shape.planar_len()),
            },
            inputs: vec![source],
            output: at,
        });
    }

    /// Some channels: a look at the whole where they begin a block and fill it, or are its last; else a copy.
    pub(super) fn slice(&mut self, at: usize, data: &NodeData, first: usize) {
        let input = self.same_as[data.inputs[0].index()];
        let part = self.value(input).part(first, data.channels);
        if !self.is_whole_blocks(part, self.shape(input).channels - first) {
            return self.push(at, data, Work::Extract { first });
        }
        self.values[at] = Some(part);
        self.steps.push(Step {
            instruction: Instruction {
                node: at,
                work: Work::Part { first },
                reads: vec![],
                writes: vec![],
                scratch_len: 0,
            },
            inputs: vec![input],
            output: at,
        });
    }

    /// Whether a value that is the first of `channels` left in its map has its blocks for itself.
    pub(in crate::engine::cpu) fn is_whole_blocks(&self, value: Value, channels: usize) -> bool {
        let lanes = self.purpose.isa.lanes();
        let ends_block = value.channels.is_multiple_of(lanes) || value.channels == channels;
        value.first.is_multiple_of(lanes) && ends_block
    }
}

/// Whether corners are aligned, of a bilinear resize.
pub(super) fn bilinear(op: &Op) -> Option<bool> {
    match *op {
        Op::ResizeLike {
            filter: Filter::Bilinear { align_corners },
            ..
        }
        | Op::Upsample {
            filter: Filter::Bilinear { align_corners },
            ..
        } => Some(align_corners),
        _ => None,
    }
}
