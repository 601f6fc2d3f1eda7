//! The engine on networks and inputs that the conformance files leave out, and its errors.

#[path = "../../../conformance/formula.rs"]
mod formula;

use segmenta_graph::{Builder, Conv2d, Graph, Role, Scope, Shape};
use segmenta_kernels::Isa;
use segmenta_runtime::EngineOptions as EvaluatorOptions;
use segmenta_train::Numbers;
use segmenta_train::engine::{Engine, EngineError, EngineOptions, Logits, Parameters};
use segmenta_train::optim::{Part, Parts};
use segmenta_zoo::{Options, find, find_encoder};

fn graph(name: &str, options: &Options) -> Graph {
    find(name).unwrap().build(options).unwrap()
}

fn on_encoder(encoder: &str, classes: usize) -> Options {
    Options {
        encoder: Some(find_encoder(encoder).unwrap()),
        ..Options::new(classes)
    }
}

fn parameters(graph: &Graph) -> Parameters {
    Parameters::from_values(graph, |p| {
        formula::weight(&p.name, &p.shape, p.role == Role::TransposedKernel)
    })
}

/// A gradient of one value everywhere.
fn all(like: &Logits, value: f32) -> Logits {
    Logits::new(like.shape(), vec![value; like.shape().len()])
}

fn quiet() -> EngineOptions {
    EngineOptions {
        drops: false,
        debug_numerics: true,
        ..EngineOptions::default()
    }
}

/// `Σ logits · direction` over all results, and with `backward` the gradients of it.
struct Probe {
    engine: Engine,
    input: Vec<f32>,
    shape: Shape,
}

impl Probe {
    fn value(&mut self) -> (f64, Vec<Logits>) {
        let logits = self.engine.forward(self.input.clone(), self.shape).unwrap();
        let mut sum = 0.0;
        let mut directions = Vec::new();
        for (output, logits) in logits.into_iter().enumerate() {
            let values = logits.values().unwrap();
            let probe = formula::unit(&format!("direction/{output}"), values.len());
            let probe: Vec<f32> = probe.iter().map(|u| u - 0.5).collect();
            let pairs = values.iter().zip(&probe);
            sum += pairs
                .map(|(&v, &p)| f64::from(v) * f64::from(p))
                .sum::<f64>();
            directions.push(Logits::new(logits.shape(), probe));
        }
        (sum, directions)
    }
}

/// The derivative along a direction in which all parameters move, by gradients and by differences.
fn check_derivative(graph: &Graph, shape: Shape, isa: Isa) {
    let options = EngineOptions {
        isa: Some(isa),
        ..quiet()
    };
    let mut probe = Probe {
        engine: Engine::new(graph.clone(), parameters(graph), options).unwrap(),
        input: formula::image("engine", shape.len()),
        shape,
    };
    let (_, directions) = probe.value();
    let gradients = probe.engine.backward(directions).unwrap();
    // Each parameter moves at random by a share of its own values, to the side where the sum grows.
    let mut expected = 0.0;
    let mut moves = Vec::new();
    for (name, gradient) in gradients {
        let index = probe.engine.parameters().position(&name).unwrap();
        let gradient = gradient.values().unwrap();
        let values = probe.engine.parameters().values(index).unwrap();
        let wiggle = formula::unit(&format!("wiggle/{name}"), values.len());
        let pairs = wiggle.iter().zip(&*values);
        let mut wiggle: Vec<f64> = pairs
            .map(|(&u, &v)| (f64::from(u) - 0.5) * f64::from(v))
            .collect();
        let pairs = wiggle.iter().zip(&*gradient);
        let slope: f64 = pairs.map(|(w, &g)| w * f64::from(g)).sum();
        wiggle.iter_mut().for_each(|w| *w *= slope.signum());
        expected += slope.abs();
        moves.push((index, wiggle));
    }
    let start = probe.engine.parameters().clone();
    let mut at = |epsilon: f64| {
        for (index, wiggle) in &moves {
            let values = start.values(*index).unwrap();
            let moved = values.iter().zip(wiggle);
            let moved = moved
                .map(|(&v, w)| (f64::from(v) + epsilon * w) as f32)
                .collect();
            probe.engine.parameters_mut().set(*index, moved);
        }
        probe.value().0
    };
    // Small enough to be straight, large enough to be seen in f32.
    let epsilon = 0.15 / expected;
    let found = (at(epsilon) - at(-epsilon)) / (2.0 * epsilon);
    let apart = (found - expected).abs() / expected.abs();
    assert!(
        apart < 0.05,
        "{isa}: {found} by differences, {expected} by gradients"
    );
}

/// Not of networks that unpool: a maximum that moves moves a value, which is no matter of slopes.
#[test]
fn gradients_are_derivatives() {
    let mut gated = on_encoder("resnet18", 3);
    gated.set("decoder_attention_type", "scse").unwrap();
    let cases = [
        // Gates over channels and over pixels, odd sizes cut off and filled up.
        (graph("unet", &gated), [2, 3, 45, 70]),
        // Parts of a concatenation that are no whole blocks, depthwise convolutions.
        (
            graph("unet", &on_encoder("mobilenet_v2", 1)),
            [2, 3, 64, 40],
        ),
        (graph("unet_plain", &Options::new(2)), [1, 3, 50, 37]),
        (
            graph("unet_plain_transposed", &Options::new(2)),
            [2, 3, 33, 48],
        ),
        (graph("fcn8s_resnet34", &Options::new(5)), [2, 3, 65, 97]),
    ];
    for (index, (graph, shape)) in cases.into_iter().enumerate() {
        // Each instruction set once: plain Rust is slow.
        let isas = if index == 0 {
            Isa::available()
        } else {
            vec![Isa::fastest()]
        };
        for isa in isas {
            check_derivative(&graph, shape.into(), isa);
        }
    }
}

/// Every architecture of SMP but those above; attention, tokens, and gates by softmax in encoders.
#[test]
fn gradients_of_every_architecture_are_derivatives() {
    let small = [2, 3, 64, 64];
    let narrow = &[("decoder_channels", "[32, 32, 16, 16, 8]")][..];
    let cases = [
        ("unetplusplus", "resnet18", narrow, small),
        ("linknet", "resnet18", &[], small),
        ("fpn", "resnet18", &[], small),
        ("pspnet", "resnet18", &[], small),
        // Pools its smallest map three times; norms of the few pixels of smaller pictures bend too much.
        ("pan", "resnet18", &[], [2, 3, 256, 256]),
        ("deeplabv3", "resnet18", &[], small),
        ("deeplabv3plus", "resnet18", &[], small),
        ("upernet", "resnet18", &[], small),
        ("manet", "resnet18", narrow, small),
        ("segformer", "mit_b0", &[], [2, 3, 64, 96]),
        // Its gates' norms see a value a picture.
        ("unet", "timm-skresnet18", narrow, [4, 3, 64, 64]),
        ("dpt", "tu-vit_tiny_patch16_224", &[], [1, 3, 48, 64]),
    ];
    for (name, encoder, settings, shape) in cases {
        println!("{name} on {encoder}");
        let mut options = on_encoder(encoder, 3);
        for (key, value) in settings {
            options.set(key, value).unwrap();
        }
        check_derivative(&graph(name, &options), shape.into(), Isa::fastest());
    }
}

/// Windows that are rolled and hang over, tables of biases, and scales for channels.
#[test]
fn gradients_of_the_hubs_backbones_are_derivatives() {
    let backbones = [
        r#"{"model_type": "swin", "depths": [2, 2], "num_heads": [1, 2], "embed_dim": 16, "window_size": 3,
            "drop_path_rate": 0.0, "out_features": ["stage1", "stage2"]}"#,
        r#"{"model_type": "convnext", "num_stages": 2, "depths": [1, 2], "hidden_sizes": [16, 24],
            "layer_scale_init_value": 0.5, "out_features": ["stage1", "stage2"]}"#,
    ];
    for backbone in backbones {
        let mut options = Options::new(3);
        options.set("backbone_config", backbone).unwrap();
        options.set("hidden_size", "16").unwrap();
        options.set("use_auxiliary_head", "false").unwrap();
        let graph = graph("UperNetForSemanticSegmentation", &options);
        for isa in Isa::available() {
            check_derivative(&graph, [2, 3, 45, 62].into(), isa);
        }
    }
}

/// Queries beside patches, modules that are called several times, masks, places that turn what attends.
#[test]
fn gradients_of_networks_of_queries_are_derivatives() {
    let common = [
        ("hidden_size", "24"),
        ("num_attention_heads", "2"),
        ("num_hidden_layers", "3"),
        ("num_blocks", "2"),
        ("num_queries", "5"),
        ("num_register_tokens", "2"),
        ("image_size", "48"),
    ];
    for (name, own) in [
        (
            "EomtForUniversalSegmentation",
            [("attn_mask_probs", "[1, 0]"), ("use_swiglu_ffn", "true")],
        ),
        (
            "EomtDinov3ForUniversalSegmentation",
            [("attn_mask_probs", "[0, 0]"), ("intermediate_size", "40")],
        ),
    ] {
        let mut options = Options::new(3);
        for (key, value) in common.iter().chain(&own) {
            options.set(key, value).unwrap();
        }
        let graph = graph(name, &options);
        for isa in Isa::available() {
            check_derivative(&graph, [2, 3, 48, 48].into(), isa);
        }
    }
}

/// Points of two maps whose pixels lie in one row.
#[test]
fn gradients_of_deformable_attention_are_derivatives() {
    let name = |leaf: &str| &Scope::root() / leaf;
    let (mut g, input) = Builder::new(3);
    let large = Conv2d::square(3, 24).stride(4).with_bias();
    let x = g.conv(input, &name("large"), large);
    let small = Conv2d::square(3, 24).stride(2).with_bias();
    let small = g.conv(x, &name("small"), small);
    let waves = g.sine_positions(x, 24, &name("waves"));
    let x = g.add(x, waves, &name("placed"));
    let row = g.join(small, x, &name("row"));
    let offsets = g.linear(row, &name("offsets"), 2 * 2 * 3 * 2);
    let logits = g.linear(row, &name("logits"), 2 * 2 * 3);
    let values = g.linear(row, &name("values"), 24);
    let maps = [values, offsets, logits];
    let y = g.deformable_attention(maps, &[small, x], 2, 3, &name("attention"));
    let y = g.layer_norm(y, &name("norm"), 1e-5);
    let out = g.part_like(y, 0, &[small], x, &name("out"));
    g.output("out", out);
    let graph = g.finish().unwrap();
    for isa in Isa::available() {
        check_derivative(&graph, [2, 3, 21, 30].into(), isa);
    }
}

#[test]
fn what_is_frozen_stays() {
    let graph = graph("unet", &on_encoder("resnet18", 2));
    let mut part = Part::new("encoder");
    part.frozen = true;
    let options = EngineOptions {
        parts: Parts {
            parts: vec![part],
            ..Parts::default()
        },
        ..quiet()
    };
    let mut engine = Engine::new(graph.clone(), parameters(&graph), options).unwrap();
    let before = engine.parameters().clone();
    let shape = Shape::new(2, 3, 64, 64);
    let logits = engine
        .forward(formula::image("frozen", shape.len()), shape)
        .unwrap();
    let gradients = engine.backward(vec![all(&logits[0], 1.0)]).unwrap();
    assert!(
        gradients
            .iter()
            .all(|(name, _)| !name.starts_with("encoder"))
    );
    assert!(
        gradients
            .iter()
            .any(|(name, _)| name.starts_with("decoder"))
    );
    for (at, entry) in before.entries().iter().enumerate() {
        let same = engine.parameters().values(at).unwrap() == before.values(at).unwrap();
        let is_statistic = matches!(entry.role, Role::RunningMean | Role::RunningVar);
        let moves = is_statistic && !entry.name.starts_with("encoder");
        assert!(
            same || entry.role == Role::Counter || moves,
            "{}",
            entry.name
        );
        assert!(!(moves && same), "{} should have moved", entry.name);
    }
}

#[test]
fn a_frozen_network_is_what_evaluation_is() {
    let graph = graph("unet", &on_encoder("mobilenet_v2", 2));
    let options = EngineOptions {
        parts: Parts {
            parts: vec![Part {
                frozen: true,
                ..Part::new("")
            }],
            ..Parts::default()
        },
        ..quiet()
    };
    let shape = Shape::new(1, 3, 64, 64);
    let input = formula::image("frozen", shape.len());
    let mut engine = Engine::new(graph.clone(), parameters(&graph), options).unwrap();
    let trained = engine.forward(input.clone(), shape).unwrap().remove(0);
    let trained = trained.values().unwrap();
    let evaluated = engine.evaluator(&EvaluatorOptions::default()).unwrap();
    let evaluated = evaluated.forward(&input, shape).unwrap().remove(0).data;
    let largest = evaluated.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let pairs = trained.iter().zip(&evaluated);
    let apart = pairs.fold(0.0_f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(apart < 1e-4 * largest, "{apart} of {largest}");
}

#[test]
fn one_value_has_no_variance() {
    let graph = graph("deeplabv3_resnet50", &Options::new(2));
    let mut engine = Engine::new(graph.clone(), parameters(&graph), quiet()).unwrap();
    let shape = Shape::new(1, 3, 33, 33);
    let error = engine
        .forward(formula::image("one", shape.len()), shape)
        .unwrap_err();
    assert!(matches!(error, EngineError::OneValue { .. }));
    let text = error.to_string();
    assert!(
        text.contains("`classifier.0.convs.4.2`") && text.contains("two pictures"),
        "{text}"
    );
    // Two pictures are enough.
    let shape = Shape { batch: 2, ..shape };
    engine
        .forward(formula::image("two", shape.len()), shape)
        .unwrap();
}

#[test]
fn the_first_node_that_makes_a_nan_is_named() {
    let graph = graph("unet", &on_encoder("resnet18", 2));
    let mut engine = Engine::new(graph.clone(), parameters(&graph), quiet()).unwrap();
    let at = engine
        .parameters()
        .position("encoder.layer2.0.conv1.weight")
        .unwrap();
    let mut values = engine.parameters().values(at).unwrap().into_owned();
    values[7] = f32::NAN;
    engine.parameters_mut().set(at, values);
    let shape = Shape::new(1, 3, 64, 64);
    let input = formula::image("nan", shape.len());
    let error = engine
        .forward(input.clone(), shape)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`encoder.layer2.0.conv1`") && error.contains("forward"),
        "{error}"
    );

    // A gradient that is infinite from the start shows where it first becomes one.
    let mut engine = Engine::new(graph.clone(), parameters(&graph), quiet()).unwrap();
    let logits = engine.forward(input, shape).unwrap().remove(0);
    let error = engine
        .backward(vec![all(&logits, f32::INFINITY)])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`segmentation_head") && error.contains("backward"),
        "{error}"
    );
}

#[test]
fn misuse_is_an_error() {
    let graph = graph("unet", &on_encoder("resnet18", 2));
    let mut engine = Engine::new(graph.clone(), parameters(&graph), quiet()).unwrap();
    let shape = Shape::new(1, 3, 64, 64);
    assert!(matches!(
        engine.forward(vec![0.0; 5], shape),
        Err(EngineError::Length { got: 5, .. })
    ));
    assert!(matches!(
        engine.backward(vec![]),
        Err(EngineError::NoForward)
    ));
    let logits = engine
        .forward(vec![0.1; shape.len()], shape)
        .unwrap()
        .remove(0);
    let wrong = Logits::new(Shape::new(1, 2, 3, 4), vec![0.0; 24]);
    assert!(matches!(
        engine.backward(vec![wrong]),
        Err(EngineError::Results { .. })
    ));
    // The forward pass is still there.
    engine.backward(vec![logits.clone()]).unwrap();
    assert!(matches!(
        engine.backward(vec![logits]),
        Err(EngineError::NoForward)
    ));

    let options = EngineOptions {
        parts: Parts {
            parts: vec![Part::new("encodr")],
            ..Parts::default()
        },
        ..quiet()
    };
    let error = Engine::new(graph.clone(), parameters(&graph), options).unwrap_err();
    assert!(error.to_string().contains("encodr"), "{error}");
}

#[test]
fn drops_follow_the_seed_and_the_step() {
    let graph = graph("fcn_resnet50", &Options::new(2));
    let shape = Shape::new(2, 3, 40, 40);
    let input = formula::image("drops", shape.len());
    let run = |seed, steps| {
        let options = EngineOptions {
            seed,
            ..EngineOptions::default()
        };
        let mut engine = Engine::new(graph.clone(), parameters(&graph), options).unwrap();
        engine.set_steps(steps);
        let logits = engine.forward(input.clone(), shape).unwrap().remove(0);
        logits.values().unwrap().into_owned()
    };
    assert_eq!(run(1, 5), run(1, 5));
    assert_ne!(run(1, 5), run(1, 6));
    assert_ne!(run(1, 5), run(2, 5));
}

#[test]
fn what_is_computed_again_is_what_was_not_kept() {
    let graph = graph("unet", &on_encoder("efficientnet-b0", 2));
    let shape = Shape::new(2, 3, 96, 64);
    let run = |checkpointing| {
        let options = EngineOptions {
            checkpointing,
            ..quiet()
        };
        let mut engine = Engine::new(graph.clone(), parameters(&graph), options).unwrap();
        let logits = engine
            .forward(formula::image("again", shape.len()), shape)
            .unwrap();
        let gradients = engine.backward(vec![all(&logits[0], 1.0)]).unwrap();
        let values = |(name, g): (String, Numbers)| (name, g.values().unwrap().into_owned());
        let gradients: Vec<_> = gradients.into_iter().map(values).collect();
        (engine.arena_bytes(), gradients)
    };
    let ((more, kept), (less, again)) = (run(false), run(true));
    assert!(less * 10 < more * 9, "{less} bytes, {more} without");
    let norm = |values: &[f32]| {
        values
            .iter()
            .map(|&v| f64::from(v).powi(2))
            .sum::<f64>()
            .sqrt()
    };
    let whole = kept
        .iter()
        .map(|(_, g)| norm(g).powi(2))
        .sum::<f64>()
        .sqrt();
    for ((name, kept), (_, again)) in kept.iter().zip(&again) {
        let apart: Vec<f32> = kept.iter().zip(again).map(|(a, b)| a - b).collect();
        // A bias before a norm has a gradient of rounding alone.
        let bound = 1e-3 * norm(kept) + 1e-5 * whole;
        assert!(
            norm(&apart) < bound,
            "{name}: {} of {}",
            norm(&apart),
            norm(kept)
        );
    }
}
