//! Layers against what PyTorch computes, on every instruction set of this machine: the references
//! of `layers.safetensors` (`tools/layer_references.py` made them) and of `pictures.safetensors`.

#[path = "../../../conformance/formula.rs"]
#[expect(dead_code, reason = "layers need its numbers, not its weights")]
mod formula;

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use segmenta_kernels::{
    Activation, Buffer, Isa, Kernel2d, Map, MapMut, MapShape, PoolWindow, TransposedConvolution,
    TransposedSpec, adaptive_avg_pool, apply, avg_pool, blocked, max_pool, max_pool_with_indices,
    max_unpool, resize_nearest, softmax, softmax_planar, to_planar,
};

/// What the conformance folder asks of layers.
const TOLERANCE: f32 = 1e-5;

/// The layers' input in `layers.safetensors`, and in `pictures.safetensors`.
const INPUT: [usize; 4] = [2, 19, 5, 7];
const PICTURES_INPUT: [usize; 4] = [2, 3, 7, 10];

fn folder() -> PathBuf {
    match std::env::var_os("SEGMENTA_CONFORMANCE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance"),
    }
}

/// A reference: its shape, and the bits of its values.
fn bits(file: &str, name: &str) -> (MapShape, Vec<u32>) {
    let bytes = std::fs::read(folder().join("pieces").join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let values = tensor
        .data()
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes(b.try_into().unwrap()));
    let shape = tensor.shape().try_into().unwrap();
    (map_shape(shape), values.collect())
}

fn reference_in(file: &str, name: &str) -> (MapShape, Vec<f32>) {
    let (shape, values) = bits(file, name);
    (shape, values.into_iter().map(f32::from_bits).collect())
}

fn reference(name: &str) -> (MapShape, Vec<f32>) {
    reference_in("layers.safetensors", name)
}

fn map_shape([n, c, h, w]: [usize; 4]) -> MapShape {
    MapShape::new(n, c, h, w)
}

/// The numbers of that name around 0, as wide as `scale`.
fn numbers(name: &str, len: usize, scale: f32) -> Vec<f32> {
    let unit = formula::unit(name, len).into_iter();
    unit.map(|u| (u - 0.5) * scale).collect()
}

fn input() -> Vec<f32> {
    numbers("layers/x", INPUT.iter().product(), 4.0)
}

/// The input of which maxima are taken: few different values, and two that are no numbers.
fn ties() -> Vec<f32> {
    let mut values: Vec<f32> = input().iter().map(|x| (x * 2.0).floor() / 2.0).collect();
    values[40..42].fill(f32::NAN);
    values
}

/// What a kernel makes of planar values.
fn run(
    isa: Isa,
    input: &[f32],
    from: MapShape,
    to: MapShape,
    kernel: impl FnOnce(Map<'_>, &mut MapMut<'_>),
) -> Vec<f32> {
    let input = blocked(isa, from, input);
    let mut output = Buffer::zeros(to.blocked_len(isa));
    let mut view = MapMut::whole(isa, to, &mut output);
    kernel(Map::whole(isa, from, &input), &mut view);
    let mut planar = vec![0.0; to.batch * to.planar_len()];
    to_planar(Map::whole(isa, to, &output), &mut planar);
    planar
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!(
            (g - e).abs() <= TOLERANCE || g.is_nan() && e.is_nan(),
            "{what}: value {i} is {g}, expected {e}"
        );
    }
}

/// Checks a kernel that reads the layers' input.
fn check(name: &str, input: &[f32], kernel: impl Fn(Map<'_>, &mut MapMut<'_>)) {
    let (to, expected) = reference(name);
    for isa in Isa::available() {
        let got = run(isa, input, map_shape(INPUT), to, &kernel);
        assert_close(&got, &expected, &format!("{name}, {isa}"));
    }
}

#[test]
fn activations() {
    let input: Vec<f32> = input().iter().map(|x| x * 6.0).collect();
    let each = [("sigmoid", Activation::Sigmoid), ("silu", Activation::Silu)];
    for (name, activation) in each {
        check(name, &input, |x, to| apply(x, to, activation));
    }
}

#[test]
fn softmax_over_channels() {
    let input: Vec<f32> = input().iter().map(|x| x * 6.0).collect();
    check("softmax", &input, softmax);
    let (shape, expected) = reference("softmax");
    for isa in Isa::available() {
        let mut got = vec![0.0; input.len()];
        softmax_planar(isa, &input, shape, &mut got);
        assert_close(&got, &expected, &format!("planar softmax, {isa}"));
    }
}

#[test]
fn nearest_resizes() {
    let sizes = [(10, 14), (15, 21), (3, 4), (13, 17), (1, 1), (5, 40)];
    for (height, width) in sizes {
        check(
            &format!("nearest_{height}x{width}"),
            &input(),
            resize_nearest,
        );
    }
}

/// Kernel 3, step 2, padding 1.
fn halving(ceil_mode: bool) -> PoolWindow {
    PoolWindow {
        stride: [2; 2],
        padding: [1; 2],
        ceil_mode,
        ..PoolWindow::square(3)
    }
}

#[test]
fn average_pools() {
    for (ceil, ceil_mode) in [("False", false), ("True", true)] {
        for (pad, counted) in [("False", false), ("True", true)] {
            let name = format!("avg_pool_k3s2p1_ceil{ceil}_pad{pad}");
            check(&name, &input(), |x, to| {
                avg_pool(x, halving(ceil_mode), counted, to);
            });
        }
    }
    let window = PoolWindow {
        kernel: [2, 3],
        stride: [2, 1],
        ..PoolWindow::square(1)
    };
    check("avg_pool_k2x3s2x1", &input(), |x, to| {
        avg_pool(x, window, true, to);
    });
}

#[test]
fn adaptive_average_pools() {
    for (height, width) in [(1, 1), (2, 3), (3, 2), (8, 9)] {
        let name = format!("adaptive_avg_pool_{height}x{width}");
        check(&name, &input(), adaptive_avg_pool);
    }
    let (to, expected) = reference_in("pictures.safetensors", "adaptive_avg_pool_3x6");
    let from = map_shape(PICTURES_INPUT);
    let input = numbers("layer/x", from.batch * from.planar_len(), 3.464_101_6);
    for isa in Isa::available() {
        let got = run(isa, &input, from, to, adaptive_avg_pool);
        assert_close(&got, &expected, &format!("adaptive, {isa}"));
    }
}

#[test]
fn max_pools_and_their_indices() {
    let dilated = PoolWindow {
        stride: [1; 2],
        padding: [1; 2],
        dilation: [2; 2],
        ..PoolWindow::square(3)
    };
    let hanging = PoolWindow {
        ceil_mode: true,
        ..PoolWindow::square(2)
    };
    for (name, window) in [
        ("max_pool_k2s2", PoolWindow::square(2)),
        ("max_pool_k3s2p1_ceil", halving(true)),
        ("max_pool_k2s2_ceil", hanging),
        ("max_pool_k3s1p1d2", dilated),
    ] {
        check(name, &ties(), |x, to| max_pool(x, window, to));
        let (to, expected) = bits("layers.safetensors", &format!("{name}_indices"));
        for isa in Isa::available() {
            let mut indices = vec![0; to.blocked_len(isa)];
            let got = run(isa, &ties(), map_shape(INPUT), to, |x, to| {
                max_pool_with_indices(x, window, to, &mut indices);
            });
            assert_close(&got, &reference(name).1, &format!("{name}, {isa}"));
            let indices: Vec<f32> = indices.iter().map(|&i| i as f32).collect();
            let mut planar = vec![0.0; got.len()];
            to_planar(Map::whole(isa, to, &indices), &mut planar);
            let expected: Vec<f32> = expected.iter().map(|&i| i as f32).collect();
            assert_eq!(planar, expected, "{name}, {isa}");
        }
    }
}

#[test]
fn max_unpools() {
    for (file, name, from, input) in [
        ("layers.safetensors", "max_unpool_k2s2", INPUT, input()),
        (
            "pictures.safetensors",
            "max_unpool_7x10",
            PICTURES_INPUT,
            numbers("layer/x", 420, 3.464_101_6),
        ),
    ] {
        let (shape, expected) = reference_in(file, name);
        assert_eq!(shape, map_shape(from));
        let window = PoolWindow::square(2);
        let small = window.output(shape).unwrap();
        for isa in Isa::available() {
            let mut indices = vec![0; small.blocked_len(isa)];
            let pooled = run(isa, &input, shape, small, |x, to| {
                max_pool_with_indices(x, window, to, &mut indices);
            });
            let got = run(isa, &pooled, small, shape, |x, to| {
                max_unpool(x, &indices, to);
            });
            assert_close(&got, &expected, &format!("{name}, {isa}"));
        }
    }
}

/// One input channel to one output channel for each of a group, window and step 1.
fn plain(outs: usize, groups: usize) -> TransposedSpec {
    TransposedSpec {
        in_channels: INPUT[1],
        out_channels: outs,
        kernel: [1; 2],
        stride: [1; 2],
        padding: [0; 2],
        output_padding: [0; 2],
        dilation: [1; 2],
        groups,
    }
}

#[test]
fn transposed_convolutions() {
    let cases = [
        (
            "k2s2",
            TransposedSpec {
                kernel: [2; 2],
                stride: [2; 2],
                ..plain(18, 1)
            },
        ),
        (
            "k3s2p1o1",
            TransposedSpec {
                kernel: [3; 2],
                stride: [2; 2],
                padding: [1; 2],
                output_padding: [1; 2],
                ..plain(5, 1)
            },
        ),
        (
            "k4s2p1_depthwise",
            TransposedSpec {
                kernel: [4; 2],
                stride: [2; 2],
                padding: [1; 2],
                ..plain(19, 19)
            },
        ),
        (
            "k3x2s3x2p2x0d2x1",
            TransposedSpec {
                kernel: [3, 2],
                stride: [3, 2],
                padding: [2, 0],
                dilation: [2, 1],
                ..plain(3, 1)
            },
        ),
        (
            "k3s1p1_groups",
            TransposedSpec {
                kernel: [3; 2],
                padding: [1; 2],
                ..plain(38, 19)
            },
        ),
        (
            "k1s2",
            TransposedSpec {
                stride: [2; 2],
                ..plain(2, 1)
            },
        ),
    ];
    for (name, spec) in cases {
        let weights = numbers(&format!("layers/{name}/weight"), spec.weights_len(), 1.0);
        let bias = numbers(&format!("layers/{name}/bias"), spec.out_channels, 1.0);
        let kernel = Kernel2d {
            weights: &weights,
            bias: &bias,
        };
        let (to, expected) = reference(&format!("conv_transpose_{name}"));
        let from = map_shape(INPUT);
        assert_eq!(spec.output(from), Some(to), "{name}");
        for isa in Isa::available() {
            let conv = TransposedConvolution::new(isa, spec, kernel, Activation::None);
            let got = transposed(&conv, isa, &input(), from, to);
            assert_close(&got, &expected, &format!("{name}, {isa}"));
        }
    }
}

#[test]
fn transposed_convolution_of_the_pictures_file() {
    let spec = TransposedSpec {
        in_channels: 3,
        kernel: [4; 2],
        stride: [2; 2],
        padding: [1; 2],
        ..plain(4, 1)
    };
    let weights = numbers("layer/w", spec.weights_len(), 3.464_101_6);
    let kernel = Kernel2d {
        weights: &weights,
        bias: &[],
    };
    let from = map_shape(PICTURES_INPUT);
    let input = numbers("layer/x", from.batch * from.planar_len(), 3.464_101_6);
    let (to, expected) = reference_in("pictures.safetensors", "conv_transpose_k4s2p1");
    for isa in Isa::available() {
        let conv = TransposedConvolution::new(isa, spec, kernel, Activation::None);
        let got = transposed(&conv, isa, &input, from, to);
        assert_close(&got, &expected, &isa.to_string());
    }
}

fn transposed(
    conv: &TransposedConvolution,
    isa: Isa,
    input: &[f32],
    from: MapShape,
    to: MapShape,
) -> Vec<f32> {
    let input = blocked(isa, from, input);
    let mut output = Buffer::zeros(to.blocked_len(isa));
    let view = MapMut::whole(isa, to, &mut output);
    conv.run(Map::whole(isa, from, &input), view);
    let mut planar = vec![0.0; to.batch * to.planar_len()];
    to_planar(Map::whole(isa, to, &output), &mut planar);
    planar
}
