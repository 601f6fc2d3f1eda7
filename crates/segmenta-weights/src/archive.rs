//! What a zip archive holds, by its table of contents: `torch.save` writes zips, and so do many others.

use crate::{error::Fault, stored::Stored};

/// The end of a zip archive: its mark, its length, and how long the comment after it may be.
const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const COMMENT: u64 = 1 << 16;

/// A row of the table: its mark, and the length of what stands before the name.
const ROW: &[u8] = b"PK\x01\x02";
const ROW_LENGTH: usize = 46;

/// The largest table that is looked at, in bytes.
const LARGEST: u64 = 64 << 20;

/// Refuses an archive that is whole and no checkpoint. One whose table cannot be read is left to the reader of
/// checkpoints, which says what is wrong with it.
pub(crate) fn refuse_others(stored: &Stored) -> Result<(), Fault> {
    let Some(names) = names(stored).filter(|names| !names.is_empty()) else {
        return Ok(());
    };
    let ends = |end: &str| names.iter().any(|name| name.ends_with(end));
    let has = |part: &str| names.iter().any(|name| name.contains(part));
    if ends("/constants.pkl") && has("/code/") {
        return Err(Fault::TorchScript);
    }
    if ends("data.pkl") {
        return Ok(());
    }
    Err(if ends(".npy") {
        Fault::Foreign("a NumPy archive (.npz)")
    } else if ends("model.weights.h5") {
        Fault::Foreign("a Keras model")
    } else if ends("saved_model.pb") {
        Fault::Foreign("a TensorFlow model in a zip archive")
    } else if has("serialized_exported_program") || has("models/model.json") {
        Fault::Foreign("a program of torch.export")
    } else if let Some(inside) = names.into_iter().find(|name| is_weights(name)) {
        Fault::Packed(inside)
    } else {
        Fault::Foreign("a zip archive without PyTorch's data.pkl")
    })
}

fn is_weights(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".pth", ".pt", ".ckpt", ".safetensors", ".bin"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// The names in an archive's table; `None` where there is no table that can be read (zip64, cut short).
fn names(stored: &Stored) -> Option<Vec<String>> {
    let number = |bytes: &[u8], at: usize| -> Option<u64> {
        Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
    };
    let short = |bytes: &[u8], at: usize| -> Option<usize> {
        Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
    };
    let tail = stored.tail(COMMENT + END_LENGTH as u64).ok()?;
    let end = tail.windows(END.len()).rposition(|window| window == END)?;
    let end = tail.get(end..)?;
    let (length, start) = (number(end, 12)?, number(end, 16)?);
    if length > LARGEST {
        return None;
    }
    let table = stored.read(start..start.checked_add(length)?).ok()?;
    let (mut names, mut rest) = (Vec::new(), &table[..]);
    while rest.starts_with(ROW) {
        let lengths = [short(rest, 28)?, short(rest, 30)?, short(rest, 32)?];
        let name = rest.get(ROW_LENGTH..ROW_LENGTH + lengths[0])?;
        names.push(String::from_utf8_lossy(name).into_owned());
        rest = rest.get(ROW_LENGTH + lengths.iter().sum::<usize>()..)?;
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// An archive of empty members: what its table says is all that is looked at.
    fn zip(names: &[&str]) -> Stored {
        let mut table = Vec::new();
        for name in names {
            table.extend(ROW);
            table.extend([0; 24]);
            table.extend((name.len() as u16).to_le_bytes());
            table.extend([0; 16]);
            table.extend(name.as_bytes());
        }
        let mut bytes = b"PK\x03\x04".to_vec();
        let start = bytes.len() as u32;
        bytes.extend(&table);
        bytes.extend(END);
        bytes.extend([0; 8]);
        bytes.extend((table.len() as u32).to_le_bytes());
        bytes.extend(start.to_le_bytes());
        bytes.extend([0; 2]);
        Stored::Memory(Arc::from(bytes))
    }

    #[test]
    fn archives_are_named_for_what_they_are() {
        let said = |names: &[&str]| refuse_others(&zip(names)).map_err(|fault| fault.to_string());
        assert_eq!(said(&["a/data.pkl", "a/data/0"]), Ok(()));
        assert_eq!(said(&[]), Ok(()));
        let script = ["m/data.pkl", "m/code/__torch__.py", "m/constants.pkl"];
        assert!(said(&script).unwrap_err().contains("TorchScript"));
        for (names, word) in [
            (&["x.npy", "y.npy"][..], "NumPy"),
            (&["config.json", "model.weights.h5"], "Keras"),
            (&["net/saved_model.pb"], "TensorFlow"),
            (&["p/models/model.json"], "torch.export"),
            (&["docs/a.txt", "best/model.PTH"], "`best/model.PTH`"),
            (&["word/document.xml"], "zip archive"),
        ] {
            let said = said(names).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn a_table_that_cannot_be_read_is_left_to_the_reader() {
        let whole = zip(&["a/data.pkl"]).head(u64::MAX).unwrap();
        for length in 0..whole.len() {
            let cut = Stored::Memory(Arc::from(&whole[..length]));
            assert!(refuse_others(&cut).is_ok());
        }
        let mut lying = whole;
        let at = lying.len() - 10;
        lying[at..at + 8].fill(0xff);
        assert!(refuse_others(&Stored::Memory(Arc::from(lying))).is_ok());
    }
}
