//! What weights may take of memory changes how long a network takes, not what it says.

#[path = "../../../conformance/formula.rs"]
mod formula;

use segmenta_graph::{Role, Shape};
use segmenta_runtime::{Engine, EngineOptions, RuntimeError, WeightMemory};
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
