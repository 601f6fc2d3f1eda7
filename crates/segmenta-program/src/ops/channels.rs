//! Parts of maps and wholes of parts, which are places more often than copies.

use segmenta_kernels::{self as kernels, low};

use crate::ops::Accumulate;
use crate::run::View;
use crate::value::{Element, Value};
use crate::work::{Backward, Forward, Operation, Run, Step};

/// Parts → the whole: a place that the parts are written to, or that a [`struct@Copy`] brings them to.
#[derive(Clone, Copy, Debug)]
pub struct Concat;

/// x → channels of a larger buffer.
#[derive(Clone, Copy, Debug)]
pub struct Copy;

/// The whole → some of its channels, as a map of their own.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// The first of them.
    pub first: usize,
    /// Whether they are a place in the whole.
    pub in_place: bool,
}

/// The other way round: a map → channels of a larger map, zeros in all others.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    first: usize,
}

impl Operation for Concat {
    const LABEL: &'static str = "concat";

    fn run(&self, _: &mut Run<'_, '_>) {
        unreachable!("the parts are in place");
    }
}

impl Forward for Concat {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let lanes = to.learning.isa.lanes();
        let mut first = 0;
        for &part in &step.inputs {
            let channels = to.shape(part).channels;
            let slice = dy.part(first, channels);
            if slice.is_whole_blocks(dy.channels - first, lanes) {
                to.pass(part, slice);
            } else {
                let in_place = false;
                to.give(part, Slice { first, in_place }, vec![dy]);
            }
            first += channels;
        }
    }
}

impl Operation for Copy {
    const LABEL: &'static str = "copy";

    fn run(&self, run: &mut Run<'_, '_>) {
        match run.io.plan.element(run.io.step.writes[0]) {
            Element::Low(_) => run.io.writing_low_whole(low::copy),
            Element::F32 | Element::U32 => run.io.writing_whole(kernels::copy),
        }
    }
}

impl Forward for Copy {
    /// The concatenation that owns what it writes runs later, hence its backward step has already run.
    fn backward(&self, _: &Step, _: Value, _: &mut Backward<'_>) {}
}

impl Operation for Slice {
    const LABEL: &'static str = "slice";

    fn run(&self, run: &mut Run<'_, '_>) {
        match run.io.mixed() {
            ([View::F32(x)], View::F32(mut to)) => kernels::extract(x, self.first, &mut to),
            ([View::Low(x)], View::Low(mut to)) => low::extract(x, self.first, &mut to),
            _ => unreachable!("both are of one precision"),
        }
    }
}

impl Forward for Slice {
    /// Adds to the channels of the whole's gradient if that is there; else the other channels have none yet.
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let (first, whole) = (self.first, step.inputs[0]);
        if let Some(sum) = to.so_far(whole)
            && sum.buffer != dy.buffer
            && !to.is_shared(whole, sum)
        {
            let part = sum.part(first, dy.channels);
            if part.is_whole_blocks(sum.channels - first, to.learning.isa.lanes()) {
                return to.push(Accumulate, vec![dy], vec![part]);
            }
        }
        to.give(whole, Place { first }, vec![dy]);
    }
}

impl Operation for Place {
    const LABEL: &'static str = "place";

    fn run(&self, run: &mut Run<'_, '_>) {
        run.unary(|x, to| kernels::place(x, to, self.first));
    }
}
