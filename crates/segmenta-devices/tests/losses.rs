//! Losses on a device against those of the processor: value and gradient, for every loss, setting that has a path of its
//! own, and kind of target. On Burn's processor backend, or on the device that `SEGMENTA_DEVICE` names.

use segmenta_devices::{Kind, Numbers, Place, value_and_gradient};
use segmenta_kernels::Isa;
use segmenta_losses::{LossSpec, Mode, NAMES, Target};

const SHAPE: [usize; 4] = [2, 3, 9, 13];

fn place() -> Place {
    let name = std::env::var("SEGMENTA_DEVICE").unwrap_or_default();
    let (name, index) = name.split_once(':').unwrap_or((&name, ""));
    let index = index.parse().ok();
    let kind = match name {
        "cuda" => Kind::Cuda(index.unwrap_or(0)),
        "wgpu" => Kind::Wgpu(index),
        _ => Kind::Flex,
    };
    Place::open(kind).unwrap()
}

/// Truth of a mode, every seventh pixel ignored.
fn target(mode: Mode) -> Target {
    let [images, classes, height, width] = SHAPE;
    let value = |i: usize, of: usize| {
        if i % 7 == 3 {
            255
        } else {
            ((i * 31 % 97) % of) as u8
        }
    };
    let classes = if mode == Mode::Binary { 1 } else { classes };
    if mode == Mode::Multiclass {
        let labels = (0..images * height * width).map(|i| value(i, classes));
        let shape = [images, height, width];
        return Target::labels(labels.collect(), shape, classes, Some(255)).unwrap();
    }
    let shape = [images, classes, height, width];
    let masks = (0..shape.iter().product()).map(|i| value(i, 2));
    Target::masks(masks.collect(), shape, Some(255)).unwrap()
}

#[test]
fn every_loss_is_that_of_the_processor() {
    let mut specs: Vec<String> = NAMES.iter().map(|name| format!("{name:?}")).collect();
    specs.extend(
        [
            r#"{"name": "cross_entropy", "weight": [1, 0.5, 2], "label_smoothing": 0.1}"#,
            r#"{"name": "bce_with_logits", "pos_weight": 3}"#,
            r#"{"name": "soft_bce_with_logits", "smooth_factor": 0.1}"#,
            r#"{"name": "soft_cross_entropy", "smooth_factor": 0.1}"#,
            r#"{"name": "dice", "log_loss": true, "smooth": 1, "classes": [0, 2]}"#,
            r#"{"name": "jaccard", "class_weights": [1, 0, 2]}"#,
            r#"{"name": "tversky", "alpha": 0.3, "beta": 0.7, "gamma": 1.5}"#,
            r#"{"name": "focal", "alpha": 0.25, "gamma": 3, "normalized": true}"#,
            r#"{"name": "focal", "reduced_threshold": 0.5}"#,
            r#"{"name": "lovasz", "per_image": true}"#,
            r#"{"name": "ohem_cross_entropy", "threshold": 0.3, "min_kept": 20}"#,
            r#"[{"name": "dice"}, {"name": "focal", "factor": 0.5}]"#,
        ]
        .map(String::from),
    );
    let place = place();
    let mut compared = 0;
    for text in &specs {
        let loss: LossSpec = serde_json::from_str(text).unwrap();
        for mode in [Mode::Binary, Mode::Multiclass, Mode::Multilabel] {
            let target = target(mode);
            if loss.check(mode, target.classes()).is_err() {
                continue;
            }
            let logits: Vec<f32> = (0..target.len())
                .map(|i| (i * 7919 % 1009) as f32 / 250.0 - 2.0)
                .collect();
            let isa = Isa::fastest();
            let own = loss.value_and_gradient(isa, &logits, target.shape(), &target, 0.5);
            let (value, gradient) = own.unwrap();
            let numbers = Numbers::new(logits, &place);
            let theirs = value_and_gradient(&loss, &numbers, &target, 0.5).unwrap();
            let off = (value - theirs.0).abs();
            assert!(
                off <= 1e-5 * value.abs().max(1.0),
                "{text}, {mode}: {value}, {}",
                theirs.0
            );
            let largest = gradient.iter().fold(0.0_f32, |m, g| m.max(g.abs()));
            for (i, (a, b)) in gradient.iter().zip(theirs.1.values().unwrap()).enumerate() {
                let off = (a - b).abs();
                assert!(off <= 2e-5 * largest, "{text}, {mode}, {i}: {a}, there {b}");
            }
            compared += 1;
        }
    }
    assert!(compared > 40, "{compared}");
}
