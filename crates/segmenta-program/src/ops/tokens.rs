//! A map's pixels as a row of tokens after a class token, and back.

use segmenta_kernels::{self as kernels, Embeddings};

use crate::value::Value;
use crate::work::{Backward, Forward, Gradient, Layers, Operation, Run, Step};

/// x → a row.
#[derive(Debug)]
pub struct Tokens(pub TokensOf);

/// Where the class token and the embeddings of positions come from.
#[derive(Debug)]
pub enum TokensOf {
    /// As they stay.
    Own(Box<Embeddings>),
    /// Parameters, for maps of this many rows and columns.
    Parameters {
        /// Rows and columns.
        grid: [usize; 2],
        /// Class token and embeddings.
        entries: [usize; 2],
    },
}

/// A row → a map; and the gradient of what became tokens.
#[derive(Clone, Copy, Debug)]
pub struct Patches;

/// dy of a row → the gradients of class token and embeddings.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingsGradient {
    /// Rows and columns of the map that became tokens.
    size: [usize; 2],
    grid: [usize; 2],
    entries: [usize; 2],
}

/// dy → the gradient of a row.
#[derive(Clone, Copy, Debug)]
pub struct PatchesGradient;

impl Operation for Tokens {
    const LABEL: &'static str = "tokens";

    fn weight_bytes(&self, _: &Layers) -> usize {
        match &self.0 {
            TokensOf::Own(embeddings) => embeddings.bytes(),
            TokensOf::Parameters { .. } => 0,
        }
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        match &self.0 {
            TokensOf::Own(embeddings) => run.unary(|x, to| kernels::tokens(x, embeddings, to)),
            TokensOf::Parameters { grid, entries } => {
                let [token, positions] = entries.map(|at| run.around.parameters[at]);
                let embeddings = Embeddings::new(token, positions, *grid);
                run.unary(|x, to| kernels::tokens(x, &embeddings, to));
            }
        }
    }
}

impl Forward for Tokens {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let TokensOf::Parameters { grid, entries } = self.0 else {
            unreachable!("a backward pass of a network that does not learn")
        };
        let shape = to.shape(step.inputs[0]);
        if entries.iter().any(|&entry| to.trains(entry)) {
            let size = [shape.height, shape.width];
            let work = EmbeddingsGradient {
                size,
                grid,
                entries,
            };
            to.push(work, vec![dy], vec![]);
        }
        to.give(step.inputs[0], Patches, vec![dy]);
    }
}

impl Operation for Patches {
    const LABEL: &'static str = "patches";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(kernels::patches);
    }
}

impl Forward for Patches {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(step.inputs[0], PatchesGradient, vec![dy]);
    }
}

impl Operation for EmbeddingsGradient {
    const LABEL: &'static str = "d embeddings";

    fn run(&self, run: &mut Run<'_, '_>) {
        let lens = self.entries.map(|at| run.around.parameters[at].len());
        let mut own = lens.map(|len| vec![0.0; len]);
        let [dy] = run.io.views::<1, 0>().reads;
        let to = own.each_mut().map(|own| &mut own[..]);
        kernels::embeddings_gradient(dy, self.size, self.grid, to);
        run.pass.give(self.entries, &own);
    }
}

impl Gradient for EmbeddingsGradient {
    fn parameters(&self, _: &Layers) -> Vec<usize> {
        self.entries.to_vec()
    }
}

impl Operation for PatchesGradient {
    const LABEL: &'static str = "d patches";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(kernels::patches_gradient);
    }
}
