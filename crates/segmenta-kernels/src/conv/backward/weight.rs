//! Which way the gradient of a convolution's weights is computed.

use super::{depthwise, output, picture, window};
use crate::conv::{ConvSpec, planar, winograd};
use crate::isa::Isa;
use crate::map::{Map, MapShape, one_isa};

/// How the gradient of a convolution's weights is computed on inputs of one shape. It holds no
/// numbers.
#[derive(Debug)]
pub struct WeightGradient {
    isa: Isa,
    spec: ConvSpec,
    input: MapShape,
    output: MapShape,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Window(window::Plan),
    Depthwise(depthwise::Plan),
    Winograd(winograd::GradientPlan),
    Picture(picture::Plan),
}

impl WeightGradient {
    /// For a convolution of blocked maps.
    ///
    /// # Panics
    /// If the window does not fit the input, or channels differ or do not divide into groups.
    pub fn new(isa: Isa, spec: ConvSpec, input: MapShape) -> Self {
        let output = output(&spec, input);
        let way = if spec.is_depthwise() {
            Way::Depthwise(depthwise::Plan::new(isa, &spec, input, output))
        } else if winograd::supports(&spec) && winograd::pays(&spec, isa, input, output) {
            Way::Winograd(winograd::GradientPlan::new(isa, &spec, output))
        } else {
            Way::Window(window::Plan::new(isa, &spec, input, output))
        };
        Self {
            isa,
            spec,
            input,
            output,
            way,
        }
    }

    /// For a convolution of a planar picture, if there is a kernel for it: see
    /// [`Convolution::on_picture`](crate::Convolution::on_picture).
    ///
    /// # Panics
    /// As [`WeightGradient::new`].
    pub fn on_picture(isa: Isa, spec: ConvSpec, input: MapShape) -> Option<Self> {
        let output = output(&spec, input);
        planar::supports(&spec).then(|| Self {
            isa,
            spec,
            input,
            output,
            way: Way::Picture(picture::Plan::new(isa, &spec, input, output)),
        })
    }

    /// The algorithm, in a word.
    pub fn algorithm(&self) -> &'static str {
        match &self.way {
            Way::Window(_) => "windows",
            Way::Depthwise(_) => "depthwise",
            Way::Winograd(_) => "winograd",
            Way::Picture(_) => "planar",
        }
    }

    /// Values of scratch memory that a run needs.
    pub fn scratch_len(&self) -> usize {
        match &self.way {
            Way::Window(plan) => plan.scratch_len(),
            Way::Depthwise(plan) => plan.scratch_len(),
            Way::Winograd(plan) => plan.scratch_len(),
            Way::Picture(plan) => plan.scratch_len(),
        }
    }

    /// `gradient[o, c, tap] = Σ dy[o] · x[c]` over all pixels of all pictures, where `dy` is the
    /// gradient of the convolution's output, before its non-linearity.
    ///
    /// # Panics
    /// If shapes do not fit, the scratch memory is too short, or it was made for a planar picture.
    pub fn run(&self, x: Map<'_>, dy: Map<'_>, gradient: &mut [f32], scratch: &mut [f32]) {
        assert_eq!(x.shape(), self.input, "made for another input");
        one_isa([self.isa, x.isa()]);
        self.check(dy, gradient, scratch);
        match &self.way {
            Way::Window(plan) => plan.run(x, dy, gradient, scratch),
            Way::Depthwise(plan) => plan.run(x, dy, gradient, scratch),
            Way::Winograd(plan) => plan.run(x, dy, gradient, scratch),
            Way::Picture(_) => panic!("made for a planar picture, given a blocked map"),
        }
    }

    /// The same for a planar picture, N×C×H×W.
    ///
    /// # Panics
    /// As [`WeightGradient::run`], or if it was made for blocked maps.
    pub fn run_on_picture(
        &self,
        x: &[f32],
        dy: Map<'_>,
        gradient: &mut [f32],
        scratch: &mut [f32],
    ) {
        let len = self.input.batch_len();
        assert_eq!(x.len(), len, "a picture of {:?}", self.input);
        self.check(dy, gradient, scratch);
        match &self.way {
            Way::Picture(plan) => plan.run(x, dy, gradient, scratch),
            _ => panic!("made for a blocked map, given a planar picture"),
        }
    }

    fn check(&self, dy: Map<'_>, gradient: &[f32], scratch: &[f32]) {
        assert_eq!(dy.shape(), self.output, "gradient of the output");
        one_isa([self.isa, dy.isa()]);
        let len = self.spec.weights_len();
        assert_eq!(gradient.len(), len, "kernel of {:?}", self.spec);
        assert!(
            scratch.len() >= self.scratch_len(),
            "scratch memory is too short"
        );
    }
}

#[cfg(test)]
impl WeightGradient {
    /// By tiles, even where they do not pay; by windows where they do.
    pub(super) fn forced(isa: Isa, spec: ConvSpec, input: MapShape, tiles: bool) -> Self {
        let output = output(&spec, input);
        let way = if tiles {
            Way::Winograd(winograd::GradientPlan::new(isa, &spec, output))
        } else {
            Way::Window(window::Plan::new(isa, &spec, input, output))
        };
        Self {
            isa,
            spec,
            input,
            output,
            way,
        }
    }
}
