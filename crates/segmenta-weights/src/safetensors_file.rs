//! `.safetensors`: an 8-byte length, a JSON header, and the tensors' bytes, read when they are asked for.

use std::{
    collections::BTreeMap,
    path::{Component, Path},
    sync::Arc,
};

use safetensors::tensor::Metadata;

use crate::{
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
            "{spare} bytes follow the last tensor"
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
        };
        Some(Entry::new(TensorInfo { name, dtype, shape }, from, source))
    });
    let metadata = header
        .metadata()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    Ok((entries.collect(), metadata))
}

/// The part of an index that is used: which shard holds which tensor.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Reads an index and the headers of all its shards, which lie in the index's folder.
pub(crate) fn read_sharded(index: &[u8], path: &Path) -> Result<Contents, WeightsError> {
    let wrong = |why: String| Fault::Index(why).at(path);
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
