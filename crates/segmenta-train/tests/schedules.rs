//! Schedules against PyTorch's, and what must hold of them.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use segmenta_train::schedule::{Schedule, ScheduleSpec};
use serde_json::{Value, json};

/// What the conformance folder asks for, of the learning rate.
const TOLERANCE: f64 = 1e-5;
const LR: f64 = 0.1;

fn file(name: &str) -> Value {
    let folder = match std::env::var_os("SEGMENTA_CONFORMANCE") {
        Some(folder) if name == "training.json" => PathBuf::from(folder),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance"),
    };
    serde_json::from_slice(&std::fs::read(folder.join("pieces").join(name)).unwrap()).unwrap()
}

fn spec(value: Value) -> ScheduleSpec {
    serde_json::from_value(value).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect()
}

fn check(name: &str, schedule: &mut Schedule, scores: Option<&[f64]>, expected: &[f64]) -> f64 {
    let mut worst = 0.0_f64;
    for (t, expected) in expected.iter().enumerate() {
        let got = schedule.lr(t as u64);
        let error = (got - expected).abs() / expected.abs().max(1e-3 * LR);
        assert!(
            error <= TOLERANCE,
            "{name}, step {t}: {got}, not {expected}"
        );
        worst = worst.max(error);
        if let Some(scores) = scores {
            schedule.observe(scores[t]);
        }
    }
    worst
}

#[test]
fn schedules_of_the_shared_folder() {
    let file = file("training.json");
    let specs = [
        (
            "step_7_0.7",
            json!({"name": "step", "step_size": 7, "gamma": 0.7}),
        ),
        ("poly_0.9_over_30", json!({"name": "poly", "power": 0.9})),
        (
            "cosine_over_30_min0.001",
            json!({"name": "cosine", "min_lr": 0.001}),
        ),
        (
            "warmup5_poly25",
            json!({"name": "sequential", "milestones": [5], "schedules": [
                {"name": "linear", "start_factor": 0.01, "total": 5}, {"name": "poly", "power": 0.9}]}),
        ),
        ("onecycle_30", json!({"name": "one_cycle", "total": 31})),
        (
            "multistep_10_20_0.1",
            json!({"name": "multi_step", "milestones": [10, 20]}),
        ),
    ];
    let schedules = file["schedules"].as_object().unwrap();
    assert_eq!(schedules.len(), specs.len());
    for (name, settings) in specs {
        let mut schedule = Schedule::new(spec(settings), LR, 30).unwrap();
        check(name, &mut schedule, None, &numbers(&schedules[name]));
    }
}

#[test]
fn every_schedule_and_setting() {
    let file = file("training_settings.json");
    let cases = file["schedules"].as_array().unwrap();
    let mut worst = 0.0_f64;
    for case in cases {
        let settings = spec(case["spec"].clone());
        let mut schedule = Schedule::new(settings.clone(), LR, 40).unwrap();
        let scores = case["scores"].as_array().map(|_| numbers(&case["scores"]));
        let name = case["spec"].to_string();
        worst = worst.max(check(
            &name,
            &mut schedule,
            scores.as_deref(),
            &numbers(&case["values"]["lr"]),
        ));
        for (t, expected) in numbers(&case["values"]["momentum"]).iter().enumerate() {
            let got = schedule
                .momentum(t as u64)
                .unwrap_or(case["momentum"].as_f64().unwrap());
            assert!(
                (got - expected).abs() <= TOLERANCE,
                "{name}, step {t}: {got}, not {expected}"
            );
        }
        let written = serde_json::to_value(&settings).unwrap();
        assert_eq!(spec(written), settings);
    }
    println!(
        "{} schedules, largest relative error {worst:e}",
        cases.len()
    );
}

#[test]
fn a_plateau_goes_on_from_a_checkpoint() {
    let settings = spec(json!({"name": "plateau", "patience": 1, "factor": 0.5}));
    let mut whole = Schedule::new(settings.clone(), LR, 40).unwrap();
    let scores = [1.0, 0.9, 0.95, 0.93, 0.9, 0.89, f64::NAN, 0.9, 0.91];
    for (cut, &score) in scores.iter().enumerate() {
        let mut resumed = Schedule::new(settings.clone(), LR, 40).unwrap();
        resumed.load_state(whole.state().unwrap());
        for &score in &scores[cut..] {
            resumed.observe(score);
        }
        let mut rest = whole.clone();
        scores[cut..].iter().for_each(|&score| rest.observe(score));
        assert_eq!(resumed, rest);
        whole.observe(score);
    }
    assert!(whole.lr(0) < LR && whole.wants_scores());
}

#[test]
fn what_is_no_schedule() {
    for (settings, says) in [
        (
            json!({"name": "step", "step_size": 0}),
            "`step_size` of schedule `step`",
        ),
        (
            json!({"name": "multi_step", "milestones": [5, 5]}),
            "rising order",
        ),
        (json!({"name": "poly", "total": 0}), "give 1 or more"),
        (json!({"name": "linear", "start_factor": -1}), "-1"),
        (json!({"name": "one_cycle", "pct_start": 2}), "`pct_start`"),
        (
            json!({"name": "one_cycle", "div_factor": 0}),
            "`div_factor`",
        ),
        (json!({"name": "plateau", "factor": 1.5}), "between 0 and 1"),
        (
            json!({"name": "sequential", "schedules": [], "milestones": []}),
            "0 for 0 schedules",
        ),
        (
            json!({"name": "chained", "schedules": [{"name": "plateau"}]}),
            "`plateau`",
        ),
        (
            json!({"name": "chained", "schedules": [{"name": "cosine", "min_lr": 0.1}]}),
            "`cosine`",
        ),
        (
            json!({"name": "sequential", "schedules": [{"name": "poly", "power": -1}], "milestones": []}),
            "`power`",
        ),
    ] {
        let message = Schedule::new(spec(settings.clone()), LR, 10)
            .unwrap_err()
            .to_string();
        assert!(message.contains(says), "{settings}: {message}");
    }
    for (settings, says) in [
        (
            json!({"name": "cosin"}),
            "unknown variant `cosin`, expected one of",
        ),
        (json!({"name": "poly", "pow": 1}), "unknown field `pow`"),
        (
            json!({"name": "one_cycle", "top": 1}),
            "unknown field `top`",
        ),
        (json!({"name": "exponential"}), "missing field `gamma`"),
    ] {
        let message = serde_json::from_value::<ScheduleSpec>(settings)
            .unwrap_err()
            .to_string();
        assert!(message.contains(says), "{message}");
    }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(256))]

    #[test]
    fn rates_are_finite_and_not_above_the_base(
        run in 0..50_u64, t in 0..200_u64, total in 1..50_u64, factor in 0.01..1.0_f64,
    ) {
        for settings in [
            json!({"name": "poly"}),
            json!({"name": "cosine"}),
            json!({"name": "one_cycle"}),
            json!({"name": "one_cycle", "three_phase": true, "pct_start": factor}),
            json!({"name": "one_cycle", "pct_start": factor, "anneal_strategy": "linear"}),
            json!({"name": "linear", "start_factor": factor, "total": total}),
            json!({"name": "sequential", "milestones": [total], "schedules": [{"name": "constant"}, {"name": "poly"}]}),
            json!({"name": "exponential", "gamma": factor}),
        ] {
            let schedule = Schedule::new(spec(settings.clone()), LR, run).unwrap();
            let lr = schedule.lr(t);
            // A cycle that goes on past its end does so in a cosine beyond the phase, as torch's would.
            prop_assert!((-1e-12..=LR * (1.0 + 1e-12)).contains(&lr), "{settings}, {t}: {lr}");
        }
    }
}
