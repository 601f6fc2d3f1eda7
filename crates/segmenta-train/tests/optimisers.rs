//! Optimisers, clipping and averages against PyTorch's, and what must hold of them.

#[path = "../../../conformance/formula.rs"]
#[expect(dead_code, reason = "optimisers need its numbers, not its weights")]
mod formula;

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};
use segmenta_kernels::{Isa, Threads};
use segmenta_train::optim::{
    Accumulation, Algorithm, Clip, Ema, OptimError, Optimizer, Part, Parts, Update,
};
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

fn tensor(values: Vec<f32>) -> Tensor<1> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), &Device::flex())
}

fn vec(tensor: &Tensor<1>) -> Vec<f32> {
    tensor
        .clone()
        .into_data()
        .convert::<f32>()
        .try_into_vec_as::<f32>()
        .unwrap()
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

/// Steps along the gradients of the references, in this machine's memory and, for `double`, by Burn's operations
/// (which serve f64, as they do other devices).
fn trajectory(algorithm: &Algorithm, isa: Isa, double: bool) -> Vec<Vec<f32>> {
    let place = |x: Tensor<1>| if double { x.cast(DType::F64) } else { x };
    let mut optimizer = of_one(algorithm.clone()).with_isa(isa);
    let mut p = place(tensor(centred("optim/p", 8)));
    let mut steps = Vec::new();
    for k in 0..5 {
        let gradient = place(tensor(centred(&format!("optim/g{k}"), 8)));
        let update = Update {
            name: "p",
            parameter: &mut p,
            gradient,
        };
        optimizer
            .step(algorithm.lr(), 1.0, false, vec![update])
            .unwrap();
        steps.push(vec(&p));
    }
    steps
}

fn check(name: &str, algorithm: &Algorithm, expected: &Value) {
    for (isa, double) in Isa::available()
        .into_iter()
        .map(|isa| (isa, false))
        .chain([(Isa::SCALAR, true)])
    {
        let got = trajectory(algorithm, isa, double);
        for (k, (got, expected)) in got.iter().zip(expected.as_array().unwrap()).enumerate() {
            let what = format!("{name}, step {k}, {isa}, f64 {double}");
            assert_close(got, &numbers(expected), &what);
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
        let mut parameters = lengths.map(|len| tensor(vec![0.0; len]));
        let updates = names.iter().zip(&mut parameters).enumerate();
        let updates = updates.map(|(k, (name, parameter))| {
            let gradient = tensor(centred(&format!("clip/g{k}"), lengths[k]));
            Update {
                name,
                parameter,
                gradient,
            }
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
    for double in [false, true] {
        let parameters = [("p", &shape[..])];
        let mut optimizer =
            Optimizer::new(sgd.clone(), clip, &Parts::default(), parameters).unwrap();
        let place = |x: Tensor<1>| if double { x.cast(DType::F64) } else { x };
        let mut p = place(tensor(vec![0.0; 4]));
        let gradient = place(tensor(vec![0.2, -0.8, 4.0, -4.0]));
        let update = Update {
            name: "p",
            parameter: &mut p,
            gradient,
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
        for double in [false, true] {
            let mut ema = Ema::new(case["decay"].as_f64().unwrap()).unwrap();
            for (k, expected) in case["trajectory"].as_array().unwrap().iter().enumerate() {
                let p = tensor(centred(&format!("optim/g{k}"), 8));
                let p = if double { p.cast(DType::F64) } else { p };
                ema.update([("p", &p)]).unwrap();
                let (name, average) = ema.averages().next().unwrap();
                assert_close(&vec(average), &numbers(expected), name);
            }
            assert_eq!(ema.updates(), 5);
            assert!(ema.update([("p", &tensor(vec![0.0; 7]))]).is_err());
            let mut other = Ema::new(0.5).unwrap();
            other.load(
                5,
                ema.averages()
                    .map(|(name, x)| (name.to_string(), x.clone())),
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
        let whole = trajectory(&algorithm, Isa::fastest(), false);
        let mut optimizer = of_one(algorithm.clone());
        let mut p = tensor(centred("optim/p", 8));
        for (k, expected) in whole.iter().enumerate() {
            let state = optimizer.state();
            assert_eq!(state.is_empty(), k == 0);
            optimizer = of_one(algorithm.clone());
            optimizer.load_state(state).unwrap();
            let gradient = tensor(centred(&format!("optim/g{k}"), 8));
            let update = Update {
                name: "p",
                parameter: &mut p,
                gradient,
            };
            optimizer
                .step(algorithm.lr(), 1.0, false, vec![update])
                .unwrap();
            assert_eq!(&vec(&p), expected, "{}", case["spec"]);
        }
    }
}

#[test]
fn state_of_something_else_is_refused() {
    let mut adam = of_one(algorithm(json!({"name": "adam"})));
    let mut load = |names: &[(&str, usize)]| {
        let state = names
            .iter()
            .map(|&(name, len)| (name.to_string(), tensor(vec![1.0; len])));
        adam.load_state(state).map_err(|e| e.to_string())
    };
    let all = [("p.step", 1), ("p.exp_avg", 8), ("p.exp_avg_sq", 8)];
    assert_eq!(load(&all), Ok(()));
    for (names, says) in [
        (&[("q.step", 1)][..], "no parameter `q.step`"),
        (
            &[("p.momentum_buffer", 8)],
            "no parameter `p.momentum_buffer`",
        ),
        (&[("step", 1)], "no parameter `step`"),
        (&all[..2], "`p` has no `exp_avg_sq`"),
        (&all[1..], "`p` has no `step`"),
        (
            &[("p.exp_avg", 9)],
            "exp_avg of `p` has 9 values, the parameter 8",
        ),
    ] {
        let message = load(names).unwrap_err();
        assert!(message.contains(says), "{message}");
    }
    // What was there before is still there.
    assert_eq!(adam.state().len(), 3);
}

#[test]
fn parts_learn_at_their_own_pace() {
    let shapes: [(&str, &[usize]); 4] = [
        ("encoder.conv.weight", &[2, 1]),
        ("encoder.layer4.conv.weight", &[2, 1]),
        ("encoder.bn.weight", &[2]),
        ("head.weight", &[2, 1]),
    ];
    let parts = Parts {
        parts: vec![
            Part {
                lr_factor: 0.1,
                ..Part::new("encoder")
            },
            Part {
                frozen: true,
                ..Part::new("encoder.layer4")
            },
        ],
        spare_vectors: true,
    };
    let sgd = algorithm(json!({"name": "sgd", "lr": 1, "weight_decay": 0.5}));
    let mut optimizer = Optimizer::new(sgd, Clip::default(), &parts, shapes).unwrap();
    let mut parameters = shapes.map(|_| tensor(vec![1.0; 2]));
    let updates = shapes.iter().zip(&mut parameters);
    let updates = updates.map(|(&(name, _), parameter)| Update {
        name,
        parameter,
        gradient: tensor(vec![1.0; 2]),
    });
    let updates = updates.collect();
    optimizer.step(1.0, 1.0, false, updates).unwrap();
    let first = parameters.map(|x| vec(&x)[0]);
    // Weight decay and factor; frozen; factor alone; weight decay alone.
    assert_close(&first, &[0.85, 1.0, 0.9, -0.5], "parts");
    assert!(
        optimizer
            .group("encoder.layer4.conv.weight")
            .unwrap()
            .frozen
    );
    assert_eq!(optimizer.group("nothing"), None);

    let new = |parts: Vec<Part>| {
        let parts = Parts {
            parts,
            spare_vectors: false,
        };
        Optimizer::new(
            Algorithm::named("SGD").unwrap(),
            Clip::default(),
            &parts,
            shapes,
        )
    };
    let message = new(vec![Part::new("enc")]).unwrap_err().to_string();
    assert!(
        message.contains("`enc`") && message.contains("encoder, head"),
        "{message}"
    );
    let negative = Part {
        lr_factor: -1.0,
        ..Part::new("head")
    };
    assert!(
        new(vec![negative])
            .unwrap_err()
            .to_string()
            .contains("`lr_factor` of part `head`")
    );
}

#[test]
fn gradients_of_several_batches() {
    let batch = |x: f32| {
        [
            ("a".to_string(), tensor(vec![x])),
            ("b".into(), tensor(vec![10.0 * x])),
        ]
    };
    let mut accumulation = Accumulation::new(3);
    for x in [1.0, 2.0, 6.0] {
        assert!(!accumulation.is_full());
        let mut gradients = batch(x);
        if x == 2.0 {
            gradients.reverse();
        }
        accumulation.add(gradients);
    }
    assert!(accumulation.is_full());
    let (sums, scale) = accumulation.take();
    let sums: Vec<_> = sums
        .iter()
        .map(|(name, sum)| (name.as_str(), vec(sum)[0]))
        .collect();
    assert_eq!((sums, scale), (vec![("a", 9.0), ("b", 90.0)], 1.0 / 3.0));
    assert!(!accumulation.is_full());
    accumulation.add(batch(4.0));
    assert_eq!(accumulation.take().1, 1.0);
}

#[test]
fn what_cannot_be_stepped() {
    let mut optimizer = of_one(algorithm(json!({"name": "adam"})));
    let mut p = tensor(vec![1.0; 8]);
    let mut step = |name: &str, lr: f64, gradient: Tensor<1>| {
        let update = Update {
            name,
            parameter: &mut p,
            gradient,
        };
        optimizer
            .step(lr, 1.0, true, vec![update])
            .map_err(|e| e.to_string())
    };
    let ones = || tensor(vec![1.0; 8]);
    let mut nan = vec![1.0; 8];
    nan[5] = f32::NAN;
    for (name, lr, gradient, says) in [
        ("q", 0.1, ones(), "no parameter `q`"),
        ("p", -0.1, ones(), "learning rate -0.1"),
        ("p", f64::NAN, ones(), "learning rate NaN"),
        (
            "p",
            0.1,
            tensor(vec![1.0; 9]),
            "gradient of `p` has 9 values, the parameter 8",
        ),
        (
            "p",
            0.1,
            tensor(nan),
            "the gradient of `p` is NaN or infinite",
        ),
        (
            "p",
            0.1,
            tensor(vec![f32::INFINITY; 8]),
            "the gradient of `p` is NaN or infinite",
        ),
        ("p", 0.1, Tensor::from_inner(ones()), "`p` is on a tape"),
    ] {
        let message = step(name, lr, gradient).unwrap_err();
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(step("p", 0.1, ones()).unwrap().norm, Some(8.0_f64.sqrt()));
    assert_eq!(optimizer.state()[0].0, "p.step");
    assert_eq!(
        vec(&optimizer.state()[0].1),
        [1.0],
        "what failed was no step"
    );

    let new = |value: Value| {
        let algorithm: Algorithm = serde_json::from_value(value).unwrap();
        algorithm.check().unwrap_err().to_string()
    };
    for (value, says) in [
        (json!({"name": "sgd", "lr": -1}), "`lr` of optimiser `sgd`"),
        (
            json!({"name": "sgd", "nesterov": true}),
            "Nesterov's momentum takes",
        ),
        (json!({"name": "adam", "betas": [0.9, 1.0]}), "`betas`"),
        (
            json!({"name": "adamw", "weight_decay": -1}),
            "`weight_decay`",
        ),
        (json!({"name": "rmsprop", "alpha": 1.5}), "`alpha`"),
    ] {
        let message = new(value);
        assert!(message.contains(says), "{message}");
    }
    let message = serde_json::from_value::<Algorithm>(json!({"name": "adagrad"}))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("unknown variant `adagrad`, expected one of"),
        "{message}"
    );
    assert!(
        Clip {
            norm: Some(0.0),
            value: None
        }
        .check()
        .is_err()
    );
    let twice = [("p", &[1_usize][..]), ("p", &[1])];
    let error = Optimizer::new(
        Algorithm::named("sgd").unwrap(),
        Clip::default(),
        &Parts::default(),
        twice,
    );
    assert_eq!(error.unwrap_err(), OptimError::Duplicate("p".into()));
}

/// A parameter that another tensor shares is copied, not changed under it.
#[test]
fn shared_memory_is_not_written_to() {
    let mut optimizer = of_one(algorithm(json!({"name": "sgd", "lr": 1})));
    let mut p = tensor(vec![1.0; 8]);
    let kept = p.clone();
    let update = Update {
        name: "p",
        parameter: &mut p,
        gradient: tensor(vec![1.0; 8]),
    };
    optimizer.step(1.0, 1.0, false, vec![update]).unwrap();
    assert_eq!((vec(&kept), vec(&p)), (vec![1.0; 8], vec![0.0; 8]));
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    const LEN: usize = 100_003;
    let bits = |threads: usize| {
        Threads::new(threads).unwrap().run(|| {
            let shape = [LEN];
            let clip = Clip {
                norm: Some(1.0),
                value: None,
            };
            let parameters = [("p", &shape[..])];
            let adam = algorithm(json!({"name": "adam"}));
            let mut optimizer = Optimizer::new(adam, clip, &Parts::default(), parameters).unwrap();
            let mut p = tensor(centred("p", LEN));
            for k in 0..3 {
                let gradient = tensor(centred(&format!("g{k}"), LEN));
                let update = Update {
                    name: "p",
                    parameter: &mut p,
                    gradient,
                };
                optimizer.step(0.01, 1.0, false, vec![update]).unwrap();
            }
            vec(&p).into_iter().map(f32::to_bits).collect::<Vec<_>>()
        })
    };
    let one = bits(1);
    assert!(bits(2) == one && bits(5) == one);
}
