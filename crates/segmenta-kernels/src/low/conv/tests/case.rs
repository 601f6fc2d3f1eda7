//! A convolution with all that it reads, and what it must come to, sum by sum.

use super::super::{ConvElements, LowConvolution, LowKernel};
use crate::activation::Activation;
use crate::conv::ConvSpec;
use crate::low::element::{Element, bf16, from_bf16};
use crate::low::engine::Engine;
use crate::low::layout::LowLayout;
use crate::low::map::{LowMap, LowMapMut};
use crate::low::reference::{Stored, noise, pixels};
use crate::map::MapShape;
use crate::threads::Threads;

/// A convolution with all that it reads.
pub(super) struct Case {
    pub(super) spec: ConvSpec,
    pub(super) elements: ConvElements,
    pub(super) activation: Activation,
    pub(super) input: Stored,
    pub(super) residual: Option<Stored>,
    pub(super) numbers: Vec<i8>,
    pub(super) weights: Vec<f32>,
    pub(super) scales: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) to: MapShape,
}

impl Case {
    pub(super) fn new(
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

    pub(super) fn convolution(&self, engine: Engine) -> LowConvolution {
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

    pub(super) fn run(&self, engine: Engine, threads: usize) -> Stored {
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
    pub(super) fn products(&self, [image, out, row, column]: [usize; 4]) -> Vec<(f32, usize)> {
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
    pub(super) fn exact(&self, at: [usize; 4]) -> f32 {
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
    pub(super) fn real(&self, at: [usize; 4]) -> (f64, f64) {
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
