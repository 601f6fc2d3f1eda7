//! Networks against what torchvision and SMP compute, for every file of the conformance folder:
//! the project's own, or the one that `SEGMENTA_CONFORMANCE` names.

#![expect(clippy::print_stdout, reason = "the errors found are worth reading")]

#[path = "../../../conformance/formula.rs"]
mod formula;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::SafeTensors;
use segmenta_graph::{Graph, Node, Parameter, Role, Shape};
use segmenta_runtime::{
    Engine, EngineOptions, Int8, Isa, Precision, RuntimeError, Tensor, value_names,
};
use segmenta_zoo::{Options, find_encoder};
use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

/// Largest error, of the reference's root mean square: what the conformance folder asks for.
const TOLERANCE: f32 = 1e-3;

/// The same in bf16, of the mean.
const LOW_TOLERANCE: f32 = 0.05;

/// The same in int8. Ranges are those of the input itself, weights are random.
const INT8_TOLERANCE: f32 = 0.15;

fn folder() -> PathBuf {
    match std::env::var_os("SEGMENTA_CONFORMANCE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance"),
    }
}

/// The values of a network's parameters, by name: made once for all the ways in which it is run.
type Weights = HashMap<String, Vec<f32>>;

fn weights(graph: &Graph, names: &HashMap<String, String>) -> Weights {
    let value = |parameter: &Parameter| {
        let transposed = parameter.role == Role::TransposedKernel;
        let values = formula::weight(&names[&parameter.name], &parameter.shape, transposed);
        (parameter.name.clone(), values)
    };
    let all: Vec<&Parameter> = graph.parameters().iter().collect();
    let (one, other) = all.split_at(all.len() / 2);
    std::thread::scope(|scope| {
        let half = scope.spawn(|| one.iter().map(|p| value(p)).collect::<Vec<_>>());
        let rest: Vec<_> = other.iter().map(|p| value(p)).collect();
        half.join().unwrap().into_iter().chain(rest).collect()
    })
}

/// One file: a network, its input, and what came out.
struct Case {
    name: String,
    spec: Value,
    /// Name and shape of every state-dict entry, in the order of the modules.
    state_dict: Vec<(String, Vec<usize>)>,
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
            state_dict: entries(&metadata["state_dict"]),
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
        let spec = &self.spec;
        let number = |of: &Value| of.as_u64().map(|n| n as usize);
        let architecture = segmenta_zoo::find(spec["arch"].as_str()?).ok()?;
        let mut options = Options::new(number(&spec["classes"])?);
        options.aux = spec["aux"].as_bool().unwrap_or(false);
        options.in_channels = number(&spec["in_channels"]).unwrap_or(3);
        if let Some(encoder) = spec["encoder"].as_str() {
            options.encoder = Some(find_encoder(encoder).ok()?);
        }
        if let Some(kwargs) = spec["kwargs"].as_object() {
            for (name, value) in kwargs {
                options.settings.set(name, &value.to_string()).unwrap();
            }
        }
        Some(architecture.build(&options).unwrap())
    }

    /// The reference's name for each of our entries: its own, but the tutorials' names bind nobody,
    /// and order and shapes must agree.
    fn reference_names(&self, graph: &Graph) -> HashMap<String, String> {
        let ours = graph.parameters().iter();
        if self.spec["library"] == "tutorial" {
            let shapes: Vec<_> = ours.clone().map(|p| &p.shape).collect();
            let theirs: Vec<_> = self.state_dict.iter().map(|(_, shape)| shape).collect();
            assert_eq!(shapes, theirs, "{}: shapes in order", self.name);
            let pairs = ours.zip(&self.state_dict);
            return pairs
                .map(|(p, (name, _))| (p.name.clone(), name.clone()))
                .collect();
        }
        let built: Vec<_> = ours.clone().map(|p| (&p.name, &p.shape)).collect();
        let expected: Vec<_> = self.state_dict.iter().map(|(n, s)| (n, s)).collect();
        let pairs = built.iter().zip(&expected);
        let different = pairs.clone().find(|(ours, theirs)| ours != theirs);
        assert_eq!(different, None, "{}: state dict", self.name);
        assert_eq!(built.len(), expected.len(), "{}: state dict", self.name);
        ours.map(|p| (p.name.clone(), p.name.clone())).collect()
    }

    fn input(&self) -> Shape {
        let extents: [usize; 4] = serde_json::from_value(self.spec["input"].clone()).unwrap();
        extents.into()
    }

    fn run(
        &self,
        graph: Graph,
        weights: &Weights,
        isa: Isa,
        precision: Precision,
    ) -> Result<Vec<Tensor>, RuntimeError> {
        let options = EngineOptions {
            isa: Some(isa),
            precision,
            outputs: graph.outputs().iter().map(|o| o.name.clone()).collect(),
            ..EngineOptions::default()
        };
        let engine = Engine::new(graph, &options, |parameter| {
            Ok::<_, RuntimeError>(weights[&parameter.name].clone())
        })?;
        engine.forward(
            &formula::image(&self.name, self.input().len()),
            self.input(),
        )
    }

    fn check(&self, graph: &Graph) {
        let names = self.reference_names(graph);
        assert_eq!(
            graph.trainable_count(),
            self.parameters,
            "{}: parameters",
            self.name
        );

        let weights = weights(graph, &names);
        for isa in Isa::available() {
            let results = self
                .run(graph.clone(), &weights, isa, Precision::F32)
                .unwrap();
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
        self.check_low(graph, &weights);
        self.check_int8(graph, &weights);
    }

    /// In 8 bits, calibrated on the very input: whatever has no kernel for it falls back, and the rest is near.
    fn check_int8(&self, graph: &Graph, weights: &Weights) {
        let input = formula::image(&self.name, self.input().len());
        let engine = |options: &EngineOptions| {
            Engine::new(graph.clone(), options, |parameter| {
                Ok::<_, RuntimeError>(weights[&parameter.name].clone())
            })
            .unwrap()
        };
        let watching = EngineOptions {
            precision: Precision::Int8,
            ..EngineOptions::default()
        };
        let values = value_names(graph);
        let mut ranges: BTreeMap<String, [f32; 2]> = BTreeMap::new();
        let see = |node: Node, _: Shape, seen: &[f32]| {
            let range = ranges.entry(values[node.index()].clone()).or_default();
            for &x in seen {
                *range = [range[0].min(x), range[1].max(x)];
            }
        };
        let exact = engine(&watching).watch(&input, self.input(), see).unwrap();
        let int8 = Int8 {
            ranges,
            ..Int8::default()
        };
        let engine = engine(&EngineOptions {
            int8: Some(Arc::new(int8)),
            low_everywhere: true,
            ..watching
        });
        let results = engine.forward(&input, self.input()).unwrap();
        let error = mean_error(&results[0].data, &exact[0].data);
        let layers = engine.int8_layers().len();
        println!(
            "{} in int8, {layers} layers: mean error {error:.1e}",
            self.name
        );
        assert!(layers > 0, "{}: no layer is in int8", self.name);
        // Its maps grow to 10⁷: what small ones say is lost in one range with them.
        let is_wild = self.name == "smp-unet-mobileone_s4";
        assert!(
            error <= INT8_TOLERANCE || is_wild,
            "{}: in int8 differs by {error}",
            self.name
        );
    }

    /// In bf16, networks of random weights are less exact than trained ones: each layer rounds what it gets.
    fn check_low(&self, graph: &Graph, weights: &Weights) {
        // By such weights its maps grow to 10⁷ and its gates are 0 or 1: a rounding opens and shuts them.
        if self.name == "smp-unet-mobileone_s4" {
            return;
        }
        let isa = Isa::fastest();
        let results = self
            .run(graph.clone(), weights, isa, Precision::Bf16)
            .unwrap();
        for (output, result) in graph.outputs().iter().zip(results) {
            let expected = &self.expected[&output.name];
            let error = mean_error(&result.data, expected);
            println!(
                "{} {} in bf16: mean error {error:.1e}",
                self.name, output.name
            );
            assert!(
                error <= LOW_TOLERANCE,
                "{}: {} in bf16 differs by {error}",
                self.name,
                output.name
            );
        }
    }
}

/// The pairs of a JSON object, in its order.
fn entries(json: &str) -> Vec<(String, Vec<usize>)> {
    struct Pairs;

    impl<'de> Visitor<'de> for Pairs {
        type Value = Vec<(String, Vec<usize>)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("names and shapes")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }

    let mut json = serde_json::Deserializer::from_str(json);
    json.deserialize_map(Pairs).unwrap()
}

/// The root mean square of the difference, of the reference's.
fn mean_error(got: &[f32], expected: &[f32]) -> f32 {
    let square = |values: &mut dyn Iterator<Item = f32>| -> f64 {
        values.map(|v| f64::from(v).powi(2)).sum()
    };
    let differences = square(&mut got.iter().zip(expected).map(|(g, e)| g - e));
    (differences / square(&mut expected.iter().copied())).sqrt() as f32
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

/// The networks' files of a folder.
fn files(models: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(models).unwrap_or_else(|e| panic!("{}: {e}", models.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    files.sort();
    files
}

/// How many agree, and the names of those whose networks are not built yet.
fn check_all(files: &[PathBuf]) -> (usize, Vec<String>) {
    let (mut covered, mut not_covered) = (0, Vec::new());
    for file in files {
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
    (covered, not_covered)
}

#[test]
fn networks_agree_with_their_libraries() {
    let models = folder().join("models");
    let (covered, not_covered) = check_all(&files(&models));
    assert!(
        covered >= 6,
        "torchvision's six are in {}",
        models.display()
    );
    if std::env::var_os("SEGMENTA_CONFORMANCE").is_none() {
        assert!(not_covered.is_empty(), "the project's own are all built");
    }
}

/// The references that are kept beside the project, not in it: one network of each family, which together are
/// too large for a checkout.
#[test]
fn networks_beside_the_project_agree_too() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance/models");
    if !beside.is_dir() {
        println!("skipped: there is no {}", beside.display());
        return;
    }
    let own = folder().join("models");
    let is_new = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| !own.join(name).exists())
    };
    let (_, not_covered) = check_all(
        &files(&beside)
            .into_iter()
            .filter(is_new)
            .collect::<Vec<_>>(),
    );
    assert!(not_covered.is_empty(), "{not_covered:?}");
}
