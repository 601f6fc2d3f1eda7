//! `.pth` and `.pt`: what `torch.save` writes, in its zip, legacy and tar formats.
//!
//! Such a file is a pickle, and Python's pickle is a program: to load one in Python can run anything.
//! Nothing is run here. The `pytorch-reader` crate interprets the pickle's opcodes as data: the
//! few calls by which PyTorch rebuilds tensors and ordered dictionaries are recognised by name and
//! answered with descriptions, and every other class or function stays an inert name which is left
//! out. Its limits on nesting, on repetition and on the pickle's size hold; what they leave open is
//! closed here: sparse tar members, and views that claim far more numbers than the file has.

use std::{collections::HashSet, path::Path};

use pytorch_reader::{FileFormat, PickleError, PytorchError, PytorchReader, Tensor};

use crate::{
    aliases::{Alias, aliases},
    error::Fault,
    file_order::in_file_order,
    format::Format,
    state_dict::{Entry, Source, TensorInfo},
    stored::Stored,
    third_party::without_panic,
};

/// How much of a file is searched for names, in bytes: every format has its pickle in front of the numbers.
const PICKLE: u64 = 16 << 20;

/// A view may repeat its numbers, so that a tensor is larger than its file, but not beyond reason:
/// this many bytes are always granted, and beyond them this many times the file's length.
const GRANTED: (u64, u64) = (256 << 20, 4);

/// So many tensors no checkpoint has; each costs a name.
const MOST_ENTRIES: usize = 1 << 20;

/// Nor names of so many bytes beside those that it writes.
const MOST_NAMES: usize = 256 << 20;

/// Reads the names, types and shapes of all tensors of the file at `path`, whose bytes are `stored`. What lies
/// in dictionaries, lists and modules has their keys before its name, joined by dots.
pub(crate) fn read(path: &Path, stored: &Stored) -> Result<(Vec<Entry>, Format), Fault> {
    let head = stored.head(PICKLE).map_err(Fault::from_io)?;
    if head.get(257..262) == Some(b"ustar") && has_sparse_member(stored)? {
        return Err(Fault::Damaged("a tar member is sparse".into()));
    }
    let (tensors, format) = without_panic(|| open(path)).map_err(Fault::Damaged)??;
    if tensors.is_empty() {
        return Err(Fault::NoTensors);
    }
    let limit = GRANTED.0.max(stored.len().saturating_mul(GRANTED.1));
    if let Some(tensor) = tensors
        .iter()
        .find(|tensor| tensor.byte_len() as u64 > limit)
    {
        let (name, bytes) = (tensor.name.clone(), tensor.byte_len() as u64);
        return Err(Fault::TooLarge { name, bytes });
    }
    let mut entries: Vec<Entry> = in_file_order(&head, tensors, |tensor| &tensor.name)
        .into_iter()
        .map(|(place, tensor)| {
            let info = TensorInfo {
                name: tensor.name.clone(),
                dtype: tensor.dtype().into(),
                shape: tensor.shape().to_vec(),
            };
            Entry::new(info, place, Source::Pytorch(tensor))
        })
        .collect();
    repeat(&mut entries, &aliases(&head))?;
    Ok((entries, format))
}

/// Adds what lies under a second key as well: the same numbers, after all others.
fn repeat(entries: &mut Vec<Entry>, aliases: &[Alias]) -> Result<(), Fault> {
    let mut names: HashSet<String> = entries.iter().map(|e| e.info.name.clone()).collect();
    let mut bytes = 0;
    // One that holds itself repeats for ever.
    let finite = aliases
        .iter()
        .filter(|alias| !alias.again.starts_with(&*alias.first));
    for Alias { first, again } in finite {
        for at in 0..entries.len() {
            let Some(rest) = entries[at].info.name.strip_prefix(&**first) else {
                continue;
            };
            let name = format!("{again}{rest}");
            if !names.insert(name.clone()) {
                continue;
            }
            bytes += name.len();
            if entries.len() == MOST_ENTRIES || bytes > MOST_NAMES {
                let what = "its dictionaries refer to each other without end";
                return Err(Fault::Damaged(what.into()));
            }
            let Entry {
                info,
                place,
                source,
                ..
            } = entries[at].clone();
            entries.push(Entry::new(TensorInfo { name, ..info }, place, source));
        }
    }
    Ok(())
}

fn open(path: &Path) -> Result<(Vec<Tensor>, Format), Fault> {
    let whole = PytorchReader::new(path).map_err(fault)?;
    let format = match whole.metadata().format_type {
        FileFormat::Zip => Format::PytorchZip,
        FileFormat::Legacy => Format::PytorchLegacy,
        FileFormat::Tar => Format::PytorchTar,
        FileFormat::Pickle => Format::PytorchPickle,
    };
    Ok((whole.into_tensors().into_values().collect(), format))
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
            let cut = ["EOF", "EOCD", "failed to fill", "bytes, found"]
                .iter()
                .any(|sign| text.contains(sign));
            Fault::Damaged(if cut {
                "it ends too early".into()
            } else {
                text
            })
        }
        other => {
            let text = other.to_string();
            // By the calls that rebuild such tensors, and by their number types.
            let quantised = ["qtensor", "QInt", "QUInt", "quantized"]
                .iter()
                .any(|sign| text.contains(sign));
            if quantised {
                Fault::Quantised
            } else if text.contains("beyond the end of the file") {
                Fault::Damaged("it ends too early".into())
            } else {
                Fault::Unreadable(text)
            }
        }
    }
}

/// Whether a tar archive has a sparse member, whose zeros can be stretched to any length.
///
/// PyTorch writes none. Every block is looked at, rather than only those where a header is due, so that
/// no forged length can lead around it.
fn has_sparse_member(stored: &Stored) -> Result<bool, Fault> {
    const PART: u64 = 512 << 11;
    for start in (0..stored.len()).step_by(PART as usize) {
        let part = stored.read(start..stored.len().min(start + PART));
        let part = part.map_err(Fault::from_io)?;
        let (blocks, _) = part.as_chunks::<512>();
        let sparse = |block: &[u8; 512]| block[257..262] == *b"ustar" && block[156] == b'S';
        if blocks.iter().any(sparse) {
            return Ok(true);
        }
    }
    Ok(false)
}
