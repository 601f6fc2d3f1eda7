//! Networks of transformers against what the library computes, through a folder as people have it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use segmenta::graph::Shape;
use segmenta::weights::{StateDict, TensorView, save};
use segmenta::{Isa, Model, ModelOptions};
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
    /// Names of the kernels of transposed convolutions.
    transposed: Vec<String>,
    expected: Vec<f32>,
    shape: Vec<usize>,
}

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
        Some(Self {
            config: metadata["config"].clone(),
            state_dict: serde_json::from_value(json("state_dict")).unwrap(),
            former: former.map_or_else(BTreeMap::new, |text| serde_json::from_str(text).unwrap()),
            transposed: metadata
                .get("transposed")
                .map_or_else(Vec::new, |text| serde_json::from_str(text).unwrap()),
            expected: file.read_f32("logits").unwrap(),
            shape: file.get("logits").unwrap().shape.clone(),
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
                let values = formula::weight(&made_of, shape, self.transposed.contains(name));
                (named(at, name), shape, values)
            })
            .collect();
        let views: Vec<TensorView<'_>> = entries
            .iter()
            .map(|(name, shape, values)| (&**name, &shape[..], &values[..]))
            .collect();
        save(&folder.join("model.safetensors"), &views, &[].into()).unwrap();
    }

    /// The largest error of the folder's network, of the reference's root mean square.
    fn error(&self, folder: &Path, isa: Isa) -> f32 {
        let options = ModelOptions::new().weights(folder).isa(isa);
        let model = Model::open(&options, &mut |_| {}).unwrap();
        assert_eq!(model.unused_weights(), [""; 0], "{}", self.name());
        let sides: Vec<usize> = serde_json::from_value(self.spec["input"].clone()).unwrap();
        let image = formula::image(self.name(), sides.iter().product());
        let shape = Shape::new(sides[0], sides[1], sides[2], sides[3]);
        let got = model.engine().forward(&image, shape).unwrap().remove(0);
        let s = got.shape;
        assert_eq!([s.batch, s.channels, s.height, s.width], self.shape[..]);
        let square: f32 = self.expected.iter().map(|v| v * v).sum();
        let rms = (square / self.expected.len() as f32).sqrt();
        let differences = got
            .data
            .iter()
            .zip(&self.expected)
            .map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f32::max) / rms
    }
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
            println!("{} on {isa}: {error:.1e}", case.name());
            assert!(error <= TOLERANCE, "{} on {isa}: {error}", case.name());
        }
    }
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
