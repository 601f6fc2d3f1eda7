//! No bytes whatever make the readers panic.

use std::path::Path;

use proptest::prelude::*;
use segmenta_weights::StateDict;

const FIXTURES: [&str; 6] = [
    "zip.pth",
    "legacy.pth",
    "tar.pth",
    "checkpoint.pth",
    "plain.pkl",
    "single.safetensors",
];

/// How a file of each format begins.
const BEGINNINGS: [&[u8]; 5] = [
    b"",
    b"PK\x03\x04",
    b"\x80\x02",
    b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.",
    b"\x40\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[",
];

fn fixture(i: usize) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(folder.join(FIXTURES[i])).unwrap()
}

/// Reads all that can be read of it.
fn read(bytes: &[u8]) {
    if let Ok(dict) = StateDict::from_bytes(bytes) {
        for info in dict
            .iter()
            .filter(|info| info.shape.iter().all(|&side| side < 1 << 12))
        {
            let values = dict.read_f32(&info.name);
            if let Ok(values) = values {
                assert_eq!(values.len(), info.elements());
            }
        }
    }
}

proptest! {
    #![proptest_config(segmenta_properties::cases(300))]

    #[test]
    fn random(start in 0..BEGINNINGS.len(), rest in prop::collection::vec(any::<u8>(), 0..600)) {
        read(&[BEGINNINGS[start], &rest].concat());
    }

    #[test]
    fn mutated(
        file in 0..FIXTURES.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = fixture(file);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
        read(&bytes);
    }
}

/// Headers whose numbers overflow when they are added up.
#[test]
fn absurd_safetensors_headers() {
    let max = usize::MAX;
    for (shape, from, to) in [
        (vec![max], 0, max),
        (vec![max - 100], 0, max - 100),
        (vec![max, 2], 0, 8),
        (vec![0, max], 0, 0),
        (vec![4], 4, 0),
    ] {
        let json =
            serde_json::json!({"a": {"dtype": "U8", "shape": shape, "data_offsets": [from, to]}});
        let json = json.to_string();
        read(&[&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat());
    }
    for length in [u64::MAX, u64::MAX - 7, 1 << 40, 100_000_001, 100_000_000, 2] {
        read(&[&length.to_le_bytes()[..], b"{}"].concat());
    }
}
