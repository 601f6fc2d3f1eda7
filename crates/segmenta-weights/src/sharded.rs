//! Weights in several files beside an index: `model.safetensors.index.json`, `pytorch_model.bin.index.json`.

use std::{
    collections::BTreeMap,
    path::{Component, Path},
    sync::Arc,
};

use crate::{
    archive,
    error::{Fault, WeightsError},
    format::{Format, detect},
    pytorch_file,
    safetensors_file::{self, Contents},
    state_dict::{Entry, HEAD},
    stored::Stored,
};

/// The part of an index that is used: which shard holds which tensor.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Reads an index and the names in all its shards, which lie in the index's folder.
pub(crate) fn read(index: &[u8], path: &Path) -> Result<(Contents, Format), WeightsError> {
    let wrong = |why: String| Fault::Index(why).at(path);
    let index = index.strip_prefix(b"\xef\xbb\xbf").unwrap_or(index);
    let index: Index = serde_json::from_slice(index).map_err(|error| wrong(error.to_string()))?;
    let mut shards: Vec<&str> = index.weight_map.values().map(String::as_str).collect();
    shards.sort_unstable();
    shards.dedup();

    let mut contents = Contents::default();
    let mut format = Format::SafetensorsSharded;
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
        let (entries, metadata) = match shard_of(file, &path).map_err(|fault| fault.at(&path))? {
            Shard::Safetensors(contents) => contents,
            Shard::Pytorch(entries) => {
                format = Format::PytorchSharded;
                (entries, BTreeMap::new())
            }
        };
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
    Ok((contents, format))
}

/// What a shard is.
enum Shard {
    Safetensors(Contents),
    Pytorch(Vec<Entry>),
}

/// Reads one shard, which is no index in turn.
fn shard_of(file: Stored, path: &Path) -> Result<Shard, Fault> {
    let head = file.head(HEAD).map_err(Fault::from_io)?;
    Ok(match detect(&head)? {
        Format::Safetensors => Shard::Safetensors(safetensors_file::read(&Arc::new(file))?),
        Format::SafetensorsSharded | Format::PytorchSharded | Format::Memory => {
            return Err(Fault::Index("a shard is an index itself".into()));
        }
        Format::PytorchZip | Format::PytorchLegacy | Format::PytorchTar | Format::PytorchPickle => {
            archive::refuse_others(&file)?;
            Shard::Pytorch(pytorch_file::read(path, &file)?.0)
        }
    })
}
