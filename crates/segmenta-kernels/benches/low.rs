//! Convolutions in low precision beside the same in f32: `cargo bench -p segmenta-kernels --bench low`.
//!
//! Layers are those of ResNets and U-Nets at their sizes; inputs are random. Divan prints the time of each and the
//! multiply-adds a second; `peak` says what the processor could do at best. `SEGMENTA_ENGINE` names another engine
//! than the fastest, `SEGMENTA_THREADS` another number of threads than one a core.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use segmenta_kernels::low::{
    ConvElements, Element, Engine, LowConvolution, LowKernel, LowLayout, LowMap, LowMapMut,
    Quantisation, bf16, peak as low_peak,
};
use segmenta_kernels::{
    Activation, Buffer, ConvSpec, Convolution, Isa, Kernel2d, Map, MapMut, MapShape, Threads,
    WeightMemory, as_bytes, as_bytes_mut, blocked, peak,
};

fn main() {
    divan::main();
}

fn threads() -> Threads {
    let count = std::env::var("SEGMENTA_THREADS").map_or(0, |n| n.parse().expect("a number"));
    Threads::new(count).expect("threads")
}

fn engine() -> Engine {
    let name = std::env::var("SEGMENTA_ENGINE");
    name.map_or(Engine::fastest(), |name| {
        Engine::named(&name).expect("an engine")
    })
}

const U8: Element = Element::U8(Quantisation {
    scale: 0.02,
    zero_point: 0,
});

/// Deterministic bytes.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// The same in −1..1.
fn values(len: usize) -> Vec<f32> {
    let value = |byte: u8| f32::from(byte) / 128.0 - 1.0;
    noise(len).into_iter().map(value).collect()
}

/// In channels, out channels, side of the window, stride, dilation, groups, side of the map.
const LAYERS: [(&str, [usize; 7]); 16] = [
    ("1x1 64-256 130", [64, 256, 1, 1, 1, 1, 130]),
    ("1x1 256-64 130", [256, 64, 1, 1, 1, 1, 130]),
    ("3x3 64-64 130", [64, 64, 3, 1, 1, 1, 130]),
    ("3x3 s2 128-128 130", [128, 128, 3, 2, 1, 1, 130]),
    ("1x1 256-1024 65", [256, 1024, 1, 1, 1, 1, 65]),
    ("1x1 1024-256 65", [1024, 256, 1, 1, 1, 1, 65]),
    ("3x3 d2 256-256 65", [256, 256, 3, 1, 2, 1, 65]),
    ("3x3 d4 512-512 65", [512, 512, 3, 1, 4, 1, 65]),
    ("1x1 2048-512 65", [2048, 512, 1, 1, 1, 1, 65]),
    ("3x3 256-256 32", [256, 256, 3, 1, 1, 1, 32]),
    ("3x3 512-512 16", [512, 512, 3, 1, 1, 1, 16]),
    ("3x3 32-16 512", [32, 16, 3, 1, 1, 1, 512]),
    ("3x3 16-16 512", [16, 16, 3, 1, 1, 1, 512]),
    ("7x7 s2 3-64 512", [3, 64, 7, 2, 1, 1, 512]),
    ("depthwise 3x3 240 65", [240, 240, 3, 1, 1, 240, 65]),
    ("depthwise 5x5 d2 960 33", [960, 960, 5, 1, 2, 960, 33]),
];

fn layer(name: &str) -> (ConvSpec, MapShape) {
    let layer = LAYERS.iter().find(|(n, _)| *n == name);
    let [ins, outs, side, stride, dilation, groups, size] = layer.expect("a layer").1;
    let spec = ConvSpec {
        in_channels: ins,
        out_channels: outs,
        kernel: [side; 2],
        stride: [stride; 2],
        padding: [side / 2 * dilation; 2],
        dilation: [dilation; 2],
        groups,
    };
    (spec, MapShape::new(1, ins, size, size))
}

fn low(bencher: Bencher<'_, '_>, name: &str, element: Element) {
    let (spec, shape) = layer(name);
    let (engine, threads) = (engine(), threads());
    let to = spec.output(shape).expect("a window that fits");
    let from = LowLayout::new(shape, element, spec.padding);
    let into = LowLayout::new(to, element, [1, 1]);
    let mut input = Buffer::zeros(from.bytes() / 4);
    let bytes = match element {
        Element::Bf16 => values(from.bytes() / 2)
            .into_iter()
            .flat_map(|x| bf16(x).to_ne_bytes())
            .collect(),
        Element::U8(_) | Element::I8(_) => noise(from.bytes()),
    };
    as_bytes_mut(&mut input).copy_from_slice(&bytes);
    let mut output = Buffer::zeros(into.bytes() / 4);
    let weights = values(spec.weights_len());
    let numbers: Vec<i8> = noise(spec.weights_len())
        .into_iter()
        .map(u8::cast_signed)
        .collect();
    let scales = vec![1e-3; spec.out_channels];
    let kernel = match element {
        Element::Bf16 => LowKernel::Float {
            weights: &weights,
            bias: &[],
        },
        Element::U8(_) | Element::I8(_) => LowKernel::Int8 {
            weights: &numbers,
            scales: &scales,
            bias: &[],
        },
    };
    let elements = ConvElements {
        input: element,
        output: Some(element),
        residual: None,
    };
    let conv = LowConvolution::new(engine, spec, kernel, elements, Activation::Relu);
    bencher
        .counter(ItemsCount::new(spec.weights_len() * to.pixels()))
        .bench_local(|| {
            threads.run(|| {
                let input = LowMap::new(engine, from, as_bytes(black_box(&input)));
                conv.run(
                    input,
                    &mut LowMapMut::new(engine, into, as_bytes_mut(&mut output)),
                    None,
                );
            });
        });
}

#[divan::bench(args = LAYERS.map(|(name, _)| name), sample_count = 20)]
fn int8(bencher: Bencher<'_, '_>, name: &str) {
    low(bencher, name, U8);
}

#[divan::bench(args = LAYERS.map(|(name, _)| name), sample_count = 20)]
fn bfloat16(bencher: Bencher<'_, '_>, name: &str) {
    low(bencher, name, Element::Bf16);
}

#[divan::bench(args = LAYERS.map(|(name, _)| name), sample_count = 20)]
fn f32(bencher: Bencher<'_, '_>, name: &str) {
    let (spec, shape) = layer(name);
    let (isa, threads) = (Isa::fastest(), threads());
    let out = spec.output(shape).expect("a window that fits");
    let weights = values(spec.weights_len());
    let kernel = Kernel2d {
        weights: &weights,
        bias: &[],
    };
    let conv = Convolution::new(isa, spec, kernel, Activation::Relu);
    let input = blocked(isa, shape, &values(shape.planar_len()));
    let mut output = Buffer::zeros(out.blocked_len(isa));
    let plan = threads.run(|| conv.plan(shape, threads.count(), WeightMemory::Ample));
    let mut scratch = Buffer::zeros(plan.scratch_len());
    bencher
        .counter(ItemsCount::new(spec.weights_len() * out.pixels()))
        .bench_local(|| {
            threads.run(|| {
                let output = MapMut::whole(isa, out, &mut output);
                let input = Map::whole(isa, shape, black_box(&input));
                conv.run(&plan, input, output, None, &mut scratch);
            });
        });
}

/// Multiply-adds a second, registers only: the counter's rate is the peak.
#[divan::bench(args = ["int8", "bf16", "f32"], sample_count = 1, sample_size = 1)]
fn peaks(bencher: Bencher<'_, '_>, name: &str) {
    let threads = threads();
    let rate = match name {
        "int8" => low_peak::multiply_adds_per_second(engine(), U8, &threads),
        "bf16" => low_peak::multiply_adds_per_second(engine(), Element::Bf16, &threads),
        _ => peak::multiply_adds_per_second(Isa::fastest(), &threads),
    };
    // A tenth of a second, slept through, so that the printed rate is the one that was measured.
    bencher
        .counter(ItemsCount::new((rate / 10.0) as usize))
        .bench_local(|| {
            std::thread::sleep(std::time::Duration::from_millis(100));
        });
}
