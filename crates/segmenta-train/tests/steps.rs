//! One training step against what PyTorch computes: loss, gradients, running statistics, for every
//! `*.step.json` of the conformance folder: the project's own, or the one that `SEGMENTA_CONFORMANCE` names.
//! `SEGMENTA_DEVICE` names the device; without it, all instruction sets of the processor.

#![expect(clippy::print_stdout, reason = "the errors found are worth reading")]

#[path = "../../../conformance/formula.rs"]
mod formula;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use segmenta_graph::{Filter, Graph, Role, Shape};
use segmenta_kernels::Isa;
use segmenta_train::engine::{DeviceSpec, Engine, EngineOptions, Gradient, Parameters};
use segmenta_train::loss::{CrossEntropy, Loss, LossSpec, Target};
use segmenta_zoo::{Options, find_encoder};
use serde_json::Value;

/// The label whose pixels are ignored.
const IGNORED: u8 = 255;

fn folder() -> PathBuf {
    match std::env::var_os("SEGMENTA_CONFORMANCE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance"),
    }
}

/// One file: a network, and what a step of it gave.
struct Case {
    name: String,
    spec: Value,
    loss: f64,
    /// Norm, and dot product with a probe, of each trainable parameter's gradient, in order; none where the
    /// loss does not depend on it.
    gradients: Vec<(String, Option<[f64; 2]>)>,
    /// Norm of each running statistic after the step.
    statistics: Vec<(String, f64)>,
    /// The network's, made once: they are millions.
    parameters: OnceLock<Parameters>,
}

impl Case {
    fn open(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        // Objects lose their order as a `Value`; here it is that of the modules.
        let section = |name: &str| ordered(&text, name);
        let numbers = |value: &Value| value.as_f64().unwrap();
        Self {
            name: all["spec"]["name"].as_str().unwrap().into(),
            loss: numbers(&all["loss"]),
            gradients: section("gradients")
                .into_iter()
                .map(|(name, pair)| {
                    let pair = pair.as_array();
                    (name, pair.map(|pair| [0, 1].map(|i| numbers(&pair[i]))))
                })
                .collect(),
            statistics: section("running_statistics")
                .into_iter()
                .map(|(name, norm)| (name, numbers(&norm)))
                .collect(),
            spec: all["spec"].clone(),
            parameters: OnceLock::new(),
        }
    }

    /// The network, if it is built here.
    fn graph(&self) -> Option<Graph> {
        let architecture = segmenta_zoo::find(self.spec["arch"].as_str()?).ok()?;
        let mut options = Options::new(self.classes());
        options.aux = self.spec["aux"].as_bool().unwrap_or(false);
        if let Some(encoder) = self.spec["encoder"].as_str() {
            options.encoder = Some(find_encoder(encoder).ok()?);
        }
        for (field, value) in self.spec["config"].as_object().into_iter().flatten() {
            if architecture.fields().contains(&&**field) {
                options.config.set(field, value.clone());
            }
        }
        let graph = architecture.build(&options).unwrap();
        // As transformers does in its losses; nothing changes where they are as large.
        Some(graph.with_results_like_input(Filter::BILINEAR, |_, _| true))
    }

    fn classes(&self) -> usize {
        self.spec["classes"].as_u64().unwrap() as usize
    }

    fn shape(&self) -> Shape {
        let extents: [usize; 4] = serde_json::from_value(self.spec["input"].clone()).unwrap();
        extents.into()
    }

    fn target(&self) -> Target {
        let (shape, classes) = (self.shape(), self.classes());
        let len = shape.batch * shape.pixels();
        let labels = formula::unit(&format!("{}/target", self.name), len);
        let label = |u: f32| match (f64::from(u) * (classes as f64 + 0.5)) as usize {
            label if label < classes => label as u8,
            _ => IGNORED,
        };
        Target::labels(
            labels.into_iter().map(label).collect(),
            [shape.batch, shape.height, shape.width],
            classes,
            Some(IGNORED),
        )
        .unwrap()
    }

    /// The reference's names of our entries with these roles: the same, but the tutorials' go by order.
    fn names(&self, graph: &Graph, theirs: &[String], kind: impl Fn(Role) -> bool) -> Vec<String> {
        let ours = graph.parameters().iter().filter(|p| kind(p.role));
        let ours: Vec<String> = ours.map(|p| p.name.clone()).collect();
        assert_eq!(ours.len(), theirs.len(), "{}: entries", self.name);
        if self.spec["library"] == "tutorial" {
            return ours;
        }
        theirs.to_vec()
    }

    fn engine(&self, graph: &Graph, options: EngineOptions) -> Engine {
        let parameters = self.parameters.get_or_init(|| self.parameters(graph));
        Engine::new(graph.clone(), parameters.clone(), options).unwrap()
    }

    fn parameters(&self, graph: &Graph) -> Parameters {
        let trainable: Vec<String> = self
            .gradients
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        let tutorial = self.spec["library"] == "tutorial";
        let statistics: Vec<String> = self.statistics.iter().map(|(n, _)| n.clone()).collect();
        let (mut learned, mut running) = (trainable.iter(), statistics.iter());
        Parameters::from_values(graph, |parameter| {
            let name = match parameter.role {
                _ if !tutorial => &parameter.name,
                Role::Counter => &parameter.name,
                Role::RunningMean | Role::RunningVar => running.next().unwrap(),
                _ => learned.next().unwrap(),
            };
            let transposed = parameter.role == Role::TransposedKernel;
            formula::weight(name, &parameter.shape, transposed)
        })
    }

    /// The loss and all gradients of one step.
    fn step(&self, engine: &mut Engine) -> (f64, Vec<Gradient>) {
        let target = self.target();
        let loss = LossSpec::from(Loss::CrossEntropy(CrossEntropy::default()));
        let input = formula::image(&self.name, self.shape().len());
        let logits = engine.forward(input, self.shape()).unwrap();
        let mut sum = 0.0;
        let gradients = logits.iter().enumerate().map(|(output, logits)| {
            let factor = if output == 0 { 1.0 } else { 0.5 };
            let (value, gradient) = engine.loss(&loss, logits, &target, factor).unwrap();
            sum += f64::from(value) * f64::from(factor);
            gradient
        });
        let gradients = gradients.collect();
        (sum, engine.backward(gradients).unwrap())
    }

    /// What norms may differ by at worst and on average: what the conformance folder asks for, or twice what
    /// PyTorch's own float32 differs by, which ReLUs that round the other way make more for some networks
    /// (`tools/step_rounding.py`).
    fn bounds(&self) -> [f64; 2] {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance");
        let text = std::fs::read_to_string(own.join("step_rounding.json")).unwrap();
        let all: Value = serde_json::from_str(&text).unwrap();
        let theirs = |which| 2.0 * all[&self.name][which].as_f64().unwrap_or(0.0);
        [theirs("worst").max(1e-2), theirs("mean").max(1e-3)]
    }

    fn check(&self, graph: &Graph, ways: &[EngineOptions]) {
        for options in ways {
            let (device, isa) = (options.device, options.isa.unwrap_or_else(Isa::fastest));
            let way = format!("{device}, {isa}");
            let mut engine = self.engine(graph, options.clone());
            let (loss, gradients) = self.step(&mut engine);
            let off = (loss - self.loss).abs() / self.loss;
            assert!(
                off <= 1e-4,
                "{} on {way}: loss {loss}, {}",
                self.name,
                self.loss
            );

            let theirs: Vec<String> = self.gradients.iter().map(|(n, _)| n.clone()).collect();
            let trainable =
                |role| !matches!(role, Role::RunningMean | Role::RunningVar | Role::Counter);
            let names = self.names(graph, &theirs, trainable);
            let norms = self
                .gradients
                .iter()
                .filter_map(|(_, pair)| Some((*pair)?[0]));
            let mean = norms.sum::<f64>() / self.gradients.len() as f64;
            // Of norms, which the conformance folder bounds, and of dot products with probes, which see
            // what norms do not: signs and places.
            let mut worst = [(0.0, String::new()), (0.0, String::new())];
            let (mut sums, mut count) = ([0.0; 2], 0.0);
            for (name, (their_name, pair)) in names.iter().zip(&self.gradients) {
                let found = gradients.iter().find(|(ours, _)| ours == name);
                assert_eq!(found.is_some(), pair.is_some(), "gradient of {name}");
                let (Some((_, gradient)), Some([norm, dot])) = (found, pair) else {
                    continue;
                };
                let gradient = gradient.values().unwrap();
                let probe = formula::unit(&format!("probe/{their_name}"), gradient.len());
                let of = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
                    let pairs = gradient.iter().zip(&probe);
                    pairs
                        .map(|(&g, &p)| f(f64::from(g), f64::from(p) - 0.5))
                        .sum()
                };
                let our_norm = of(&|g, _| g * g).sqrt();
                let our_dot = of(&|g, p| g * p);
                // What is zero but for rounding, as a bias before a norm, has no relative error.
                let size = norm.max(1e-4 * mean);
                count += 1.0;
                for (i, off) in [our_norm - norm, our_dot - dot].into_iter().enumerate() {
                    let error = off.abs() / size;
                    sums[i] += error;
                    if error > worst[i].0 || error.is_nan() {
                        worst[i] = (error, name.clone());
                    }
                }
            }
            let [norms, dots] = sums.map(|sum| sum / count);
            println!(
                "{} on {way}: loss {off:.1e} · norms {norms:.1e}, at worst {:.1e} ({}) · probes {dots:.1e}, at worst {:.1e} ({})",
                self.name, worst[0].0, worst[0].1, worst[1].0, worst[1].1
            );
            let bounds = self.bounds();
            let within =
                worst[0].0 <= bounds[0] && norms <= bounds[1] && worst[1].0 <= 2.0 * bounds[0];
            assert!(
                within,
                "{} on {way}: {worst:?}, {norms} where {bounds:?}",
                self.name
            );

            let theirs: Vec<String> = self.statistics.iter().map(|(n, _)| n.clone()).collect();
            let running = |role| matches!(role, Role::RunningMean | Role::RunningVar);
            let names = self.names(graph, &theirs, running);
            for (name, (_, norm)) in names.iter().zip(&self.statistics) {
                let at = engine.parameters().position(name).unwrap();
                let values = engine.parameters().values(at).unwrap();
                let square = |&v: &f32| f64::from(v).powi(2);
                let ours = values.iter().map(square).sum::<f64>().sqrt();
                assert!((ours - norm).abs() <= 1e-4 * norm, "{name}: {ours}, {norm}");
            }
        }
    }
}

/// The pairs of one object in a JSON file, in its order.
fn ordered(json: &str, section: &str) -> Vec<(String, Value)> {
    struct Pairs;

    impl<'de> serde::de::Visitor<'de> for Pairs {
        type Value = Vec<(String, Box<serde_json::value::RawValue>)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut pairs = Vec::new();
            while let Some(pair) = map.next_entry()? {
                pairs.push(pair);
            }
            Ok(pairs)
        }
    }

    let read = |json: &str| {
        let mut json = serde_json::Deserializer::from_str(json);
        serde::Deserializer::deserialize_map(&mut json, Pairs).unwrap()
    };
    let all = read(json);
    let (_, inner) = all.iter().find(|(name, _)| name == section).unwrap();
    let pairs = read(inner.get()).into_iter();
    pairs
        .map(|(name, value)| (name, serde_json::from_str(value.get()).unwrap()))
        .collect()
}

/// Those of all tests.
fn cases() -> &'static [(Case, Graph)] {
    static CASES: OnceLock<Vec<(Case, Graph)>> = OnceLock::new();
    CASES.get_or_init(read_cases)
}

fn read_cases() -> Vec<(Case, Graph)> {
    let models = folder().join("models");
    let mut files: Vec<_> = std::fs::read_dir(&models)
        .unwrap_or_else(|e| panic!("{}: {e}", models.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(".step.json"))
        .collect();
    files.sort();
    let (mut built, mut not_built) = (Vec::new(), Vec::new());
    for file in &files {
        let case = Case::open(file);
        match case.graph() {
            Some(graph) => built.push((case, graph)),
            None => not_built.push(case.name),
        }
    }
    println!("not covered, their networks are not built yet: {not_built:?}");
    assert!(built.len() >= 8, "the project's own files are there");
    built
}

/// How steps are taken on a device: by all instruction sets where those make a difference.
fn ways(device: DeviceSpec) -> Vec<EngineOptions> {
    let options = EngineOptions {
        device,
        drops: false,
        debug_numerics: device == DeviceSpec::Cpu,
        ..EngineOptions::default()
    };
    let with = |isa| EngineOptions {
        isa: Some(isa),
        ..options.clone()
    };
    match device {
        DeviceSpec::Cpu => Isa::available().into_iter().map(with).collect(),
        _ => vec![options],
    }
}

#[test]
fn steps_agree_with_pytorch() {
    let device = std::env::var("SEGMENTA_DEVICE").map_or(DeviceSpec::Cpu, |d| d.parse().unwrap());
    for (case, graph) in cases() {
        case.check(graph, &ways(device));
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for (case, graph) in cases() {
        let bits = |threads| {
            let mut engine = case.engine(
                graph,
                EngineOptions {
                    threads,
                    drops: false,
                    ..EngineOptions::default()
                },
            );
            let (loss, gradients) = case.step(&mut engine);
            let bits =
                |(_, g): &Gradient| g.values().unwrap().iter().map(|g| g.to_bits()).collect();
            let all: Vec<Vec<u32>> = gradients.iter().map(bits).collect();
            (loss.to_bits(), all)
        };
        let one = bits(1);
        assert!(one == bits(2), "{}: two threads differ", case.name);
        assert!(one == bits(3), "{}: three threads differ", case.name);
    }
}
