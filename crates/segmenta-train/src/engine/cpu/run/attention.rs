//! Attention, and the rows of tokens that it looks at.

use segmenta_kernels::{self as kernels, Embeddings};

use super::weighted::give;
use super::{Run, Views};
use crate::engine::cpu::program::Work;

impl Run<'_> {
    pub(super) fn attend(&mut self) {
        let work = self.instruction.work;
        let Views {
            reads,
            writes: [mut to],
            scratch,
        } = self.views::<3, 1>();
        match work {
            Work::Attention { heads } => kernels::attention(reads, heads, &mut to, scratch),
            _ => kernels::position_attention(reads, &mut to, scratch),
        }
    }

    pub(super) fn attend_gradient(&mut self) {
        let work = self.instruction.work;
        let Views {
            reads: [q, k, v, dy],
            mut writes,
            scratch,
        } = self.views::<4, 3>();
        let (maps, to) = ([q, k, v], writes.each_mut());
        match work {
            Work::AttentionGradient { heads } => {
                kernels::attention_gradient(maps, dy, heads, to, scratch);
            }
            _ => kernels::position_attention_gradient(maps, dy, to, scratch),
        }
    }

    pub(super) fn tokens(&mut self, grid: [usize; 2], entries: [usize; 2]) {
        let [token, positions] = entries.map(|at| self.around.parameters[at]);
        let embeddings = Embeddings::new(token, positions, grid);
        self.unary(|x, to| kernels::tokens(x, &embeddings, to));
    }

    pub(super) fn embeddings_gradient(&mut self, gradients: &mut [Option<Vec<f32>>]) {
        let Work::EmbeddingsGradient {
            size,
            grid,
            entries,
        } = self.instruction.work
        else {
            return;
        };
        let lens = entries.map(|at| self.around.parameters[at].len());
        let mut own = lens.map(|len| vec![0.0; len]);
        let [dy] = self.views::<1, 0>().reads;
        let to = own.each_mut().map(|own| &mut own[..]);
        kernels::embeddings_gradient(dy, size, grid, to);
        give(gradients, entries, &own);
    }
}
