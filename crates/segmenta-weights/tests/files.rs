//! Every form in which PyTorch writes a state dict, read back number by number.

use std::path::{Path, PathBuf};

use segmenta_weights::{DType, Expected, Fault, FindError, Format, Search, StateDict, Tensor};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn open(name: &str) -> StateDict {
    StateDict::open(&fixture(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn names(dict: &StateDict) -> Vec<&str> {
    dict.names().collect()
}

/// `make_fixtures.py`'s `base`: 24 quarters from -1, in 4 rows of 6.
fn base(row: usize, column: usize) -> f32 {
    (row * 6 + column) as f32 / 4.0 - 1.0
}

fn grid(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    (0..rows * columns)
        .map(|i| value(i / columns, i % columns))
        .collect()
}

/// Name, number type, shape and values of `make_fixtures.py`'s `tensors`, in their order.
fn tensors() -> Vec<(&'static str, DType, Vec<usize>, Vec<f32>)> {
    vec![
        ("stem.weight", DType::F32, vec![4, 6], grid(4, 6, base)),
        ("stem.bias", DType::F32, vec![3], vec![0.5, -0.25, 3.0]),
        (
            "transposed",
            DType::F32,
            vec![6, 4],
            grid(6, 4, |r, c| base(c, r)),
        ),
        (
            "every.other",
            DType::F32,
            vec![4, 3],
            grid(4, 3, |r, c| base(r, 2 * c)),
        ),
        (
            "tail.of.shared",
            DType::F32,
            vec![2, 6],
            grid(2, 6, |r, c| base(r + 2, c)),
        ),
        (
            "expanded",
            DType::F32,
            vec![2, 3],
            vec![1.0, 1.0, 1.0, 2.0, 2.0, 2.0],
        ),
        ("half", DType::F16, vec![3], vec![1.5, -0.125, 65504.0]),
        (
            "brain",
            DType::BF16,
            vec![3],
            vec![1.5, -3.0, half::bf16::from_f32(1e30).to_f32()],
        ),
        ("double", DType::F64, vec![2], vec![0.1, -1e-3]),
        ("scalar", DType::F32, vec![], vec![7.25]),
        ("empty", DType::F32, vec![0, 3], vec![]),
        ("bytes", DType::U8, vec![2], vec![0.0, 200.0]),
        ("flags", DType::Bool, vec![2], vec![1.0, 0.0]),
        ("bn.num_batches_tracked", DType::I64, vec![], vec![12345.0]),
    ]
}

/// Whether every tensor of `dict` is as in [`tensors`].
fn assert_tensors(dict: &StateDict) {
    for name in dict.names() {
        let (_, dtype, shape, values) = tensors()
            .into_iter()
            .find(|(known, ..)| *known == name)
            .expect(name);
        let info = dict.get(name).unwrap();
        assert_eq!((&info.dtype, &info.shape), (&dtype, &shape), "{name}");
        assert_eq!(dict.read_f32(name).unwrap(), values, "{name}");
    }
}

#[test]
fn zip_and_legacy_files_hold_every_layout_and_type_in_order() {
    for (name, format) in [
        ("zip.pth", Format::PytorchZip),
        ("legacy.pth", Format::PytorchLegacy),
    ] {
        let dict = open(name);
        assert_eq!(dict.format(), format);
        assert!(
            dict.names().eq(tensors().iter().map(|tensor| tensor.0)),
            "{:?}",
            names(&dict)
        );
        assert_tensors(&dict);
    }
}

#[test]
fn tar_files_of_the_earliest_pytorch_are_read() {
    let dict = open("tar.pth");
    assert_eq!(dict.format(), Format::PytorchTar);
    let expected = [
        "stem.weight",
        "stem.bias",
        "transposed",
        "tail.of.shared",
        "double",
        "bn.num_batches_tracked",
    ];
    assert_eq!(names(&dict), expected);
    assert_tensors(&dict);
}

#[test]
fn pickles_in_shards_are_one_state_dict() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<&str> = tensors().iter().map(|tensor| tensor.0).collect();
    let (first, second) = names.split_at(names.len() / 2);
    // Each shard holds more than the index takes from it.
    let shards = [("a.bin", "zip.pth", first), ("b.bin", "legacy.pth", second)];
    let mut map = serde_json::Map::new();
    for (shard, file, names) in shards {
        std::fs::copy(fixture(file), folder.path().join(shard)).unwrap();
        map.extend(names.iter().map(|&name| (name.into(), shard.into())));
    }
    let index = folder.path().join("pytorch_model.bin.index.json");
    let write = |map: &serde_json::Map<String, serde_json::Value>| {
        std::fs::write(&index, serde_json::json!({"weight_map": map}).to_string()).unwrap();
    };
    write(&map);
    let dict = StateDict::open(&index).unwrap();
    assert_eq!(dict.format(), Format::PytorchSharded);
    assert_eq!(dict.len(), tensors().len());
    assert_tensors(&dict);
    // An index of an index.
    std::fs::copy(&index, folder.path().join("b.bin")).unwrap();
    let error = StateDict::open(&index).unwrap_err();
    assert!(matches!(error.fault, Fault::Index(_)), "{error}");
    map.insert("none".into(), "a.bin".into());
    std::fs::copy(fixture("legacy.pth"), folder.path().join("b.bin")).unwrap();
    write(&map);
    let error = StateDict::open(&index).unwrap_err().to_string();
    assert!(error.contains("`none` is not in its shard"), "{error}");
}

#[test]
fn norms_of_old_checkpoints_are_read_under_their_names_of_today() {
    let tensor = |name: &str| (name.to_string(), Tensor::new([1], [0.0]));
    let dict = StateDict::from_tensors([
        tensor("block.LayerNorm.gamma"),
        tensor("block.LayerNorm.beta"),
        tensor("block.gamma"),
    ]);
    let reading = &dict.readings()[0];
    let names: Vec<&str> = reading.names().collect();
    assert_eq!(
        names,
        [
            "block.LayerNorm.weight",
            "block.LayerNorm.bias",
            "block.gamma"
        ]
    );
    assert_eq!(reading.read_f32("block.LayerNorm.bias").unwrap(), [0.0]);
}

#[test]
fn safetensors_whole_and_in_shards() {
    let whole = open("single.safetensors");
    assert_eq!(whole.format(), Format::Safetensors);
    assert_eq!(whole.metadata()["origin"], "make_fixtures.py");
    let sharded = open("shards.safetensors.index.json");
    assert_eq!(sharded.format(), Format::SafetensorsSharded);
    for dict in [whole, sharded] {
        assert_eq!(dict.len(), tensors().len());
        assert_tensors(&dict);
    }
}

/// What the network of `make_fixtures.py`'s checkpoints asks for.
fn small() -> Vec<Expected> {
    let entry = |name: &str, shape: &[usize]| Expected {
        name: name.into(),
        shape: shape.to_vec(),
        required: true,
        former: None,
    };
    vec![
        entry("stem.weight", &[4, 6]),
        entry("stem.bias", &[3]),
        entry("bn.num_batches_tracked", &[]),
    ]
}

#[test]
fn networks_are_found_in_checkpoints_and_what_is_beside_them_is_counted() {
    for (name, prefix, said) in [
        (
            "checkpoint.pth",
            "state_dict.",
            Some("2 beside the network left out: `optimizer` (2)"),
        ),
        (
            "checkpoint_ema.pth",
            "model.",
            Some("`model_ema` has all of them too"),
        ),
        (
            "checkpoint_twice.pth",
            "model.",
            Some("`all.0`, `ema.module` have all of them too"),
        ),
        (
            "checkpoint_twice_legacy.pth",
            "model.",
            Some("`all.0`, `ema.module` have all of them too"),
        ),
        ("checkpoint_deep.pth", "model.state_dict.", None),
        ("data_parallel.pth", "module.", None),
        ("compiled.pth", "state_dict.model.", None),
        ("evil.pth", "state_dict.", None),
    ] {
        let found = open(name).find(&small(), &Search::new()).unwrap();
        assert_eq!(
            names(&found.weights),
            ["stem.weight", "stem.bias", "bn.num_batches_tracked"],
            "{name}"
        );
        assert_tensors(&found.weights);
        assert_eq!(found.taken.prefix, prefix, "{name}");
        let summary = found.taken.summary();
        match said {
            Some(said) => assert!(
                summary.as_ref().unwrap().contains(said),
                "{name}: {summary:?}"
            ),
            None => assert_eq!(summary, None, "{name}"),
        }
    }
}

#[test]
fn a_key_chooses_between_the_networks_of_a_checkpoint() {
    let dict = open("checkpoint_ema.pth");
    let found = |key: &str| dict.find(&small(), &Search::new().key(Some(key.into())));
    assert_eq!(found("model_ema").unwrap().taken.prefix, "model_ema.");
    assert_eq!(found("model").unwrap().taken.prefix, "model.");
    let twice = open("checkpoint_twice.pth").find(&small(), &Search::new().key(Some("ema".into())));
    let twice = twice.unwrap();
    assert_eq!(twice.taken.prefix, "ema.module.");
    assert_tensors(&twice.weights);
    let error = found("mod").unwrap_err();
    assert!(
        matches!(&error, FindError::NoKey { known, .. } if known.len() == 3),
        "{error}"
    );
    assert!(error.to_string().contains("`model_ema`"), "{error}");
}

#[test]
fn networks_with_other_names_are_found_by_their_order() {
    let mut wanted = small();
    for (entry, name) in wanted
        .iter_mut()
        .zip(["a.weight", "a.bias", "b.num_batches_tracked"])
    {
        entry.name = name.into();
    }
    let by_order = Search::new().by_order(true);
    for name in ["checkpoint.pth", "compiled.pth", "data_parallel.pth"] {
        let found = open(name).find(&wanted, &by_order).unwrap();
        assert_eq!(names(&found.weights), ["a.weight", "a.bias"], "{name}");
        assert_eq!(found.weights.read_f32("a.bias").unwrap(), [0.5, -0.25, 3.0]);
        assert!(
            found
                .taken
                .summary()
                .unwrap()
                .contains("stem.weight` as `a.weight`")
        );
    }
    wanted[1].shape = vec![4];
    let error = open("checkpoint.pth")
        .find(&wanted, &by_order)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("from the 2. on: `state_dict.stem.bias` [3] in the file, `a.bias` [4]"),
        "{error}"
    );
    // A module that was saved whole does not say in which order its layers are, and sorted names neither.
    let layers = ["head.weight", "head.bias", "model.weight", "model.bias"];
    let shapes = [&[1, 1][..], &[1], &[1, 2], &[1]];
    let wanted: Vec<Expected> = layers
        .iter()
        .zip(shapes)
        .map(|(name, shape)| Expected {
            name: format!("x.{name}"),
            shape: shape.to_vec(),
            required: true,
            former: None,
        })
        .collect();
    let error = open("whole_module.pth")
        .find(&wanted, &by_order)
        .unwrap_err()
        .to_string();
    assert!(error.contains("in which order"), "{error}");
}

#[test]
fn a_part_that_is_named_like_a_key_is_no_wrapper() {
    for name in ["own_model.pth", "whole_module.pth"] {
        let dict = open(name);
        let mut names = names(&dict);
        names.sort_unstable();
        assert_eq!(
            names,
            ["head.bias", "head.weight", "model.bias", "model.weight"],
            "{name}"
        );
    }
}

#[test]
fn nothing_in_a_pickle_is_executed() {
    open("evil.pth");
    assert!(!Path::new("executed-by-the-pickle").exists());
}

#[test]
fn files_without_tensors_say_so() {
    for name in ["no_tensors.pth", "plain.pkl"] {
        let error = StateDict::open(&fixture(name)).unwrap_err();
        assert!(matches!(error.fault, Fault::NoTensors), "{name}: {error}");
        assert!(
            error.to_string().contains("torch.save(model.state_dict()"),
            "{error}"
        );
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut");
    for name in ["zip.pth", "legacy.pth", "tar.pth", "single.safetensors"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        for part in [1, 9, bytes.len() / 3, bytes.len() / 2, bytes.len() * 7 / 8] {
            std::fs::write(&path, &bytes[..part]).unwrap();
            // A tar archive may end in blocks of zeros, which are not missed.
            match StateDict::open(&path) {
                Err(error) if name == "legacy.pth" && part > 9 => {
                    let text = error.to_string();
                    assert!(text.contains("it ends too early"), "{part}: {text}");
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(
                        text.contains(path.to_str().unwrap()),
                        "{name} at {part}: {text}"
                    );
                    assert_eq!(text.matches(" · ").count(), 2, "{name} at {part}: {text}");
                }
                Ok(dict) => assert_tensors(&dict),
            }
        }
    }
    std::fs::write(
        &path,
        &std::fs::read(fixture("single.safetensors")).unwrap()[..1000],
    )
    .unwrap();
    let fault = StateDict::open(&path).unwrap_err().fault;
    assert!(
        matches!(
            fault,
            Fault::Truncated {
                expected: 1328,
                found: 1000
            }
        ),
        "{fault}"
    );
}

#[test]
fn a_file_that_ends_too_early_says_so() {
    for name in ["zip.pth", "legacy.pth", "tar.pth"] {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let text = StateDict::from_bytes(&bytes[..1000])
            .unwrap_err()
            .to_string();
        assert!(
            text.starts_with("the file is damaged: it ends too early"),
            "{name}: {text}"
        );
    }
}

#[test]
fn compressed_zips_are_read_too() {
    assert_tensors(&open("deflated.pth"));
}

#[test]
fn a_few_numbers_cannot_claim_gigabytes() {
    let error = StateDict::open(&fixture("huge_view.pth")).unwrap_err();
    assert!(
        matches!(
            error.fault,
            Fault::TooLarge {
                bytes: 4_294_967_296,
                ..
            }
        ),
        "{error}"
    );

    // A sparse member of a tar archive stretches as far as its header says.
    let mut bytes = std::fs::read(fixture("tar.pth")).unwrap();
    let storages = bytes
        .windows(9)
        .position(|window| window == b"storages\0")
        .unwrap();
    bytes[storages + 156] = b'S';
    let error = StateDict::from_bytes(&bytes).unwrap_err().to_string();
    assert!(error.contains("sparse"), "{error}");
}

#[test]
fn scripts_are_no_state_dicts() {
    // `torch.jit.save` keeps a program, which is not run.
    let error = StateDict::open(&fixture("script.pt")).unwrap_err();
    assert!(matches!(error.fault, Fault::TorchScript), "{error}");
    assert!(
        error
            .to_string()
            .contains("torch.jit.load(FILE).state_dict()"),
        "{error}"
    );
}

#[test]
fn a_changed_number_is_noticed_by_the_checksum() {
    let mut bytes = std::fs::read(fixture("zip.pth")).unwrap();
    let half = [1.5_f32, -0.125, 65504.0].map(half::f16::from_f32);
    let half: Vec<u8> = half.iter().flat_map(|value| value.to_le_bytes()).collect();
    let at = bytes.windows(6).position(|window| window == half).unwrap();
    bytes[at] ^= 1;
    let error = StateDict::from_bytes(&bytes)
        .unwrap()
        .read_f32("half")
        .unwrap_err();
    assert!(
        matches!(&error.fault, Fault::Damaged(why) if why.contains("checksum")),
        "{error}"
    );
}

#[test]
fn paths_that_are_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let fault = |path: &Path| StateDict::open(path).unwrap_err().fault;
    assert!(matches!(fault(folder.path()), Fault::Directory));
    assert!(matches!(
        fault(&folder.path().join("absent")),
        Fault::NotFound
    ));
}

#[test]
fn shards_cannot_lead_out_of_their_folder() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::copy(fixture("single.safetensors"), folder.path().join("secret")).unwrap();
    let index = inside.join("model.safetensors.index.json");
    let absolute = folder.path().join("secret");
    for shard in ["../secret", ".", "..", "", absolute.to_str().unwrap()] {
        let json = serde_json::json!({"weight_map": {"stem.bias": shard}}).to_string();
        std::fs::write(&index, json).unwrap();
        let error = StateDict::open(&index).unwrap_err();
        assert!(matches!(error.fault, Fault::Index(_)), "{shard}: {error}");
    }
    // A shard that is not there, and one that lacks what the index says it has.
    std::fs::write(&index, r#"{"weight_map": {"stem.bias": "absent"}}"#).unwrap();
    let error = StateDict::open(&index).unwrap_err();
    assert!(
        matches!(error.fault, Fault::NotFound) && error.path.ends_with("absent"),
        "{error}"
    );
    std::fs::copy(&absolute, inside.join("shard")).unwrap();
    std::fs::write(&index, r#"{"weight_map": {"nowhere": "shard"}}"#).unwrap();
    let error = StateDict::open(&index).unwrap_err().to_string();
    assert!(
        error.contains("`nowhere` is not in its shard `shard`"),
        "{error}"
    );
}

#[test]
fn bytes_are_read_like_files() {
    for name in ["zip.pth", "legacy.pth", "tar.pth", "single.safetensors"] {
        let dict = StateDict::from_bytes(&std::fs::read(fixture(name)).unwrap()).unwrap();
        assert_eq!(dict.path(), None);
        assert_tensors(&dict);
    }
    let error = StateDict::from_bytes(b"<html>").unwrap_err().to_string();
    assert!(
        error.contains("web page, not a weight file · <memory>"),
        "{error}"
    );
}
