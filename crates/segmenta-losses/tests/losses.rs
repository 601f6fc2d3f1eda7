//! Losses and their gradients against what PyTorch and segmentation_models_pytorch compute.

#![expect(clippy::print_stdout, reason = "the errors found are worth reading")]

#[path = "../../../conformance/formula.rs"]
#[expect(dead_code, reason = "losses need its numbers, not its weights")]
mod formula;

use std::path::{Path, PathBuf};

use segmenta_kernels::Isa;
use segmenta_losses::{Loss, LossSpec, Mcc, Target};
use serde_json::{Value, json};

/// What the conformance folder asks for.
const TOLERANCE: f64 = 1e-5;
const SIZE: [usize; 2] = [9, 13];
const IMAGES: usize = 2;
const VOID: u8 = 255;

fn cases(file: &str) -> Vec<Value> {
    let folder = match std::env::var_os("SEGMENTA_CONFORMANCE") {
        Some(folder) if file == "losses.json" => PathBuf::from(folder),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance"),
    };
    let bytes = std::fs::read(folder.join("pieces").join(file)).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn target(case: &Value) -> Target {
    let classes = case["classes"].as_u64().unwrap() as usize;
    let ignore = case["ignore_index"].as_u64().map(|index| index as u8);
    let [height, width] = SIZE;
    if case["mode"] == "multiclass" {
        let u = formula::unit(&format!("loss/labels/{classes}"), IMAGES * height * width);
        let more = if ignore.is_some() { 0.5 } else { 0.0 };
        let label = |u: f32| match (u * (classes as f32 + more)).floor() as u8 {
            label if usize::from(label) < classes => label,
            _ => VOID,
        };
        let labels = u.into_iter().map(label).collect();
        return Target::labels(labels, [IMAGES, height, width], classes, ignore).unwrap();
    }
    let shape = [IMAGES, classes, height, width];
    let len = shape.iter().product();
    let mask = formula::unit(&format!("loss/mask/{classes}"), len);
    let mut mask: Vec<u8> = mask.into_iter().map(|u| u8::from(u > 0.6)).collect();
    if ignore.is_some() {
        let void = formula::unit(&format!("loss/void/{classes}"), len);
        mask.iter_mut()
            .zip(void)
            .for_each(|(m, u)| *m = if u > 0.9 { VOID } else { *m });
    }
    Target::masks(mask, shape, ignore).unwrap()
}

fn logits(classes: usize) -> Vec<f32> {
    let len = IMAGES * classes * SIZE[0] * SIZE[1];
    let u = formula::unit(&format!("loss/logits/{classes}"), len);
    u.into_iter().map(|u| (u - 0.5) * 3.464_101_6).collect()
}

/// Largest relative error of value, gradient's norm and gradient's product with the probe.
fn error(case: &Value, loss: &LossSpec, isa: Isa) -> f64 {
    let (target, logits) = (
        target(case),
        logits(case["classes"].as_u64().unwrap() as usize),
    );
    let made = loss.value_and_gradient(isa, &logits, target.shape(), &target, 1.0);
    let (value, gradient) = made.unwrap();
    let probe = formula::unit(
        &format!("probe/{}", case["name"].as_str().unwrap()),
        gradient.len(),
    );
    let norm = gradient
        .iter()
        .map(|&g| f64::from(g).powi(2))
        .sum::<f64>()
        .sqrt();
    let dot = gradient.iter().zip(probe);
    let dot: f64 = dot.map(|(&g, u)| f64::from(g) * (f64::from(u) - 0.5)).sum();
    let number = |value: &Value| value.as_f64().unwrap();
    let (loss, value) = (number(&case["loss"]), f64::from(value));
    let expected_norm = number(&case["gradient"][0]);
    let scale = loss.abs().max(1.0);
    [
        (value - loss).abs() / scale,
        (norm - expected_norm).abs() / expected_norm,
        (dot - number(&case["gradient"][1])).abs() / expected_norm,
    ]
    .into_iter()
    .fold(0.0, f64::max)
}

/// The loss that a case of the shared folder names.
fn shared_loss(case: &Value) -> LossSpec {
    let mut spec = case["params"].clone();
    let name = case["name"].as_str().unwrap();
    let all = ["soft-ce", "soft-bce", "cross-entropy", "bce-with-logits"];
    let name = match all.iter().find(|prefix| name.starts_with(*prefix)) {
        Some(&"soft-ce") => "soft_cross_entropy".into(),
        Some(&"soft-bce") => "soft_bce_with_logits".into(),
        Some(prefix) => prefix.replace('-', "_"),
        None => name.split('-').next().unwrap().into(),
    };
    if name == "mcc" {
        // There the library's loss was given logits as they are.
        let from_logits = false;
        return Loss::Mcc(Mcc {
            from_logits,
            ..Mcc::default()
        })
        .into();
    }
    spec["name"] = json!(name);
    serde_json::from_value(spec).unwrap()
}

fn check_all(cases: &[Value], loss: impl Fn(&Value) -> LossSpec) {
    let mut worst = (0.0, "");
    let mut wrong = Vec::new();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        for isa in Isa::available() {
            let error = error(case, &loss(case), isa);
            if error > worst.0 {
                worst = (error, name);
            }
            if error.is_nan() || error > TOLERANCE {
                wrong.push(format!("{name}, {isa}: {error:e}"));
            }
        }
    }
    println!(
        "{} losses, largest error {:e} ({})",
        cases.len(),
        worst.0,
        worst.1
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn losses_of_the_shared_folder() {
    let cases = cases("losses.json");
    assert_eq!(cases.len(), 43);
    check_all(&cases, shared_loss);
}

#[test]
fn every_setting() {
    let cases = cases("loss_settings.json");
    assert!(cases.len() > 50);
    check_all(&cases, |case| {
        let spec = match &case["spec"]["terms"] {
            Value::Null => case["spec"].clone(),
            terms => terms.clone(),
        };
        serde_json::from_value(spec).unwrap()
    });
}
