//! The order in which a pickle names its tensors, which the reader's map has lost.
//!
//! A state dict is in the order of the network's layers, and people want to see it so. Each name lies
//! in the pickle as an opcode, a length and the text, and every format has its pickle in front of
//! the numbers; so the first place of each name is soon found.

use std::{cmp::Ordering, collections::HashMap};

/// How far to look for the next name before giving up, in bytes.
const PATIENCE: usize = 8 << 20;

/// Sorts `items` by the place where the pickle in `bytes` first has their names. Names that are not
/// there as they are (those of nested modules) come last, by their parts, with numbers as numbers.
pub(crate) fn in_file_order<T>(bytes: &[u8], items: Vec<T>, name: impl Fn(&T) -> &str) -> Vec<T> {
    let mut items = items;
    items.sort_by(|a, b| natural(name(a), name(b)));

    let numbered = items
        .iter()
        .enumerate()
        .map(|(i, item)| (name(item).as_bytes(), i));
    let mut pending: HashMap<&[u8], usize> = numbered.collect();
    let mut place = vec![usize::MAX; items.len()];
    let mut last = 0;
    for at in 0..bytes.len() {
        if pending.is_empty() || at - last > PATIENCE {
            break;
        }
        if let Some(i) = string_at(&bytes[at..]).and_then(|text| pending.remove(text)) {
            place[i] = at;
            last = at;
        }
    }

    let mut placed: Vec<(usize, T)> = place.into_iter().zip(items).collect();
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, item)| item).collect()
}

/// The text that a pickle's string opcode at the start of `bytes` pushes.
fn string_at(bytes: &[u8]) -> Option<&[u8]> {
    let (length, start) = match bytes.first()? {
        // SHORT_BINUNICODE and SHORT_BINSTRING
        0x8c | b'U' => (usize::from(*bytes.get(1)?), 2),
        // BINUNICODE and BINSTRING
        b'X' | b'T' => (
            u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?) as usize,
            5,
        ),
        _ => return None,
    };
    bytes.get(start..)?.get(..length)
}

/// Compares names part by part, `9` before `10`.
fn natural(a: &str, b: &str) -> Ordering {
    fn parts(name: &str) -> impl Iterator<Item = Result<u64, &str>> {
        name.split('.').map(|part| part.parse().map_err(|_| part))
    }
    parts(a).cmp(parts(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_place_first_and_strangers_last() {
        let pickle = b"}X\x01\0\0\0bq\x8c\x01aU\x02zzX\x01\0\0\0a";
        let names = vec!["n.10.w", "zz", "n.9.w", "a", "b"];
        let sorted = in_file_order(pickle, names, |name| name);
        assert_eq!(sorted, ["b", "a", "zz", "n.9.w", "n.10.w"]);
    }

    #[test]
    fn lengths_beyond_the_end_are_no_text() {
        assert_eq!(string_at(b"X\xff\xff\xff\xffabc"), None);
        assert_eq!(string_at(b"U"), None);
        assert_eq!(string_at(b""), None);
    }
}
