//! Two-dimensional convolution: what it is, and which file does it.

mod backward;
mod blocked;
mod depthwise;
mod gemm;
mod panel;
mod planar;
mod repack;
mod spec;
mod tile;
mod transposed;
mod winograd;

pub use backward::{InputGradient, WeightGradient, bias_gradient};
pub use spec::ConvSpec;
pub(crate) use spec::reach;
pub use transposed::{TransposedConvolution, TransposedSpec};

use std::sync::atomic::{AtomicU64, Ordering};

use crate::activation::Activation;
use crate::isa::Isa;
use crate::map::{Map, MapMut, MapShape, assert_same, one_isa};

/// A convolution's numbers: kernel `[out, in / groups, height, width]` and bias `[out]`.
#[derive(Clone, Copy, Debug)]
pub struct Kernel2d<'a> {
    /// Row-major kernel.
    pub weights: &'a [f32],
    /// Bias; empty for none.
    pub bias: &'a [f32],
}

/// A convolution with its weights packed for one instruction set, bias and non-linearity included.
#[derive(Debug)]
pub struct Convolution {
    /// No other convolution of this process has it: by it a plan is known as this one's.
    id: u64,
    spec: ConvSpec,
    isa: Isa,
    activation: Activation,
    packed: Packed,
    transformed: winograd::Cache,
}

fn new_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Whether memory may be spent on weights in a second form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WeightMemory {
    /// As much as the fastest algorithm takes: up to four times the weights of a 3×3 convolution
    /// (seven for large dilations), held as long as the plan.
    #[default]
    Ample,
    /// As much, but only while the convolution runs: each run transforms the weights anew, in its
    /// scratch memory. What another plan holds is used.
    Brief,
    /// Nothing but the weights as they are.
    Low,
}

/// How a convolution goes on inputs of one shape: made once by [`Convolution::plan`], and holding
/// the weights in the form that its algorithm takes. No other convolution runs by it.
#[derive(Debug)]
pub struct ConvPlan {
    /// Whose it is.
    convolution: u64,
    input: MapShape,
    winograd: Option<winograd::Plan>,
    direct: &'static str,
    scratch_len: usize,
}

impl ConvPlan {
    /// The algorithm, in a word.
    pub fn algorithm(&self) -> &'static str {
        match &self.winograd {
            Some(plan) => plan.label(),
            None => self.direct,
        }
    }

    /// Values of scratch memory that a run needs.
    pub fn scratch_len(&self) -> usize {
        self.scratch_len
    }

    /// Bytes of weights in a second form, which other plans of the same convolution may share.
    pub fn weight_bytes(&self) -> usize {
        let values = self
            .winograd
            .as_ref()
            .map_or(0, winograd::Plan::weights_len);
        values * size_of::<f32>()
    }
}

#[derive(Debug)]
enum Packed {
    Blocked(blocked::Packed),
    Depthwise(depthwise::Packed),
    Planar(planar::Packed),
}

impl Convolution {
    /// Packs a convolution that reads a blocked map.
    ///
    /// # Panics
    /// If an extent is 0, channels do not divide into groups, or the slices do not have the lengths that `spec`
    /// asks for.
    pub fn new(isa: Isa, spec: ConvSpec, kernel: Kernel2d<'_>, activation: Activation) -> Self {
        check(&spec, &kernel);
        let packed = if spec.is_depthwise() {
            Packed::Depthwise(depthwise::Packed::new(isa, &spec, &kernel))
        } else {
            Packed::Blocked(blocked::Packed::new(isa, &spec, &kernel))
        };
        Self {
            id: new_id(),
            spec,
            isa,
            activation,
            packed,
            transformed: winograd::Cache::default(),
        }
    }

    /// Whether [`Convolution::on_picture`] has a kernel for it.
    pub fn supports_picture(spec: &ConvSpec) -> bool {
        planar::supports(spec)
    }

    /// Packs a convolution that reads a planar picture, if there is a kernel for it (few channels,
    /// one group, stride 1 or 2 to the right): the first layer of a network.
    ///
    /// # Panics
    /// As [`Convolution::new`].
    pub fn on_picture(
        isa: Isa,
        spec: ConvSpec,
        kernel: Kernel2d<'_>,
        activation: Activation,
    ) -> Option<Self> {
        check(&spec, &kernel);
        planar::supports(&spec).then(|| Self {
            id: new_id(),
            spec,
            isa,
            activation,
            packed: Packed::Planar(planar::Packed::new(isa, &spec, &kernel)),
            transformed: winograd::Cache::default(),
        })
    }

    /// Packs other weights in place of those that it has, on all threads. Plans whose weights are
    /// [`WeightMemory::Ample`] go on with the ones that they hold: plans for training are
    /// [`WeightMemory::Brief`].
    ///
    /// # Panics
    /// If the slices do not have the lengths of its extents.
    pub fn repack(&mut self, kernel: Kernel2d<'_>) {
        check(&self.spec, &kernel);
        self.transformed = winograd::Cache::default();
        match &mut self.packed {
            Packed::Blocked(p) => p.repack(self.isa, &self.spec, &kernel),
            Packed::Depthwise(p) => *p = depthwise::Packed::new(self.isa, &self.spec, &kernel),
            Packed::Planar(p) => *p = planar::Packed::new(self.isa, &self.spec, &kernel),
        }
    }

    /// Packs the weights of the convolution whose input gradient this is, in place.
    fn repack_for_gradient(&mut self, weights: &[f32]) {
        assert_eq!(weights.len(), self.spec.weights_len(), "kernel");
        let taps = self.spec.kernel[0] * self.spec.kernel[1];
        match &mut self.packed {
            Packed::Blocked(p) => p.repack_for_gradient(self.isa, &self.spec, weights),
            Packed::Depthwise(p) => {
                let mut flipped = weights.to_vec();
                flipped.chunks_exact_mut(taps).for_each(<[f32]>::reverse);
                let kernel = Kernel2d {
                    weights: &flipped,
                    bias: &[],
                };
                *p = depthwise::Packed::new(self.isa, &self.spec, &kernel);
            }
            Packed::Planar(_) => panic!("a gradient is a blocked map"),
        }
    }

    /// What it is.
    pub fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// Bytes of packed weights, those that plans hold in a second form included.
    pub fn weight_bytes(&self) -> usize {
        let values = match &self.packed {
            Packed::Blocked(p) => p.len(),
            Packed::Depthwise(p) => p.len(),
            Packed::Planar(p) => p.len(),
        };
        values * size_of::<f32>() + self.transformed_bytes()
    }

    /// Bytes of weights that plans hold in a second form.
    pub fn transformed_bytes(&self) -> usize {
        self.transformed.len() * size_of::<f32>()
    }

    /// Chooses how to run on inputs of a shape with up to `threads` threads, by an estimate of what
    /// each algorithm costs; what is chosen does not depend on the number of threads.
    ///
    /// # Panics
    /// If the window does not fit the input, or the channels differ.
    pub fn plan(&self, input: MapShape, threads: usize, memory: WeightMemory) -> ConvPlan {
        assert_eq!(self.spec.in_channels, input.channels, "channels in");
        let output = self.spec.output(input).expect("a window that fits");
        let (direct, scratch_len) = match &self.packed {
            Packed::Blocked(p) if p.is_dense() => ("gemm", 0),
            Packed::Blocked(_) => ("window gemm", 0),
            Packed::Depthwise(_) => ("depthwise", 0),
            Packed::Planar(_) => ("planar", planar::scratch_len(&self.spec, input)),
        };
        let winograd = match &self.packed {
            Packed::Blocked(p)
                if memory != WeightMemory::Low
                    && winograd::supports(&self.spec)
                    && winograd::pays(&self.spec, self.isa, input, output) =>
            {
                Some(winograd::Plan::new(
                    self.isa,
                    &self.spec,
                    p.panels(),
                    &self.transformed,
                    memory == WeightMemory::Ample,
                    output,
                    threads,
                ))
            }
            _ => None,
        };
        ConvPlan {
            convolution: self.id,
            input,
            scratch_len: winograd
                .as_ref()
                .map_or(scratch_len, |plan| plan.scratch_len),
            winograd,
            direct,
        }
    }

    /// How many times fewer products than its window has are needed for it at best: 4 where Winograd's filters can
    /// compute it.
    pub fn saves(spec: &ConvSpec) -> f32 {
        if winograd::supports(spec) { 4.0 } else { 1.0 }
    }

    /// Whether [`Convolution::run_scaled`] has a kernel for it: 1×1, stride 1, one group, no padding.
    pub fn supports_scale(spec: &ConvSpec) -> bool {
        blocked::is_dense(spec)
    }

    /// `output = activation(convolution(input) + bias + residual)`, all blocked.
    ///
    /// # Panics
    /// If the plan is another convolution's, a map is laid out for another instruction set, shapes do not fit the
    /// plan, the scratch memory is too short, there are more threads than were planned for, or it was packed
    /// [`Convolution::on_picture`].
    pub fn run(
        &self,
        plan: &ConvPlan,
        input: Map<'_>,
        output: MapMut<'_>,
        residual: Option<Map<'_>>,
        scratch: &mut [f32],
    ) {
        self.run_with(plan, input, None, output, residual, scratch);
    }

    /// As [`Convolution::run`] with `input · scale` in place of `input`, without a pass over memory for the
    /// product; `scale` is one pixel, a factor a channel and picture, as squeeze-and-excitation has it.
    ///
    /// # Panics
    /// As [`Convolution::run`], if `scale` is of another shape, or where
    /// [`Convolution::supports_scale`] says no.
    pub fn run_scaled(
        &self,
        plan: &ConvPlan,
        input: Map<'_>,
        scale: Map<'_>,
        output: MapMut<'_>,
        residual: Option<Map<'_>>,
    ) {
        let expected = MapShape {
            height: 1,
            width: 1,
            ..input.shape()
        };
        one_isa([self.isa, scale.isa()]);
        assert_same(expected, scale.shape());
        self.run_with(plan, input, Some(scale), output, residual, &mut []);
    }

    fn run_with(
        &self,
        plan: &ConvPlan,
        input: Map<'_>,
        scale: Option<Map<'_>>,
        mut output: MapMut<'_>,
        residual: Option<Map<'_>>,
        scratch: &mut [f32],
    ) {
        assert!(
            scale.is_none() || Self::supports_scale(&self.spec),
            "a scale before {:?}",
            self.spec
        );
        one_isa([self.isa, input.isa()]);
        self.check(plan, input.shape(), &output, residual);
        let activation = self.activation;
        match (&self.packed, &plan.winograd) {
            (Packed::Blocked(p), Some(winograd)) => {
                winograd.run(
                    &self.spec,
                    input,
                    &mut output,
                    residual,
                    p.panels(),
                    activation,
                    scratch,
                );
            }
            (Packed::Blocked(p), None) => {
                p.run(&self.spec, input, scale, &mut output, residual, activation);
            }
            (Packed::Depthwise(p), _) => {
                p.run(&self.spec, input, &mut output, residual, activation);
            }
            (Packed::Planar(_), _) => panic!("packed for a planar picture, given a blocked map"),
        }
    }

    /// `output = activation(convolution(input) + bias)` for a planar `input`, N×C×H×W.
    ///
    /// # Panics
    /// As [`Convolution::run`], or if it was packed for blocked maps.
    pub fn run_on_picture(
        &self,
        plan: &ConvPlan,
        input: &[f32],
        mut output: MapMut<'_>,
        scratch: &mut [f32],
    ) {
        let shape = plan.input;
        self.check(plan, shape, &output, None);
        assert_eq!(input.len(), shape.batch_len(), "a picture of {shape:?}");
        match &self.packed {
            Packed::Planar(p) => {
                p.run(
                    &self.spec,
                    input,
                    shape,
                    scratch,
                    &mut output,
                    self.activation,
                );
            }
            _ => panic!("packed for a blocked map, given a planar picture"),
        }
    }

    /// # Panics
    /// If the plan is another's, or anything does not fit it.
    fn check(
        &self,
        plan: &ConvPlan,
        input: MapShape,
        output: &MapMut<'_>,
        residual: Option<Map<'_>>,
    ) {
        assert_eq!(self.id, plan.convolution, "planned for another convolution");
        assert_eq!(plan.input, input, "planned for another input");
        let expected = self.spec.output(input);
        assert_eq!(Some(output.shape()), expected, "output of {:?}", self.spec);
        one_isa([self.isa, output.isa()]);
        if let Some(residual) = residual {
            one_isa([self.isa, residual.isa()]);
            assert_same(residual.shape(), output.shape());
        }
    }
}

fn check(spec: &ConvSpec, kernel: &Kernel2d<'_>) {
    spec.check();
    assert_eq!(
        kernel.weights.len(),
        spec.weights_len(),
        "kernel of {spec:?}"
    );
    assert!(
        [0, spec.out_channels].contains(&kernel.bias.len()),
        "bias of {spec:?}"
    );
}

#[cfg(test)]
mod tests;
