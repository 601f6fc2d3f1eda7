//! Networks of transformers against what the library computes, through a folder as people have it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use segmenta::graph::Shape;
use segmenta::runtime::Logits;
use segmenta::weights::{StateDict, TensorView, save};
use segmenta::{Isa, Model, ModelOptions, Tensor as Output};
use serde_json::Value;

use crate::formula;

/// Largest error, of the reference's root mean square.
const TOLERANCE: f32 = 1e-3;

/// One reference: a configuration, an input, and what came out.
struct Case {
    spec: Value,
    config: String,
    /// Names and shapes of version 5.
    state_dict: BTreeMap<String, Vec<usize>>,
    /// Names of version 4, and of version 5 what each became.
    former: BTreeMap<String, Vec<String>>,
    /// Entries whose kernel is a transposed convolution's.
    transposed: Vec<String>,
    /// By the name of the result.
    expected: Vec<(&'static str, Tensor)>,
    /// Class scores of the whole picture, at the size that was asked for.
    semantic: Option<Tensor>,
}

/// Values and their extents.
type Tensor = (Vec<f32>, Vec<usize>);

/// Names of results in the references, and here.
const RESULTS: [(&str, &str); 3] = [
    ("logits", "out"),
    ("class_queries_logits", "class_queries_logits"),
    ("masks_queries_logits", "masks_queries_logits"),
];

impl Case {
    fn open(path: &Path) -> Option<Self> {
        let file = StateDict::open(path).unwrap();
        let metadata = file.metadata();
        let json = |key: &str| serde_json::from_str(&metadata[key]).unwrap();
        let spec: Value = json("spec");
        let class = spec["class"].as_str()?;
        // Of the families that are not built here yet there are references, too.
        segmenta::zoo::hub_classes().find(|known| known.name == class)?;
        let former = metadata.get("checkpoint_to_state_dict");
        let read = |name: &str| {
            let values = file.read_f32(name).ok()?;
            Some((values, file.get(name)?.shape.clone()))
        };
        let mut config: Value = json("config");
        if let Value::Array(tokens) = &spec["task_inputs"] {
            config["task_inputs"] = tokens.clone().into();
        }
        let results = RESULTS.into_iter();
        let expected = results.filter_map(|(theirs, ours)| Some((ours, read(theirs)?)));
        Some(Self {
            config: config.to_string(),
            state_dict: serde_json::from_value(json("state_dict")).unwrap(),
            former: former.map_or_else(BTreeMap::new, |text| serde_json::from_str(text).unwrap()),
            transposed: metadata
                .get("transposed")
                .map_or_else(Vec::new, |text| serde_json::from_str(text).unwrap()),
            expected: expected.collect(),
            semantic: read("semantic"),
            spec,
        })
    }

    fn name(&self) -> &str {
        self.spec["name"].as_str().unwrap()
    }

    /// The name in version 4 of one in version 5.
    fn old(&self, name: &str) -> String {
        let found = self
            .former
            .iter()
            .find(|(_, new)| new.iter().any(|new| new == name));
        found.map_or_else(|| name.into(), |(old, _)| old.clone())
    }

    /// Writes a folder in which entry number `at` has the name that `named` gives it.
    fn write(&self, folder: &Path, named: impl Fn(usize, &str) -> String) {
        fs::write(folder.join("config.json"), &self.config).unwrap();
        let by_old = self.spec["weights_by"] == "v4";
        let entries: Vec<(String, &Vec<usize>, Vec<f32>)> = self
            .state_dict
            .iter()
            .enumerate()
            .map(|(at, (name, shape))| {
                let made_of = if by_old { self.old(name) } else { name.clone() };
                let transposed = self.transposed.contains(name);
                let values = match &self.spec["attn_mask_probs"] {
                    Value::Number(p) if name == "attn_mask_probs" => {
                        vec![p.as_f64().unwrap() as f32; shape[0]]
                    }
                    _ => formula::weight(&made_of, shape, transposed),
                };
                (named(at, name), shape, values)
            })
            .collect();
        let views: Vec<TensorView<'_>> = entries
            .iter()
            .map(|(name, shape, values)| (&**name, &shape[..], &values[..]))
            .collect();
        save(&folder.join("model.safetensors"), &views, &[].into()).unwrap();
    }

    /// The network's input.
    fn input(&self) -> (Vec<f32>, Shape) {
        let sides: [usize; 4] = serde_json::from_value(self.spec["input"].clone()).unwrap();
        let name = self.spec["image"].as_str().unwrap();
        let mut image = formula::unit(name, sides.iter().product());
        image.iter_mut().for_each(|u| *u = (*u - 0.5) * 3.464_101_6);
        (image, sides.into())
    }

    fn open_folder(&self, folder: &Path, isa: Isa, output: &str) -> Model {
        let options = ModelOptions::new()
            .weights(folder)
            .isa(isa)
            .outputs([output]);
        let model = Model::open(&options, &mut |_| {}).unwrap();
        assert_eq!(model.unused_weights(), [""; 0], "{}", self.name());
        model
    }

    /// The largest error of the folder's network, of the reference's root mean square.
    fn error(&self, folder: &Path, isa: Isa) -> f32 {
        let (image, shape) = self.input();
        let error = |(output, (expected, extents)): &(&str, Tensor)| {
            let model = self.open_folder(folder, isa, output);
            let got = model.engine().forward(&image, shape).unwrap().remove(0);
            let s = got.shape;
            let mut found = vec![s.batch, s.channels, s.height, s.width];
            // A row of numbers for each query.
            if extents.len() == 3 {
                assert_eq!(found.remove(2), 1);
            }
            assert_eq!(found, *extents, "{}: {output}", self.name());
            let error = relative(&got.data, expected);
            println!("{}: {output} on {isa}: {error:.1e}", self.name());
            error
        };
        self.expected.iter().map(error).fold(0.0, f32::max)
    }
}

/// The largest difference, of the root mean square of what is expected.
fn relative(got: &[f32], expected: &[f32]) -> f32 {
    let square: f32 = expected.iter().map(|v| v * v).sum();
    let rms = (square / expected.len() as f32).sqrt();
    let differences = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max) / rms
}

fn cases() -> Vec<Case> {
    let folder = match std::env::var_os("SEGMENTA_CONFORMANCE") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance"),
    };
    let mut files: Vec<PathBuf> = fs::read_dir(folder.join("huggingface/models"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().filter_map(|path| Case::open(path)).collect()
}

#[test]
fn networks_compute_what_transformers_computes() {
    let cases = cases();
    assert!(cases.len() >= 3);
    let folder = tempfile::tempdir().unwrap();
    for case in cases {
        case.write(folder.path(), |_, name| name.into());
        for isa in Isa::available() {
            let error = case.error(folder.path(), isa);
            assert!(error <= TOLERANCE, "{} on {isa}: {error}", case.name());
        }
    }
}

/// The class scores of the whole picture are those of its windows, averaged and resized.
#[test]
fn scores_of_queries_are_those_of_their_librarys_post_processing() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases();
    let scored: Vec<&Case> = cases
        .iter()
        .filter(|case| case.semantic.is_some())
        .collect();
    assert!(!scored.is_empty());
    for case in scored {
        case.write(folder.path(), |_, name| name.into());
        let (expected, extents) = case.semantic.as_ref().unwrap();
        let &[classes, rows, columns] = &extents[..] else {
            panic!("{}: {extents:?}", case.name())
        };
        for isa in Isa::available() {
            let model = case.open_folder(folder.path(), isa, "out");
            let (image, shape) = case.input();
            let got = model.engine().forward(&image, shape).unwrap().remove(0);
            let whole = merged(&case.spec["windows"], got, [rows, columns]);
            let size = [whole.shape.height, whole.shape.width];
            let logits = Logits::whole(&whole.data, classes, size);
            let scores = model
                .engine()
                .class_scores(logits, [rows, columns])
                .unwrap();
            let error = relative(&scores, expected);
            println!("{}: scores on {isa}: {error:.1e}", case.name());
            assert!(error <= TOLERANCE, "{} on {isa}: {error}", case.name());
        }
    }
}

/// Maps of windows, `[picture, start, end]` along the long side, as one map of a picture of `target` rows and columns, whose
/// short side was made as long as a window. What no window shows is 0, as in the library.
fn merged(windows: &Value, maps: Output, target: [usize; 2]) -> Output {
    let Some(windows) = windows.as_array() else {
        return maps;
    };
    let place = |window: &Value, at: usize| window[at].as_u64().unwrap() as usize;
    let Shape {
        channels, height, ..
    } = maps.shape;
    let width = height * target[1] / target[0];
    let shape = Shape::new(1, channels, height, width);
    let (mut sums, mut counts) = (vec![0.0; shape.len()], vec![0.0_f32; width]);
    let maps = maps.data.chunks_exact(maps.shape.len() / maps.shape.batch);
    for (window, map) in windows.iter().zip(maps) {
        let (start, side) = (place(window, 1), maps_width(map.len(), channels, height));
        for (index, row) in map.chunks_exact(side).enumerate() {
            let to = &mut sums[index * width + start..][..side];
            to.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += value);
        }
        counts[start..start + side]
            .iter_mut()
            .for_each(|n| *n += 1.0);
    }
    for row in sums.chunks_exact_mut(width) {
        row.iter_mut()
            .zip(&counts)
            .for_each(|(sum, n)| *sum /= n.max(1.0));
    }
    Output { shape, data: sums }
}

fn maps_width(len: usize, channels: usize, height: usize) -> usize {
    len / channels / height
}

/// Version 4 has the gate and the values of SwiGLU below each other in one entry.
#[test]
fn entries_that_were_halves_of_one_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let gated: Vec<Case> = cases()
        .into_iter()
        .filter(|case| case.name() == "eomt-swiglu")
        .collect();
    assert_eq!(gated.len(), 1);
    let case = &gated[0];
    let old = |name: &str| name.replace(".mlp.down_proj.", ".mlp.weights_out.");
    case.write(folder.path(), |_, name| old(name));
    let path = folder.path().join("model.safetensors");
    let file = StateDict::open(&path).unwrap();
    let mut entries = Vec::new();
    for info in file.iter() {
        let values = file.read_f32(&info.name).unwrap();
        if info.name.contains(".mlp.up_proj.") {
            continue;
        }
        let (mut shape, mut values) = (info.shape.clone(), values);
        if info.name.contains(".mlp.gate_proj.") {
            let other = info.name.replace("gate_proj", "up_proj");
            values.extend(file.read_f32(&other).unwrap());
            shape[0] *= 2;
        }
        let name = info.name.replace(".mlp.gate_proj.", ".mlp.weights_in.");
        entries.push((name, shape, values));
    }
    let views: Vec<TensorView<'_>> = entries
        .iter()
        .map(|(name, shape, values)| (&**name, &shape[..], &values[..]))
        .collect();
    save(&path, &views, &[].into()).unwrap();
    assert!(case.error(folder.path(), Isa::fastest()) <= TOLERANCE);
}

#[test]
fn names_may_be_old_and_new_and_behind_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let isa = Isa::fastest();
    let old: Vec<Case> = cases()
        .into_iter()
        .filter(|case| !case.former.is_empty())
        .collect();
    assert!(!old.is_empty());
    for case in old {
        let mixed = |at: usize, name: &str| {
            if at.is_multiple_of(2) {
                case.old(name)
            } else {
                name.into()
            }
        };
        case.write(folder.path(), |_, name| case.old(name));
        assert!(
            case.error(folder.path(), isa) <= TOLERANCE,
            "{} old",
            case.name()
        );
        case.write(folder.path(), mixed);
        assert!(
            case.error(folder.path(), isa) <= TOLERANCE,
            "{} mixed",
            case.name()
        );
        for prefix in ["model.", "network."] {
            case.write(folder.path(), |at, name| {
                format!("{prefix}{}", mixed(at, name))
            });
            assert!(
                case.error(folder.path(), isa) <= TOLERANCE,
                "{} {prefix}",
                case.name()
            );
        }
    }
}
