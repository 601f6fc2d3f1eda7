//! The order in which a pickle names its tensors, which the reader's map has lost.
//!
//! A state dict is in the order of the network's layers, and people want to see it so. Each name lies
//! in the pickle as an opcode, a length and the text, and every format has its pickle in front of
//! the numbers; so the first place of each name is soon found.

use std::{cmp::Ordering, collections::HashMap};

/// How far to look for the next name before giving up, in bytes.
const PATIENCE: usize = 8 << 20;

/// Sorts `items` by the place where the pickle in `bytes` first has their names, which is given with each. In
/// nested dictionaries and modules only the end of a name stands there: the longest one that does counts.
/// Names of which nothing is there come last, at `usize::MAX`; one place is ordered by the parts of names, with
/// numbers as numbers.
pub(crate) fn in_file_order<T>(
    bytes: &[u8],
    items: Vec<T>,
    name: impl Fn(&T) -> &str,
) -> Vec<(usize, T)> {
    let mut items = items;
    items.sort_by(|a, b| natural(name(a), name(b)));

    let mut places: HashMap<&[u8], Option<usize>> = items
        .iter()
        .flat_map(|item| endings(name(item)))
        .map(|ending| (ending.as_bytes(), None))
        .collect();
    // What only looks like a string, between numbers, may claim any length: it is not hashed.
    let longest = places.keys().map(|ending| ending.len()).max().unwrap_or(0);
    let (mut pending, mut last) = (places.len(), 0);
    for at in 0..bytes.len() {
        if pending == 0 || at - last > PATIENCE {
            break;
        }
        let text = string_at(&bytes[at..]).filter(|text| text.len() <= longest);
        if let Some(place @ None) = text.and_then(|text| places.get_mut(text)) {
            *place = Some(at);
            (pending, last) = (pending - 1, at);
        }
    }

    let place = |item: &T| {
        let found = endings(name(item)).find_map(|ending| places[ending.as_bytes()]);
        found.unwrap_or(usize::MAX)
    };
    let place: Vec<usize> = items.iter().map(place).collect();
    drop(places);
    let mut placed: Vec<(usize, T)> = place.into_iter().zip(items).collect();
    placed.sort_by_key(|(place, _)| *place);
    placed
}

/// A name and what is left of it after each of its dots, the longest first.
fn endings(name: &str) -> impl Iterator<Item = &str> {
    let dots = name.match_indices('.').map(|(at, _)| at + 1);
    std::iter::once(0).chain(dots).map(|at| &name[at..])
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
        let (places, sorted): (Vec<_>, Vec<_>) = sorted.into_iter().unzip();
        assert_eq!(sorted, ["b", "a", "zz", "n.9.w", "n.10.w"]);
        assert_eq!(places, [1, 8, 11, usize::MAX, usize::MAX]);
    }

    #[test]
    fn of_nested_names_the_longest_ending_counts() {
        let pickle = b"X\x06\0\0\0weight}U\x05b.oneU\x05a.two";
        let names = vec!["net.a.two", "net.b.one", "ema.a.two", "m.weight"];
        let sorted = in_file_order(pickle, names, |name| name);
        let sorted: Vec<_> = sorted.into_iter().map(|(_, name)| name).collect();
        assert_eq!(sorted, ["m.weight", "net.b.one", "ema.a.two", "net.a.two"]);
    }

    #[test]
    fn lengths_beyond_the_end_are_no_text() {
        assert_eq!(string_at(b"X\xff\xff\xff\xffabc"), None);
        assert_eq!(string_at(b"U"), None);
        assert_eq!(string_at(b""), None);
    }
}
