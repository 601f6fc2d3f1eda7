//! Convolutions and linear layers.

use segmenta_kernels::low::{LowConvolution, LowMap};
use segmenta_kernels::{self as kernels, ConvPlan, InputGradient, Map, WeightGradient};

use crate::layers::{ConvLearning, Packed};
use crate::run::{Io, Pass, View, Views};
use crate::terms::{has_leading_taps, with_leading_taps, without_leading_taps};
use crate::value::Value;
use crate::work::{Backward, Forward, Gradient, Layers, Operation, Run, Sizes, Step};

/// x, factors if [scaled](Conv::scaled), a summand if it [adds](Conv::adds) → y; a non-linearity comes last.
#[derive(Clone, Copy, Debug)]
pub struct Conv {
    /// Index among [`Layers::convs`].
    pub layer: usize,
    /// Whether it reads the network's input as it came, instead of x.
    pub on_picture: bool,
    /// Whether x is multiplied by a factor for each channel, of a map of one pixel.
    pub scaled: bool,
    /// Whether a map is added before the non-linearity.
    pub adds: bool,
    /// The result that it writes instead of y: of low precision alone, and without groups.
    pub emits: Option<usize>,
}

/// dy → dx; dy, what other readers of x gave → dx.
#[derive(Clone, Copy, Debug)]
pub struct ConvInput {
    /// Index among [`Layers::convs`].
    pub layer: usize,
}

/// x (unless it is the network's input as it came), dy → the gradient of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct ConvWeights {
    /// Index among [`Layers::convs`].
    pub layer: usize,
    /// As in [`Conv`].
    pub on_picture: bool,
}

/// dy → the gradient of a bias.
#[derive(Clone, Copy, Debug)]
pub struct BiasGradient {
    /// The parameter.
    pub(crate) bias: usize,
}

impl Conv {
    /// A convolution of x alone.
    pub fn new(layer: usize) -> Self {
        Self {
            layer,
            on_picture: false,
            scaled: false,
            adds: false,
            emits: None,
        }
    }

    /// On maps of low precision.
    fn run_low(self, conv: &LowConvolution, io: &mut Io<'_>, pass: &mut Pass<'_>) {
        fn low<'m>(view: View<Map<'m>, LowMap<'m>>) -> LowMap<'m> {
            match view {
                View::Low(map) => map,
                View::F32(_) => unreachable!("converted before it is read"),
            }
        }
        if let Some(output) = self.emits {
            let to = pass.result(output);
            if self.adds {
                let [x, sum] = io.low_reads();
                conv.run_to_planes(x, to, Some(sum));
            } else {
                let [x] = io.low_reads();
                conv.run_to_planes(x, to, None);
            }
            return;
        }
        let write = |x, to, sum| match to {
            View::Low(mut to) => conv.run(x, &mut to, sum),
            View::F32(mut to) => conv.run_to_f32(x, &mut to, sum),
        };
        if self.adds {
            let ([x, sum], to) = io.mixed();
            write(low(x), to, Some(low(sum)));
        } else {
            let ([x], to) = io.mixed();
            write(low(x), to, None);
        }
    }
}

impl Operation for Conv {
    const LABEL: &'static str = "convolution";

    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        sizes.conv.map_or(0, ConvPlan::scratch_len)
    }

    fn weight_bytes(&self, layers: &Layers) -> usize {
        layers.convs[self.layer].packed.weight_bytes()
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        if let Some(layers) = run.layers.learning() {
            layers.convs[self.layer].pack(run.around.parameters);
        }
        let conv = match &run.layers.get().convs[self.layer].packed {
            Packed::F32(conv) => conv,
            Packed::Low(conv) => return self.run_low(conv, &mut run.io, run.pass),
        };
        let plan = run.io.plan.convolution(run.io.index);
        if self.on_picture {
            let Views {
                writes: [to],
                scratch,
                ..
            } = run.io.views::<0, 1>();
            return conv.run_on_picture(plan, run.around.input, to, scratch);
        }
        match (self.scaled, self.adds) {
            (false, false) => {
                let Views {
                    reads: [x],
                    writes: [to],
                    scratch,
                } = run.io.views::<1, 1>();
                conv.run(plan, x, to, None, scratch);
            }
            (false, true) => {
                let Views {
                    reads: [x, sum],
                    writes: [to],
                    scratch,
                } = run.io.views::<2, 1>();
                conv.run(plan, x, to, Some(sum), scratch);
            }
            (true, false) => {
                let Views {
                    reads: [x, factors],
                    writes: [to],
                    ..
                } = run.io.views::<2, 1>();
                conv.run_scaled(plan, x, factors, to, None);
            }
            (true, true) => {
                let Views {
                    reads: [x, factors, sum],
                    writes: [to],
                    ..
                } = run.io.views::<3, 1>();
                conv.run_scaled(plan, x, factors, to, Some(sum));
            }
        }
    }
}

impl Forward for Conv {
    fn backward(&self, step: &Step, dy: Value, to: &mut Backward<'_>) {
        let Conv {
            layer, on_picture, ..
        } = *self;
        assert!(!self.scaled && !self.adds, "inference's alone");
        let Some(own) = &to.learning.layers.convs[layer].learning else {
            unreachable!("a backward pass of a network that does not learn")
        };
        let dz = to.before(own.activation, step.writes[0], dy, step.output);
        if own.weight_gradient.is_some() {
            let reads = step.reads.iter().copied().chain([dz]).collect();
            to.push(ConvWeights { layer, on_picture }, reads, vec![]);
        }
        if let Some(bias) = own.bias.filter(|&bias| to.trains(bias)) {
            to.push(BiasGradient { bias }, vec![dz], vec![]);
        }
        let (Some(gradient), &[input]) = (&own.input_gradient, &step.inputs[..]) else {
            return;
        };
        match to.so_far(input) {
            Some(others) if gradient.adds() => {
                let sum = to.fresh(input);
                to.push(ConvInput { layer }, vec![dz, others], vec![sum]);
                to.replace(input, sum);
            }
            _ => to.give(input, ConvInput { layer }, vec![dz]),
        }
    }
}

fn learning(layers: &Layers, layer: usize) -> &ConvLearning {
    let own = layers.convs[layer].learning.as_ref();
    own.expect("a network that learns")
}

impl Operation for ConvInput {
    const LABEL: &'static str = "d input";

    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        let gradient = learning(sizes.layers, self.layer).input_gradient.as_ref();
        gradient.map_or(0, InputGradient::scratch_len)
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let layers = run.layers.learning().expect("a network that learns");
        let own = layers.convs[self.layer].learning.as_mut();
        let own = own.expect("a network that learns");
        let Some(way) = &mut own.input_gradient else {
            return;
        };
        let weights = run.around.parameters[own.kernel];
        let wider = has_leading_taps(&own.description)
            .then(|| with_leading_taps(&own.description, weights));
        let weights = wider.as_deref().unwrap_or(weights);
        if run.io.step.reads.len() == 2 {
            let Views {
                reads: [dy, others],
                writes: [to],
                scratch,
            } = run.io.views::<2, 1>();
            way.run(dy, weights, Some(others), to, scratch);
        } else {
            let Views {
                reads: [dy],
                writes: [to],
                scratch,
            } = run.io.views::<1, 1>();
            way.run(dy, weights, None, to, scratch);
        }
    }
}

impl Operation for ConvWeights {
    const LABEL: &'static str = "d weights";

    fn scratch(&self, sizes: &Sizes<'_>) -> usize {
        let gradient = learning(sizes.layers, self.layer).weight_gradient.as_ref();
        gradient.map_or(0, WeightGradient::scratch_len)
    }

    fn run(&self, run: &mut Run<'_, '_>) {
        let conv = &run.layers.get().convs[self.layer];
        let own = learning(run.layers.get(), self.layer);
        let (Some(way), Some(to)) = (&own.weight_gradient, run.pass.gradient(own.kernel)) else {
            return;
        };
        let mut wider =
            has_leading_taps(&own.description).then(|| vec![0.0; conv.packed.spec().weights_len()]);
        let sum = wider.as_deref_mut().unwrap_or(&mut *to);
        if self.on_picture {
            let Views {
                reads: [dy],
                scratch,
                ..
            } = run.io.views::<1, 0>();
            way.run_on_picture(run.around.input, dy, sum, scratch);
        } else {
            let Views {
                reads: [x, dy],
                scratch,
                ..
            } = run.io.views::<2, 0>();
            way.run(x, dy, sum, scratch);
        }
        if let Some(wider) = wider {
            without_leading_taps(&own.description, &wider, to);
        }
    }
}

impl Gradient for ConvWeights {
    fn parameters(&self, layers: &Layers) -> Vec<usize> {
        vec![learning(layers, self.layer).kernel]
    }
}

impl Operation for BiasGradient {
    const LABEL: &'static str = "d bias";

    fn run(&self, run: &mut Run<'_, '_>) {
        if let Some(to) = run.pass.gradient(self.bias) {
            let [dy] = run.io.views::<1, 0>().reads;
            kernels::bias_gradient(dy, to);
        }
    }
}

impl Gradient for BiasGradient {
    fn parameters(&self, _: &Layers) -> Vec<usize> {
        vec![self.bias]
    }
}
