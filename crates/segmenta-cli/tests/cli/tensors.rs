//! `segmenta forward` and `segmenta bench forward`: raw tensors.

use std::fs;

use serde_json::Value;

use crate::{Room, snapshot};

/// A .npy file as NumPy writes it.
pub(crate) fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn a_tensor_goes_through() {
    let room = Room::with_model();
    let values: Vec<f32> = (0..2 * 3 * 16 * 24)
        .map(|i| (i % 17) as f32 / 8.0 - 1.0)
        .collect();
    let floats: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let doubles: Vec<u8> = values
        .iter()
        .flat_map(|v| f64::from(*v).to_le_bytes())
        .collect();
    room.write("x.npy", npy("<f4", "(2, 3, 16, 24)", &floats));
    room.write("d.npy", npy("<f8", "(2, 3, 16, 24)", &doubles));
    let answer = room
        .line("forward --weights tiny.safetensors --input x.npy --output y.npy")
        .succeeded();
    snapshot("forward", &answer);
    room.line("forward --weights tiny.safetensors --input d.npy --output z.npy -q")
        .succeeded();
    let (y, z) = (
        fs::read(room.path("y.npy")).unwrap(),
        fs::read(room.path("z.npy")).unwrap(),
    );
    assert_eq!(y, z);
    assert!(y.starts_with(b"\x93NUMPY\x01\x00"));
    assert!(
        y.windows(13).any(|w| w == b"(2, 3, 16, 24"),
        "three classes at the input's size"
    );
    assert_eq!(y.len() % 64, (2 * 3 * 16 * 24 * 4) % 64);
}

#[test]
fn tensors_that_do_not_fit() {
    let room = Room::with_model();
    room.write("ints.npy", npy("<i8", "(1, 3, 2, 2)", &[0; 96]));
    room.write("flat.npy", npy("<f4", "(12,)", &[0; 48]));
    room.write("grey.npy", npy("<f4", "(1, 1, 2, 2)", &[0; 16]));
    room.write("cut.npy", npy("<f4", "(1, 3, 9, 9)", &[0; 16]));
    room.write("text.npy", "1 2 3");
    for name in ["ints", "flat", "grey", "cut", "text", "missing"] {
        let line = format!("forward --weights tiny.safetensors --input {name}.npy --output y.npy");
        let answer = room.line(&line);
        assert_eq!(answer.code, Some(1), "{}", answer.transcript());
        snapshot(&format!("forward-{name}"), &answer);
    }
    let answer =
        room.line("forward --weights tiny.safetensors --input grey.npy --output y.npy --name aux");
    assert_eq!(answer.code, Some(1));
    snapshot("forward-no-such-result", &answer);
    assert!(!room.exists("y.npy"));
}

#[test]
fn a_bench_answers_in_one_line_of_json() {
    let room = Room::new();
    let line = "bench forward --model lraspp_mobilenet_v3_large --classes 4 --input 1x3x64x64 --threads 1 --runs 3";
    let answer = room.line(&format!("{line} --json --profile")).succeeded();
    assert_eq!(answer.stdout.lines().count(), 1);
    let value: Value = serde_json::from_str(&answer.stdout).unwrap();
    for key in [
        "median_ms",
        "min_ms",
        "mean_ms",
        "load_ms",
        "weights_mb",
        "arena_mb",
    ] {
        assert!(value[key].as_f64().unwrap() > 0.0, "{key}");
    }
    assert_eq!((&value["threads"], &value["runs"]), (&1.into(), &3.into()));
    assert!(answer.stderr.contains("GFLOP/s"), "{}", answer.stderr);
    assert!(
        room.line(line)
            .succeeded()
            .stdout
            .contains("ms median of 3")
    );
}

#[test]
#[cfg(feature = "train")]
fn a_step_is_timed_on_the_device_that_is_named() {
    let room = Room::new();
    let line = "bench step --model segnet --classes 2 --input 2x3x32x32 --runs 1 --warmup 0";
    let devices = if cfg!(feature = "flex") {
        &["cpu", "flex"][..]
    } else {
        &["cpu"]
    };
    for &device in devices {
        let answer = room.line(&format!("{line} --device {device} --profile --json"));
        let answer = answer.succeeded();
        let value: Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(value["device"], device);
        assert!(value["median_ms"].as_f64().unwrap() > 0.0);
        for column in ["forward ms", "backward ms", "optimizer"] {
            assert!(answer.stderr.contains(column), "{}", answer.stderr);
        }
    }
    let answer = room.line(&format!("{line} --device gpu"));
    assert_eq!(answer.code, Some(2));
    let said = "no device is called `gpu` · there are cpu, cuda";
    assert!(answer.stderr.contains(said), "{}", answer.stderr);
    let features = [
        ("cuda:1", "cuda", cfg!(feature = "cuda")),
        ("wgpu", "wgpu", cfg!(feature = "wgpu")),
        ("flex", "flex", cfg!(feature = "flex")),
    ];
    for (device, feature, _) in features.into_iter().filter(|(.., built)| !built) {
        let answer = room.line(&format!("{line} --device {device}"));
        assert_eq!(answer.code, Some(1));
        let said = format!(
            "`{device}`: built without feature `{feature}` · cargo build --release --features {feature}"
        );
        assert!(answer.stderr.contains(&said), "{}", answer.stderr);
    }
}

#[test]
fn kernels_beside_the_peak_of_this_machine() {
    let room = Room::new();
    let answer = room
        .line("bench kernels --threads 1 --seconds 0 --json")
        .succeeded();
    let line: Value = serde_json::from_str(&answer.stdout).unwrap();
    let above_zero = |value: &Value| value.as_f64().unwrap() > 0.0;
    assert!(above_zero(&line["peak_gflops"]) && above_zero(&line["copy_gigabytes_per_s"]));
    let kernels = line["kernels"].as_array().unwrap();
    assert!(kernels.len() > 10);
    assert!(
        kernels
            .iter()
            .all(|kernel| above_zero(&kernel["median_ms"]))
    );
}
