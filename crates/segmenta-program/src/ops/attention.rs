//! Attention: queries, keys, values → y.

use segmenta_kernels::{
    attention, attention_gradient, attention_gradient_scratch, attention_scratch, masked_attention,
    masked_attention_gradient, masked_attention_gradient_scratch, masked_attention_scratch,
    position_attention, position_attention_gradient, position_attention_gradient_scratch,
    position_attention_scratch,
};

use crate::run::Views;
use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Sizes, Step};

/// q, k, v → y.
#[derive(Clone, Copy, Debug)]
pub enum Attention {
    /// As many heads, each with its own channels.
    Heads(usize),
    /// SMP's, between all positions.
    Positions,
}

/// q, k, v, dy → dq, dk, dv.
#[derive(Clone, Copy, Debug)]
pub struct AttentionGradient(Attention);

impl Operation for Attention {
    const LABEL: &'static str = "attention";

    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        let maps = [0, 1, 2].map(|i| sizes.reads[i]);
        match *self {
            Self::Heads(heads) => attention_scratch(sizes.isa, maps, heads),
            Self::Positions => position_attention_scratch(sizes.isa, maps),
        }
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let Views {
            reads,
            writes: [mut to],
            scratch,
        } = run.io.views::<3, 1>();
        match *self {
            Self::Heads(heads) => attention(reads, heads, &mut to, scratch),
            Self::Positions => position_attention(reads, &mut to, scratch),
        }
    }
}

impl Forward for Attention {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let mut reads = step.reads.clone();
        reads.push(dy);
        let gradients = [0, 1, 2].map(|i| to.fresh(step.inputs[i]));
        to.push(AttentionGradient(*self), reads, gradients.to_vec());
        for (&input, gradient) in step.inputs.iter().zip(gradients) {
            to.pass(input, gradient);
        }
    }
}

impl Operation for AttentionGradient {
    const LABEL: &'static str = "d attention";

    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        let maps = [0, 1, 2].map(|i| sizes.reads[i]);
        match self.0 {
            Attention::Heads(heads) => attention_gradient_scratch(sizes.isa, maps, heads),
            Attention::Positions => position_attention_gradient_scratch(sizes.isa, maps),
        }
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let Views {
            reads: [q, k, v, dy],
            mut writes,
            scratch,
        } = run.io.views::<4, 3>();
        let (maps, to) = ([q, k, v], writes.each_mut());
        match self.0 {
            Attention::Heads(heads) => attention_gradient(maps, dy, heads, to, scratch),
            Attention::Positions => position_attention_gradient(maps, dy, to, scratch),
        }
    }
}

/// q, k, v, mask → y.
#[derive(Clone, Copy, Debug)]
pub struct MaskedAttention {
    /// As many heads, each with its own channels.
    pub heads: usize,
}

/// q, k, v, mask, dy → dq, dk, dv.
#[derive(Clone, Copy, Debug)]
pub struct MaskedAttentionGradient {
    heads: usize,
}

impl Operation for MaskedAttention {
    const LABEL: &'static str = "masked attention";

    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        let maps = [0, 1, 2].map(|i| sizes.reads[i]);
        masked_attention_scratch(sizes.isa, maps, sizes.reads[3], self.heads)
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let Views {
            reads: [q, k, v, mask],
            writes: [mut to],
            scratch,
        } = run.io.views::<4, 1>();
        masked_attention([q, k, v], mask, self.heads, &mut to, scratch);
    }
}

impl Forward for MaskedAttention {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let mut reads = step.reads.clone();
        reads.push(dy);
        let inputs = &step.inputs[..3];
        let gradients: Vec<Value> = inputs.iter().map(|&input| to.fresh(input)).collect();
        let work = MaskedAttentionGradient { heads: self.heads };
        to.push(work, reads, gradients.clone());
        for (&input, gradient) in inputs.iter().zip(gradients) {
            to.pass(input, gradient);
        }
    }
}

impl Operation for MaskedAttentionGradient {
    const LABEL: &'static str = "d masked attention";

    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        let maps = [0, 1, 2].map(|i| sizes.reads[i]);
        masked_attention_gradient_scratch(sizes.isa, maps, sizes.reads[3], self.heads)
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let Views {
            reads: [q, k, v, mask, dy],
            mut writes,
            scratch,
        } = run.io.views::<5, 3>();
        let to = writes.each_mut();
        masked_attention_gradient([q, k, v], mask, dy, self.heads, to, scratch);
    }
}
