//! Transposed convolutions, on every instruction set of this machine, against the reference.

use proptest::prelude::*;

use super::*;
use crate::buffer::Buffer;
use crate::layout::{blocked, to_planar};
use crate::reference::{self, SHARE, assert_close};
use crate::threads::Threads;

#[derive(Clone, Debug)]
struct Case {
    spec: TransposedSpec,
    shape: MapShape,
    activation: Activation,
}

fn values(len: usize, seed: u32) -> Vec<f32> {
    let unit = |i: usize| {
        let mixed = (i as u32 + 1).wrapping_mul(0x9E37_79B9) ^ seed.wrapping_mul(0x85EB_CA6B);
        (mixed ^ mixed >> 15).wrapping_mul(0x2C1B_3C6D) as f32 / u32::MAX as f32
    };
    (0..len).map(|i| 2.0 * unit(i) - 1.0).collect()
}

fn run(case: &Case, isa: Isa, threads: usize) -> Vec<f32> {
    let Case { spec, shape, .. } = case;
    let out = spec.output(*shape).unwrap();
    let (weights, bias) = (values(spec.weights_len(), 1), values(spec.out_channels, 2));
    let kernel = Kernel2d {
        weights: &weights,
        bias: &bias,
    };
    let conv = TransposedConvolution::new(isa, *spec, kernel, case.activation);
    let input = blocked(isa, *shape, &values(shape.batch * shape.planar_len(), 3));
    let mut output = Buffer::zeros(out.blocked_len(isa));
    output.fill(f32::NAN);
    Threads::new(threads).unwrap().run(|| {
        let output = MapMut::whole(isa, out, &mut output);
        conv.run(Map::whole(isa, *shape, &input), output);
    });
    assert!(output.iter().all(|x| x.is_finite()), "{isa}: lanes left");
    let mut planar = vec![0.0; out.batch * out.planar_len()];
    to_planar(Map::whole(isa, out, &output), &mut planar);
    planar
}

fn check(case: &Case, threads: usize) -> Result<(), TestCaseError> {
    let Case { spec, shape, .. } = case;
    let (weights, bias) = (values(spec.weights_len(), 1), values(spec.out_channels, 2));
    let kernel = Kernel2d {
        weights: &weights,
        bias: &bias,
    };
    let input = values(shape.batch * shape.planar_len(), 3);
    let (mut expected, _) = reference::transposed_convolution(spec, kernel, &input, *shape);
    for e in &mut expected {
        *e = e.map(|x| reference::backward::activation(case.activation, x));
    }
    for isa in Isa::available() {
        let one = run(case, isa, 1);
        prop_assert!(one == run(case, isa, threads), "{isa}, {threads} threads");
        assert_close(&isa.to_string(), &one, &expected, SHARE);
    }
    Ok(())
}

prop_compose! {
    fn cases(depthwise: bool)(
        ins in 1_usize..40,
        outs in 1_usize..40,
        groups in if depthwise { 2_usize..40 } else { 1..4 },
        kernel in [1_usize..6, 1_usize..6],
        stride in [1_usize..5, 1_usize..5],
        padding in [0_usize..4, 0_usize..4],
        more in [0_usize..4, 0_usize..4],
        dilation in [1_usize..4, 1_usize..4],
        size in [1_usize..9, 1_usize..14],
        batch in 1_usize..3,
        activation in prop::sample::select(vec![
            Activation::None, Activation::Relu, Activation::Silu,
        ]),
    ) -> Case {
        let (ins, outs) = if depthwise { (1, 1) } else { (ins, outs) };
        let spec = TransposedSpec {
            in_channels: ins * groups,
            out_channels: outs * groups,
            kernel, stride, padding, dilation, groups,
            output_padding: [0, 1].map(|i| more[i].min(stride[i].max(dilation[i]) - 1)),
        };
        let shape = MapShape::new(batch, spec.in_channels, size[0], size[1]);
        Case { spec, shape, activation }
    }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(96))]

    #[test]
    fn any_window(case in cases(false), threads in 2_usize..4) {
        if case.spec.output(case.shape).is_some() {
            check(&case, threads)?;
        }
    }

    #[test]
    fn depthwise(case in cases(true), threads in 2_usize..4) {
        if case.spec.output(case.shape).is_some() {
            check(&case, threads)?;
        }
    }
}

/// Every width of panel, a reduction cut in several parts, phases cut in several tasks.
#[test]
fn wide_and_deep() {
    for (ins, outs, side, stride) in [(300, 64, 2, 2), (300, 48, 2, 2), (140, 80, 4, 2)] {
        let spec = TransposedSpec {
            in_channels: ins,
            out_channels: outs,
            kernel: [side; 2],
            stride: [stride; 2],
            padding: [(side - stride) / 2; 2],
            output_padding: [0; 2],
            dilation: [1; 2],
            groups: 1,
        };
        let case = Case {
            spec,
            shape: MapShape::new(1, ins, 23, 17),
            activation: Activation::Relu,
        };
        check(&case, 3).unwrap();
    }
}

#[test]
fn nan_is_not_swallowed() {
    let spec = TransposedSpec {
        in_channels: 1,
        out_channels: 1,
        kernel: [2; 2],
        stride: [2; 2],
        padding: [0; 2],
        output_padding: [0; 2],
        dilation: [1; 2],
        groups: 1,
    };
    let (shape, out) = (MapShape::new(1, 1, 1, 1), MapShape::new(1, 1, 2, 2));
    let kernel = Kernel2d {
        weights: &[1.0; 4],
        bias: &[],
    };
    for isa in Isa::available() {
        let conv = TransposedConvolution::new(isa, spec, kernel, Activation::Relu);
        let input = blocked(isa, shape, &[f32::NAN]);
        let mut output = Buffer::zeros(out.blocked_len(isa));
        let to = MapMut::whole(isa, out, &mut output);
        conv.run(Map::whole(isa, shape, &input), to);
        let all = output.iter().step_by(isa.lanes()).all(|x| x.is_nan());
        assert!(all, "{isa}");
    }
}
