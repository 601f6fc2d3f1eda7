//! Writing a state dict, as safetensors of `f32`.

use segmenta_files::count;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    io::Write,
    path::Path,
};

use safetensors::{
    Dtype,
    tensor::{Metadata, TensorInfo},
};

use crate::{
    error::{Fault, WeightsError},
    format::MAX_HEADER,
    safetensors_file::scales_of,
};

/// A tensor to save: its name, its shape, and its row-major values.
pub type TensorView<'a> = (&'a str, &'a [usize], &'a [f32]);

/// Writes `tensors` and `metadata` to `path`, in the order given.
///
/// The file is complete or not there: it is written beside `path`, synchronised, then renamed.
///
/// # Errors
///
/// The system's refusal, with the bytes that are needed; names that come twice; values
/// that do not fill their shape. `path` then is what it was before.
pub fn save(
    path: &Path,
    tensors: &[TensorView],
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let tensors = tensors.iter();
    let tensors: Vec<_> = tensors
        .map(|&(name, shape, values)| (Cow::Borrowed(name), shape, Numbers::F32(values)))
        .collect();
    write(path, &tensors, metadata)
}

/// Numbers of a tensor, row-major.
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// 8-bit numbers, with what each row of the first axis is multiplied by: stored as a tensor of its own, `_scale`
    /// after the name. [`StateDict`](crate::StateDict) gives the products.
    Int8(&'a [i8], &'a [f32]),
}

/// As [`save`], with tensors of 8 bits among them.
///
/// # Errors
/// As [`save`].
pub fn save_numbers(
    path: &Path,
    tensors: &[(&str, &[usize], Numbers<'_>)],
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let rows: Vec<[usize; 1]> = tensors
        .iter()
        .map(|(_, _, numbers)| match numbers {
            Numbers::F32(_) => [0],
            Numbers::Int8(_, scales) => [scales.len()],
        })
        .collect();
    let mut all: Vec<Named<'_>> = Vec::new();
    for (&(name, shape, numbers), rows) in tensors.iter().zip(&rows) {
        all.push((Cow::Borrowed(name), shape, numbers));
        if let Numbers::Int8(_, scales) = numbers {
            all.push((Cow::Owned(scales_of(name)), rows, Numbers::F32(scales)));
        }
    }
    write(path, &all, metadata)
}

type Named<'a> = (Cow<'a, str>, &'a [usize], Numbers<'a>);

impl Numbers<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::F32(values) => bytemuck::cast_slice(values),
            Self::Int8(values, _) => bytemuck::cast_slice(values),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Int8(values, _) => values.len(),
        }
    }

    fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::Int8(..) => Dtype::I8,
        }
    }
}

fn write(
    path: &Path,
    tensors: &[Named<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let header = header(tensors, metadata).map_err(|why| Fault::Unsavable(why).at(path))?;
    let numbers: usize = tensors.iter().map(|(_, _, n)| n.bytes().len()).sum();
    let needed = (8 + header.len() + numbers) as u64;
    let fill = |sink: &mut dyn Write| {
        sink.write_all(&(header.len() as u64).to_le_bytes())?;
        sink.write_all(&header)?;
        tensors
            .iter()
            .try_for_each(|(_, _, numbers)| sink.write_all(numbers.bytes()))
    };
    segmenta_files::write(path, fill).map_err(|cause| Fault::Write { cause, needed }.at(path))
}

/// The JSON header, padded with spaces so that the numbers after it are aligned.
fn header(tensors: &[Named<'_>], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    let mut taken = HashSet::from(["__metadata__"]);
    let mut end = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for (name, shape, values) in tensors {
        if !taken.insert(&**name) {
            return Err(format!("the name `{name}` is taken"));
        }
        if shape.iter().product::<usize>() != values.len() {
            return Err(format!(
                "`{name}` of shape {shape:?} has {}",
                count(values.len(), "value")
            ));
        }
        let start = end;
        end += values.bytes().len();
        let (shape, data_offsets) = (shape.to_vec(), (start, end));
        infos.push((
            name.to_string(),
            TensorInfo {
                dtype: values.dtype(),
                shape,
                data_offsets,
            },
        ));
    }
    // The crate keeps metadata in a hash map, whose order differs from one process to the next; ours are the same bytes.
    let tensors = Metadata::new(None, infos).map_err(|error| error.to_string())?;
    let tensors = serde_json::to_string(&tensors).map_err(|error| error.to_string())?;
    let metadata = serde_json::to_string(metadata).map_err(|error| error.to_string())?;
    let between = if taken.len() > 1 { "," } else { "" };
    let header = format!("{{\"__metadata__\":{metadata}{between}{}", &tensors[1..]);
    let mut header = header.into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() as u64 > MAX_HEADER {
        return Err(format!(
            "its header of {} bytes is above the format's limit",
            header.len()
        ));
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StateDict;

    #[test]
    fn the_same_is_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let pairs = ["d", "b", "e", "a", "c"].map(|key| (key.to_owned(), "1".to_owned()));
        let metadata = BTreeMap::from(pairs);
        save(&path, &[("w", &[1], &[1.0])], &metadata).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let header = br#"{"__metadata__":{"a":"1","b":"1","c":"1","d":"1","e":"1"},"w":{"dtype""#;
        assert!(bytes[8..].starts_with(header));
    }

    #[test]
    fn what_is_saved_is_read_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let metadata = BTreeMap::from([("key".to_string(), "value \u{e9}\n".to_string())]);
        let tensors: [TensorView; 3] = [
            ("z", &[2, 1], &[1.5, -0.0]),
            ("a", &[], &[f32::MAX]),
            ("empty", &[0, 3], &[]),
        ];
        save(&path, &tensors, &metadata).unwrap();
        let dict = StateDict::open(&path).unwrap();
        assert_eq!(dict.metadata(), &metadata);
        assert!(
            dict.names().take(1).eq(["z"]),
            "{:?}",
            dict.names().collect::<Vec<_>>()
        );
        for (name, shape, values) in tensors {
            assert_eq!(dict.get(name).unwrap().shape, shape);
            assert_eq!(dict.read_f32(name).unwrap(), values);
        }
        // The library of the format itself agrees.
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(
            safetensors::SafeTensors::deserialize(&bytes).unwrap().len(),
            3
        );
    }

    #[test]
    fn contradictions_are_refused_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let cases: [&[TensorView]; 3] = [
            &[("a", &[1], &[0.0]), ("a", &[1], &[0.0])],
            &[("a", &[2], &[0.0])],
            &[("__metadata__", &[1], &[0.0])],
        ];
        for tensors in cases {
            let error = save(&path, tensors, &BTreeMap::new()).unwrap_err();
            assert!(matches!(error.fault, Fault::Unsavable(_)), "{error}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn refusals_name_the_path_and_a_full_disk_the_bytes() {
        let path = Path::new("no/such/folder/model.safetensors");
        let error = save(path, &[], &BTreeMap::new()).unwrap_err().to_string();
        assert!(
            error.contains("no/such/folder/model.safetensors"),
            "{error}"
        );
        let full = Fault::Write {
            cause: std::io::ErrorKind::StorageFull.into(),
            needed: 123,
        };
        let full = full.at(path).to_string();
        assert!(
            full.starts_with(
                "cannot write the file: no storage space; it takes 123 bytes · no/such"
            ) && full.contains(" · make room"),
            "{full}"
        );
    }
}
