//! Single layers against what PyTorch computes, on every instruction set of this machine.

#[path = "../../../conformance/formula.rs"]
#[expect(dead_code, reason = "layers need its numbers, not its weights")]
mod formula;

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use segmenta_kernels::{
    Buffer, Isa, Logits, Map, MapMut, MapShape, ToProbability, blocked, global_avg_pool, labels,
    resize_bilinear, resize_bilinear_planar, to_planar, winning_probability,
};

/// What the conformance folder asks of layers.
const TOLERANCE: f32 = 1e-5;

const INPUT: [usize; 4] = [2, 3, 7, 10];

fn folder() -> PathBuf {
    match std::env::var_os("SEGMENTA_CONFORMANCE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance"),
    }
}

/// A reference: its shape and its values.
fn reference(name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(folder().join("pieces/pictures.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let values = tensor
        .data()
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
    (tensor.shape().to_vec(), values.collect())
}

/// The input of every layer: `layer/x` of the formula.
fn input() -> Vec<f32> {
    let mut values = formula::unit("layer/x", INPUT.iter().product());
    values
        .iter_mut()
        .for_each(|u| *u = (*u - 0.5) * 3.464_101_6);
    values
}

fn map_shape([n, c, h, w]: [usize; 4]) -> MapShape {
    MapShape::new(n, c, h, w)
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!(
            (g - e).abs() <= TOLERANCE,
            "{what}: value {i} is {g}, expected {e}"
        );
    }
}

#[test]
fn bilinear_resizes() {
    let from = map_shape(INPUT);
    for (name, align_corners) in [
        ("bilinear_up_15x23_alignFalse", false),
        ("bilinear_up_15x23_alignTrue", true),
        ("bilinear_down_4x5_alignFalse", false),
        ("bilinear_down_4x5_alignTrue", true),
    ] {
        let (shape, expected) = reference(name);
        let to = map_shape(shape.try_into().unwrap());
        for isa in Isa::available() {
            let mut planar = vec![0.0; expected.len()];
            let size = [to.height, to.width];
            resize_bilinear_planar(isa, &input(), from, &mut planar, size, align_corners);
            assert_close(&planar, &expected, &format!("{name}, planar, {isa}"));

            let source = blocked(isa, from, &input());
            let mut output = Buffer::zeros(to.blocked_len(isa));
            let mut view = MapMut::whole(isa, to, &mut output);
            resize_bilinear(Map::whole(isa, from, &source), &mut view, align_corners);
            to_planar(Map::whole(isa, to, &output), &mut planar);
            assert_close(&planar, &expected, &format!("{name}, blocked, {isa}"));
        }
    }
}

#[test]
fn global_average() {
    // The reference pools to 3×6; the mean of the whole map follows from the input itself.
    let from = map_shape(INPUT);
    let to = map_shape([INPUT[0], INPUT[1], 1, 1]);
    let means = input();
    let means: Vec<f32> = means
        .chunks(from.pixels())
        .map(|p| p.iter().sum::<f32>() / p.len() as f32)
        .collect();
    for isa in Isa::available() {
        let source = blocked(isa, from, &input());
        let mut output = Buffer::zeros(to.blocked_len(isa));
        let mut view = MapMut::whole(isa, to, &mut output);
        global_avg_pool(Map::whole(isa, from, &source), &mut view);
        let mut planar = vec![0.0; means.len()];
        to_planar(Map::whole(isa, to, &output), &mut planar);
        assert_close(&planar, &means, &format!("mean, {isa}"));
    }
}

/// Labels and their probabilities are the argmax and the softmax of the resized logits.
#[test]
fn labels_are_the_argmax_of_resized_logits() {
    let (shape, resized) = reference("bilinear_up_15x23_alignFalse");
    let [_, classes, height, width] = shape[..] else {
        panic!("NCHW")
    };
    let image = INPUT[1] * INPUT[2] * INPUT[3];
    for isa in Isa::available() {
        for (values, resized) in input()
            .chunks(image)
            .zip(resized.chunks(classes * height * width))
        {
            let logits = Logits::whole(values, classes, [INPUT[2], INPUT[3]]);
            let mut ids = vec![0; height * width];
            labels(isa, logits, [height, width], &mut ids);
            let mut scores = vec![0.0; height * width];
            winning_probability(
                isa,
                logits,
                ToProbability::Softmax,
                [height, width],
                &mut scores,
            );
            for pixel in 0..height * width {
                let logit = |class: usize| resized[class * height * width + pixel];
                let best = (0..classes)
                    .max_by(|&a, &b| logit(a).total_cmp(&logit(b)))
                    .unwrap();
                let sum: f32 = (0..classes).map(|c| (logit(c) - logit(best)).exp()).sum();
                assert_eq!(usize::from(ids[pixel]), best, "{isa}, pixel {pixel}");
                assert!(
                    (scores[pixel] - 1.0 / sum).abs() < 1e-5,
                    "{isa}, pixel {pixel}"
                );
            }
        }
    }
}

#[test]
fn only_the_valid_part_counts() {
    // Outside the valid 2×2 pixels class 1 wins everywhere; inside, class 0 does.
    let plane = |inside: f32, outside: f32| {
        let at = |i: usize| {
            if (1..3).contains(&(i / 4)) && (1..3).contains(&(i % 4)) {
                inside
            } else {
                outside
            }
        };
        (0..16).map(at).collect::<Vec<_>>()
    };
    let values = [plane(1.0, 0.0), plane(0.0, 9.0)].concat();
    let logits = Logits {
        values: &values,
        classes: 2,
        height: 4,
        width: 4,
        valid: [1.0, 1.0, 2.0, 2.0],
        threshold: 0.0,
    };
    for isa in Isa::available() {
        let mut ids = vec![7; 35];
        labels(isa, logits, [5, 7], &mut ids);
        assert_eq!(ids, vec![0; 35], "{isa}");
    }
}

#[test]
fn one_class_is_a_threshold() {
    let logits = Logits::whole(&[-2.0, 3.0], 1, [1, 2]);
    let (mut ids, mut scores) = ([7; 2], [0.0; 2]);
    labels(Isa::fastest(), logits, [1, 2], &mut ids);
    winning_probability(
        Isa::fastest(),
        logits,
        ToProbability::Sigmoid,
        [1, 2],
        &mut scores,
    );
    assert_eq!(ids, [0, 1]);
    assert!((scores[1] - 0.952_574).abs() < 1e-5 && (scores[0] - 0.880_797).abs() < 1e-5);
}
