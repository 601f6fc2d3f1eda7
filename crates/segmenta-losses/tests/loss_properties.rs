//! What must hold of every loss, whatever the labels, and what must be refused.

use proptest::prelude::*;
use segmenta_kernels::Isa;
use segmenta_losses::{CrossEntropy, Dice, Loss, LossError, LossSpec, Mode, NAMES, Target};

const SHAPE: [usize; 4] = [2, 3, 4, 5];
const PIXELS: usize = 2 * 4 * 5;

fn named(name: &str) -> Loss {
    name.parse::<LossSpec>().unwrap().terms()[0].loss.clone()
}

/// Value and gradient.
fn both(loss: &Loss, logits: &[f32], target: &Target) -> (f32, Vec<f32>) {
    let loss = LossSpec::from(loss.clone());
    let made = loss.value_and_gradient(Isa::fastest(), logits, target.shape(), target, 1.0);
    made.unwrap()
}

/// Truth of a mode from values 0 to 3, of which 3 is ignored; logits fit it.
fn truth(mode: Mode, values: &[u8]) -> Target {
    let [images, classes, height, width] = SHAPE;
    let void = |value: u8, is: u8| if value == 3 { 255 } else { is };
    match mode {
        Mode::Multiclass => {
            let labels = values[..PIXELS].iter().map(|&v| void(v, v)).collect();
            let shape = [images, height, width];
            Target::labels(labels, shape, classes, Some(255)).unwrap()
        }
        Mode::Binary | Mode::Multilabel => {
            let classes = if mode == Mode::Binary { 1 } else { classes };
            let shape = [images, classes, height, width];
            let len = shape.iter().product();
            let masks = values[..len].iter().map(|&v| void(v, v % 2)).collect();
            Target::masks(masks, shape, Some(255)).unwrap()
        }
    }
}

fn modes_of(loss: &Loss) -> Vec<Mode> {
    let all = [
        (Mode::Binary, 1),
        (Mode::Multiclass, 3),
        (Mode::Multilabel, 3),
    ];
    all.into_iter()
        .filter(|&(mode, n)| loss.check(mode, n).is_ok())
        .map(|(mode, _)| mode)
        .collect()
}

#[test]
fn names_are_those_of_configurations() {
    for &name in NAMES {
        let loss = named(name);
        assert_eq!(loss.name(), name);
        let written = serde_json::to_value(LossSpec::from(loss.clone())).unwrap();
        assert_eq!(written[0]["name"], name);
        let read: LossSpec = serde_json::from_value(written).unwrap();
        assert_eq!(read, LossSpec::from(loss));
    }
    for name in [
        "DiceLoss",
        "JaccardLoss",
        "TverskyLoss",
        "FocalLoss",
        "LovaszLoss",
        "MCCLoss",
    ]
    .into_iter()
    .chain([
        "SoftBCEWithLogitsLoss",
        "SoftCrossEntropyLoss",
        "CrossEntropyLoss",
    ])
    .chain(["BCEWithLogitsLoss", "ce", "bce"])
    {
        assert!(name.parse::<LossSpec>().is_ok(), "{name}");
    }
}

#[test]
fn read_from_toml() {
    #[derive(serde::Deserialize)]
    struct File {
        loss: LossSpec,
    }
    let read = |text: &str| toml::from_str::<File>(text).map(|file| file.loss);
    assert_eq!(
        read("loss = 'cross_entropy'").unwrap(),
        Loss::CrossEntropy(CrossEntropy::default()).into()
    );
    let text = "[[loss]]\nname = 'cross_entropy'\nweight = [1, 2.5]\n[[loss]]\nname = 'dice'\nsmooth = 1\nfactor = 0.5";
    let spec = read(text).unwrap();
    let Loss::CrossEntropy(entropy) = &spec.terms()[0].loss else {
        panic!("{spec:?}")
    };
    assert_eq!(entropy.weight, Some(vec![1.0, 2.5].into()));
    assert_eq!(spec.terms()[1].factor, 0.5);
    assert_eq!(
        spec.terms()[1].loss,
        Loss::Dice(Dice {
            smooth: 1.0,
            ..Dice::default()
        })
    );

    for (text, says) in [
        ("loss = 'dicee'", "there is no loss `dicee`"),
        ("loss = 3", "`3` is no loss"),
        ("loss = []", "a sum of no losses"),
        ("loss = { smooth = 1 }", "missing field `name`"),
        (
            "loss = { name = 'dice', smoth = 1 }",
            "unknown field `smoth`, expected one of",
        ),
        ("loss = { name = 'dice', factor = 'x' }", "is no number"),
        ("loss = { name = 'dice', factor = nan }", "factor"),
    ] {
        let message = read(text).unwrap_err().to_string();
        assert!(message.contains(says), "{text}: {message}");
        assert!(
            message.contains("soft_iou"),
            "names the losses there are: {message}"
        );
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let message = |text: &str, mode, classes| {
        let spec: LossSpec = serde_json::from_str(text).unwrap();
        spec.check(mode, classes).unwrap_err().to_string()
    };
    for (text, mode, says) in [
        (
            r#"{"name":"cross_entropy","weight":[1,2]}"#,
            Mode::Multiclass,
            "2 weights for 3 classes",
        ),
        (
            r#"{"name":"cross_entropy","weight":[1]}"#,
            Mode::Multiclass,
            "1 weight for 3 classes",
        ),
        (
            r#"{"name":"cross_entropy","weight":[0,0,0]}"#,
            Mode::Multiclass,
            "all are 0",
        ),
        (
            r#"{"name":"cross_entropy","label_smoothing":1.5}"#,
            Mode::Multiclass,
            "1.5",
        ),
        (
            r#"{"name":"cross_entropy"}"#,
            Mode::Multilabel,
            "use bce_with_logits",
        ),
        (
            r#"{"name":"bce_with_logits"}"#,
            Mode::Multiclass,
            "use cross_entropy",
        ),
        (
            r#"{"name":"bce_with_logits","pos_weight":[1,-2,1]}"#,
            Mode::Multilabel,
            "weight -2",
        ),
        (
            r#"{"name":"mcc"}"#,
            Mode::Multilabel,
            "not defined for multilabel",
        ),
        (
            r#"{"name":"dice","classes":[3]}"#,
            Mode::Multiclass,
            "class 3 of 3",
        ),
        (
            r#"{"name":"dice","classes":[]}"#,
            Mode::Multiclass,
            "no class",
        ),
        (
            r#"{"name":"dice","classes":[0]}"#,
            Mode::Binary,
            "leave it out",
        ),
        (
            r#"{"name":"dice","classes":[0],"class_weights":[0,1,1]}"#,
            Mode::Multiclass,
            "weigh 0",
        ),
        (
            r#"{"name":"jaccard","eps":0}"#,
            Mode::Multiclass,
            "setting `eps` of loss `jaccard`",
        ),
        (
            r#"{"name":"tversky","gamma":0}"#,
            Mode::Multiclass,
            "`gamma`",
        ),
        (r#"{"name":"focal","alpha":2}"#, Mode::Multiclass, "`alpha`"),
        (
            r#"{"name":"focal","reduced_threshold":0}"#,
            Mode::Multiclass,
            "`reduced_threshold`",
        ),
        (
            r#"{"name":"ohem_cross_entropy","threshold":-1}"#,
            Mode::Multiclass,
            "`threshold`",
        ),
    ] {
        let classes = if mode == Mode::Binary { 1 } else { 3 };
        let message = message(text, mode, classes);
        assert!(message.contains(says), "{text}: {message}");
    }
}

#[test]
fn wrong_targets_are_named() {
    let labels = |labels: Vec<u8>, classes, ignore| {
        Target::labels(labels, [2, 2, 3], classes, ignore)
            .unwrap_err()
            .to_string()
    };
    let mut wrong = vec![0; 12];
    wrong[10] = 7;
    let message = labels(wrong.clone(), 4, Some(255));
    let expected = "label 7 where classes are 0 to 3 · image 1 of the batch, row 1, column 1";
    assert!(message.starts_with(expected), "{message}");
    assert!(labels(vec![255; 12], 4, None).starts_with("label 255"));
    assert!(labels(vec![0; 11], 4, None).starts_with("11 values for the shape [2, 2, 3]"));
    assert!(labels(vec![0; 12], 1, None).starts_with("label maps of 1 class"));
    assert!(labels(vec![0; 12], 4, Some(3)).starts_with("ignore index 3 is one of the 4"));
    let message = Target::masks(wrong, [1, 2, 2, 3], None).unwrap_err();
    assert_eq!(
        message,
        LossError::Mask {
            value: 7,
            image: 0,
            class: 1,
            row: 1,
            column: 1
        }
    );
    let target = truth(Mode::Multiclass, &[0; PIXELS]);
    let error = LossSpec::from(named("dice"))
        .value_and_gradient(Isa::fastest(), &[0.0; 40], [2, 1, 4, 5], &target, 1.0)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("logits are [2, 1, 4, 5], the target is [2, 3, 4, 5]")
    );
}

#[test]
fn nothing_to_learn_is_no_loss_and_no_gradient() {
    let logits: Vec<f32> = (0..PIXELS * 3).map(|i| (i % 7) as f32 - 3.0).collect();
    for name in NAMES {
        let loss = named(name);
        for mode in modes_of(&loss) {
            let target = truth(mode, &[3; PIXELS * 3]);
            let len = target.shape().iter().product();
            let (value, gradient) = both(&loss, &logits[..len], &target);
            assert_eq!(value, 0.0, "{name}, {mode}");
            assert!(gradient.iter().all(|&g| g == 0.0), "{name}, {mode}");
        }
    }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(12))]

    #[test]
    fn gradients_are_what_differences_say(
        values in prop::collection::vec(0..4_u8, PIXELS * 3),
        logits in prop::collection::vec(-2.0..2.0_f32, PIXELS * 3),
        direction in prop::collection::vec(-1.0..1.0_f32, PIXELS * 3),
    ) {
        const STEP: f32 = 1e-2;
        for name in NAMES {
            let loss = named(name);
            for mode in modes_of(&loss) {
                let target = truth(mode, &values);
                let len = target.shape().iter().product();
                let (value, gradient) = both(&loss, &logits[..len], &target);
                prop_assert!(value.is_finite() && value >= -1e-6, "{name}, {mode}: {value}");
                let at = |step: f32| -> Vec<f32> {
                    logits[..len].iter().zip(&direction).map(|(x, d)| x + step * d).collect()
                };
                let [more, less] = [STEP, -STEP].map(|step| both(&loss, &at(step), &target).0);
                let differences = (more - less) / (2.0 * STEP);
                let slope: f32 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
                let size = gradient.iter().map(|g| g.abs()).sum::<f32>();
                // Hinges and ranks bend within the step.
                let allowed = if name == &"lovasz" { 0.05 } else { 5e-3 };
                prop_assert!(
                    (differences - slope).abs() <= allowed * size.max(0.1),
                    "{name}, {mode}: differences {differences}, gradient {slope}"
                );
            }
        }
    }

    #[test]
    fn ignored_pixels_have_no_say(
        values in prop::collection::vec(0..4_u8, PIXELS * 3),
        logits in prop::collection::vec(-2.0..2.0_f32, PIXELS * 3),
    ) {
        for name in NAMES {
            let loss = named(name);
            for mode in modes_of(&loss) {
                let target = truth(mode, &values);
                let len = target.shape().iter().product();
                let plane = SHAPE[2] * SHAPE[3];
                let ignored = |at: usize| match mode {
                    Mode::Multiclass => values[at / (plane * SHAPE[1]) * plane + at % plane] == 3,
                    _ => values[at] == 3,
                };
                let other: Vec<f32> =
                    (0..len).map(|at| if ignored(at) { 9.0 - logits[at] } else { logits[at] }).collect();
                let (value, gradient) = both(&loss, &logits[..len], &target);
                let (same, _) = both(&loss, &other, &target);
                prop_assert_eq!(value, same, "{}, {}", name, mode);
                for at in (0..len).filter(|&at| ignored(at)) {
                    prop_assert_eq!(gradient[at], 0.0, "{}, {}", name, mode);
                }
            }
        }
    }
}

/// Logits that no `exp` has a number for: finite losses, and gradients that push the right way or not at all.
#[test]
fn huge_logits_do_not_overflow() {
    let values: Vec<u8> = (0..PIXELS * 3).map(|i| (i % 4) as u8).collect();
    for size in [1e3, 1e20] {
        let logits: Vec<f32> = (0..PIXELS * 3)
            .map(|i| if i * 7 % 11 < 5 { size } else { -size })
            .collect();
        for name in NAMES {
            let loss = named(name);
            for mode in modes_of(&loss) {
                let target = truth(mode, &values);
                let (value, gradient) = both(&loss, &logits[..target.len()], &target);
                assert!(value.is_finite() && value >= 0.0, "{name}, {mode}: {value}");
                assert!(gradient.iter().all(|g| g.is_finite()), "{name}, {mode}");
            }
        }
    }
}

/// A class that no pixel has costs nothing where losses are of regions, and never spoils the others.
#[test]
fn absent_classes() {
    let logits: Vec<f32> = (0..PIXELS * 3).map(|i| (i % 7) as f32 - 3.0).collect();
    for name in NAMES {
        let loss = named(name);
        for mode in modes_of(&loss) {
            for value in [0, 1] {
                let target = truth(mode, &[value; PIXELS * 3]);
                let (value, gradient) = both(&loss, &logits[..target.len()], &target);
                assert!(value.is_finite(), "{name}, {mode}: {value}");
                assert!(gradient.iter().all(|g| g.is_finite()), "{name}, {mode}");
            }
        }
    }
}

/// Terms are added, each times its factor, and all times the factor that is asked for.
#[test]
fn sums_of_losses() {
    let logits: Vec<f32> = (0..PIXELS * 3)
        .map(|i| (i * 5 % 13) as f32 / 4.0 - 1.5)
        .collect();
    let target = truth(Mode::Multiclass, &[1; PIXELS]);
    let made = |text: &str, factor: f32| {
        let loss: LossSpec = serde_json::from_str(text).unwrap();
        let made =
            loss.value_and_gradient(Isa::fastest(), &logits, target.shape(), &target, factor);
        made.unwrap()
    };
    let (sum, gradient) = made(
        r#"["dice", {"name": "focal", "factor": 0.5}, {"name": "lovasz", "factor": 2}]"#,
        3.0,
    );
    let parts = [("dice", 1.0_f32), ("focal", 0.5), ("lovasz", 2.0)];
    let parts = parts.map(|(name, factor)| (made(&format!("{name:?}"), 1.0), factor));
    let expected: f32 = parts
        .iter()
        .map(|((value, _), factor)| value * factor)
        .sum();
    assert!((sum - expected).abs() < 1e-5, "{sum}, {expected}");
    for (at, g) in gradient.iter().enumerate() {
        let expected: f32 = parts.iter().map(|((_, own), f)| 3.0 * own[at] * f).sum();
        assert!((g - expected).abs() < 1e-6, "{at}: {g}, {expected}");
    }
}

#[test]
fn a_nan_reaches_the_loss() {
    let mut logits = vec![0.5; PIXELS * 3];
    logits[0] = f32::NAN;
    for name in NAMES {
        let loss = named(name);
        for mode in modes_of(&loss) {
            let target = truth(mode, &[1; PIXELS * 3]);
            let len = target.shape().iter().product();
            let (value, _) = both(&loss, &logits[..len], &target);
            assert!(value.is_nan(), "{name}, {mode}: {value}");
        }
    }
}

/// One rank a pixel and many parallel sums: the same bits in pools of any size.
#[test]
fn the_same_bits_for_any_number_of_threads() {
    let shape = [2, 3, 96, 128];
    let len = shape.iter().product::<usize>();
    let logits: Vec<f32> = (0..len)
        .map(|i| ((i * 7919) % 1009) as f32 / 250.0 - 2.0)
        .collect();
    let labels: Vec<u8> = (0..len / 3).map(|i| ((i * 31) % 97 % 4) as u8).collect();
    let bits = |name: &str, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let labels = labels
                .iter()
                .map(|&l| if l == 3 { 255 } else { l })
                .collect();
            let target = Target::labels(labels, [2, 96, 128], 3, Some(255)).unwrap();
            let (value, gradient) = both(&named(name), &logits, &target);
            let bits = gradient.iter().map(|g| g.to_bits()).collect::<Vec<_>>();
            (value.to_bits(), bits)
        })
    };
    for name in NAMES {
        if named(name).check(Mode::Multiclass, 3).is_ok() {
            assert!(bits(name, 1) == bits(name, 3), "{name}");
        }
    }
}
