//! Every convolution kernel, on every instruction set of this machine, against the reference.

use proptest::prelude::*;

use super::*;
use crate::buffer::Buffer;
use crate::layout::{blocked, to_planar};
use crate::reference::{self, Measured, SHARE, assert_close};
use crate::threads::Threads;

/// [`SHARE`] for sums of transformed values, by F(4, 3), and by F(6, 3) where dilations are large: they were off by a
/// sixth of it at most.
const WINOGRAD_SHARE: f64 = 8.0 * SHARE;

/// Which kernel runs a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As the plan chooses.
    Planned,
    /// The planar one.
    OnPicture,
    /// By tiles, even where they do not pay.
    Winograd,
}

/// Deterministic values in −1..1, never all alike.
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

#[derive(Clone, Debug)]
struct Case {
    spec: ConvSpec,
    shape: MapShape,
    activation: Activation,
    residual: bool,
    threads: usize,
}

/// Runs a case as the plan would, by the blocked or depthwise kernel, or by the planar one.
fn run(case: &Case, isa: Isa, way: Way) -> Option<Vec<f32>> {
    let Case { spec, shape, .. } = case;
    let input = values(shape.batch * shape.planar_len(), 1);
    let (weights, bias) = numbers(spec);
    let kernel = Kernel2d {
        weights: &weights,
        bias: &bias,
    };
    let out = spec.output(*shape)?;
    let mut output = Buffer::zeros(out.blocked_len(isa));
    // What was there before must not matter.
    output.fill(f32::NAN);
    Threads::new(case.threads).unwrap().run(|| {
        if way == Way::OnPicture {
            let conv = Convolution::on_picture(isa, *spec, kernel, case.activation)?;
            let plan = conv.plan(*shape, case.threads, WeightMemory::Ample);
            let mut scratch = vec![f32::NAN; plan.scratch_len()];
            let output = MapMut::whole(isa, out, &mut output);
            conv.run_on_picture(&plan, &input, output, &mut scratch);
        } else {
            let conv = Convolution::new(isa, *spec, kernel, case.activation);
            let residual = blocked(isa, out, &values(out.batch * out.planar_len(), 9));
            let residual = case.residual.then(|| Map::whole(isa, out, &residual));
            let input = blocked(isa, *shape, &input);
            let output = MapMut::whole(isa, out, &mut output);
            let mut plan = conv.plan(*shape, case.threads, WeightMemory::Ample);
            if let (Way::Winograd, Packed::Blocked(packed)) = (way, &conv.packed) {
                let panels = packed.panels();
                let cache = &conv.transformed;
                // Weights that are kept, and weights that the run transforms.
                let keep = case.shape.width.is_multiple_of(2);
                let tiles = winograd::Plan::new(isa, spec, panels, cache, keep, out, case.threads);
                plan.scratch_len = tiles.scratch_len;
                plan.winograd = Some(tiles);
            }
            let mut scratch = vec![f32::NAN; plan.scratch_len()];
            let input = Map::whole(isa, *shape, &input);
            conv.run(&plan, input, output, residual, &mut scratch);
        }
        let mut planar = vec![0.0; out.batch * out.planar_len()];
        to_planar(Map::whole(isa, out, &output), &mut planar);
        Some(planar)
    })
}

fn numbers(spec: &ConvSpec) -> (Vec<f32>, Vec<f32>) {
    (values(spec.weights_len(), 3), values(spec.out_channels, 4))
}

/// With the sums' magnitudes; by tiles, those of the largest sum of a picture's channel, since a tile's transform
/// mixes the pixels of a tile.
fn expected(case: &Case, by_tiles: bool) -> Vec<Measured> {
    let input = values(case.shape.batch * case.shape.planar_len(), 1);
    let (weights, bias) = numbers(&case.spec);
    let kernel = Kernel2d {
        weights: &weights,
        bias: &bias,
    };
    let (mut expected, out) = reference::convolution(&case.spec, kernel, &input, case.shape);
    if by_tiles {
        for plane in expected.chunks_exact_mut(out.pixels()) {
            let largest = plane.iter().map(|e| e.magnitude).fold(0.0, f64::max);
            plane.iter_mut().for_each(|e| *e = e.at_least(largest));
        }
    }
    if case.residual {
        let residual = values(out.batch * out.planar_len(), 9);
        expected
            .iter_mut()
            .zip(residual)
            .for_each(|(e, r)| *e += Measured::from(r));
    }
    activated(&mut expected, case.activation);
    expected
}

fn activated(values: &mut [Measured], activation: Activation) {
    for value in values {
        *value = value.map(|x| reference::backward::activation(activation, x));
    }
}

fn check_everywhere(case: &Case, way: Way) {
    if case.spec.output(case.shape).is_none() {
        return;
    }
    let by_tiles = way != Way::OnPicture && winograd::supports(&case.spec);
    let expected = expected(case, by_tiles);
    for isa in Isa::available() {
        let Some(got) = run(case, isa, way) else {
            continue;
        };
        let share = if by_tiles { WINOGRAD_SHARE } else { SHARE };
        assert_close(&isa.to_string(), &got, &expected, share);
    }
}

fn activations() -> impl Strategy<Value = Activation> {
    use Activation::{Hardsigmoid, Hardswish, None, Relu, Relu6, Sigmoid, Silu};
    prop::sample::select(vec![
        None,
        Relu,
        Relu6,
        Hardswish,
        Hardsigmoid,
        Sigmoid,
        Silu,
    ])
}

prop_compose! {
    fn windows()(
        kernel in [1_usize..6, 1_usize..6],
        stride in [1_usize..4, 1_usize..4],
        padding in [0_usize..4, 0_usize..4],
        dilation in [1_usize..4, 1_usize..4],
    ) -> [[usize; 2]; 4] {
        [kernel, stride, padding, dilation]
    }
}

prop_compose! {
    fn cases(channels: std::ops::Range<usize>, groups: bool)(
        ins in channels.clone(),
        outs in channels.clone(),
        groups in if groups { 1_usize..5 } else { 1..2 },
        [kernel, stride, padding, dilation] in windows(),
        size in [1_usize..20, 1_usize..40],
        batch in 1_usize..3,
        activation in activations(),
        residual: bool,
        threads in 1_usize..4,
    ) -> Case {
        let spec = ConvSpec {
            in_channels: ins * groups,
            out_channels: outs * groups,
            kernel, stride, padding, dilation, groups,
        };
        let shape = MapShape::new(batch, ins * groups, size[0], size[1]);
        Case { spec, shape, activation, residual, threads }
    }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(96))]

    #[test]
    fn any_window(case in cases(1..40, false)) {
        check_everywhere(&case, Way::Planned);
    }

    #[test]
    fn groups(case in cases(1..12, true)) {
        check_everywhere(&case, Way::Planned);
    }

    #[test]
    fn groups_of_whole_blocks(case in cases(1..4, true), in_blocks in 1_usize..3, out_blocks in 1_usize..3) {
        let mut case = case;
        case.spec.in_channels = 8 * in_blocks * case.spec.groups;
        case.spec.out_channels = 16 * out_blocks * case.spec.groups;
        case.shape.channels = case.spec.in_channels;
        check_everywhere(&case, Way::Planned);
    }

    #[test]
    fn depthwise(case in cases(1..2, false), channels in 2_usize..50) {
        let mut case = case;
        case.spec = ConvSpec {
            in_channels: channels, out_channels: channels, groups: channels, ..case.spec
        };
        case.shape.channels = channels;
        check_everywhere(&case, Way::Planned);
    }

    #[test]
    fn on_pictures(case in cases(1..5, false), outs in 1_usize..100) {
        let mut case = Case { residual: false, ..case };
        case.spec.out_channels = outs;
        check_everywhere(&case, Way::OnPicture);
    }
}

prop_compose! {
    fn tiled()(
        ins in 1_usize..70,
        outs in 1_usize..70,
        dilation in [prop_oneof![1_usize..5, 5_usize..40], prop_oneof![1_usize..5, 5_usize..40]],
        padding in prop::option::of([0_usize..6, 0_usize..6]),
        size in [1_usize..50, 1_usize..50],
        batch in 1_usize..3,
        activation in activations(),
        residual: bool,
        threads in 1_usize..4,
    ) -> Case {
        // Most networks pad by the dilation; any other padding must be right, too.
        let padding = padding.unwrap_or(dilation);
        let spec = ConvSpec {
            in_channels: ins, out_channels: outs,
            kernel: [3, 3], stride: [1, 1], padding, dilation, groups: 1,
        };
        let shape = MapShape::new(batch, ins, size[0], size[1]);
        Case { spec, shape, activation, residual, threads }
    }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(96))]

    #[test]
    fn tiles(case in tiled()) {
        check_everywhere(&case, Way::Winograd);
    }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(96))]

    #[test]
    fn with_a_factor_a_channel(case in cases(1..90, false)) {
        let mut case = case;
        case.spec = ConvSpec {
            kernel: [1, 1], stride: [1, 1], padding: [0, 0], dilation: [1, 1], ..case.spec
        };
        let Case { spec, shape, activation, threads, .. } = case;
        prop_assert!(Convolution::supports_scale(&spec));
        let input = values(shape.batch * shape.planar_len(), 1);
        let factors = values(shape.batch * shape.channels, 5);
        let mut product = input.clone();
        for (plane, factor) in product.chunks_exact_mut(shape.pixels()).zip(&factors) {
            plane.iter_mut().for_each(|x| *x *= factor);
        }
        let (weights, bias) = numbers(&spec);
        let kernel = Kernel2d { weights: &weights, bias: &bias };
        let (mut expected, out) = reference::convolution(&spec, kernel, &product, shape);
        let residual = values(expected.len(), 9);
        if case.residual {
            expected.iter_mut().zip(&residual).for_each(|(e, &r)| *e += Measured::from(r));
        }
        activated(&mut expected, activation);
        let one_pixel = MapShape { height: 1, width: 1, ..shape };
        for isa in Isa::available() {
            let conv = Convolution::new(isa, spec, kernel, activation);
            let plan = conv.plan(shape, threads, WeightMemory::Ample);
            let (x, by) = (blocked(isa, shape, &input), blocked(isa, one_pixel, &factors));
            let residual = blocked(isa, out, &residual);
            let residual = case.residual.then(|| Map::whole(isa, out, &residual));
            let (x, by) = (Map::whole(isa, shape, &x), Map::whole(isa, one_pixel, &by));
            let run = |threads: usize| {
                let mut output = Buffer::zeros(out.blocked_len(isa));
                output.fill(f32::NAN);
                let to = MapMut::whole(isa, out, &mut output);
                Threads::new(threads).unwrap().run(|| conv.run_scaled(&plan, x, by, to, residual));
                let mut got = vec![0.0; expected.len()];
                to_planar(Map::whole(isa, out, &output), &mut got);
                got
            };
            let got = run(threads);
            prop_assert!(got == run(1), "{isa}: not the bits of one thread");
            assert_close(&isa.to_string(), &got, &expected, SHARE);
        }
    }

    #[test]
    fn depthwise_windows_that_begin_with_zeros(
        case in cases(1..2, false), channels in 2_usize..50, zeros in [0_usize..4, 0_usize..4],
    ) {
        let spec = ConvSpec {
            in_channels: channels, out_channels: channels, groups: channels, ..case.spec
        };
        let shape = MapShape { channels, ..case.shape };
        prop_assume!(spec.output(shape).is_some());
        let (mut weights, bias) = numbers(&spec);
        let [rows, columns] = spec.kernel;
        for (tap, weight) in (0..rows * columns).cycle().zip(&mut weights) {
            if tap / columns < zeros[0] || tap % columns < zeros[1] {
                *weight = 0.0;
            }
        }
        let input = values(shape.batch * shape.planar_len(), 1);
        let kernel = Kernel2d { weights: &weights, bias: &bias };
        let (expected, out) = reference::convolution(&spec, kernel, &input, shape);
        for isa in Isa::available() {
            let conv = Convolution::new(isa, spec, kernel, Activation::None);
            let plan = conv.plan(shape, case.threads, WeightMemory::Ample);
            let x = blocked(isa, shape, &input);
            let mut output = Buffer::zeros(out.blocked_len(isa));
            output.fill(f32::NAN);
            let to = MapMut::whole(isa, out, &mut output);
            conv.run(&plan, Map::whole(isa, shape, &x), to, None, &mut []);
            let mut got = vec![0.0; expected.len()];
            to_planar(Map::whole(isa, out, &output), &mut got);
            assert_close(&isa.to_string(), &got, &expected, SHARE);
        }
    }
}

/// Both ways through the memory, in several chunks, against direct summation.
#[test]
fn tiles_of_many_channels() {
    for (channels, dilation, size) in [(40, 1, 61), (320, 2, 21), (160, 12, 65), (40, 24, 65)] {
        let spec = ConvSpec {
            in_channels: channels,
            out_channels: 24,
            kernel: [3; 2],
            stride: [1; 2],
            padding: [dilation; 2],
            dilation: [dilation; 2],
            groups: 1,
        };
        let case = Case {
            spec,
            shape: MapShape::new(1, channels, size, size - 4),
            activation: Activation::Relu,
            residual: true,
            threads: 2,
        };
        check_everywhere(&case, Way::Winograd);
    }
}

/// Every width of panel, with a reduction that is cut in several parts.
#[test]
fn wide_and_deep() {
    for (ins, outs, side) in [
        (600, 16, 1),
        (300, 32, 1),
        (300, 48, 1),
        (300, 64, 1),
        (300, 80, 1),
        (70, 208, 3),
    ] {
        let spec = ConvSpec {
            in_channels: ins,
            out_channels: outs,
            kernel: [side; 2],
            stride: [1; 2],
            padding: [side / 2; 2],
            dilation: [1; 2],
            groups: 1,
        };
        let shape = MapShape::new(2, ins, 11, 13);
        let case = Case {
            spec,
            shape,
            activation: Activation::Relu,
            residual: true,
            threads: 2,
        };
        check_everywhere(&case, Way::Planned);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let spec = ConvSpec {
        in_channels: 130,
        out_channels: 70,
        kernel: [3; 2],
        stride: [1; 2],
        padding: [2; 2],
        dilation: [2; 2],
        groups: 1,
    };
    let case = Case {
        spec,
        shape: MapShape::new(1, 130, 33, 29),
        activation: Activation::None,
        residual: false,
        threads: 1,
    };
    for isa in Isa::available() {
        let one = run(&case, isa, Way::Planned).unwrap();
        for threads in [2, 3, 5] {
            let many = run(
                &Case {
                    threads,
                    ..case.clone()
                },
                isa,
                Way::Planned,
            )
            .unwrap();
            assert!(one == many, "{isa}, {threads} threads");
        }
    }
}

#[test]
fn nan_is_not_swallowed() {
    let spec = ConvSpec {
        in_channels: 1,
        out_channels: 1,
        kernel: [1; 2],
        stride: [1; 2],
        padding: [0; 2],
        dilation: [1; 2],
        groups: 1,
    };
    let shape = MapShape::new(1, 1, 1, 1);
    let kernel = Kernel2d {
        weights: &[1.0],
        bias: &[],
    };
    for isa in Isa::available() {
        let conv = Convolution::new(isa, spec, kernel, Activation::Relu);
        let input = blocked(isa, shape, &[f32::NAN]);
        let mut output = Buffer::zeros(shape.blocked_len(isa));
        let to = MapMut::whole(isa, shape, &mut output);
        let plan = conv.plan(shape, 1, WeightMemory::Ample);
        conv.run(&plan, Map::whole(isa, shape, &input), to, None, &mut []);
        assert!(output[0].is_nan(), "{isa}");
    }
}
