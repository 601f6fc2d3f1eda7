//! `.safetensors`: an 8-byte length, a JSON header, and the tensors' bytes, read when they are asked for.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use safetensors::tensor::Metadata;
use segmenta_files::count;

use crate::{
    dtype::DType,
    error::Fault,
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
