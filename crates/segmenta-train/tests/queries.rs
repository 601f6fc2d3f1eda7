//! Gradients of networks of queries against PyTorch's: `huggingface/steps` of the conformance folder.

#![expect(clippy::print_stdout, reason = "the errors found are worth reading")]

#[path = "../../../conformance/formula.rs"]
#[expect(dead_code, reason = "pictures have names of their own")]
mod formula;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use segmenta_graph::{Graph, Shape};
use segmenta_kernels::Isa;
use segmenta_train::engine::{Engine, EngineOptions, Logits, Parameters};
use segmenta_zoo::Options;
use serde_json::Value;

/// The largest difference of a gradient's norm, and of its product with the probe, of the norm.
const TOLERANCE: f64 = 1e-3;

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/huggingface/steps");
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn graph(case: &Value) -> Graph {
    let class = segmenta_zoo::find(case["spec"]["class"].as_str().unwrap()).unwrap();
    let mut options = Options::new(case["spec"]["classes"].as_u64().unwrap() as usize);
    for (field, value) in case["config"].as_object().unwrap() {
        if class.fields().contains(&&**field) {
            options.config.set(field, value.clone());
        }
    }
    class.build(&options).unwrap()
}

#[test]
fn gradients_of_queries_agree_with_pytorch() {
    let files = files();
    assert!(!files.is_empty());
    for file in files {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for isa in Isa::available() {
            check(&case, isa);
        }
    }
}

fn check(case: &Value, isa: Isa) {
    let name = case["spec"]["name"].as_str().unwrap();
    let graph = graph(case);
    let extents: [usize; 4] = serde_json::from_value(case["spec"]["input"].clone()).unwrap();
    let shape = Shape::from(extents);
    let parameters = Parameters::from_values(&graph, |p| formula::weight(&p.name, &p.shape, false));
    let options = EngineOptions {
        isa: Some(isa),
        drops: false,
        debug_numerics: true,
        ..EngineOptions::default()
    };
    let mut engine = Engine::new(graph.clone(), parameters, options).unwrap();
    let image = formula::unit(case["spec"]["image"].as_str().unwrap(), shape.len());
    let image = image.iter().map(|u| (u - 0.5) * 3.464_101_6).collect();
    let results = engine.forward(image, shape).unwrap();
    let mut loss = 0.0;
    let directions = results.iter().zip(graph.outputs()).map(|(logits, output)| {
        let values = logits.values().unwrap();
        // The scores are not part of the loss.
        let direction = match output.name.as_str() {
            "out" => vec![0.0; values.len()],
            name => formula::unit(&format!("direction/{name}"), values.len())
                .iter()
                .map(|u| u - 0.5)
                .collect(),
        };
        let pairs = values.iter().zip(&direction);
        loss += pairs
            .map(|(&v, &d)| f64::from(v) * f64::from(d))
            .sum::<f64>();
        Logits::new(logits.shape(), direction)
    });
    let directions = directions.collect();
    let expected = case["loss"].as_f64().unwrap();
    assert!(
        (loss - expected).abs() <= 1e-3 * expected.abs(),
        "{name} on {isa}: {loss}, {expected}"
    );
    let found: BTreeMap<String, _> = engine.backward(directions).unwrap().into_iter().collect();

    let theirs = case["gradients"].as_object().unwrap();
    let norm = |pair: &Value| pair[0].as_f64().unwrap();
    let given: Vec<f64> = theirs.values().filter(|p| !p.is_null()).map(norm).collect();
    let mean = given.iter().sum::<f64>() / given.len() as f64;
    let (mut worst, mut where_worst) = (0.0, "");
    for (entry, pair) in theirs {
        let gradient = found
            .get(entry)
            .map(|gradient| gradient.values().unwrap().into_owned());
        if pair.is_null() {
            let none = gradient.is_none_or(|values| values.iter().all(|&v| v == 0.0));
            assert!(none, "{name}: the gradient of {entry}");
            continue;
        }
        let gradient = gradient.unwrap_or_else(|| panic!("{name}: no gradient of {entry}"));
        let probe = formula::unit(&format!("probe/{entry}"), gradient.len());
        let pairs = gradient.iter().zip(&probe);
        let (squares, dot) = pairs.fold((0.0, 0.0), |(squares, dot), (&g, &p)| {
            let (g, p) = (f64::from(g), f64::from(p) - 0.5);
            (squares + g * g, dot + g * p)
        });
        // What is zero but for rounding has no relative error: the bias of keys, or of what a norm takes the mean from.
        let size = norm(pair).max(1e-3 * mean);
        for (ours, theirs) in [
            (squares.sqrt(), norm(pair)),
            (dot, pair[1].as_f64().unwrap()),
        ] {
            let error = (ours - theirs).abs() / size;
            if error > worst || error.is_nan() {
                (worst, where_worst) = (error, entry);
            }
        }
    }
    println!("{name} on {isa}: gradients at worst {worst:.1e} ({where_worst})");
    assert!(
        worst <= TOLERANCE,
        "{name} on {isa}: {worst} ({where_worst})"
    );
}
