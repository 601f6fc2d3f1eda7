//! Norms of each picture's groups of channels: x → y.

use segmenta_kernels::{self as kernels, Activation};

use super::{Numbers, parameters_of};
use crate::value::Value;
use crate::work::{Backward, Forward, Gradient, Layers, Operation, Run, Step};

/// x → y, and a non-linearity of it.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// Groups that the channels are split into.
    pub groups: usize,
    /// Added to the variance before the root.
    pub eps: f32,
    /// Scale and shift.
    pub affine: Option<[Numbers; 2]>,
    /// The non-linearity; none in training.
    pub activation: Activation,
}

/// x, dy → dx; and the gradients of scale and shift.
#[derive(Clone, Copy, Debug)]
pub struct GroupNormGradient {
    groups: usize,
    eps: f32,
    affine: Option<[usize; 2]>,
}

impl Operation for GroupNorm {
    const LABEL: &'static str = "group norm";

    fn weight_bytes(&self, _: &Layers) -> usize {
        self.affine.iter().flatten().map(Numbers::bytes).sum()
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let parameters = run.around.parameters;
        let affine = self.affine.as_ref();
        let affine = affine.map(|[scale, shift]| [scale, shift].map(|own| own.get(parameters)));
        run.unary(|x, to| {
            kernels::group_norm(x, self.groups, affine, self.eps, to, self.activation);
        });
    }
}

impl Forward for GroupNorm {
    /// Its own numbers may learn where its input does not: what it gives to that is dropped.
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        assert!(self.activation == Activation::None, "inference's alone");
        let work = GroupNormGradient {
            groups: self.groups,
            eps: self.eps,
            affine: self.affine.as_ref().and_then(parameters_of),
        };
        let dx = to.fresh(step.inputs[0]);
        to.push(work, vec![step.reads[0], dy], vec![dx]);
        to.pass(step.inputs[0], dx);
    }
}

impl Operation for GroupNormGradient {
    const LABEL: &'static str = "d group norm";

    fn run(&self, run: &mut Run<'_, '_>) {
        let scale = self.affine.map(|[scale, _]| run.around.parameters[scale]);
        let mut own = [vec![], vec![]];
        run.binary(|x, dy, dx| {
            own = kernels::group_norm_gradient(x, dy, self.groups, scale, self.eps, dx);
        });
        if let Some(affine) = self.affine {
            run.pass.give(affine, &own);
        }
    }
}

impl Gradient for GroupNormGradient {
    fn parameters(&self, _: &Layers) -> Vec<usize> {
        self.affine.into_iter().flatten().collect()
    }
}
