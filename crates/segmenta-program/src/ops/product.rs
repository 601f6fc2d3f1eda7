//! Products of a map with a matrix that is computed: x, row → y.

use segmenta_kernels as kernels;

use crate::run::Views;
use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Sizes, Step};

/// x, row → the channels of x times the row's pixels.
#[derive(Clone, Copy, Debug)]
pub struct Product;

/// row, dy → dx.
#[derive(Clone, Copy, Debug)]
pub struct ProductGradient;

/// x, dy → d row.
#[derive(Clone, Copy, Debug)]
pub struct ProductRowGradient;

impl Operation for Product {
    const LABEL: &'static str = "product";

    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        kernels::product_scratch(sizes.isa, sizes.reads[1])
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let Views {
            reads: [x, row],
            writes: [mut to],
            scratch,
        } = run.io.views::<2, 1>();
        kernels::product(x, row, &mut to, scratch);
    }
}

impl Forward for Product {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let [x, row] = [0, 1].map(|i| step.reads[i]);
        to.give(step.inputs[0], ProductGradient, vec![row, dy]);
        to.give(step.inputs[1], ProductRowGradient, vec![x, dy]);
    }
}

impl Operation for ProductGradient {
    const LABEL: &'static str = "d product";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.binary(kernels::product_gradient);
    }
}

impl Operation for ProductRowGradient {
    const LABEL: &'static str = "d product";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.binary(kernels::product_row_gradient);
    }
}
