//! Real networks' files, which lie beside the repository and are skipped where they do not.

use std::path::{Path, PathBuf};

use segmenta_weights::{Format, StateDict, Statistics};

fn weights(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/weights")
        .join(name);
    path.exists().then_some(path)
}

/// Opens a file and reads every tensor of it, all of whose values must be finite.
#[allow(clippy::print_stderr)]
fn read(name: &str) -> Option<StateDict> {
    let Some(path) = weights(name) else {
        eprintln!("skipped: {name} is not in shared/weights");
        return None;
    };
    let dict = StateDict::open(&path).unwrap_or_else(|error| panic!("{error}"));
    for info in dict.iter() {
        let values = dict
            .read_f32(&info.name)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(values.len(), info.elements(), "{}", info.name);
        assert_eq!(Statistics::of(&values).non_finite, 0, "{}", info.name);
    }
    Some(dict)
}

#[test]
fn deeplabv3_of_voc() {
    let Some(dict) = read("deeplabv3_mobilenet_v2_voc.safetensors") else {
        return;
    };
    assert_eq!(dict.format(), Format::Safetensors);
    assert!(dict.iter().any(|info| info.shape.first() == Some(&21)));
}

#[test]
fn mobilenet_v2_of_imagenet() {
    let Some(dict) = read("mobilenet_v2_imagenet.safetensors") else {
        return;
    };
    assert_eq!(
        dict.get("features.0.0.weight").map(|info| &info.shape[..]),
        Some(&[32, 3, 3, 3][..])
    );
}

#[test]
fn enet_of_camvid_in_a_checkpoint_of_old() {
    let Some(dict) = read("enet_camvid.pth") else {
        return;
    };
    assert_eq!(dict.format(), Format::PytorchLegacy);
    assert!(!dict.names().any(|name| name.starts_with("state_dict")));
    assert!(dict.iter().any(|info| info.shape.contains(&12)));
}

/// `shared/conformance/formula.py`: splitmix64 over FNV-1a of the name, 24-bit uniform in [0, 1).
fn uniform(name: &str, index: u64) -> f64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut z = hash.wrapping_add(index).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
}

#[test]
fn lraspp_of_the_formula_number_by_number() {
    let Some(dict) = read("lraspp_formula.pth") else {
        return;
    };
    assert_eq!(dict.format(), Format::PytorchZip);
    for info in dict.iter() {
        let values = dict.read_f32(&info.name).unwrap();
        let last = info.name.rsplit('.').next().unwrap();
        for (i, &value) in values.iter().enumerate() {
            let u = uniform(&info.name, i as u64);
            let expected = match (last, info.shape.len()) {
                ("running_var", _) => 0.8 + 0.4 * u,
                ("num_batches_tracked", _) => 1.0,
                ("weight", 1) => 0.6 + 0.4 * u,
                ("running_mean", _) | (_, 1) => 0.2 * u - 0.1,
                _ => {
                    let fan_in = info.shape[1..].iter().product::<usize>() as f64;
                    (2.0 * u - 1.0) * (6.0 / fan_in).sqrt()
                }
            };
            assert!(
                (f64::from(value) - expected).abs() < 1e-6,
                "{}[{i}]",
                info.name
            );
        }
    }
}
