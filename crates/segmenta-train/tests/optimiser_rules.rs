//! What must hold of optimisers: parts, accumulation, checkpoints, threads, and what is refused.

use segmenta_kernels::Threads;
use segmenta_train::Numbers;
use segmenta_train::optim::{
    Accumulation, Algorithm, Clip, OptimError, Optimizer, Part, Parts, Update,
};
use serde_json::{Value, json};

fn vec(numbers: &Numbers) -> Vec<f32> {
    numbers.values().unwrap().into_owned()
}

fn algorithm(value: Value) -> Algorithm {
    serde_json::from_value(value).unwrap()
}

/// An optimiser of one parameter `p` of 8 values.
fn of_one(algorithm: Algorithm) -> Optimizer {
    let shape = [8_usize];
    let parameters = [("p", &shape[..])];
    Optimizer::new(algorithm, Clip::default(), &Parts::default(), parameters).unwrap()
}

#[test]
fn state_of_something_else_is_refused() {
    let mut adam = of_one(algorithm(json!({"name": "adam"})));
    let mut load = |names: &[(&str, usize)]| {
        let state = names
            .iter()
            .map(|&(name, len)| (name.to_string(), vec![1.0; len]));
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
    assert_eq!(adam.state().unwrap().len(), 3);
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
    let mut parameters = shapes.map(|_| Numbers::from(vec![1.0; 2]));
    let gradient = Numbers::from(vec![1.0; 2]);
    let updates = shapes.iter().zip(&mut parameters);
    let updates = updates.map(|(&(name, _), parameter)| Update {
        name,
        parameter,
        gradient: &gradient,
    });
    let updates = updates.collect();
    optimizer.step(1.0, 1.0, false, updates).unwrap();
    let first = parameters.map(|x| vec(&x)[0]);
    // Weight decay and factor; frozen; factor alone; weight decay alone.
    for (got, expected) in first.iter().zip([0.85, 1.0, 0.9, -0.5]) {
        assert!((got - expected).abs() < 1e-6, "{first:?}");
    }
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
            ("a".to_string(), Numbers::from(vec![x])),
            ("b".into(), Numbers::from(vec![10.0 * x])),
        ]
    };
    let mut accumulation = Accumulation::new(3);
    for x in [1.0, 2.0, 6.0] {
        assert!(!accumulation.is_full());
        let mut gradients = batch(x);
        if x == 2.0 {
            gradients.reverse();
        }
        accumulation.add(gradients).unwrap();
    }
    assert!(accumulation.is_full());
    let (sums, scale) = accumulation.take();
    let sums: Vec<_> = sums
        .iter()
        .map(|(name, sum)| (name.as_str(), vec(sum)[0]))
        .collect();
    assert_eq!((sums, scale), (vec![("a", 9.0), ("b", 90.0)], 1.0 / 3.0));
    assert!(!accumulation.is_full());
    accumulation.add(batch(4.0)).unwrap();
    assert_eq!(accumulation.take().1, 1.0);
}

#[test]
fn what_cannot_be_stepped() {
    let mut optimizer = of_one(algorithm(json!({"name": "adam"})));
    let mut p = Numbers::from(vec![1.0; 8]);
    let mut step = |name: &str, lr: f64, gradient: Numbers| {
        let update = Update {
            name,
            parameter: &mut p,
            gradient: &gradient,
        };
        optimizer
            .step(lr, 1.0, true, vec![update])
            .map_err(|e| e.to_string())
    };
    let ones = || Numbers::from(vec![1.0; 8]);
    let mut nan = vec![1.0; 8];
    nan[5] = f32::NAN;
    for (name, lr, gradient, says) in [
        ("q", 0.1, ones(), "no parameter `q`"),
        ("p", -0.1, ones(), "learning rate -0.1"),
        ("p", f64::NAN, ones(), "learning rate NaN"),
        (
            "p",
            0.1,
            Numbers::from(vec![1.0; 9]),
            "gradient of `p` has 9 values, the parameter 8",
        ),
        (
            "p",
            0.1,
            Numbers::from(nan),
            "the gradient of `p` is NaN or infinite",
        ),
        (
            "p",
            0.1,
            Numbers::from(vec![f32::INFINITY; 8]),
            "the gradient of `p` is NaN or infinite",
        ),
    ] {
        let message = step(name, lr, gradient).unwrap_err();
        assert!(message.contains(says), "{message}");
    }
    assert_eq!(step("p", 0.1, ones()).unwrap().norm, Some(8.0_f64.sqrt()));
    let state = optimizer.state().unwrap();
    assert_eq!(state[0].0, "p.step");
    assert_eq!(*state[0].1, [1.0], "what failed was no step");

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

#[test]
fn the_same_bits_for_any_number_of_threads() {
    const LEN: usize = 100_003;
    let values = |seed: usize| {
        (0..LEN)
            .map(|i| ((i + seed) * 7919 % 1009) as f32 / 500.0 - 1.0)
            .collect::<Vec<f32>>()
    };
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
            let mut p = Numbers::from(values(0));
            for k in 0..3 {
                let gradient = Numbers::from(values(k + 1));
                let update = Update {
                    name: "p",
                    parameter: &mut p,
                    gradient: &gradient,
                };
                optimizer.step(0.01, 1.0, false, vec![update]).unwrap();
            }
            vec(&p).into_iter().map(f32::to_bits).collect::<Vec<_>>()
        })
    };
    let one = bits(1);
    assert!(bits(2) == one && bits(5) == one);
}
