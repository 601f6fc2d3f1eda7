//! bf16 and int8 beside f32: every kind of step that carries them, on every engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use segmenta_graph::{
    Activation, Builder, Conv2d, Filter, Graph, Node, Parameter, Pool2d, Role, Scope, Shape,
};
use segmenta_runtime::{
    Engine, EngineOptions, Int8, LowEngine, Memory, Precision, RuntimeError, Tensor, value_names,
};

fn at(text: &str) -> Scope {
    Scope::root() / text
}

/// Convolutions of all kinds with what lies between them: pools, residual sums, gates, concatenations of whole and of
/// thin parts, slices, resizes, a branch of few channels.
fn network() -> Graph {
    let (mut g, input) = Builder::new(3);
    let conv = |g: &mut Builder, x: Node, name: &str, conv: Conv2d| {
        let x = g.conv_bn(x, &(&at(name) / "conv"), &(&at(name) / "bn"), conv);
        g.relu(x)
    };
    let stem = conv(&mut g, input, "stem", Conv2d::square(3, 64).stride(2));
    let pooled = g.max_pool(stem, &at("pool"), Pool2d::square(3).stride(2).padding(1));
    let a = conv(&mut g, pooled, "a", Conv2d::pointwise(96));
    let b = conv(&mut g, a, "b", Conv2d::square(3, 96));
    let sum = g.add(a, b, &at("sum"));
    let depthwise = conv(
        &mut g,
        sum,
        "depthwise",
        Conv2d::square(3, 96).depthwise(96),
    );
    let mean = g.global_avg_pool(depthwise, &at("mean"));
    let gate = g.conv(mean, &at("gate"), Conv2d::pointwise(96).with_bias());
    let gate = g.activation(gate, Activation::Sigmoid);
    let gated = g.mul(depthwise, gate, &at("gated"));
    let wide = conv(&mut g, gated, "wide", Conv2d::square(3, 64).dilation(2));
    let thin = conv(&mut g, gated, "thin", Conv2d::pointwise(24));
    let both = g.concat(&[wide, thin, sum], &at("both"));
    let mixed = conv(&mut g, both, "mixed", Conv2d::pointwise(64));
    let half = g.slice(mixed, 32, 32, &at("half"));
    let half = conv(&mut g, half, "of_half", Conv2d::square(3, 32));
    let up = g.resize_like(half, stem, Filter::BILINEAR, &at("up"));
    let near = g.resize_like(mixed, stem, Filter::Nearest, &at("near"));
    let whole = g.concat(&[up, near, stem], &at("whole"));
    let last = conv(&mut g, whole, "last", Conv2d::square(3, 32));
    let out = g.conv(last, &at("classifier"), Conv2d::pointwise(5).with_bias());
    let out = g.resize_like(out, input, Filter::BILINEAR, &at("out"));
    g.output("out", out);
    g.finish().unwrap()
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the signature that engines ask for"
)]
fn weights(parameter: &Parameter) -> Result<Vec<f32>, RuntimeError> {
    let seed = parameter
        .name
        .bytes()
        .fold(7_usize, |a, b| a * 31 % 10_007 + usize::from(b));
    let value = |i: usize| ((i * 37 + seed) % 101) as f32 / 50.0 - 1.0;
    let scale = match parameter.role {
        Role::Kernel => (parameter.len() as f32 / parameter.shape[0] as f32).sqrt(),
        _ => 1.0,
    };
    let positive = parameter.role == Role::RunningVar;
    Ok((0..parameter.len())
        .map(|i| {
            if positive {
                1.5 + value(i)
            } else {
                value(i) / scale
            }
        })
        .collect())
}

const SHAPE: [usize; 4] = [2, 3, 37, 45];

fn picture() -> Vec<f32> {
    let len = SHAPE.iter().product();
    (0..len)
        .map(|i: usize| ((i * 29 % 97) as f32 - 48.0) / 48.0)
        .collect()
}

fn engine(options: &EngineOptions) -> Engine {
    Engine::new(network(), options, weights).unwrap()
}

fn run(options: &EngineOptions) -> (Tensor, Memory) {
    let engine = engine(options);
    let result = engine.forward(&picture(), SHAPE.into()).unwrap().remove(0);
    (result, engine.memory(SHAPE.into()).unwrap())
}

fn low(engine: LowEngine) -> EngineOptions {
    EngineOptions {
        precision: Precision::Bf16,
        engine: Some(engine),
        ..EngineOptions::default()
    }
}

/// The range of every value of the network, as the picture has it.
fn ranges() -> Int8 {
    let options = EngineOptions {
        precision: Precision::Int8,
        ..EngineOptions::default()
    };
    let (engine, names) = (engine(&options), value_names(&network()));
    let mut ranges: BTreeMap<String, [f32; 2]> = BTreeMap::new();
    let see = |node: Node, _: Shape, values: &[f32]| {
        let range = ranges.entry(names[node.index()].clone()).or_default();
        for &x in values {
            *range = [range[0].min(x), range[1].max(x)];
        }
    };
    engine.watch(&picture(), SHAPE.into(), see).unwrap();
    Int8 {
        ranges,
        ..Int8::default()
    }
}

fn int8(engine: LowEngine, int8: Int8) -> EngineOptions {
    EngineOptions {
        precision: Precision::Int8,
        int8: Some(Arc::new(int8)),
        low_everywhere: true,
        engine: Some(engine),
        ..EngineOptions::default()
    }
}

/// How far results are from what f32 gives, over what it gives: root mean squares.
fn noise(result: &Tensor, exact: &Tensor) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| {
        values.map(|x| f64::from(x) * f64::from(x)).sum::<f64>()
    };
    let pairs = result.data.iter().zip(&exact.data);
    let off = square(&mut pairs.map(|(a, b)| a - b));
    (off / square(&mut exact.data.iter().copied())).sqrt()
}

#[test]
fn int8_gives_nearly_what_f32_gives_and_on_every_engine_the_same() {
    let (expected, full) = run(&EngineOptions::default());
    let ranges = ranges();
    let mut first: Option<Tensor> = None;
    let mut first_kept: Option<Tensor> = None;
    for kind in LowEngine::available() {
        // What is kept out of 8 bits is computed in f32, however fast bf16 is.
        let mut kept = ranges.clone();
        kept.full
            .extend(["stem.conv", "wide.conv", "classifier"].map(String::from));
        let kept = run(&int8(kind, kept)).0;
        let first_kept = first_kept.get_or_insert_with(|| kept.clone());
        assert_eq!(kept, *first_kept, "{kind}, layers kept out");
        let options = int8(kind, ranges.clone());
        let (result, memory) = run(&options);
        let noise = noise(&result, &expected);
        assert!((1e-4..0.1).contains(&noise), "{kind}: {noise}");
        // 8-bit sums are exact, and what is in f32 is computed by one instruction set.
        let first = first.get_or_insert_with(|| result.clone());
        assert_eq!(result, *first, "{kind}");
        for threads in [1, 3] {
            let again = run(&EngineOptions {
                threads,
                ..options.clone()
            })
            .0;
            assert_eq!(again, result, "{kind}, {threads} threads");
        }
        if kind == LowEngine::EMULATED {
            let [small, whole] = [memory, full].map(|m| m.weight_bytes);
            assert!(small * 3 < whole, "weights: {small} of {whole} bytes");
        }
    }
}

/// A network whose last layer is its result as it is writes it itself, on every engine the same, and is watched like
/// all others.
#[test]
fn a_last_layer_in_int8_writes_the_result() {
    let (mut g, input) = Builder::new(3);
    let x = g.conv_bn(
        input,
        &at("first.conv"),
        &at("first.bn"),
        Conv2d::square(3, 24),
    );
    let x = g.relu(x);
    let last = g.conv(x, &at("last"), Conv2d::square(3, 21).with_bias());
    g.output("out", last);
    let graph = g.finish().unwrap();
    let engine = |options: &EngineOptions| Engine::new(graph.clone(), options, weights).unwrap();
    let forward = |engine: &Engine| engine.forward(&picture(), SHAPE.into()).unwrap().remove(0);
    let names = value_names(&graph);
    let mut of = BTreeMap::new();
    let exact = engine(&EngineOptions::default());
    let see = |node: Node, _: Shape, values: &[f32]| {
        let ends = [f32::min, f32::max].map(|f| values.iter().copied().fold(0.0, f));
        of.insert(names[node.index()].clone(), ends);
    };
    exact.watch(&picture(), SHAPE.into(), see).unwrap();
    assert!(of.contains_key(&names[0]), "the input is shown");
    let ranges = Int8 {
        ranges: of,
        ..Int8::default()
    };
    let expected = forward(&exact);
    let mut first: Option<Tensor> = None;
    for kind in LowEngine::available() {
        let options = int8(kind, ranges.clone());
        let low = engine(&options);
        let layers = low.int8_layers();
        assert_eq!(layers.len(), 2, "{kind}: {layers:?}");
        let result = forward(&low);
        let noise = noise(&result, &expected);
        assert!((1e-4..0.02).contains(&noise), "{kind}: {noise}");
        let first = first.get_or_insert_with(|| result.clone());
        assert_eq!(result, *first, "{kind}");
        let mut seen = Vec::new();
        let see = |node: Node, _: Shape, values: &[f32]| {
            if node == layers[1].output {
                seen = values.to_vec();
            }
        };
        low.watch(&picture(), SHAPE.into(), see).unwrap();
        assert_eq!(seen, result.data, "{kind}: what is watched");
        let [arena, whole] = [&low, &exact].map(|e| e.memory(SHAPE.into()).unwrap().arena_bytes);
        assert!(arena * 3 < whole, "{kind}: {arena} of {whole} bytes");
        let steps = low.profile(&picture(), SHAPE.into()).unwrap();
        let last = steps.last().unwrap();
        assert_eq!((&*last.name, last.shape), ("last", Some(expected.shape)));
    }
}

#[test]
fn the_layers_in_int8_are_those_that_have_ranges_and_are_not_kept_out() {
    let ranges = ranges();
    let names = |int8_of: Int8| {
        let engine = engine(&int8(LowEngine::PORTABLE, int8_of));
        let layers = engine.int8_layers().into_iter();
        let names: Vec<String> = layers
            .map(|layer| engine.graph().node(layer.layer).name.clone())
            .collect();
        names
    };
    let all = names(ranges.clone());
    let expected = [
        "stem.conv",
        "a.conv",
        "b.conv",
        "depthwise.conv",
        "gate",
        "wide.conv",
        "thin.conv",
        "mixed.conv",
        "of_half.conv",
        "last.conv",
        "classifier",
    ];
    assert_eq!(all, expected);
    // As files have it that were calibrated before the picture had a range.
    let mut of_old = ranges.clone();
    of_old.ranges.remove(&value_names(&network())[0]);
    let of_before: Vec<&str> = expected
        .into_iter()
        .filter(|name| !["stem.conv", "gate", "classifier"].contains(name))
        .collect();
    assert_eq!(names(of_old), of_before);
    let mut fewer = ranges.clone();
    fewer.full.insert("wide.conv".into());
    let kept: Vec<String> = all
        .iter()
        .filter(|name| *name != "wide.conv")
        .cloned()
        .collect();
    assert_eq!(names(fewer), kept);
    assert_eq!(names(Int8::default()), [""; 0]);
    // A network that knows nothing of 8 bits computes in f32.
    let (plain, _) = run(&int8(LowEngine::PORTABLE, Int8::default()));
    let (exact, _) = run(&EngineOptions::default());
    assert!(noise(&plain, &exact) < 1e-6);
}

#[test]
fn every_engine_gives_what_f32_gives() {
    let (expected, full) = run(&EngineOptions::default());
    let largest = expected
        .data
        .iter()
        .fold(0.0_f32, |most, x| most.max(x.abs()));
    for kind in LowEngine::available() {
        let (result, memory) = run(&low(kind));
        assert_eq!(result.shape, expected.shape);
        for (got, exact) in result.data.iter().zip(&expected.data) {
            let error = (got - exact).abs() / largest;
            assert!(error <= 0.03, "{kind}: {got}, {exact}");
        }
        assert_ne!(result.data, expected.data, "{kind}: nothing was in bf16");
        if kind == LowEngine::EMULATED {
            let [small, whole] = [memory, full].map(|m| m.weight_bytes);
            assert!(small < whole * 3 / 5, "weights: {small} of {whole} bytes");
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for kind in LowEngine::available() {
        let with = |threads| {
            let options = low(kind);
            run(&EngineOptions { threads, ..options }).0
        };
        let one = with(1);
        for threads in [2, 3] {
            assert_eq!(with(threads), one, "{kind}");
        }
    }
}

/// Inputs of several sizes, one after the other in the same memory: what one leaves is nothing to the next.
#[test]
fn sizes_take_turns() {
    let kinds = [LowEngine::fastest(), LowEngine::EMULATED];
    for kind in kinds {
        let engine = engine(&low(kind));
        let mut first = Vec::new();
        for round in 0..2 {
            for (at, side) in [64, 9, 33, 16].into_iter().enumerate() {
                let shape = Shape::new(1, 3, side, side + 3);
                let input: Vec<f32> = picture().into_iter().cycle().take(shape.len()).collect();
                let result = engine.forward(&input, shape).unwrap().remove(0).data;
                match round {
                    0 => first.push(result),
                    _ => assert_eq!(result, first[at], "{kind}, side {side}"),
                }
            }
        }
    }
}

#[test]
fn a_nan_reaches_the_logits_and_names_its_layer() {
    for kind in [LowEngine::fastest(), LowEngine::EMULATED] {
        let broken = |parameter: &Parameter| -> Result<Vec<f32>, RuntimeError> {
            let mut values = weights(parameter)?;
            if parameter.name == "wide.conv.weight" {
                values.fill(3e38);
            }
            Ok(values)
        };
        let engine = Engine::new(network(), &low(kind), broken).unwrap();
        let error = engine.forward_finite(&picture(), SHAPE.into()).unwrap_err();
        let RuntimeError::NotFinite { layer, .. } = &error else {
            panic!("{kind}: {error}");
        };
        assert_eq!(layer, "wide.conv", "{kind}");
    }
}
