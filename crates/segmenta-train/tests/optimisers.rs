//! Optimisers, clipping and averages against PyTorch's.

#[path = "../../../conformance/formula.rs"]
#[expect(dead_code, reason = "optimisers need its numbers, not its weights")]
mod formula;

use std::path::{Path, PathBuf};

use segmenta_kernels::Isa;
use segmenta_train::Numbers;
use segmenta_train::optim::{Algorithm, Clip, Ema, Optimizer, Parts, Update};
use serde_json::{Value, json};

/// What the conformance folder asks for.
const TOLERANCE: f32 = 1e-5;

fn file(name: &str) -> Value {
    let folder = match std::env::var_os("SEGMENTA_CONFORMANCE") {
        Some(folder) if name == "training.json" => PathBuf::from(folder),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance"),
    };
    serde_json::from_slice(&std::fs::read(folder.join("pieces").join(name)).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap() as f32)
        .collect()
}

fn centred(name: &str, len: usize) -> Vec<f32> {
    formula::unit(name, len)
        .into_iter()
        .map(|u| (u - 0.5) * 3.464_101_6)
        .collect()
}

/// Where optimisers compute.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Here,
    #[cfg(feature = "flex")]
    Device,
}

impl Place {
    fn all() -> Vec<Self> {
        vec![
            Self::Here,
            #[cfg(feature = "flex")]
            Self::Device,
        ]
    }

    fn put(self, values: Vec<f32>) -> Numbers {
        match self {
            Self::Here => values.into(),
            #[cfg(feature = "flex")]
            Self::Device => {
                let place = segmenta_devices::Place::open(segmenta_devices::Kind::Flex).unwrap();
                Numbers::There(segmenta_devices::Numbers::new(values, &place))
            }
        }
    }
}

fn vec(numbers: &Numbers) -> Vec<f32> {
    numbers.values().unwrap().into_owned()
}

fn algorithm(value: Value) -> Algorithm {
    serde_json::from_value(value).unwrap()
}

fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (got, expected) in got.iter().zip(expected) {
        let error = (got - expected).abs();
        assert!(
            error <= TOLERANCE * expected.abs().max(1.0),
            "{what}: {got}, not {expected}"
        );
    }
}

/// An optimiser of one parameter `p` of 8 values.
fn of_one(algorithm: Algorithm) -> Optimizer {
    let shape = [8_usize];
    Optimizer::new(
        algorithm,
        Clip::default(),
        &Parts::default(),
        [("p", &shape[..])],
    )
    .unwrap()
}

/// Steps along the gradients of the references, in this machine's memory or by a device's operations.
fn trajectory(algorithm: &Algorithm, isa: Isa, place: Place) -> Vec<Vec<f32>> {
    let mut optimizer = of_one(algorithm.clone()).with_isa(isa);
    let mut p = place.put(centred("optim/p", 8));
    let mut steps = Vec::new();
    for k in 0..5 {
        let gradient = place.put(centred(&format!("optim/g{k}"), 8));
        let update = Update {
            name: "p",
            parameter: &mut p,
            gradient: &gradient,
        };
        optimizer
            .step(algorithm.lr(), 1.0, false, vec![update])
            .unwrap();
        steps.push(vec(&p));
    }
    steps
}

fn check(name: &str, algorithm: &Algorithm, expected: &Value) {
    for place in Place::all() {
        for isa in Isa::available() {
            let got = trajectory(algorithm, isa, place);
            for (k, (got, expected)) in got.iter().zip(expected.as_array().unwrap()).enumerate() {
                let what = format!("{name}, step {k}, {isa}, {place:?}");
                assert_close(got, &numbers(expected), &what);
            }
        }
    }
}

#[test]
fn optimisers_of_the_shared_folder() {
    let file = file("training.json");
    let specs = [
        ("sgd_0.1", json!({"name": "sgd", "lr": 0.1})),
        (
            "sgd_0.1_m0.9_wd0.001",
            json!({"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.001}),
        ),
        (
            "sgd_nesterov",
            json!({"name": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": true}),
        ),
        ("adam_0.01", json!({"name": "adam", "lr": 0.01})),
        (
            "adam_wd0.0001",
            json!({"name": "adam", "lr": 0.01, "weight_decay": 0.0001}),
        ),
        (
            "adamw_0.01_wd0.05",
            json!({"name": "adamw", "lr": 0.01, "weight_decay": 0.05}),
        ),
        ("rmsprop_0.01", json!({"name": "rmsprop", "lr": 0.01})),
    ];
    let optimisers = file["optimisers"].as_object().unwrap();
    assert_eq!(optimisers.len(), specs.len());
    for (name, settings) in specs {
        check(name, &algorithm(settings), &optimisers[name]);
    }
}

#[test]
fn every_optimiser_and_setting() {
    let file = file("training_settings.json");
    let cases = file["optimisers"].as_array().unwrap();
    assert_eq!(cases.len(), 12);
    for case in cases {
        let algorithm = algorithm(case["spec"].clone());
        check(&case["spec"].to_string(), &algorithm, &case["trajectory"]);
        assert_eq!(
            Algorithm::named(algorithm.name()).map(|a| a.name()),
            Some(algorithm.name())
        );
    }
}

#[test]
fn clipping_by_norm() {
    for case in file("training_settings.json")["clips"].as_array().unwrap() {
        let limit = case["limit"].as_f64().unwrap();
        let lengths = [8_usize, 3, 21];
        let names = ["a", "b", "c"];
        let shapes = names
            .into_iter()
            .zip(lengths.iter().map(std::slice::from_ref));
        let clip = Clip {
            norm: Some(limit),
            value: None,
        };
        // With a learning rate of one, what plain SGD subtracts is the gradient.
        let sgd = algorithm(json!({"name": "sgd", "lr": 1}));
        let mut optimizer = Optimizer::new(sgd, clip, &Parts::default(), shapes).unwrap();
        let mut parameters = lengths.map(|len| Numbers::from(vec![0.0; len]));
        let gradients =
            [0, 1, 2].map(|k| Numbers::from(centred(&format!("clip/g{k}"), lengths[k])));
        let updates = names.iter().zip(&mut parameters).zip(&gradients);
        let updates = updates.map(|((name, parameter), gradient)| Update {
            name,
            parameter,
            gradient,
        });
        // In any order.
        let updates: Vec<_> = updates.rev().collect();
        let step = optimizer.step(1.0, 1.0, false, updates).unwrap();
        let norm = case["norm"].as_f64().unwrap();
        assert!((step.norm.unwrap() - norm).abs() <= 1e-6 * norm);
        assert_eq!(step.factor < 1.0, norm > limit);
        for (parameter, expected) in parameters.iter().zip(case["gradients"].as_array().unwrap()) {
            let negated: Vec<f32> = vec(parameter).iter().map(|x| -x).collect();
            assert_close(&negated, &numbers(expected), "clipped gradient");
        }
    }
}

#[test]
fn clipping_by_value_and_scale() {
    let clip = Clip {
        norm: None,
        value: Some(0.5),
    };
    let shape = [4_usize];
    let sgd = algorithm(json!({"name": "sgd", "lr": 1}));
    for place in Place::all() {
        let parameters = [("p", &shape[..])];
        let mut optimizer =
            Optimizer::new(sgd.clone(), clip, &Parts::default(), parameters).unwrap();
        let mut p = place.put(vec![0.0; 4]);
        let gradient = place.put(vec![0.2, -0.8, 4.0, -4.0]);
        let update = Update {
            name: "p",
            parameter: &mut p,
            gradient: &gradient,
        };
        optimizer.step(1.0, 0.5, false, vec![update]).unwrap();
        assert_eq!(vec(&p), [-0.1, 0.4, -0.5, 0.5]);
    }
}

#[test]
fn moving_averages() {
    for case in file("training_settings.json")["averages"]
        .as_array()
        .unwrap()
    {
        for place in Place::all() {
            let mut ema = Ema::new(case["decay"].as_f64().unwrap()).unwrap();
            for (k, expected) in case["trajectory"].as_array().unwrap().iter().enumerate() {
                let p = place.put(centred(&format!("optim/g{k}"), 8));
                ema.update([("p", &p)]).unwrap();
                let (name, average) = ema.averages().next().unwrap();
                assert_close(&vec(average), &numbers(expected), name);
            }
            assert_eq!(ema.updates(), 5);
            assert!(ema.update([("p", &place.put(vec![0.0; 7]))]).is_err());
            let mut other = Ema::new(0.5).unwrap();
            other.load(
                5,
                ema.averages().map(|(name, x)| (name.to_string(), vec(x))),
            );
            assert_eq!(other.averages().count(), 1);
        }
    }
    assert!(Ema::new(1.5).unwrap_err().to_string().contains("`decay`"));
}

/// Restored state goes on with the same bits.
#[test]
fn state_goes_on_from_a_checkpoint() {
    let file = file("training_settings.json");
    for case in file["optimisers"].as_array().unwrap() {
        let algorithm = algorithm(case["spec"].clone());
        let whole = trajectory(&algorithm, Isa::fastest(), Place::Here);
        let mut optimizer = of_one(algorithm.clone());
        let mut p = Numbers::from(centred("optim/p", 8));
        for (k, expected) in whole.iter().enumerate() {
            let state = optimizer.state().unwrap().into_iter();
            let state: Vec<_> = state
                .map(|(name, values)| (name, values.into_owned()))
                .collect();
            assert_eq!(state.is_empty(), k == 0);
            optimizer = of_one(algorithm.clone());
            optimizer.load_state(state).unwrap();
            let gradient = Numbers::from(centred(&format!("optim/g{k}"), 8));
            let update = Update {
                name: "p",
                parameter: &mut p,
                gradient: &gradient,
            };
            optimizer
                .step(algorithm.lr(), 1.0, false, vec![update])
                .unwrap();
            assert_eq!(&vec(&p), expected, "{}", case["spec"]);
        }
    }
}
