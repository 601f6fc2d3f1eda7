//! TIFFs of every layout against Pillow's pixels, or refused by name (`tools/tiff_layouts.py`). No third outcome.

use std::io::Read;
use std::path::PathBuf;

use safetensors::SafeTensors;
use segmenta_image::{ErrorKind, LabelMap, Picture};

fn cases() -> Vec<u8> {
    let path = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../conformance/tiff/layouts.safetensors.gz"
    ));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut bytes)
        .unwrap();
    bytes
}

/// Why a case went wrong, if it did.
type Fault = Option<String>;

fn picture(all: &SafeTensors<'_>, name: &str, file: &[u8]) -> Fault {
    let text = |suffix: &str| {
        let tensor = all.tensor(&format!("{name}.{suffix}")).ok()?;
        Some(String::from_utf8(tensor.data().to_vec()).unwrap())
    };
    let read = Picture::decode(file);
    let Some(key) = text("is") else {
        let words = text("refused").unwrap();
        return match read {
            Ok(_) => Some(format!("read, not refused as {words}")),
            Err(error) if error.to_string().contains(&words) => None,
            Err(error) => Some(format!("{error}, not {words}")),
        };
    };
    let picture = match read {
        Ok(picture) => picture,
        Err(error) => return Some(error.to_string()),
    };
    let wanted = all.tensor(&key).unwrap();
    if [picture.height(), picture.width(), 3] != wanted.shape() {
        return Some(format!("{:?}, not {:?}", picture.size(), wanted.shape()));
    }
    let within = all.tensor(&format!("{name}.within"));
    let within = within.map_or(0, |tensor| tensor.data()[0]);
    let pairs = picture.pixels().iter().zip(wanted.data());
    let off: Vec<u8> = pairs.map(|(a, b)| a.abs_diff(*b)).collect();
    let wrong = off.iter().filter(|&&by| by > within).count();
    let worst = off.iter().max().unwrap();
    (wrong > 0).then(|| format!("{wrong} of {} values wrong, by up to {worst}", off.len()))
}

fn mask(all: &SafeTensors<'_>, name: &str, file: &[u8]) -> Fault {
    let read = LabelMap::decode(file);
    match (all.tensor(&format!("{name}.ids")), read) {
        (Ok(ids), Ok(map)) => {
            let same = [map.height(), map.width()] == ids.shape() && map.ids() == ids.data();
            (!same).then(|| "other ids".into())
        }
        (Ok(_), Err(error)) => Some(error.to_string()),
        (Err(_), Ok(_)) => Some("read, not refused".into()),
        (Err(_), Err(error)) => {
            let words = all.tensor(&format!("{name}.refused")).unwrap();
            let words = std::str::from_utf8(words.data()).unwrap();
            (!error.to_string().contains(words)).then(|| format!("{error}, not {words}"))
        }
    }
}

#[test]
fn every_layout_is_read_as_pillow_reads_it_or_refused_by_name() {
    let bytes = cases();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    let mut faults = Vec::new();
    let mut count = 0;
    for (file, tensor) in all.tensors() {
        let Some(name) = file.strip_suffix(".tif") else {
            continue;
        };
        count += 1;
        let fault = if name.starts_with("mask/") {
            mask(&all, name, tensor.data())
        } else {
            picture(&all, name, tensor.data())
        };
        faults.extend(fault.map(|fault| format!("{name}: {fault}")));
    }
    assert!(count > 600, "{count} cases");
    assert!(faults.is_empty(), "{}\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn cut_files_are_errors() {
    let bytes = cases();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    let files = all.tensors();
    for start in [
        "rgb8-strips5-together-lzw2",
        "rgb8-tiles-together-deflate",
        "rgb8-tiles-apart-none",
        "jpeg-rgb-strips16",
    ] {
        let found = |(file, _): &&(String, _)| {
            file.starts_with(start) && file.strip_suffix(".tif").is_some()
        };
        let (name, tensor) = files.iter().find(found).unwrap();
        let file = tensor.data();
        for length in [0, 4, 9, file.len() / 3, file.len() / 2] {
            let error = Picture::decode(&file[..length]).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Damaged),
                "{name}, {length} bytes: {error}"
            );
        }
    }
}

/// Numbers from a seed (xorshift), so that a fault can be found again.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// Every file with a few bytes changed, mostly of its tags, is a picture or an error; and the error is not that of the
/// guard: nothing of ours panics. (Codecs of others may; they are left out.)
#[test]
fn changed_files_find_no_panic_of_ours() {
    let bytes = cases();
    let all = SafeTensors::deserialize(&bytes).unwrap();
    let mut draw = Draw(0x5EED);
    for (name, tensor) in all.tensors() {
        let others = ["jpeg", "fax", "zstd"]
            .iter()
            .any(|codec| name.contains(codec));
        if others || name.strip_suffix(".tif").is_none() {
            continue;
        }
        for _ in 0..12 {
            let mut file = tensor.data().to_vec();
            for _ in 0..=draw.below(3) {
                // Tags are behind the pixels.
                let from = if draw.below(4) == 0 {
                    0
                } else {
                    file.len() / 2
                };
                let at = from + draw.below(file.len() - from);
                file[at] = [0, 1, 2, 3, 4, 255, file[at] ^ 1 << draw.below(8)][draw.below(7)];
            }
            for error in [
                Picture::decode_up_to(&file, 1 << 18).err(),
                LabelMap::decode(&file).err(),
            ]
            .into_iter()
            .flatten()
            {
                assert!(!error.to_string().contains("gave up"), "{name}: {error}");
            }
        }
    }
}
