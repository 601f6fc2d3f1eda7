//! Against sums of whole numbers, to the bit, and against sums in f64.

mod case;

use proptest::prelude::*;

use self::case::Case;
use super::*;
use crate::buffer::Buffer;
use crate::isa::Isa;
use crate::layout::to_planar;
use crate::low::element::{Quantisation, bf16};
use crate::low::reference::{Stored, places};
use crate::map::{Map, MapShape};

fn quantisation(scale: f32, zero_point: i32) -> Quantisation {
    Quantisation { scale, zero_point }
}

/// As if it were stored: the nearest number, of two the even one.
fn number(v: f32, element: Element) -> f32 {
    let [low, high] = element.range().expect("a whole number");
    v.clamp(low, high).round_ties_even()
}

fn spec_of(
    [in_channels, out_channels]: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
) -> ConvSpec {
    ConvSpec {
        in_channels,
        out_channels,
        kernel,
        stride,
        padding,
        dilation,
        groups: 1,
    }
}

fn specs() -> impl Strategy<Value = ConvSpec> {
    let channels = prop_oneof![Just(3), Just(16), Just(32), 1_usize..20, 20_usize..150];
    (
        [channels.clone(), channels],
        [1_usize..4, 1_usize..6],
        [1_usize..3, 1_usize..3],
        [0_usize..3, 0_usize..3],
        [1_usize..4, 1_usize..4],
        0..4,
    )
        .prop_map(|(channels, kernel, stride, padding, dilation, kind)| {
            let spec = spec_of(channels, kernel, stride, padding, dilation);
            let depthwise = ConvSpec {
                out_channels: spec.in_channels,
                groups: spec.in_channels,
                ..spec
            };
            if kind == 0 { depthwise } else { spec }
        })
}

fn activations() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::None),
        Just(Activation::Relu),
        Just(Activation::Relu6),
        Just(Activation::Hardswish),
        Just(Activation::Silu),
    ]
}

fn residuals() -> impl Strategy<Value = Option<Element>> {
    prop_oneof![
        Just(None),
        Just(Some(Element::U8(quantisation(0.03, 77)))),
        Just(Some(Element::I8(quantisation(0.02, -5)))),
        Just(Some(Element::Bf16)),
    ]
}

proptest! {
    #![proptest_config(segmenta_properties::cases(96))]

    /// 8-bit results equal those of exact sums to the bit, on every engine and any number of threads.
    #[test]
    fn bytes_are_exact(
        spec in specs(),
        size in [1_usize..14, 1_usize..30],
        activation in activations(),
        residual in residuals(),
        zeros in [0_i32..256, 0_i32..256],
        signed: bool,
        threads in 1_usize..4,
        seed in 0_u64..1 << 20,
    ) {
        let output = quantisation(0.04, zeros[1] - 128 * i32::from(signed));
        let elements = ConvElements {
            input: Element::U8(quantisation(0.02, zeros[0])),
            output: Some(if signed { Element::I8(output) } else { Element::U8(output) }),
            residual,
        };
        let case = Case::new(spec, size, elements, activation, seed);
        let Some(case) = case else { return Ok(()) };
        // Curves by vectors differ in their last bits from the functions.
        let exact = activation.bounds().is_some();
        let expected: Vec<f32> = places(case.to).map(|at| case.exact(at)).collect();
        for engine in Engine::available() {
            let got = case.run(engine, threads);
            for (at, &v) in places(case.to).zip(&expected) {
                let (number, got) = (number(v, got.layout.element()), got.stored(at));
                let close = number == got || (!exact && (v - got).abs() < 0.51);
                prop_assert!(close, "{} {:?} at {:?}: {} is not {}", engine, spec, at, got, v);
            }
        }
    }

    /// bf16 results are off by a rounding to bf16, and what f32 sums of so many terms may be off by.
    #[test]
    fn bf16_is_as_close_as_rounding(
        spec in specs(),
        size in [1_usize..14, 1_usize..30],
        relu: bool,
        residual in residuals(),
        threads in 1_usize..4,
        seed in 0_u64..1 << 20,
    ) {
        let elements = ConvElements {
            input: Element::Bf16,
            output: Some(Element::Bf16),
            residual,
        };
        let activation = if relu { Activation::Relu } else { Activation::None };
        let case = Case::new(spec, size, elements, activation, seed);
        let Some(case) = case else { return Ok(()) };
        let expected: Vec<(f64, f64)> = places(case.to).map(|at| case.real(at)).collect();
        let terms = (spec.weights_len() / spec.out_channels + 3) as f64;
        for engine in Engine::available() {
            let got = case.run(engine, threads);
            for (at, &(value, magnitude)) in places(case.to).zip(&expected) {
                let got = f64::from(got.stored(at));
                let sums = f64::from(f32::EPSILON) * terms.sqrt().max(8.0) * magnitude;
                let bound = sums + value.abs() * f64::powi(2.0, -8) + 1e-37;
                prop_assert!((got - value).abs() <= bound, "{} {:?} at {:?}: {} is not {}", engine, spec, at, got, value);
            }
        }
    }

    /// The last layer: f32 in blocks of any instruction set, of bytes and of bf16, and the same in planes.
    #[test]
    fn f32_outputs(
        spec in specs(),
        size in [1_usize..10, 1_usize..20],
        bytes: bool,
        residual in residuals(),
        seed in 0_u64..1 << 20,
    ) {
        let input = if bytes { Element::U8(quantisation(0.02, 9)) } else { Element::Bf16 };
        let elements = ConvElements { input, output: None, residual };
        let case = Case::new(spec, size, elements, Activation::None, seed);
        let Some(case) = case else { return Ok(()) };
        let terms = (spec.weights_len() / spec.out_channels + 3) as f64;
        for (engine, isa) in Engine::available().into_iter().flat_map(|e| Isa::available().into_iter().map(move |i| (e, i))) {
            let mut to = Buffer::zeros(case.to.blocked_len(isa));
            to.fill(f32::NAN);
            case.convolution(engine).run_to_f32(
                LowMap::new(engine, case.input.layout, case.input.bytes()),
                &mut MapMut::whole(isa, case.to, &mut to),
                case.residual.as_ref().map(|r| LowMap::new(engine, r.layout, r.bytes())),
            );
            let mut got = vec![0.0; case.to.batch_len()];
            to_planar(Map::whole(isa, case.to, &to), &mut got);
            if spec.groups == 1 {
                let mut planes = vec![f32::NAN; got.len()];
                case.convolution(engine).run_to_planes(
                    LowMap::new(engine, case.input.layout, case.input.bytes()),
                    &mut planes,
                    case.residual.as_ref().map(|r| LowMap::new(engine, r.layout, r.bytes())),
                );
                prop_assert_eq!(&planes, &got, "{} {:?} in planes", engine, spec);
            }
            for (at, &got) in places(case.to).zip(&got) {
                if bytes {
                    prop_assert_eq!(got, case.exact(at), "{} {:?} at {:?}", engine, spec, at);
                } else {
                    let (value, magnitude) = case.real(at);
                    let bound = f64::from(f32::EPSILON) * terms.sqrt().max(8.0) * magnitude + 1e-37;
                    prop_assert!((f64::from(got) - value).abs() <= bound, "{} {:?} at {:?}: {} is not {}", engine, spec, at, got, value);
                }
            }
        }
    }
}

/// Layers of networks, whose reductions are cut and whose maps are taken in several runs.
#[test]
fn deep_layers_are_exact() {
    for (spec, size) in [
        (spec_of([512, 72], [3, 3], [1, 1], [2, 2], [2, 2]), [9, 17]),
        (
            spec_of([1024, 300], [1, 1], [1, 1], [0, 0], [1, 1]),
            [12, 12],
        ),
        (spec_of([64, 256], [1, 1], [2, 2], [0, 0], [1, 1]), [40, 41]),
        (spec_of([3, 64], [7, 7], [2, 2], [3, 3], [1, 1]), [40, 44]),
        (spec_of([16, 16], [3, 3], [1, 1], [1, 1], [1, 1]), [40, 44]),
        // More weights of a strip than tiles take at a time: the sums of 35 pixels wait in memory.
        (spec_of([1_900, 72], [3, 3], [1, 1], [1, 1], [1, 1]), [5, 7]),
    ] {
        let elements = ConvElements {
            input: Element::U8(quantisation(0.02, 13)),
            output: Some(Element::U8(quantisation(0.04, 100))),
            residual: None,
        };
        let case =
            Case::new(spec, size, elements, Activation::Relu, 7).expect("a window that fits");
        let expected: Vec<f32> = places(case.to).map(|at| case.exact(at)).collect();
        for engine in Engine::available() {
            for threads in [1, 2] {
                let got = case.run(engine, threads);
                for (at, &v) in places(case.to).zip(&expected) {
                    assert_eq!(
                        got.stored(at),
                        number(v, got.layout.element()),
                        "{engine} {spec:?} at {at:?}"
                    );
                }
            }
        }
    }
}

/// Any number of threads gives the same bits, though each sums in f32.
#[test]
fn threads_change_nothing() {
    let elements = ConvElements {
        input: Element::Bf16,
        output: Some(Element::Bf16),
        residual: Some(Element::Bf16),
    };
    for spec in [
        spec_of([256, 72], [3, 3], [1, 1], [1, 1], [1, 1]),
        ConvSpec {
            groups: 72,
            ..spec_of([72, 72], [3, 3], [2, 2], [1, 1], [1, 1])
        },
    ] {
        let case = Case::new(spec, [20, 23], elements, Activation::Silu, 8);
        let case = case.expect("a window that fits");
        for engine in Engine::available() {
            let one = case.run(engine, 1);
            for threads in [2, 3, 5] {
                let more = case.run(engine, threads);
                assert_eq!(
                    one.bytes(),
                    more.bytes(),
                    "{engine}, {threads} threads, {spec:?}"
                );
            }
        }
    }
}

/// The largest sums that there can be fit their 32 bits.
#[test]
fn the_longest_sum_does_not_overflow() {
    let spec = spec_of([4096, 1], [4, 4], [1, 1], [0, 0], [1, 1]);
    let elements = ConvElements {
        input: Element::U8(quantisation(1.0, 0)),
        output: None,
        residual: None,
    };
    assert!(LowConvolution::supports(&spec, elements.input));
    let longer = ConvSpec {
        kernel: [4, 5],
        ..spec
    };
    assert!(!LowConvolution::supports(&longer, elements.input));
    let layout = LowLayout::new(MapShape::new(1, 4096, 4, 4), elements.input, [0, 0]);
    let mut input = Stored::random(layout, 1);
    input.bytes_mut().fill(255);
    for weight in [-128, 127] {
        for engine in Engine::available() {
            let kernel = LowKernel::Int8 {
                weights: &vec![weight; spec.weights_len()],
                scales: &[1.0],
                bias: &[],
            };
            let convolution = LowConvolution::new(engine, spec, kernel, elements, Activation::None);
            let isa = Isa::SCALAR;
            let shape = MapShape::new(1, 1, 1, 1);
            let mut output = Buffer::zeros(shape.blocked_len(isa));
            convolution.run_to_f32(
                LowMap::new(engine, layout, input.bytes()),
                &mut MapMut::whole(isa, shape, &mut output),
                None,
            );
            assert_eq!(
                output[0],
                (i32::from(weight) * 255 * 65536) as f32,
                "{engine}"
            );
        }
    }
}

/// A NaN in a pixel reaches every output whose window has it.
#[test]
fn nan_reaches_the_output() {
    let spec = spec_of([40, 40], [3, 3], [1, 1], [1, 1], [1, 1]);
    let elements = ConvElements {
        input: Element::Bf16,
        output: Some(Element::Bf16),
        residual: None,
    };
    for activation in [
        Activation::None,
        Activation::Relu,
        Activation::Relu6,
        Activation::Silu,
    ] {
        let mut case =
            Case::new(spec, [6, 7], elements, activation, 4).expect("a window that fits");
        let layout = case.input.layout;
        let at = layout.at(2, 3) + layout.channel(5);
        case.input.bytes_mut()[at..at + 2].copy_from_slice(&bf16(f32::NAN).to_ne_bytes());
        for engine in Engine::available() {
            let mut to = Stored::garbage(LowLayout::new(case.to, Element::Bf16, [0, 0]));
            let layout = to.layout;
            case.convolution(engine).run(
                LowMap::new(engine, case.input.layout, case.input.bytes()),
                &mut LowMapMut::new(engine, layout, to.bytes_mut()),
                None,
            );
            for [n, c, y, x] in places(case.to) {
                let near = n == 0 && y.abs_diff(2) < 2 && x.abs_diff(3) < 2;
                assert_eq!(
                    to.stored([n, c, y, x]).is_nan(),
                    near,
                    "{engine} {activation:?} {c} {y} {x}"
                );
            }
        }
    }
}
