//! Counts and scores against what segmentation_models_pytorch and NumPy compute: counts exactly, scores to the
//! rounding of the float32 that the reference is written in.

use std::path::{Path, PathBuf};

use segmenta_metrics::{Confusion, Counts, Metric, Reduction, Stats, ZeroDivision};
use serde_json::Value;

/// One unit in the last place of the reference's float32, for values up to 1.
const ROUNDING: f64 = 1.2e-7;
const CLASSES: usize = 4;
const IMAGES: usize = 3;

fn reference() -> Value {
    let folder = match std::env::var_os("SEGMENTA_CONFORMANCE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance"),
    };
    serde_json::from_slice(&std::fs::read(folder.join("pieces/metrics.json")).unwrap()).unwrap()
}

/// All numbers of a nested array, in order.
fn flat(value: &Value) -> Vec<u8> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_u64().unwrap() as u8],
    }
}

#[test]
fn statistics_of_images_and_classes() {
    let file = reference();
    let stats = Stats::multiclass(
        &flat(&file["target"]),
        &flat(&file["prediction"]),
        IMAGES,
        CLASSES,
        None,
    )
    .unwrap();
    let expected = ["tp", "fp", "fn", "tn"].map(|name| flat(&file[name]));
    let got: Vec<Counts> = stats.of_images().flatten().copied().collect();
    assert_eq!(got.len(), IMAGES * CLASSES);
    for (i, counts) in got.iter().enumerate() {
        let expected = expected.each_ref().map(|values| u64::from(values[i]));
        let got = [
            counts.true_positives,
            counts.false_positives,
            counts.false_negatives,
            counts.true_negatives,
        ];
        assert_eq!(
            got,
            expected,
            "image {}, class {}",
            i / CLASSES,
            i % CLASSES
        );
    }
}

#[test]
fn every_score_in_every_reduction() {
    let file = reference();
    let stats = Stats::multiclass(
        &flat(&file["target"]),
        &flat(&file["prediction"]),
        IMAGES,
        CLASSES,
        None,
    )
    .unwrap();
    let values = file["values"].as_object().unwrap();
    assert_eq!(values.len(), 48);
    for (name, expected) in values {
        let (metric, reduction) = name.split_once('/').unwrap();
        let metric = match metric {
            "iou_score" => Metric::Iou,
            "f1_score" => Metric::Dice,
            "fbeta_score" => Metric::FBeta(2.0),
            "accuracy" => Metric::Accuracy,
            "precision" => Metric::Precision,
            "recall" => Metric::Recall,
            "specificity" => Metric::Specificity,
            "balanced_accuracy" => Metric::BalancedAccuracy,
            other => panic!("no metric {other}"),
        };
        let weights = vec![0.1, 0.2, 0.3, 0.4];
        let reduction = match reduction {
            "micro" => Reduction::Micro,
            "macro" => Reduction::Macro,
            "weighted" => Reduction::Weighted(weights),
            "micro-imagewise" => Reduction::MicroImagewise,
            "macro-imagewise" => Reduction::MacroImagewise,
            "weighted-imagewise" => Reduction::WeightedImagewise(weights),
            other => panic!("no reduction {other}"),
        };
        let expected = expected.as_f64().unwrap();
        for zero_division in [ZeroDivision::Absent, ZeroDivision::Value(1.0)] {
            let got = stats.score(metric, &reduction, zero_division).unwrap();
            let error = (got.value.unwrap() - expected).abs();
            assert!(error <= ROUNDING, "{name}: {got}, expected {expected}");
        }
    }
}

#[test]
fn confusion_with_void() {
    let file = reference();
    let expected = &file["with_void"];
    let mut confusion = Confusion::new(CLASSES, Some(255)).unwrap();
    let (truth, prediction) = (flat(&file["target_with_void"]), flat(&file["prediction"]));
    // An image at a time, as an evaluation would.
    for (truth, prediction) in truth.chunks(256).zip(prediction.chunks(256)) {
        confusion.add(truth, prediction).unwrap();
    }
    let rows: Vec<u64> = confusion.rows().flatten().copied().collect();
    assert_eq!(
        rows,
        flat(&expected["confusion"])
            .iter()
            .map(|&n| u64::from(n))
            .collect::<Vec<_>>()
    );
    assert_eq!(
        confusion.ignored(),
        truth.iter().filter(|&&t| u32::from(t) == 255).count() as u64
    );
    for (name, score) in [
        ("pixel_accuracy", confusion.pixel_accuracy()),
        ("mean_class_accuracy", confusion.class_accuracy()),
        ("mean_iou", confusion.mean_iou()),
        ("frequency_weighted_iou", confusion.frequency_weighted_iou()),
    ] {
        let error = (score.value.unwrap() - expected[name].as_f64().unwrap()).abs();
        assert!(error <= f64::EPSILON, "{name}: {score}, off by {error:e}");
    }
}
