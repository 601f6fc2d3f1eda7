//! Norms of each pixel's channels: x → y.

use segmenta_kernels as kernels;

use super::{Numbers, parameters_of};
use crate::value::Value;
use crate::work::{Backward, Forward, Gradient, Layers, Operation, Run, Step};

/// x → y.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    /// Added to the variance before the root.
    pub eps: f32,
    /// Scale and shift.
    pub affine: [Numbers; 2],
}

/// x, dy → dx; and the gradients of scale and shift.
#[derive(Clone, Copy, Debug)]
pub struct LayerNormGradient {
    eps: f32,
    affine: [usize; 2],
}

impl Operation for LayerNorm {
    const LABEL: &'static str = "layer norm";

    fn weight_bytes(&self, _: &Layers) -> usize {
        self.affine.iter().map(Numbers::bytes).sum()
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let affine = [0, 1].map(|i| self.affine[i].get(run.around.parameters));
        run.unary(|x, to| kernels::layer_norm(x, affine, self.eps, to));
    }
}

impl Forward for LayerNorm {
    /// Its own numbers may learn where its input does not: what it gives to that is dropped.
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let affine = parameters_of(&self.affine).expect("a network that learns");
        let dx = to.fresh(step.inputs[0]);
        let work = LayerNormGradient {
            eps: self.eps,
            affine,
        };
        to.push(work, vec![step.reads[0], dy], vec![dx]);
        to.pass(step.inputs[0], dx);
    }
}

impl Operation for LayerNormGradient {
    const LABEL: &'static str = "d layer norm";

    fn run(&self, run: &mut Run<'_, '_>) {
        let scale = run.around.parameters[self.affine[0]];
        let mut own = [(); 2].map(|()| vec![0.0; scale.len()]);
        run.binary(|x, dy, dx| {
            let own = own.each_mut().map(|own| &mut own[..]);
            kernels::layer_norm_gradient(x, dy, scale, self.eps, dx, own);
        });
        run.pass.give(self.affine, &own);
    }
}

impl Gradient for LayerNormGradient {
    fn parameters(&self, _: &Layers) -> Vec<usize> {
        self.affine.to_vec()
    }
}
