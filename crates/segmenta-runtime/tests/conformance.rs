//! Networks against what torchvision and SMP compute, for every file of the conformance folder:
//! the project's own, or the one that `SEGMENTA_CONFORMANCE` names.

#![expect(clippy::print_stdout, reason = "the errors found are worth reading")]

#[path = "../../../conformance/formula.rs"]
mod formula;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use segmenta_graph::{Graph, Shape};
use segmenta_runtime::{Engine, EngineOptions, Isa, RuntimeError, Tensor};
use segmenta_zoo::Options;
use serde_json::Value;

/// Largest error, of the reference's root mean square: what the conformance folder asks for.
const TOLERANCE: f32 = 1e-3;

fn folder() -> PathBuf {
    match std::env::var_os("SEGMENTA_CONFORMANCE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance"),
    }
}

/// One file: a network, its input, and what came out.
struct Case {
    name: String,
    spec: Value,
    /// Name and shape of every state-dict entry.
    state_dict: BTreeMap<String, Vec<usize>>,
    parameters: usize,
    expected: BTreeMap<String, Vec<f32>>,
}

impl Case {
    fn open(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = header.metadata().clone().unwrap();
        let spec: Value = serde_json::from_str(&metadata["spec"]).unwrap();
        let floats = |data: &[u8]| {
            data.chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect()
        };
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        Self {
            name: spec["name"].as_str().unwrap().into(),
            state_dict: serde_json::from_str(&metadata["state_dict"]).unwrap(),
            parameters: metadata["parameters"].parse().unwrap(),
            expected: tensors
                .iter()
                .map(|(name, t)| (name.to_string(), floats(t.data())))
                .collect(),
            spec,
        }
    }

    /// The network, if it is built here.
    fn graph(&self) -> Option<Graph> {
        if self.spec["library"] != "torchvision" {
            return None;
        }
        let architecture = segmenta_zoo::find(self.spec["arch"].as_str()?).ok()?;
        let options = Options {
            aux: self.spec["aux"].as_bool()?,
            ..Options::new(self.spec["classes"].as_u64()? as usize)
        };
        Some(architecture.build(&options).unwrap())
    }

    fn input(&self) -> Shape {
        let extents: [usize; 4] = serde_json::from_value(self.spec["input"].clone()).unwrap();
        extents.into()
    }

    fn run(&self, graph: Graph, isa: Isa) -> Result<Vec<Tensor>, RuntimeError> {
        let options = EngineOptions {
            isa: Some(isa),
            outputs: graph.outputs().iter().map(|o| o.name.clone()).collect(),
            ..EngineOptions::default()
        };
        let engine = Engine::new(graph, &options, |parameter| {
            Ok::<_, RuntimeError>(formula::weight(&parameter.name, &parameter.shape))
        })?;
        engine.forward(
            &formula::image(&self.name, self.input().len()),
            self.input(),
        )
    }

    fn check(&self, graph: &Graph) {
        let built: BTreeMap<_, _> = graph
            .parameters()
            .iter()
            .map(|p| (p.name.clone(), p.shape.clone()))
            .collect();
        assert_eq!(built, self.state_dict, "{}: state dict", self.name);
        assert_eq!(
            graph.trainable_count(),
            self.parameters,
            "{}: parameters",
            self.name
        );

        for isa in Isa::available() {
            let results = self.run(graph.clone(), isa).unwrap();
            for (output, result) in graph.outputs().iter().zip(results) {
                let error = relative_error(&result.data, &self.expected[&output.name]);
                println!(
                    "{} {} on {isa}: largest error {error:.1e}",
                    self.name, output.name
                );
                assert!(
                    error <= TOLERANCE,
                    "{}: {} differs by {error}",
                    self.name,
                    output.name
                );
            }
        }
    }
}

/// The largest difference, of the reference's root mean square.
fn relative_error(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let square: f64 = expected.iter().map(|&e| f64::from(e).powi(2)).sum();
    let rms = (square / expected.len() as f64).sqrt() as f32;
    let differences = got.iter().zip(expected).map(|(g, e)| (g - e).abs());
    differences.fold(
        0.0,
        |worst, d| if d > worst || d.is_nan() { d } else { worst },
    ) / rms
}

#[test]
fn networks_agree_with_their_libraries() {
    let models = folder().join("models");
    let mut files: Vec<_> = std::fs::read_dir(&models)
        .unwrap_or_else(|e| panic!("{}: {e}", models.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort();
    let (mut covered, mut not_covered) = (0, Vec::new());
    for file in &files {
        let case = Case::open(file);
        match case.graph() {
            Some(graph) => {
                case.check(&graph);
                covered += 1;
            }
            None => not_covered.push(case.name),
        }
    }
    println!(
        "{covered} networks agree; not covered, their networks are not built yet: {not_covered:?}"
    );
    assert!(
        covered >= 6,
        "torchvision's six are in {}",
        models.display()
    );
}
