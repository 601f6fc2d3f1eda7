//! `.pth` and `.pt`: what `torch.save` writes, in its zip, legacy and tar formats.
//!
//! Such a file is a pickle, and Python's pickle is a program: to load one in Python can run anything.
//! Nothing is run here. The `pytorch-reader` crate interprets the pickle's opcodes as data: the
//! few calls by which PyTorch rebuilds tensors and ordered dictionaries are recognised by name and
//! answered with descriptions, and every other class or function stays an inert name which is left
//! out. Its limits on nesting, on repetition and on the pickle's size hold; what they leave open is
//! closed here: sparse tar members, and views that claim far more numbers than the file has.

use std::path::Path;

use pytorch_reader::{FileFormat, PickleError, PytorchError, PytorchReader, Tensor};

use crate::{
    error::Fault,
    file_order::in_file_order,
    format::Format,
    state_dict::{Entry, Source, TensorInfo},
    third_party::without_panic,
};

/// Keys under which checkpoints keep a state dict, and nothing else.
const STATE_KEYS: [&str; 5] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "net_state_dict",
    "network_state_dict",
];

/// Keys under which checkpoints keep a state dict, but which may also be a module's name.
const MODULE_KEYS: [&str; 6] = ["model", "net", "network", "weights", "params", "module"];

/// How the keys begin of what checkpoints keep beside a state dict and which may hold tensors.
const COMPANIONS: [&str; 10] = [
    "optim",
    "opt_",
    "lr_",
    "sched",
    "scaler",
    "amp",
    "ema",
    "model_ema",
    "params_ema",
    "rng",
];

/// A view may repeat its numbers, so that a tensor is larger than its file, but not beyond reason:
/// this many bytes are always granted, and beyond them this many times the file's length.
const GRANTED: (u64, u64) = (256 << 20, 4);

/// Reads the tensors' names, types and shapes; `bytes` are those of the file at `path`.
pub(crate) fn read(path: &Path, bytes: &[u8]) -> Result<(Vec<Entry>, Format), Fault> {
    if bytes.get(257..262) == Some(b"ustar") && has_sparse_member(bytes) {
        return Err(Fault::Damaged("a tar member is sparse".into()));
    }
    let (tensors, format) = without_panic(|| open(path)).map_err(Fault::Damaged)??;
    if tensors.is_empty() {
        return Err(Fault::NoTensors);
    }
    let limit = GRANTED.0.max(bytes.len() as u64 * GRANTED.1);
    if let Some(tensor) = tensors
        .iter()
        .find(|tensor| tensor.byte_len() as u64 > limit)
    {
        let (name, bytes) = (tensor.name.clone(), tensor.byte_len() as u64);
        return Err(Fault::TooLarge { name, bytes });
    }
    let entries = in_file_order(bytes, tensors, |tensor| &tensor.name)
        .into_iter()
        .map(|tensor| {
            let (name, dtype) = (tensor.name.clone(), tensor.dtype().into());
            let info = TensorInfo {
                name,
                dtype,
                shape: tensor.shape().to_vec(),
            };
            Entry {
                info,
                source: Source::Pytorch(tensor),
            }
        })
        .collect();
    Ok((entries, format))
}

/// Opens the file, and finds the state dict in it when a checkpoint surrounds it.
fn open(path: &Path) -> Result<(Vec<Tensor>, Format), Fault> {
    let whole = PytorchReader::new(path).map_err(fault)?;
    let format = match whole.metadata().format_type {
        FileFormat::Zip => Format::PytorchZip,
        FileFormat::Legacy => Format::PytorchLegacy,
        FileFormat::Tar => Format::PytorchTar,
        FileFormat::Pickle => Format::PytorchPickle,
    };
    // The reader gives nested dictionaries as dotted names, so `model.weight` may be a state dict
    // under the key `model`, or a weight of the module `model`: whether the key is there decides.
    let state_dict = STATE_KEYS
        .into_iter()
        .chain(
            MODULE_KEYS
                .into_iter()
                .filter(|key| stands_alone(key, &whole)),
        )
        .filter(|key| whole.tensors().keys().any(|name| top(name) == *key))
        .find_map(|key| PytorchReader::with_top_level_key(path, key).ok());
    let mut tensors: Vec<Tensor> = state_dict
        .unwrap_or(whole)
        .into_tensors()
        .into_values()
        .collect();
    // A state dict one level further down (`model.state_dict.weight`).
    for prefix in STATE_KEYS.map(|key| format!("{key}.")) {
        if tensors
            .iter()
            .all(|tensor| tensor.name.starts_with(&prefix))
        {
            for tensor in &mut tensors {
                tensor.name.drain(..prefix.len());
            }
        }
    }
    Ok((tensors, format))
}

/// Whether all tensors outside `key` are of the kind that checkpoints keep beside a state dict.
fn stands_alone(key: &str, whole: &PytorchReader) -> bool {
    whole.tensors().keys().map(|name| top(name)).all(|other| {
        other == key
            || COMPANIONS
                .iter()
                .any(|companion| other.starts_with(companion))
    })
}

/// The part of a name before its first dot.
fn top(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// Tells a file that is cut short or damaged from a whole one that holds something else.
fn fault(error: PytorchError) -> Fault {
    match error {
        PytorchError::Io(error) if error.raw_os_error().is_some() => Fault::from_io(error),
        PytorchError::Io(_)
        | PytorchError::Zip(_)
        | PytorchError::Tar(_)
        | PytorchError::Pickle(PickleError::Io(_)) => {
            let text = error.to_string();
            // The reader's ways of missing the end; a zip archive's is its table of contents.
            let cut = ["EOF", "EOCD", "failed to fill"]
                .iter()
                .any(|sign| text.contains(sign));
            Fault::Damaged(if cut {
                "it ends too early".into()
            } else {
                text
            })
        }
        other => Fault::Unreadable(other.to_string()),
    }
}

/// Whether a tar archive has a sparse member, whose zeros can be stretched to any length.
///
/// PyTorch writes none. Every block is looked at, rather than only those where a header is due, so that
/// no forged length can lead around it.
fn has_sparse_member(bytes: &[u8]) -> bool {
    let (blocks, _) = bytes.as_chunks::<512>();
    blocks
        .iter()
        .any(|block| block[257..262] == *b"ustar" && block[156] == b'S')
}
