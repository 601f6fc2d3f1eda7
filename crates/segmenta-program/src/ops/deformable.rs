//! Deformable attention over maps of several sizes: values, offsets, logits → y.

use segmenta_kernels::{self as kernels, Deformable};

use crate::run::{Io, Views};
use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Step};

/// Values, offsets, logits, and maps that say how large they are → y.
#[derive(Clone, Copy, Debug)]
pub struct DeformableAttention {
    /// Runs of channels that attend by themselves.
    pub heads: usize,
    /// Points of each map, head and query.
    pub points: usize,
}

/// Values, offsets, logits, the maps, dy → the gradients of the first three.
#[derive(Clone, Copy, Debug)]
pub struct DeformableAttentionGradient(DeformableAttention);

impl DeformableAttention {
    /// Its extents, by the maps among what a step reads.
    fn of(self, io: &Io<'_>, first_map: usize) -> Deformable {
        let maps = io.step.reads[first_map..].iter();
        let sizes = maps.map(|&map| {
            let shape = io.plan.shape(map);
            [shape.height, shape.width]
        });
        Deformable {
            heads: self.heads,
            points: self.points,
            sizes: sizes.collect(),
        }
    }
}

impl Operation for DeformableAttention {
    const LABEL: &'static str = "deformable attention";

    fn run(&self, run: &mut Run<'_, '_>) {
        let how = self.of(&run.io, 3);
        let Views {
            reads,
            writes: [mut to],
            ..
        } = run.io.views::<3, 1>();
        kernels::deformable_attention(reads, &how, &mut to);
    }
}

impl Forward for DeformableAttention {
    /// The maps are not read.
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let inputs = &step.inputs[..3];
        let gradients: Vec<Value> = inputs.iter().map(|&input| to.fresh(input)).collect();
        let mut reads = vec![step.reads[0], step.reads[1], step.reads[2], dy];
        reads.extend(&step.reads[3..]);
        let work = DeformableAttentionGradient(*self);
        to.push(work, reads, gradients.clone());
        for (&input, gradient) in inputs.iter().zip(gradients) {
            to.pass(input, gradient);
        }
    }
}

impl Operation for DeformableAttentionGradient {
    const LABEL: &'static str = "d deformable attention";

    fn run(&self, run: &mut Run<'_, '_>) {
        let how = self.0.of(&run.io, 4);
        let Views {
            reads: [values, offsets, logits, dy],
            mut writes,
            ..
        } = run.io.views::<4, 3>();
        let maps = [values, offsets, logits];
        kernels::deformable_attention_gradient(maps, &how, dy, writes.each_mut());
    }
}
