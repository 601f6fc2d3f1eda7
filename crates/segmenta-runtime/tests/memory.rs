//! What weights may take of memory changes how long a network takes, not what it says; low precision takes less of it.

#[path = "../../../conformance/formula.rs"]
mod formula;

use std::sync::Arc;

use segmenta_graph::{Role, Shape};
use segmenta_runtime::{
    Engine, EngineOptions, Int8, LowEngine, Precision, RuntimeError, WeightMemory, value_names,
};
use segmenta_zoo::{Options, find};

fn shape() -> Shape {
    Shape::new(1, 3, 96, 80)
}

fn engine(memory: WeightMemory) -> Engine {
    let graph = find("fcn_resnet18")
        .unwrap()
        .build(&Options::new(5))
        .unwrap();
    let options = EngineOptions {
        threads: 2,
        memory,
        ..EngineOptions::default()
    };
    let read = |parameter: &segmenta_graph::Parameter| {
        let transposed = parameter.role == Role::TransposedKernel;
        Ok(formula::weight(
            &parameter.name,
            &parameter.shape,
            transposed,
        ))
    };
    Engine::new::<RuntimeError>(graph, &options, read).unwrap()
}

fn logits(engine: &Engine) -> Vec<f32> {
    let input = formula::image("memory", shape().len());
    engine.forward(&input, shape()).unwrap().remove(0).data
}

#[test]
fn weights_transformed_for_each_run_give_the_same_bits_in_less_memory() {
    let [ample, brief, low] =
        [WeightMemory::Ample, WeightMemory::Brief, WeightMemory::Low].map(engine);
    let expected = logits(&ample);
    assert_eq!(expected, logits(&brief));
    assert_eq!(expected, logits(&brief), "the second run");
    let bytes = [&ample, &brief, &low].map(|e| e.memory(shape()).unwrap().weight_bytes);
    assert!(bytes[0] > bytes[1] && bytes[1] == bytes[2], "{bytes:?}");

    let rms = (expected.iter().map(|x| x * x).sum::<f32>() / expected.len() as f32).sqrt();
    for (a, b) in expected.iter().zip(logits(&low)) {
        assert!((a - b).abs() <= 1e-3 * rms, "{a} and {b}, of {rms}");
    }
}

/// Of a network whose weights are few and half of them squeeze-and-excitation's, on an engine that lowers whatever it can.
#[test]
fn low_precision_takes_little_memory() {
    let graph = || {
        let found = find("lraspp_mobilenet_v3_large").unwrap();
        found.build(&Options::new(21)).unwrap()
    };
    let names = value_names(&graph()).into_iter();
    let int8 = Int8 {
        ranges: names.map(|name| (name, [-1.0, 3.0])).collect(),
        ..Int8::default()
    };
    let bytes = |precision| {
        let options = EngineOptions {
            threads: 2,
            precision,
            int8: Some(Arc::new(int8.clone())),
            engine: Some(LowEngine::EMULATED),
            ..EngineOptions::default()
        };
        let read = |parameter: &segmenta_graph::Parameter| Ok(parameter.initial(1));
        let engine = Engine::new::<RuntimeError>(graph(), &options, read).unwrap();
        let memory = engine.memory(Shape::new(1, 3, 520, 520)).unwrap();
        memory.weight_bytes + memory.arena_bytes
    };
    let whole = bytes(Precision::F32) as f64;
    for (precision, most) in [(Precision::Bf16, 0.55), (Precision::Int8, 0.32)] {
        let share = bytes(precision) as f64 / whole;
        assert!(
            share <= most,
            "{precision} takes {share:.3} of f32's memory"
        );
    }
}
