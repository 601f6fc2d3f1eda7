//! Kernels on the layers of real networks: `cargo bench -p segmenta-kernels`.
//!
//! Inputs are random, never zero. Divan prints the time of each and, for convolutions, the
//! multiply-adds a second.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use segmenta_kernels::{
    Activation, Buffer, ConvSpec, Convolution, Isa, Kernel2d, Logits, Map, MapMut, MapShape,
    PoolSpec, PoolWindow, Threads, TransposedConvolution, TransposedSpec, WeightMemory, apply,
    blocked, labels, max_pool, max_pool_with_indices, max_unpool, resize_bilinear_planar, softmax,
    softmax_planar,
};

fn main() {
    divan::main();
}

/// Deterministic values in −1..1.
fn noise(len: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// In channels, out channels, side of the window, stride, dilation, groups, side of the map.
const LAYERS: [(&str, [usize; 7]); 8] = [
    ("ResNet 1x1 expand", [256, 1024, 1, 1, 1, 1, 65]),
    ("ResNet 1x1 reduce", [1024, 256, 1, 1, 1, 1, 65]),
    ("ResNet 3x3", [128, 128, 3, 1, 1, 1, 65]),
    ("ResNet 3x3 dilated", [256, 256, 3, 1, 2, 1, 65]),
    ("ResNet 3x3 strided", [128, 128, 3, 2, 1, 1, 130]),
    ("ASPP rate 24", [512, 256, 3, 1, 24, 1, 65]),
    ("MobileNet depthwise 3x3", [240, 240, 3, 1, 1, 240, 65]),
    (
        "MobileNet depthwise 5x5 dilated",
        [960, 960, 5, 1, 2, 960, 33],
    ),
];

#[divan::bench(args = LAYERS.map(|(name, _)| name), sample_count = 20)]
fn convolution(bencher: Bencher<'_, '_>, name: &str) {
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
    let isa = Isa::fastest();
    let threads = Threads::new(0).expect("threads");
    let shape = MapShape::new(1, ins, size, size);
    let out = spec.output(shape).expect("a window that fits");
    let (weights, bias) = (noise(spec.weights_len()), noise(outs));
    let kernel = Kernel2d {
        weights: &weights,
        bias: &bias,
    };
    let conv = Convolution::new(isa, spec, kernel, Activation::Relu);
    let input = blocked(isa, shape, &noise(shape.planar_len()));
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

/// In channels, out channels, side of the window, stride, groups, side of the input.
const TRANSPOSED: [(&str, [usize; 6]); 4] = [
    ("U-Net 2x2 up", [256, 128, 2, 2, 1, 64]),
    ("U-Net 2x2 up, large", [128, 64, 2, 2, 1, 128]),
    ("4x4 up", [256, 128, 4, 2, 1, 64]),
    ("bilinear depthwise 4x4 up", [256, 256, 4, 2, 256, 64]),
];

#[divan::bench(args = TRANSPOSED.map(|(name, _)| name), sample_count = 20)]
fn transposed_convolution(bencher: Bencher<'_, '_>, name: &str) {
    let layer = TRANSPOSED.iter().find(|(n, _)| *n == name);
    let [ins, outs, side, stride, groups, size] = layer.expect("a layer").1;
    let spec = TransposedSpec {
        in_channels: ins,
        out_channels: outs,
        kernel: [side; 2],
        stride: [stride; 2],
        padding: [(side - stride) / 2; 2],
        output_padding: [0; 2],
        dilation: [1; 2],
        groups,
    };
    let isa = Isa::fastest();
    let threads = Threads::new(0).expect("threads");
    let shape = MapShape::new(1, ins, size, size);
    let out = spec.output(shape).expect("an output");
    let (weights, bias) = (noise(spec.weights_len()), noise(outs));
    let kernel = Kernel2d {
        weights: &weights,
        bias: &bias,
    };
    let conv = TransposedConvolution::new(isa, spec, kernel, Activation::Relu);
    let input = blocked(isa, shape, &noise(shape.planar_len()));
    let mut output = Buffer::zeros(out.blocked_len(isa));
    bencher
        .counter(ItemsCount::new(spec.weights_len() * shape.pixels()))
        .bench_local(|| {
            threads.run(|| {
                let output = MapMut::whole(isa, out, &mut output);
                conv.run(Map::whole(isa, shape, black_box(&input)), output);
            });
        });
}

#[divan::bench(sample_count = 20)]
fn stem_7x7_on_a_picture(bencher: Bencher<'_, '_>) {
    let spec = ConvSpec {
        in_channels: 3,
        out_channels: 64,
        kernel: [7; 2],
        stride: [2; 2],
        padding: [3; 2],
        dilation: [1; 2],
        groups: 1,
    };
    let isa = Isa::fastest();
    let threads = Threads::new(0).expect("threads");
    let shape = MapShape::new(1, 3, 520, 520);
    let out = spec.output(shape).expect("a window that fits");
    let (weights, input) = (noise(spec.weights_len()), noise(shape.planar_len()));
    let kernel = Kernel2d {
        weights: &weights,
        bias: &[],
    };
    let conv = Convolution::on_picture(isa, spec, kernel, Activation::Relu).expect("a kernel");
    let plan = conv.plan(shape, threads.count(), WeightMemory::Ample);
    let mut scratch = vec![0.0; plan.scratch_len()];
    let mut output = Buffer::zeros(out.blocked_len(isa));
    bencher
        .counter(ItemsCount::new(spec.weights_len() * out.pixels()))
        .bench_local(|| {
            threads.run(|| {
                let output = MapMut::whole(isa, out, &mut output);
                conv.run_on_picture(&plan, black_box(&input), output, &mut scratch);
            });
        });
}

/// On a map that does not fit a cache: 26 MB in, 26 MB out. `None` is the speed of memory.
#[divan::bench(args = [Activation::None, Activation::Relu, Activation::Sigmoid, Activation::Silu], sample_count = 20)]
fn activation(bencher: Bencher<'_, '_>, activation: Activation) {
    let isa = Isa::fastest();
    let threads = Threads::new(0).expect("threads");
    let shape = MapShape::new(1, 96, 260, 260);
    let input = blocked(isa, shape, &noise(shape.planar_len()));
    let mut output = Buffer::zeros(shape.blocked_len(isa));
    bencher.counter(moved(&[shape, shape])).bench_local(|| {
        threads.run(|| {
            let mut output = MapMut::whole(isa, shape, &mut output);
            let input = Map::whole(isa, shape, black_box(&input));
            apply(input, &mut output, activation);
        });
    });
}

/// What is read and written, each map once.
fn moved(maps: &[MapShape]) -> BytesCount {
    let values = maps.iter().map(|map| map.batch * map.planar_len());
    BytesCount::new(values.sum::<usize>() * size_of::<f32>())
}

#[divan::bench(sample_count = 20)]
fn max_pool_3x3(bencher: Bencher<'_, '_>) {
    let spec = PoolSpec {
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let from = MapShape::new(1, 64, 260, 260);
    let to = spec.output(from).expect("a window that fits");
    one_to_one(bencher, from, to, |x, to| max_pool(x, spec, to));
}

/// Runs `kernel` from a random map of `from` to one of `to`.
fn one_to_one(
    bencher: Bencher<'_, '_>,
    from: MapShape,
    to: MapShape,
    kernel: impl Fn(Map<'_>, &mut MapMut<'_>) + Sync,
) {
    let isa = Isa::fastest();
    let threads = Threads::new(0).expect("threads");
    let input = blocked(isa, from, &noise(from.batch * from.planar_len()));
    let mut output = Buffer::zeros(to.blocked_len(isa));
    bencher.counter(moved(&[from, to])).bench_local(|| {
        threads.run(|| {
            let mut output = MapMut::whole(isa, to, &mut output);
            kernel(Map::whole(isa, from, black_box(&input)), &mut output);
        });
    });
}

/// SegNet's first stage; indices are as many bytes as values.
#[divan::bench(sample_count = 20)]
fn max_pool_2x2_with_indices(bencher: Bencher<'_, '_>) {
    let (isa, window) = (Isa::fastest(), PoolWindow::square(2));
    let threads = Threads::new(0).expect("threads");
    let from = MapShape::new(1, 64, 360, 480);
    let to = window.output(from).expect("a window that fits");
    let input = blocked(isa, from, &noise(from.planar_len()));
    let mut output = Buffer::zeros(to.blocked_len(isa));
    let mut indices = vec![0; output.len()];
    bencher.counter(moved(&[from, to, to])).bench_local(|| {
        threads.run(|| {
            let mut output = MapMut::whole(isa, to, &mut output);
            let input = Map::whole(isa, from, black_box(&input));
            max_pool_with_indices(input, window, &mut output, &mut indices);
        });
    });
}

#[divan::bench(sample_count = 20)]
fn max_unpool_2x2(bencher: Bencher<'_, '_>) {
    let (isa, window) = (Isa::fastest(), PoolWindow::square(2));
    let threads = Threads::new(0).expect("threads");
    let to = MapShape::new(1, 64, 360, 480);
    let from = window.output(to).expect("a window that fits");
    let whole = blocked(isa, to, &noise(to.planar_len()));
    let mut pooled = Buffer::zeros(from.blocked_len(isa));
    let mut indices = vec![0; pooled.len()];
    max_pool_with_indices(
        Map::whole(isa, to, &whole),
        window,
        &mut MapMut::whole(isa, from, &mut pooled),
        &mut indices,
    );
    let mut output = Buffer::zeros(to.blocked_len(isa));
    bencher.counter(moved(&[from, from, to])).bench_local(|| {
        threads.run(|| {
            let mut output = MapMut::whole(isa, to, &mut output);
            let pooled = Map::whole(isa, from, black_box(&pooled));
            max_unpool(pooled, &indices, &mut output);
        });
    });
}

/// Side of the window and step: a halving, and what DDRNet's pyramid does.
#[divan::bench(args = [(2, 2), (3, 1), (17, 8)], sample_count = 20)]
fn avg_pool(bencher: Bencher<'_, '_>, (kernel, stride): (usize, usize)) {
    let window = PoolWindow::from(PoolSpec {
        kernel,
        stride,
        padding: kernel / 2 * usize::from(kernel != stride),
    });
    let from = MapShape::new(1, 256, 128, 128);
    let to = window.output(from).expect("a window that fits");
    one_to_one(bencher, from, to, |x, to| {
        segmenta_kernels::avg_pool(x, window, true, to);
    });
}

/// PSPNet's pyramid.
#[divan::bench(args = [1, 2, 3, 6], sample_count = 20)]
fn adaptive_avg_pool(bencher: Bencher<'_, '_>, bins: usize) {
    let from = MapShape::new(1, 2048, 60, 60);
    let to = MapShape::new(1, 2048, bins, bins);
    one_to_one(bencher, from, to, segmenta_kernels::adaptive_avg_pool);
}

#[divan::bench(sample_count = 20)]
fn logits_resized_65_to_520(bencher: Bencher<'_, '_>) {
    let threads = Threads::new(0).expect("threads");
    let from = MapShape::new(1, 21, 65, 65);
    let input = noise(from.planar_len());
    let mut output = vec![0.0; 21 * 520 * 520];
    bencher.bench_local(|| {
        threads.run(|| {
            let isa = Isa::fastest();
            resize_bilinear_planar(isa, black_box(&input), from, &mut output, [520; 2], false);
        });
    });
}

#[divan::bench(sample_count = 20)]
fn labels_of_500x375_from_520x693(bencher: Bencher<'_, '_>) {
    let threads = Threads::new(0).expect("threads");
    let values = noise(21 * 520 * 693);
    let logits = Logits::whole(&values, 21, [520, 693]);
    let mut ids = vec![0; 500 * 375];
    bencher.bench_local(|| {
        threads.run(|| labels(Isa::fastest(), black_box(logits), [375, 500], &mut ids));
    });
}

/// A decoder's step, and what stretches a pooled map.
#[divan::bench(args = [(128, 256), (64, 256), (100, 256)], sample_count = 20)]
fn resize_nearest(bencher: Bencher<'_, '_>, (from, to): (usize, usize)) {
    let shape = |side: usize| MapShape::new(1, 128, side, side);
    one_to_one(
        bencher,
        shape(from),
        shape(to),
        segmenta_kernels::resize_nearest,
    );
}

#[divan::bench(args = [21, 150], sample_count = 20)]
fn softmax_blocked(bencher: Bencher<'_, '_>, classes: usize) {
    let shape = MapShape::new(1, classes, 260, 260);
    one_to_one(bencher, shape, shape, softmax);
}

#[divan::bench(args = [21, 150], sample_count = 20)]
fn softmax_on_planes(bencher: Bencher<'_, '_>, classes: usize) {
    let threads = Threads::new(0).expect("threads");
    let shape = MapShape::new(1, classes, 260, 260);
    let input = noise(shape.planar_len());
    let mut output = vec![0.0; input.len()];
    bencher.counter(moved(&[shape, shape])).bench_local(|| {
        threads.run(|| softmax_planar(Isa::fastest(), black_box(&input), shape, &mut output));
    });
}
