//! Where numbers come into a network and leave it: maps in blocks inside, N×C×H×W outside.

use segmenta_kernels::{self as kernels, low};

use crate::draft::Emission;
use crate::run::{View, Views};
use crate::value::Value;
use crate::work::{Backward, Forward, Operation, Run, Sizes, Step};

/// The network's input → a map.
#[derive(Clone, Copy, Debug)]
pub struct Block;

/// x → a result.
#[derive(Clone, Copy, Debug)]
pub struct Emit {
    /// Which.
    pub output: usize,
    /// How.
    pub how: Emission,
}

/// The gradient of a result → that of what it was written from.
#[derive(Clone, Copy, Debug)]
pub struct Take {
    output: usize,
    how: Emission,
}

impl Operation for Block {
    const LABEL: &'static str = "to blocks";

    fn run(&self, run: &mut Run<'_, '_>) {
        match run.io.mixed() {
            ([], View::F32(mut to)) => kernels::to_blocked(run.around.input, &mut to),
            ([], View::Low(mut to)) => low::from_planar(run.around.input, &mut to),
        }
    }
}

impl Forward for Block {
    /// Nothing before the network's input learns.
    fn backward(&self, _: &Step, _: Value, _: &mut Backward<'_>) {}
}

impl Operation for Emit {
    const LABEL: &'static str = "to planes";

    /// The map in planes, before it is resized.
    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        match self.how {
            Emission::Resized { .. } => sizes.reads[0].batch_len(),
            Emission::Plain | Emission::Fitted => 0,
        }
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let (isa, shape) = (run.io.isa, run.io.plan.results[self.output]);
        let size = [shape.height, shape.width];
        let Views {
            reads: [x],
            scratch,
            ..
        } = run.io.views::<1, 0>();
        let result = run.pass.result(self.output);
        match self.how {
            Emission::Plain => kernels::to_planar(x, result),
            Emission::Fitted => kernels::fit_to_planar(x, size, result),
            Emission::Resized {
                align_corners: corners,
            } => {
                kernels::to_planar(x, scratch);
                kernels::resize_bilinear_planar(isa, scratch, x.shape(), result, size, corners);
            }
        }
    }
}

impl Forward for Emit {
    fn backward(&self, step: &Step, _: Value, to: &mut Backward<'_>) {
        let &Self { output, how } = self;
        assert!(how != Emission::Fitted, "inference's alone");
        to.give(step.inputs[0], Take { output, how }, vec![]);
    }
}

impl Operation for Take {
    const LABEL: &'static str = "d logits";

    /// The gradient in planes, after it is resized.
    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        match self.how {
            Emission::Resized { .. } => sizes.writes[0].batch_len(),
            Emission::Plain | Emission::Fitted => 0,
        }
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let (isa, shape) = (run.io.isa, run.io.plan.results[self.output]);
        let size = [shape.height, shape.width];
        let Views {
            writes: [mut to],
            scratch,
            ..
        } = run.io.views::<0, 1>();
        let dy = run.pass.result_gradient(self.output);
        if let Emission::Resized { align_corners } = self.how {
            let shape = to.shape();
            kernels::resize_bilinear_planar_gradient(isa, dy, size, scratch, shape, align_corners);
            kernels::to_blocked(scratch, &mut to);
        } else {
            kernels::to_blocked(dy, &mut to);
        }
    }
}
