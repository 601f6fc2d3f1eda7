//! Gradients of convolutions, on every instruction set of this machine, against the reference, and
//! the reference against differences.

use proptest::prelude::*;

use super::*;
use crate::activation::Activation;
use crate::buffer::Buffer;
use crate::conv::{
    ConvSpec, Convolution, Kernel2d, TransposedConvolution, TransposedSpec, WeightMemory, winograd,
};
use crate::isa::Isa;
use crate::layout::{blocked, to_planar};
use crate::map::{Map, MapMut, MapShape};
use crate::reference::{self, Measured, SHARE, assert_close};
use crate::threads::Threads;

/// [`SHARE`] for sums of transformed values, by F(4, 3), and by F(6, 3) where dilations are large: they were off by a
/// sixth of it at most.
const WINOGRAD_SHARE: f64 = 8.0 * SHARE;

/// Deterministic values in −1..1.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// A convolution, its input, weights and its output's gradient.
#[derive(Clone, Debug)]
struct Case {
    spec: ConvSpec,
    shape: MapShape,
}

impl Case {
    fn output(&self) -> MapShape {
        self.spec.output(self.shape).unwrap()
    }

    fn x(&self) -> Vec<f32> {
        values(self.shape.batch * self.shape.planar_len(), 1)
    }

    fn dy(&self) -> Vec<f32> {
        values(self.output().batch * self.output().planar_len(), 2)
    }

    fn weights(&self) -> Vec<f32> {
        values(self.spec.weights_len(), 3)
    }

    fn expected(&self) -> reference::backward::ConvGradients {
        let (weights, x, dy) = (self.weights(), self.x(), self.dy());
        reference::backward::convolution(&self.spec, &weights, &x, self.shape, &dy)
    }
}

/// With at least the magnitude of the largest of `each` values together: those that a tile's transform mixes.
fn mixed(mut values: Vec<Measured>, each: usize) -> Vec<Measured> {
    for together in values.chunks_exact_mut(each) {
        let largest = together.iter().map(|e| e.magnitude).fold(0.0, f64::max);
        together.iter_mut().for_each(|e| *e = e.at_least(largest));
    }
    values
}

/// Which kernel computes a weight gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Planned,
    Winograd,
    Windows,
    OnPicture,
}

fn weight_gradient(case: &Case, isa: Isa, way: Way, threads: usize) -> Option<Vec<f32>> {
    let Case { spec, shape } = *case;
    let plan = match way {
        Way::Planned => WeightGradient::new(isa, spec, shape),
        Way::Winograd => WeightGradient::forced(isa, spec, shape, true),
        Way::Windows => WeightGradient::forced(isa, spec, shape, false),
        Way::OnPicture => WeightGradient::on_picture(isa, spec, shape)?,
    };
    let (x, out) = (case.x(), case.output());
    let dy = blocked(isa, out, &case.dy());
    let dy = Map::whole(isa, out, &dy);
    // What was there before must not matter.
    let mut gradient = vec![f32::NAN; spec.weights_len()];
    let mut scratch = vec![f32::NAN; plan.scratch_len()];
    Threads::new(threads).unwrap().run(|| {
        if way == Way::OnPicture {
            plan.run_on_picture(&x, dy, &mut gradient, &mut scratch);
        } else {
            let x = blocked(isa, shape, &x);
            let x = Map::whole(isa, shape, &x);
            plan.run(x, dy, &mut gradient, &mut scratch);
        }
    });
    Some(gradient)
}

fn check_weights(case: &Case, way: Way, threads: usize) -> Result<(), TestCaseError> {
    if case.spec.output(case.shape).is_none() {
        return Ok(());
    }
    let mut expected = case.expected().weights;
    let tiles = way == Way::Winograd || way == Way::Planned && winograd::supports(&case.spec);
    let share = if tiles { WINOGRAD_SHARE } else { SHARE };
    if tiles {
        expected = mixed(expected, case.spec.kernel[0] * case.spec.kernel[1]);
    }
    for isa in Isa::available() {
        let Some(one) = weight_gradient(case, isa, way, 1) else {
            continue;
        };
        assert_close(&format!("{isa}, {way:?}"), &one, &expected, share);
        let many = weight_gradient(case, isa, way, threads);
        prop_assert!(
            many == Some(one),
            "{isa}, {way:?}: {threads} threads differ"
        );
    }
    Ok(())
}

prop_compose! {
    fn cases(channels: std::ops::Range<usize>, groups: std::ops::Range<usize>)(
        ins in channels.clone(),
        outs in channels,
        groups in groups,
        kernel in [1_usize..6, 1_usize..6],
        stride in [1_usize..4, 1_usize..4],
        padding in [0_usize..4, 0_usize..4],
        dilation in [1_usize..4, 1_usize..4],
        size in [1_usize..20, 1_usize..40],
        batch in 1_usize..3,
    ) -> Case {
        let spec = ConvSpec {
            in_channels: ins * groups,
            out_channels: outs * groups,
            kernel, stride, padding, dilation, groups,
        };
        Case { spec, shape: MapShape::new(batch, ins * groups, size[0], size[1]) }
    }
}

prop_compose! {
    fn pointwise()(case in cases(1..100, 1..2), size in [1_usize..30, 1_usize..30]) -> Case {
        let spec = ConvSpec {
            kernel: [1; 2], stride: [1; 2], padding: [0; 2], dilation: [1; 2], ..case.spec
        };
        Case { spec, shape: MapShape { height: size[0], width: size[1], ..case.shape } }
    }
}

prop_compose! {
    fn depthwise()(case in cases(1..2, 2..50)) -> Case { case }
}

prop_compose! {
    fn tiled()(
        ins in 1_usize..70,
        outs in 1_usize..70,
        dilation in [prop_oneof![1_usize..5, 5_usize..40], prop_oneof![1_usize..5, 5_usize..40]],
        padding in prop::option::of([0_usize..6, 0_usize..6]),
        size in [1_usize..40, 1_usize..40],
        batch in 1_usize..3,
    ) -> Case {
        let spec = ConvSpec {
            in_channels: ins, out_channels: outs, kernel: [3, 3], stride: [1, 1],
            padding: padding.unwrap_or(dilation), dilation, groups: 1,
        };
        Case { spec, shape: MapShape::new(batch, ins, size[0], size[1]) }
    }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(64))]

    #[test]
    fn weights_of_any_window(case in cases(1..60, 1..2), threads in 2_usize..4) {
        check_weights(&case, Way::Planned, threads)?;
    }

    #[test]
    fn weights_of_pointwise(case in pointwise(), threads in 2_usize..4) {
        check_weights(&case, Way::Windows, threads)?;
    }

    #[test]
    fn weights_of_groups(case in cases(1..24, 2..5), threads in 2_usize..4) {
        check_weights(&case, Way::Windows, threads)?;
    }

    #[test]
    fn weights_of_depthwise(case in depthwise(), threads in 2_usize..4) {
        check_weights(&case, Way::Planned, threads)?;
    }

    #[test]
    fn weights_on_pictures(case in cases(1..5, 1..2), outs in 1_usize..100, threads in 2_usize..4) {
        let mut case = case;
        case.spec.out_channels = outs;
        check_weights(&case, Way::OnPicture, threads)?;
    }

    #[test]
    fn weights_by_tiles(case in tiled(), threads in 2_usize..4) {
        check_weights(&case, Way::Winograd, threads)?;
    }
}

/// The input's gradient, added to `others` where that goes; the plan has had other weights before.
fn input_gradient(case: &Case, isa: Isa, threads: usize, others: Option<&[f32]>) -> Vec<f32> {
    let Case { spec, shape } = *case;
    let (out, weights) = (case.output(), case.weights());
    let dy = blocked(isa, out, &case.dy());
    let dy = Map::whole(isa, out, &dy);
    let mut plan = InputGradient::new(isa, spec, shape, threads);
    let mut scratch = vec![f32::NAN; plan.scratch_len()];
    let others = others.filter(|_| plan.adds());
    let others = others.map(|others| blocked(isa, shape, others));
    let others = others.as_ref().map(|o| Map::whole(isa, shape, o));
    let mut dx = Buffer::zeros(shape.blocked_len(isa));
    Threads::new(threads).unwrap().run(|| {
        for weights in [&vec![1.0; weights.len()], &weights] {
            dx.fill(f32::NAN);
            let dx = MapMut::whole(isa, shape, &mut dx);
            plan.run(dy, weights, others, dx, &mut scratch);
        }
    });
    assert!(dx.iter().all(|x| x.is_finite()), "{isa}: lanes left");
    let mut planar = vec![0.0; shape.batch * shape.planar_len()];
    to_planar(Map::whole(isa, shape, &dx), &mut planar);
    planar
}

fn check_input(case: &Case, threads: usize) -> Result<(), TestCaseError> {
    if case.spec.output(case.shape).is_none() {
        return Ok(());
    }
    let mut expected = case.expected();
    let share = if winograd::supports(&case.spec) {
        expected.input = mixed(expected.input, case.shape.pixels());
        WINOGRAD_SHARE
    } else {
        SHARE
    };
    for isa in Isa::available() {
        let one = input_gradient(case, isa, 1, None);
        assert_close(&isa.to_string(), &one, &expected.input, share);
        let many = input_gradient(case, isa, threads, None);
        prop_assert!(many == one, "{isa}: {threads} threads differ");
        if InputGradient::new(isa, case.spec, case.shape, 1).adds() {
            let others = case.x();
            let sum = input_gradient(case, isa, 1, Some(&others));
            let pairs = expected.input.iter().zip(&others);
            let sums: Vec<Measured> = pairs.map(|(&a, &b)| a + Measured::from(b)).collect();
            assert_close(&format!("{isa}, added"), &sum, &sums, share);
        }

        let dy = blocked(isa, case.output(), &case.dy());
        let mut bias = vec![f32::NAN; case.spec.out_channels];
        bias_gradient(Map::whole(isa, case.output(), &dy), &mut bias);
        assert_close(&format!("{isa}, bias"), &bias, &expected.bias, SHARE);
    }
    Ok(())
}

/// Packed again, a convolution does what a new one does.
fn check_repack(case: &Case) -> Result<(), TestCaseError> {
    let Case { spec, shape } = *case;
    let Some(out) = spec.output(shape) else {
        return Ok(());
    };
    let (weights, bias) = (case.weights(), values(spec.out_channels, 4));
    let kernel = Kernel2d {
        weights: &weights,
        bias: &bias,
    };
    let other = Kernel2d {
        weights: &vec![7.0; weights.len()],
        bias: &vec![7.0; bias.len()],
    };
    for isa in Isa::available() {
        let x = blocked(isa, shape, &case.x());
        let run = |conv: &Convolution| {
            let plan = conv.plan(shape, 1, WeightMemory::Brief);
            let mut scratch = vec![0.0; plan.scratch_len()];
            let mut y = Buffer::zeros(out.blocked_len(isa));
            let to = MapMut::whole(isa, out, &mut y);
            let x = Map::whole(isa, shape, &x);
            Threads::new(1)
                .unwrap()
                .run(|| conv.run(&plan, x, to, None, &mut scratch));
            y.to_vec()
        };
        let new = Convolution::new(isa, spec, kernel, Activation::None);
        let mut again = Convolution::new(isa, spec, other, Activation::None);
        again.repack(kernel);
        prop_assert!(run(&new) == run(&again), "{isa}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(segmenta_properties::cases(64))]

    #[test]
    fn inputs_of_any_window(case in cases(1..60, 1..2), threads in 2_usize..4) {
        check_input(&case, threads)?;
        check_repack(&case)?;
    }

    #[test]
    fn inputs_of_pointwise(case in pointwise(), stride in [1_usize..3, 1_usize..3]) {
        check_repack(&case)?;
        let spec = ConvSpec { stride, ..case.spec };
        check_input(&Case { spec, ..case }, 2)?;
    }

    #[test]
    fn inputs_of_groups(case in cases(1..24, 2..5), threads in 2_usize..4) {
        check_input(&case, threads)?;
        check_repack(&case)?;
    }

    #[test]
    fn inputs_of_depthwise(case in depthwise(), threads in 2_usize..4) {
        check_input(&case, threads)?;
        check_repack(&case)?;
    }

    #[test]
    fn inputs_by_tiles(case in tiled(), threads in 2_usize..4) {
        check_input(&case, threads)?;
    }
}

/// A transposed convolution's gradients are what a convolution does: the sum of products of outputs and
/// their gradient is that of inputs and theirs, and of weights and theirs.
#[test]
fn transposed_convolutions_have_gradients() {
    let spec = TransposedSpec {
        in_channels: 34,
        out_channels: 21,
        kernel: [4, 3],
        stride: [2, 2],
        padding: [1, 1],
        output_padding: [0, 1],
        dilation: [1; 2],
        groups: 1,
    };
    let shape = MapShape::new(2, 34, 5, 7);
    let out = spec.output(shape).unwrap();
    let adjoint = spec.adjoint();
    assert_eq!(adjoint.output(out), Some(shape));
    let (x, dy) = (
        values(2 * shape.planar_len(), 1),
        values(2 * out.planar_len(), 2),
    );
    let weights = values(spec.weights_len(), 3);
    let kernel = Kernel2d {
        weights: &weights,
        bias: &[],
    };
    let single = |all: Vec<Measured>| -> Vec<f32> { all.iter().map(|m| m.value as f32).collect() };
    let y = single(reference::transposed_convolution(&spec, kernel, &x, shape).0);
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
        products.sum()
    };
    let expected = dot(&y, &dy);
    let dx = single(reference::convolution(&adjoint, kernel, &dy, out).0);
    assert!((dot(&x, &dx) - expected).abs() < 1e-3);
    for isa in Isa::available() {
        let (x, dy) = (blocked(isa, shape, &x), blocked(isa, out, &dy));
        let plan = WeightGradient::new(isa, adjoint, out);
        let mut scratch = vec![0.0; plan.scratch_len()];
        let mut gradient = vec![0.0; weights.len()];
        let (dy, x) = (Map::whole(isa, out, &dy), Map::whole(isa, shape, &x));
        plan.run(dy, x, &mut gradient, &mut scratch);
        assert!((dot(&weights, &gradient) - expected).abs() < 1e-3, "{isa}");

        let mut y = Buffer::zeros(out.blocked_len(isa));
        let run = |conv: &TransposedConvolution, y: &mut Buffer| {
            conv.run(x, MapMut::whole(isa, out, y));
            y.to_vec()
        };
        let new = TransposedConvolution::new(isa, spec, kernel, Activation::None);
        let zeros = vec![0.0; weights.len()];
        let nothing = Kernel2d {
            weights: &zeros,
            bias: &[],
        };
        let mut again = TransposedConvolution::new(isa, spec, nothing, Activation::None);
        again.repack(kernel);
        assert!(run(&new, &mut y) == run(&again, &mut y), "{isa}");
    }
}

/// A square convolution that pads to the input's size.
fn square(ins: usize, outs: usize, side: usize, dilation: usize) -> ConvSpec {
    ConvSpec {
        in_channels: ins,
        out_channels: outs,
        kernel: [side; 2],
        stride: [1; 2],
        padding: [side / 2 * dilation; 2],
        dilation: [dilation; 2],
        groups: 1,
    }
}

/// Groups of channels, chunks of tiles, every width of tile.
#[test]
fn weights_of_many_channels() {
    for (ins, outs, dilation, size) in [(400, 300, 1, 9), (20, 48, 1, 150), (90, 112, 12, 33)] {
        let spec = square(ins, outs, 3, dilation);
        let shape = MapShape::new(1, ins, size, size - 2);
        check_weights(&Case { spec, shape }, Way::Winograd, 2).unwrap();
    }
    let spec = square(300, 200, 1, 1);
    let shape = MapShape::new(2, 300, 31, 29);
    check_weights(&Case { spec, shape }, Way::Windows, 3).unwrap();
}

/// Small whole numbers make every product and sum exact, and both maps are linear in each operand:
/// then the gradient is a difference for a step of 1.
#[test]
fn reference_is_a_difference() {
    let spec = ConvSpec {
        in_channels: 4,
        out_channels: 6,
        kernel: [2, 3],
        stride: [2, 1],
        padding: [1, 2],
        dilation: [1, 2],
        groups: 2,
    };
    let shape = MapShape::new(2, 4, 5, 6);
    let case = Case { spec, shape };
    let whole =
        |values: Vec<f32>| -> Vec<f32> { values.iter().map(|v| (v * 8.0).round()).collect() };
    let (x, weights, dy) = (whole(case.x()), whole(case.weights()), whole(case.dy()));
    let bias = vec![0.0; 6];
    let loss = |x: &[f32], weights: &[f32], bias: &[f32]| -> f64 {
        let (y, _) = reference::convolution(&spec, Kernel2d { weights, bias }, x, shape);
        let products = y.iter().zip(&dy).map(|(y, &dy)| y.value * f64::from(dy));
        products.sum()
    };
    let gradients = reference::backward::convolution(&spec, &weights, &x, shape, &dy);
    let base = loss(&x, &weights, &bias);
    let check = |values: &[f32], gradient: &[Measured], loss: &dyn Fn(&[f32]) -> f64| {
        for i in 0..values.len() {
            let mut moved = values.to_vec();
            moved[i] += 1.0;
            assert_eq!(loss(&moved) - base, gradient[i].value, "value {i}");
        }
    };
    check(&x, &gradients.input, &|x| loss(x, &weights, &bias));
    check(&weights, &gradients.weights, &|w| loss(&x, w, &bias));
    check(&bias, &gradients.bias, &|b| loss(&x, &weights, b));
}
