//! `.safetensors`: an 8-byte length, a JSON header, and the tensors' bytes, read when they are asked for.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Component, Path},
    sync::Arc,
};

use safetensors::tensor::Metadata;
use segmenta_files::count;

use crate::{
    dtype::DType,
    error::{Fault, WeightsError},
    format::MAX_HEADER,
    state_dict::{Entry, Source, TensorInfo},
    stored::Stored,
};

/// What a file gives: its tensors in the order of their bytes, and its `__metadata__`.
pub(crate) type Contents = (Vec<Entry>, BTreeMap<String, String>);

/// Reads the header of a file; the tensors stay where they are.
pub(crate) fn read(file: &Arc<Stored>) -> Result<Contents, Fault> {
    let found = file.len();
    let first = file.head(8).map_err(Fault::from_io)?;
    let Some(length) = first
        .first_chunk()
        .map(|length| u64::from_le_bytes(*length))
    else {
        return Err(Fault::Truncated { expected: 8, found });
    };
    if length > MAX_HEADER {
        return Err(Fault::HeaderTooLarge(length));
    }
    let start = 8 + length;
    if start > found {
        return Err(Fault::Truncated {
            expected: start,
            found,
        });
    }
    let header = file.read(8..start).map_err(Fault::from_io)?;
    // The library checks that the tensors follow each other without gaps and that each one's
    // length is that of its shape. The end is checked here, without its overflow.
    let header: Metadata =
        serde_json::from_slice(&header).map_err(|error| Fault::Damaged(error.to_string()))?;
    let expected = start.saturating_add(header.data_len() as u64);
    if expected > found {
        return Err(Fault::Truncated { expected, found });
    }
    if expected < found {
        let spare = found - expected;
        return Err(Fault::Damaged(format!(
            "{} after the last tensor",
            count(spare, "byte")
        )));
    }

    let entries = header.offset_keys().into_iter().filter_map(|name| {
        let info = header.info(&name)?;
        let (from, to) = info.data_offsets;
        let (dtype, shape) = (info.dtype.into(), info.shape.clone());
        let bytes = start + from as u64..start + to as u64;
        let source = Source::Stored {
            file: Arc::clone(file),
            bytes,
            scales: None,
        };
        Some(Entry::new(TensorInfo { name, dtype, shape }, from, source))
    });
    let metadata = header
        .metadata()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    Ok((with_scales(entries.collect()), metadata))
}

/// What the scales of a tensor's rows are called.
pub(crate) fn scales_of(name: &str) -> String {
    format!("{name}_scale")
}

/// Gives tensors of 8-bit numbers the scales that lie beside them under [`scales_of`] their name, a number in f32 for
/// each row of the first axis. These are then no entries of their own.
fn with_scales(mut entries: Vec<Entry>) -> Vec<Entry> {
    let of_rows = |entry: &Entry| match &entry.source {
        Source::Stored { bytes, .. } if entry.info.dtype == DType::F32 => {
            Some((entry.info.shape.clone(), bytes.clone()))
        }
        _ => None,
    };
    let beside: HashMap<String, _> = entries
        .iter()
        .filter(|entry| entry.info.name.ends_with("_scale"))
        .filter_map(|entry| Some((entry.info.name.clone(), of_rows(entry)?)))
        .collect();
    let mut taken = HashSet::new();
    for entry in &mut entries {
        let name = scales_of(&entry.info.name);
        let (DType::I8, Some((shape, place))) = (&entry.info.dtype, beside.get(&name)) else {
            continue;
        };
        if let Source::Stored { scales, .. } = &mut entry.source
            && entry.info.shape.first() == shape.first()
            && shape.len() == 1
        {
            *scales = Some(place.clone());
            taken.insert(name);
        }
    }
    entries.retain(|entry| !taken.contains(&entry.info.name));
    entries
}

/// The part of an index that is used: which shard holds which tensor.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Reads an index and the headers of all its shards, which lie in the index's folder.
pub(crate) fn read_sharded(index: &[u8], path: &Path) -> Result<Contents, WeightsError> {
    let wrong = |why: String| Fault::Index(why).at(path);
    let index = index.strip_prefix(b"\xef\xbb\xbf").unwrap_or(index);
    let index: Index = serde_json::from_slice(index).map_err(|error| wrong(error.to_string()))?;
    let mut shards: Vec<&str> = index.weight_map.values().map(String::as_str).collect();
    shards.sort_unstable();
    shards.dedup();

    let mut contents = Contents::default();
    for shard in shards {
        // An index from a stranger must not lead to files elsewhere.
        let parts: Vec<_> = Path::new(shard).components().collect();
        if !matches!(parts[..], [Component::Normal(_)]) {
            return Err(wrong(format!(
                "shard `{shard}` is not the plain name of a file beside it"
            )));
        }
        let path = path.with_file_name(shard);
        let file = Stored::open(&path).map_err(|error| Fault::from_io(error).at(&path))?;
        let (entries, metadata) = read(&Arc::new(file)).map_err(|fault| fault.at(&path))?;
        let here = |entry: &Entry| {
            index
                .weight_map
                .get(&entry.info.name)
                .is_some_and(|s| s == shard)
        };
        contents.0.extend(entries.into_iter().filter(here));
        contents.1.extend(metadata);
    }
    if contents.0.len() < index.weight_map.len() {
        let found: std::collections::HashSet<&str> = contents
            .0
            .iter()
            .map(|entry| entry.info.name.as_str())
            .collect();
        let absent = index
            .weight_map
            .iter()
            .find(|(name, _)| !found.contains(name.as_str()));
        if let Some((name, shard)) = absent {
            return Err(wrong(format!("`{name}` is not in its shard `{shard}`")));
        }
    }
    Ok(contents)
}
