//! Kernels of training on the layers of real networks: `cargo bench -p segmenta-kernels --bench backward`.
//!
//! Inputs are random, never zero. Divan prints the time of each and the multiply-adds (of direct
//! summation) or bytes a second.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use segmenta_kernels::{
    Activation, BatchNorm, BinaryCrossEntropy, Buffer, ConvSpec, Convolution, CrossEntropy,
    InputGradient, Isa, Kernel2d, Map, MapMut, MapShape, PoolSpec, Threads, WeightGradient,
    WeightMemory, blocked, max_pool_with_indices,
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

/// Batch, in channels, out channels, side of the window, stride, dilation, groups, side of the map.
const LAYERS: [(&str, [usize; 8]); 13] = [
    ("1x1 1024-256 65", [1, 1024, 256, 1, 1, 1, 1, 65]),
    ("1x1 256-1024 65", [1, 256, 1024, 1, 1, 1, 1, 65]),
    ("1x1 2048-512 65", [1, 2048, 512, 1, 1, 1, 1, 65]),
    ("1x1 64-256 130", [1, 64, 256, 1, 1, 1, 1, 130]),
    ("1x1 24-144 128 b8", [8, 24, 144, 1, 1, 1, 1, 128]),
    ("3x3 2048-512 65", [1, 2048, 512, 3, 1, 1, 1, 65]),
    ("3x3 256-256 65 d2", [1, 256, 256, 3, 1, 2, 1, 65]),
    ("3x3 64-64 130", [1, 64, 64, 3, 1, 1, 1, 130]),
    ("3x3 128-128 65", [1, 128, 128, 3, 1, 1, 1, 65]),
    ("3x3 16-16 256 b8", [8, 16, 16, 3, 1, 1, 1, 256]),
    ("3x3 s2 128-128 130", [1, 128, 128, 3, 2, 1, 1, 130]),
    ("depthwise 3x3 144 128 b8", [8, 144, 144, 3, 1, 1, 144, 128]),
    ("depthwise 5x5 288 32 b8", [8, 288, 288, 5, 1, 1, 288, 32]),
];

/// The layer of that name, and the shape that it reads.
fn layer(name: &str) -> (ConvSpec, MapShape) {
    let layer = LAYERS.iter().find(|(n, _)| *n == name);
    let [batch, ins, outs, side, stride, dilation, groups, size] = layer.expect("a layer").1;
    let spec = ConvSpec {
        in_channels: ins,
        out_channels: outs,
        kernel: [side; 2],
        stride: [stride; 2],
        padding: [side / 2 * dilation; 2],
        dilation: [dilation; 2],
        groups,
    };
    (spec, MapShape::new(batch, ins, size, size))
}

#[divan::bench(args = LAYERS.map(|(name, _)| name), sample_count = 10)]
fn weight_gradient(bencher: Bencher<'_, '_>, name: &str) {
    let (spec, shape) = layer(name);
    let (isa, threads) = (Isa::fastest(), Threads::new(0).expect("threads"));
    let out = spec.output(shape).expect("a window that fits");
    let plan = WeightGradient::new(isa, spec, shape);
    let x = blocked(isa, shape, &noise(shape.batch * shape.planar_len()));
    let dy = blocked(isa, out, &noise(out.batch * out.planar_len()));
    let mut scratch = Buffer::zeros(plan.scratch_len());
    let mut gradient = vec![0.0; spec.weights_len()];
    bencher
        .counter(ItemsCount::new(
            spec.weights_len() * out.batch * out.pixels(),
        ))
        .bench_local(|| {
            threads.run(|| {
                let x = Map::whole(isa, shape, black_box(&x));
                let dy = Map::whole(isa, out, &dy);
                plan.run(x, dy, &mut gradient, &mut scratch);
            });
        });
}

/// ResNet's first layer.
#[divan::bench(sample_count = 10)]
fn weight_gradient_of_a_stem(bencher: Bencher<'_, '_>) {
    let spec = ConvSpec {
        in_channels: 3,
        out_channels: 64,
        kernel: [7; 2],
        stride: [2; 2],
        padding: [3; 2],
        dilation: [1; 2],
        groups: 1,
    };
    let (isa, threads) = (Isa::fastest(), Threads::new(0).expect("threads"));
    let shape = MapShape::new(1, 3, 520, 520);
    let out = spec.output(shape).expect("a window that fits");
    let plan = WeightGradient::on_picture(isa, spec, shape).expect("a kernel");
    let x = noise(shape.planar_len());
    let dy = blocked(isa, out, &noise(out.planar_len()));
    let mut scratch = Buffer::zeros(plan.scratch_len());
    let mut gradient = vec![0.0; spec.weights_len()];
    bencher
        .counter(ItemsCount::new(spec.weights_len() * out.pixels()))
        .bench_local(|| {
            threads.run(|| {
                let dy = Map::whole(isa, out, &dy);
                plan.run_on_picture(black_box(&x), dy, &mut gradient, &mut scratch);
            });
        });
}

#[divan::bench(args = LAYERS.map(|(name, _)| name), sample_count = 10)]
fn input_gradient(bencher: Bencher<'_, '_>, name: &str) {
    let (spec, shape) = layer(name);
    let (isa, threads) = (Isa::fastest(), Threads::new(0).expect("threads"));
    let out = spec.output(shape).expect("a window that fits");
    let mut plan = InputGradient::new(isa, spec, shape, threads.count());
    let weights = noise(spec.weights_len());
    let dy = blocked(isa, out, &noise(out.batch * out.planar_len()));
    let mut dx = Buffer::zeros(shape.blocked_len(isa));
    let mut scratch = Buffer::zeros(plan.scratch_len());
    bencher
        .counter(ItemsCount::new(
            spec.weights_len() * out.batch * out.pixels(),
        ))
        .bench_local(|| {
            threads.run(|| {
                let dy = Map::whole(isa, out, black_box(&dy));
                let dx = MapMut::whole(isa, shape, &mut dx);
                plan.run(dy, &weights, None, dx, &mut scratch);
            });
        });
}

/// The forward pass of training: new weights are packed, then used.
#[divan::bench(args = LAYERS.map(|(name, _)| name), sample_count = 10)]
fn forward_with_new_weights(bencher: Bencher<'_, '_>, name: &str) {
    let (spec, shape) = layer(name);
    let (isa, threads) = (Isa::fastest(), Threads::new(0).expect("threads"));
    let out = spec.output(shape).expect("a window that fits");
    let weights = noise(spec.weights_len());
    let kernel = Kernel2d {
        weights: &weights,
        bias: &[],
    };
    let mut conv = Convolution::new(isa, spec, kernel, Activation::None);
    let plan = conv.plan(shape, threads.count(), WeightMemory::Brief);
    let x = blocked(isa, shape, &noise(shape.batch * shape.planar_len()));
    let mut y = Buffer::zeros(out.blocked_len(isa));
    let mut scratch = Buffer::zeros(plan.scratch_len());
    bencher
        .counter(ItemsCount::new(
            spec.weights_len() * out.batch * out.pixels(),
        ))
        .bench_local(|| {
            threads.run(|| {
                conv.repack(kernel);
                let x = Map::whole(isa, shape, black_box(&x));
                let y = MapMut::whole(isa, out, &mut y);
                conv.run(&plan, x, y, None, &mut scratch);
            });
        });
}

/// Packing alone, of the weights of a forward pass.
#[divan::bench(args = LAYERS.map(|(name, _)| name), sample_count = 10)]
fn repack(bencher: Bencher<'_, '_>, name: &str) {
    let (spec, _) = layer(name);
    let (isa, threads) = (Isa::fastest(), Threads::new(0).expect("threads"));
    let weights = noise(spec.weights_len());
    let kernel = Kernel2d {
        weights: &weights,
        bias: &[],
    };
    let mut conv = Convolution::new(isa, spec, kernel, Activation::None);
    bencher
        .counter(ItemsCount::new(weights.len()))
        .bench_local(|| threads.run(|| conv.repack(black_box(kernel))));
}

/// The maps that batch norm is measured on: batch, channels, height and width.
const MAPS: [[usize; 4]; 3] = [[8, 144, 128, 96], [8, 64, 128, 128], [4, 256, 28, 28]];

/// What is read and written, each map once a pass.
fn moved(shape: MapShape, passes: usize) -> BytesCount {
    BytesCount::new(passes * shape.batch * shape.planar_len() * size_of::<f32>())
}

#[divan::bench(args = MAPS, sample_count = 10)]
fn batch_norm_and_relu(bencher: Bencher<'_, '_>, [n, c, h, w]: [usize; 4]) {
    let (isa, threads) = (Isa::fastest(), Threads::new(0).expect("threads"));
    let shape = MapShape::new(n, c, h, w);
    let x = blocked(isa, shape, &noise(n * shape.planar_len()));
    let mut y = Buffer::zeros(x.len());
    let norm = BatchNorm {
        scale: &vec![1.0; c],
        shift: &vec![0.1; c],
        epsilon: 1e-5,
        activation: Activation::Relu,
    };
    bencher.counter(moved(shape, 3)).bench_local(|| {
        threads.run(|| {
            let x = Map::whole(isa, shape, black_box(&x));
            norm.train(x, &mut MapMut::whole(isa, shape, &mut y))
        })
    });
}

#[divan::bench(args = MAPS, sample_count = 10)]
fn batch_norm_and_relu_gradients(bencher: Bencher<'_, '_>, [n, c, h, w]: [usize; 4]) {
    let (isa, threads) = (Isa::fastest(), Threads::new(0).expect("threads"));
    let shape = MapShape::new(n, c, h, w);
    let x = blocked(isa, shape, &noise(n * shape.planar_len()));
    let dy = blocked(isa, shape, &noise(n * shape.planar_len()));
    let mut dx = Buffer::zeros(x.len());
    let norm = BatchNorm {
        scale: &vec![1.0; c],
        shift: &vec![0.1; c],
        epsilon: 1e-5,
        activation: Activation::Relu,
    };
    let map = Map::whole(isa, shape, &x);
    let statistics = norm.train(map, &mut MapMut::whole(isa, shape, &mut dx));
    bencher.counter(moved(shape, 5)).bench_local(|| {
        threads.run(|| {
            let (x, dy) = (
                Map::whole(isa, shape, black_box(&x)),
                Map::whole(isa, shape, &dy),
            );
            norm.gradients(x, dy, &statistics, &mut MapMut::whole(isa, shape, &mut dx))
        })
    });
}

/// Runs a gradient kernel from a random map of `to` to one of `from`.
fn one_to_one(
    bencher: Bencher<'_, '_>,
    to: MapShape,
    from: MapShape,
    kernel: impl Fn(Map<'_>, &mut MapMut<'_>) + Sync,
) {
    let (isa, threads) = (Isa::fastest(), Threads::new(0).expect("threads"));
    let dy = blocked(isa, to, &noise(to.batch * to.planar_len()));
    let mut dx = Buffer::zeros(from.blocked_len(isa));
    let values = to.batch * to.planar_len() + from.batch * from.planar_len();
    let bytes = BytesCount::new(values * size_of::<f32>());
    bencher.counter(bytes).bench_local(|| {
        threads.run(|| {
            let dx = &mut MapMut::whole(isa, from, &mut dx);
            kernel(Map::whole(isa, to, black_box(&dy)), dx);
        });
    });
}

/// A decoder's step back.
#[divan::bench(args = [64, 100], sample_count = 10)]
fn resize_bilinear_gradient(bencher: Bencher<'_, '_>, side: usize) {
    let shape = |side| MapShape::new(1, 128, side, side);
    one_to_one(bencher, shape(128), shape(side), |dy, dx| {
        segmenta_kernels::resize_bilinear_gradient(dy, dx, false);
    });
}

#[divan::bench(sample_count = 10)]
fn resize_nearest_gradient(bencher: Bencher<'_, '_>) {
    let shape = |side| MapShape::new(1, 128, side, side);
    let kernel = segmenta_kernels::resize_nearest_gradient;
    one_to_one(bencher, shape(128), shape(64), kernel);
}

#[divan::bench(sample_count = 10)]
fn global_avg_pool_gradient(bencher: Bencher<'_, '_>) {
    let shape = |side| MapShape::new(8, 144, side, side);
    let kernel = segmenta_kernels::adaptive_avg_pool_gradient;
    one_to_one(bencher, shape(1), shape(96), kernel);
}

/// ResNet's pool: windows overlap.
#[divan::bench(sample_count = 10)]
fn max_pool_gradient(bencher: Bencher<'_, '_>) {
    let isa = Isa::fastest();
    let from = MapShape::new(4, 64, 112, 112);
    let window = PoolSpec {
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let to = window.output(from).expect("a window that fits");
    let x = blocked(isa, from, &noise(from.batch * from.planar_len()));
    let mut y = Buffer::zeros(to.blocked_len(isa));
    let mut indices = vec![0; y.len()];
    let (x, y) = (
        Map::whole(isa, from, &x),
        &mut MapMut::whole(isa, to, &mut y),
    );
    max_pool_with_indices(x, window, y, &mut indices);
    one_to_one(bencher, to, from, |dy, dx| {
        segmenta_kernels::max_pool_gradient(dy, &indices, dx);
    });
}

#[divan::bench(args = [12, 21], sample_count = 10)]
fn cross_entropy(bencher: Bencher<'_, '_>, classes: usize) {
    let threads = Threads::new(0).expect("threads");
    let shape = MapShape::new(4, classes, 224, 224);
    let logits = noise(4 * shape.planar_len());
    let labels: Vec<u8> = (0..4 * shape.pixels())
        .map(|i| (i % classes) as u8)
        .collect();
    let mut gradient = vec![0.0; logits.len()];
    bencher.counter(moved(shape, 2)).bench_local(|| {
        threads.run(|| {
            let (isa, loss) = (Isa::fastest(), CrossEntropy::default());
            let logits = black_box(&logits);
            segmenta_kernels::cross_entropy(isa, loss, logits, shape, &labels, 1.0, &mut gradient)
        })
    });
}

#[divan::bench(sample_count = 10)]
fn binary_cross_entropy(bencher: Bencher<'_, '_>) {
    let threads = Threads::new(0).expect("threads");
    let shape = MapShape::new(8, 1, 256, 192);
    let logits = noise(8 * shape.planar_len());
    let targets: Vec<f32> = (0..logits.len()).map(|i| (i % 2) as f32).collect();
    let mut gradient = vec![0.0; logits.len()];
    bencher.counter(moved(shape, 3)).bench_local(|| {
        threads.run(|| {
            let (isa, loss) = (Isa::fastest(), BinaryCrossEntropy::default());
            let logits = black_box(&logits);
            let kernel = segmenta_kernels::binary_cross_entropy;
            kernel(isa, loss, logits, shape, &targets, 1.0, &mut gradient)
        })
    });
}
