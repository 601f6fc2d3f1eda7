//! Against sums of whole numbers, to the bit, and against sums in f64.

use proptest::prelude::*;

use super::*;
use crate::buffer::Buffer;
use crate::isa::Isa;
use crate::layout::to_planar;
use crate::low::element::{Quantisation, bf16, from_bf16};
use crate::low::reference::{Stored, noise, pixels, places};
use crate::map::{Map, MapShape};
use crate::threads::Threads;

/// A convolution with all that it reads.
struct Case {
    spec: ConvSpec,
    elements: ConvElements,
    activation: Activation,
    input: Stored,
    residual: Option<Stored>,
    numbers: Vec<i8>,
    weights: Vec<f32>,
    scales: Vec<f32>,
    bias: Vec<f32>,
    to: MapShape,
}

impl Case {
    fn new(
        spec: ConvSpec,
        size: [usize; 2],
        elements: ConvElements,
        activation: Activation,
        seed: u64,
    ) -> Option<Self> {
        let shape = MapShape::new(1 + (seed % 2) as usize, spec.in_channels, size[0], size[1]);
        let to = spec.output(shape)?;
        let mut noise = noise(seed);
        // Sometimes more than the padding.
        let halo = spec.padding.map(|side| side + noise() as usize % 2);
        let input = Stored::random(LowLayout::new(shape, elements.input, halo), seed + 1);
        let residual = elements
            .residual
            .map(|element| Stored::random(LowLayout::new(to, element, [1, 0]), seed + 2));
        let numbers: Vec<i8> = (0..spec.weights_len())
            .map(|_| (noise() % 256) as i8)
            .collect();
        let weights = numbers
            .iter()
            .map(|&w| from_bf16(bf16(f32::from(w) / 91.0)))
            .collect();
        let per_sum = (spec.weights_len() / spec.out_channels) as f32;
        let scale = |n: u64| (1.0 + n as f32 / 16.0) / (40.0 * per_sum.sqrt());
        Some(Self {
            scales: (0..spec.out_channels)
                .map(|_| scale(noise() % 16))
                .collect(),
            bias: (0..spec.out_channels)
                .map(|_| (noise() % 64) as f32 / 16.0 - 2.0)
                .collect(),
            spec,
            elements,
            activation,
            input,
            residual,
            numbers,
            weights,
            to,
        })
    }

    fn convolution(&self, engine: Engine) -> LowConvolution {
        let kernel = match self.elements.input {
            Element::Bf16 => LowKernel::Float {
                weights: &self.weights,
                bias: &self.bias,
            },
            _ => LowKernel::Int8 {
                weights: &self.numbers,
                scales: &self.scales,
                bias: &self.bias,
            },
        };
        LowConvolution::new(engine, self.spec, kernel, self.elements, self.activation)
    }

    fn run(&self, engine: Engine, threads: usize) -> Stored {
        let output = self.elements.output.expect("a low-precision output");
        let mut to = Stored::garbage(LowLayout::new(self.to, output, [1, 2]));
        let (convolution, layout) = (self.convolution(engine), to.layout);
        let residual = self.residual.as_ref();
        Threads::new(threads).unwrap().run(|| {
            convolution.run(
                LowMap::new(engine, self.input.layout, self.input.bytes()),
                &mut LowMapMut::new(engine, layout, to.bytes_mut()),
                residual.map(|r| LowMap::new(engine, r.layout, r.bytes())),
            );
        });
        to.assert_whole(&format!("{engine} {:?}", self.spec));
        to
    }

    /// The numbers that meet in one sum: what is stored, less the zero point, and the weight.
    fn products(&self, [image, out, row, column]: [usize; 4]) -> Vec<(f32, usize)> {
        let (spec, shape) = (&self.spec, self.input.layout.shape());
        let zero = self.elements.input.quantisation().zero_point as f32;
        let mut products = Vec::new();
        let ins = spec.in_channels / spec.groups;
        let first = out / (spec.out_channels / spec.groups) * ins;
        for channel in 0..ins {
            for (ky, kx) in pixels(spec.kernel) {
                let y =
                    (row * spec.stride[0] + ky * spec.dilation[0]).wrapping_sub(spec.padding[0]);
                let x =
                    (column * spec.stride[1] + kx * spec.dilation[1]).wrapping_sub(spec.padding[1]);
                if y < shape.height && x < shape.width {
                    let at = (out * ins + channel) * spec.kernel[0] * spec.kernel[1];
                    let number = self.input.stored([image, first + channel, y, x]) - zero;
                    products.push((number, at + ky * spec.kernel[1] + kx));
                }
            }
        }
        products
    }

    /// Of 8-bit numbers the very value before it is rounded, by the formula of `epilogue.rs`.
    fn exact(&self, at: [usize; 4]) -> f32 {
        let sum: i64 = self
            .products(at)
            .iter()
            .map(|&(x, w)| x as i64 * i64::from(self.numbers[w]))
            .sum();
        let sum = i32::try_from(sum).expect("a sum of 32 bits") as f32;
        let out = at[1];
        let to = self.elements.output.unwrap_or(Element::Bf16).quantisation();
        let clamps = self.activation.bounds();
        let (early, shift) = match clamps {
            Some(_) => (1.0 / f64::from(to.scale), f64::from(to.zero_point)),
            None => (1.0, 0.0),
        };
        let input = self.elements.input.quantisation();
        let scale = (f64::from(input.scale) * f64::from(self.scales[out]) * early) as f32;
        let residual = self
            .residual
            .as_ref()
            .map(|r| (r.stored(at), r.layout.element().quantisation()));
        let factor = residual.map_or(0.0, |r| f64::from(r.1.scale) * early);
        let behind = residual.map_or(0.0, |r| f64::from(r.1.zero_point) * factor);
        let bias = (f64::from(self.bias[out]) * early + shift - behind) as f32;
        let mut v = sum.mul_add(scale, bias);
        if let Some((number, _)) = residual {
            v = number.mul_add(factor as f32, v);
        }
        let bound = |x: f32| (f64::from(x) * early + shift) as f32;
        match clamps {
            Some([low, high]) => v.clamp(bound(low), bound(high)),
            None => {
                let v = self.activation.scalar(v);
                v.mul_add((1.0 / f64::from(to.scale)) as f32, to.zero_point as f32)
            }
        }
    }

    /// In f64: the value, and the sum of the magnitudes of what was added.
    fn real(&self, at: [usize; 4]) -> (f64, f64) {
        let products = self.products(at);
        let terms = products
            .iter()
            .map(|&(x, w)| f64::from(x) * f64::from(self.weights[w]));
        let bias = f64::from(self.bias[at[1]]);
        let residual = self
            .residual
            .as_ref()
            .map_or(0.0, |r| f64::from(r.real(at)));
        let (sum, magnitude) = terms.fold((0.0, 0.0), |(s, m), x| (s + x, m + f64::abs(x)));
        // A residual's number and its zero point are added apart.
        let added = self.residual.as_ref().map_or(0.0, |r| {
            let q = r.layout.element().quantisation();
            f64::from(q.scale) * f64::from(r.stored(at).abs() + q.zero_point.abs() as f32)
        });
        let magnitude = magnitude + bias.abs() + added;
        let value = f64::from(self.activation.scalar((sum + bias + residual) as f32));
        // A clamp's result as exact as its argument.
        let value = match self.activation {
            Activation::None => sum + bias + residual,
            _ => value,
        };
        (value, magnitude)
    }
}

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

    /// The last layer: f32 in blocks of any instruction set, of bytes and of bf16.
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
