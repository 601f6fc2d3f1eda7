//! Maps as rows of pixels: joined, cut, exchanged with channels; and a parameter as a map.

use segmenta_kernels as kernels;

use super::Numbers;
use crate::run::Views;
use crate::value::Value;
use crate::work::{Backward, Forward, Gradient, Layers, Operation, Run, Step};

/// A parameter → a map of each picture.
#[derive(Debug)]
pub struct Table(pub Numbers);

/// dy → the gradient of a parameter that is a map.
#[derive(Clone, Copy, Debug)]
pub struct TableGradient {
    entry: usize,
}

/// a, b → their pixels in one row.
#[derive(Clone, Copy, Debug)]
pub struct Join;

/// A row, and maps that say how many pixels lie before → some of its pixels.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Pixels before, beside those of the maps.
    pub first: usize,
}

/// dy → the gradient of a row of which some pixels were read.
#[derive(Clone, Copy, Debug)]
pub struct PartGradient {
    first: usize,
}

/// A row → one with pixels and channels exchanged; and its own gradient.
#[derive(Clone, Copy, Debug)]
pub struct Transpose;

impl Operation for Table {
    const LABEL: &'static str = "table";

    fn weight_bytes(&self, _: &Layers) -> usize {
        self.0.bytes()
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let values = self.0.get(run.around.parameters);
        let [mut to] = run.io.views::<0, 1>().writes;
        kernels::table(values, &mut to);
    }
}

impl Forward for Table {
    fn backward(&self, _: &Step, dy: Value, to: &mut Backward<'_>) {
        let entry = self.0.parameter().expect("a network that learns");
        if to.trains(entry) {
            to.push(TableGradient { entry }, vec![dy], vec![]);
        }
    }
}

impl Operation for TableGradient {
    const LABEL: &'static str = "d table";

    fn run(&self, run: &mut Run<'_, '_>) {
        let [dy] = run.io.views::<1, 0>().reads;
        if let Some(to) = run.pass.gradient(self.entry) {
            kernels::table_gradient(dy, to);
        }
    }
}

impl Gradient for TableGradient {
    fn parameters(&self, _: &Layers) -> Vec<usize> {
        vec![self.entry]
    }
}

impl Operation for Join {
    const LABEL: &'static str = "join";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.binary(kernels::join);
    }
}

impl Forward for Join {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let before = to.shape(step.inputs[0]).pixels();
        for (&input, first) in step.inputs.iter().zip([0, before]) {
            to.give(input, Part { first }, vec![dy]);
        }
    }
}

impl Operation for Part {
    const LABEL: &'static str = "part";

    fn run(&self, run: &mut Run<'_, '_>) {
        let others = run.io.step.reads[1..].iter();
        let before: usize = others.map(|&map| run.io.plan.shape(map).pixels()).sum();
        let Views {
            reads: [x],
            writes: [mut to],
            ..
        } = run.io.views::<1, 1>();
        kernels::part(x, before + self.first, &mut to);
    }
}

impl Forward for Part {
    /// The maps that lie before are not read.
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let before: usize = step.inputs[1..]
            .iter()
            .map(|&node| to.shape(node).pixels())
            .sum();
        let first = before + self.first;
        to.give(step.inputs[0], PartGradient { first }, vec![dy]);
    }
}

impl Operation for PartGradient {
    const LABEL: &'static str = "d part";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(|dy, to| kernels::part_gradient(dy, self.first, to));
    }
}

impl Operation for Transpose {
    const LABEL: &'static str = "transpose";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(kernels::transpose);
    }
}

impl Forward for Transpose {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        to.give(step.inputs[0], Self, vec![dy]);
    }
}
