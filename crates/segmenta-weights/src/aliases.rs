//! Dictionaries that lie under several keys of one checkpoint: `{"model": weights, "model_ema": weights}`.
//!
//! A pickle writes such a dictionary once and refers to it where it comes again. The reader answers the reference with
//! what the dictionary held when it was first met, which is nothing: the second key would be missing without a word.
//! So the pickle is read once more here, as keys and containers alone, and says which key stands for which.

use std::collections::HashMap;
use std::rc::Rc;

/// A path of keys behind which the same lies as behind an earlier one. Both end with a dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alias {
    pub(crate) first: Rc<str>,
    pub(crate) again: Rc<str>,
}

/// So many containers, so deep and so often repeated, no checkpoint has; nor keys of so many bytes in all. A file that
/// is made to harm costs no more.
const MOST_CONTAINERS: usize = 1 << 20;
const MOST_ALIASES: usize = 4096;
const DEEPEST: usize = 64;
const MOST_BYTES: usize = 64 << 20;

/// A legacy file has its magic number, its version and the system before the object.
const LEGACY_HEADERS: usize = 3;

/// Containers that come again in the pickle of a file that begins with `bytes`; none where it is of a kind that this
/// module does not follow, so that the file is what the reader says.
pub(crate) fn aliases(bytes: &[u8]) -> Vec<Alias> {
    root(bytes).map_or_else(Vec::new, |(root, containers)| {
        let mut walk = Walk {
            containers: &containers,
            seen: HashMap::new(),
            found: Vec::new(),
            bytes: MOST_BYTES,
        };
        walk.visit(root, "".into(), 0);
        walk.found
    })
}

fn root(bytes: &[u8]) -> Option<(usize, Vec<Container>)> {
    let mut machine = Machine {
        bytes: in_archive(bytes).unwrap_or(bytes),
        ..Machine::default()
    };
    let is_archive = machine.bytes.len() != bytes.len();
    let mut top = machine.run()?;
    if !is_archive {
        // A plain pickle ends here.
        for _ in 0..LEGACY_HEADERS {
            if matches!(top, Value::Container(_)) {
                break;
            }
            machine.stack.clear();
            machine.memo.clear();
            top = machine.run()?;
        }
        // The third of the headers is a dictionary that describes the system.
        if machine.has_key("protocol_version") {
            machine.stack.clear();
            machine.memo.clear();
            top = machine.run()?;
        }
    }
    match top {
        Value::Container(root) => Some((root, machine.containers)),
        _ => None,
    }
}

/// The member `data.pkl` of a zip archive, with what follows.
fn in_archive(bytes: &[u8]) -> Option<&[u8]> {
    const HEADER: usize = 30;
    if !bytes.starts_with(b"PK\x03\x04") {
        return None;
    }
    let mut at = 0;
    loop {
        at += bytes[at..]
            .windows(4)
            .position(|four| four == b"PK\x03\x04")?;
        let header = bytes.get(at..at + HEADER)?;
        let short = |i: usize| usize::from(u16::from_le_bytes([header[i], header[i + 1]]));
        let (method, name, extra) = (short(8), short(26), short(28));
        let start = at + HEADER;
        if bytes.get(start..start + name)?.ends_with(b"data.pkl") {
            // PyTorch compresses nothing; what others compress is left to the reader.
            return (method == 0).then(|| bytes.get(start + name + extra..))?;
        }
        at = start;
    }
}

#[derive(Clone, Debug)]
enum Value {
    Text(Rc<str>),
    Container(usize),
    /// `collections.OrderedDict`, which is called to make one.
    OrderedDict,
    Mark,
    Other,
}

/// Keys and values of a dictionary, or numbers and values of a list.
#[derive(Debug, Default)]
struct Container(Vec<(Rc<str>, Value)>);

/// A pickle's machine as far as keys and containers go.
#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    memo: HashMap<usize, Value>,
    containers: Vec<Container>,
}

impl<'a> Machine<'a> {
    /// Runs up to the end of a pickle; what it leaves. `None` at whatever is not known here.
    fn run(&mut self) -> Option<Value> {
        loop {
            match self.byte()? {
                b'.' => return self.stack.pop(),
                0x80 => self.skip(1)?,
                0x95 => self.skip(8)?,
                b'(' => self.stack.push(Value::Mark),
                b'}' | b']' => self.container()?,
                b')' | b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),
                b'J' => self.whole(4)?,
                b'K' => self.whole(1)?,
                b'M' => self.whole(2)?,
                b'G' => self.other(8)?,
                0x8a => {
                    let length = self.number(1)?;
                    self.other(length)?;
                }
                0x8b => {
                    let length = self.number(4)?;
                    self.other(length)?;
                }
                b'X' | b'T' => self.text(4)?,
                0x8c | b'U' => self.text(1)?,
                0x8d => self.text(8)?,
                b'B' => {
                    let length = self.number(4)?;
                    self.other(length)?;
                }
                b'C' => {
                    let length = self.number(1)?;
                    self.other(length)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.stack.push(named(module, name));
                }
                0x93 => match (self.stack.pop()?, self.stack.pop()?) {
                    (Value::Text(name), Value::Text(module)) => {
                        self.stack.push(named(module.as_bytes(), name.as_bytes()));
                    }
                    _ => return None,
                },
                b'q' => self.remember(1)?,
                b'r' => self.remember(4)?,
                0x94 => {
                    let top = self.stack.last()?.clone();
                    self.memo.insert(self.memo.len(), top);
                }
                b'h' => self.recall(1)?,
                b'j' => self.recall(4)?,
                // Tuples are no place for a checkpoint's dictionaries.
                b't' => {
                    self.since_mark()?;
                    self.stack.push(Value::Other);
                }
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b'Q' => self.tuple(1)?,
                b'R' | 0x81 => {
                    self.stack.pop()?;
                    match self.stack.pop()? {
                        Value::OrderedDict => self.container()?,
                        _ => self.stack.push(Value::Other),
                    }
                }
                // A dictionary's attributes are no keys of it.
                b'b' => {
                    self.stack.pop()?;
                }
                b's' => {
                    let (value, key) = (self.stack.pop()?, self.stack.pop()?);
                    self.put(vec![key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.put(items)?;
                }
                b'a' => {
                    let item = self.stack.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.since_mark()?;
                    self.append(items)?;
                }
                _ => return None,
            }
        }
    }

    fn has_key(&self, wanted: &str) -> bool {
        let mut all = self.containers.iter().flat_map(|container| &container.0);
        all.any(|(key, _)| **key == *wanted)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_| ())
    }

    fn number(&mut self, bytes: usize) -> Option<usize> {
        let number = self.take(bytes)?;
        let shifted = number.iter().rev();
        Some(shifted.fold(0, |number, &byte| (number << 8) | usize::from(byte)))
    }

    fn line(&mut self) -> Option<&'a [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let length = rest.iter().position(|&byte| byte == b'\n')?;
        let line = self.take(length)?;
        self.skip(1)?;
        Some(line)
    }

    fn other(&mut self, length: usize) -> Option<()> {
        self.skip(length)?;
        self.stack.push(Value::Other);
        Some(())
    }

    /// A number, which may be a key.
    fn whole(&mut self, bytes: usize) -> Option<()> {
        let number = self.number(bytes)?;
        self.stack.push(Value::Text(number.to_string().into()));
        Some(())
    }

    fn text(&mut self, bytes: usize) -> Option<()> {
        let length = self.number(bytes)?;
        let text = String::from_utf8_lossy(self.take(length)?).into();
        self.stack.push(Value::Text(text));
        Some(())
    }

    fn container(&mut self) -> Option<()> {
        if self.containers.len() == MOST_CONTAINERS {
            return None;
        }
        self.stack.push(Value::Container(self.containers.len()));
        self.containers.push(Container::default());
        Some(())
    }

    fn remember(&mut self, bytes: usize) -> Option<()> {
        let place = self.number(bytes)?;
        self.memo.insert(place, self.stack.last()?.clone());
        Some(())
    }

    fn recall(&mut self, bytes: usize) -> Option<()> {
        let place = self.number(bytes)?;
        self.stack.push(self.memo.get(&place)?.clone());
        Some(())
    }

    fn since_mark(&mut self) -> Option<Vec<Value>> {
        let mark = self.stack.iter().rposition(|v| matches!(v, Value::Mark))?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Some(items)
    }

    fn tuple(&mut self, parts: usize) -> Option<()> {
        let kept = self.stack.len().checked_sub(parts)?;
        self.stack.truncate(kept);
        self.stack.push(Value::Other);
        Some(())
    }

    fn put(&mut self, items: Vec<Value>) -> Option<()> {
        // What hangs on another object's keys has no path here.
        let Value::Container(dictionary) = *self.stack.last()? else {
            return Some(());
        };
        let mut items = items.into_iter();
        while let (Some(key), Some(value)) = (items.next(), items.next()) {
            if let Value::Text(key) = key {
                self.containers[dictionary].0.push((key, value));
            }
        }
        Some(())
    }

    fn append(&mut self, items: Vec<Value>) -> Option<()> {
        if let Value::Container(list) = *self.stack.last()? {
            let list = &mut self.containers[list].0;
            let from = list.len();
            let numbered = items.into_iter().enumerate();
            list.extend(numbered.map(|(i, item)| ((from + i).to_string().into(), item)));
        }
        Some(())
    }
}

fn named(module: &[u8], name: &[u8]) -> Value {
    match (module, name) {
        (b"collections", b"OrderedDict") => Value::OrderedDict,
        _ => Value::Other,
    }
}

/// Containers and the path by which each was met first.
struct Walk<'c> {
    containers: &'c [Container],
    seen: HashMap<usize, Rc<str>>,
    found: Vec<Alias>,
    /// How many bytes paths may still take.
    bytes: usize,
}

impl Walk<'_> {
    fn visit(&mut self, container: usize, path: Rc<str>, depth: usize) {
        if self.found.len() == MOST_ALIASES {
            return;
        }
        if let Some(first) = self.seen.get(&container) {
            let (first, again) = (first.clone(), path);
            self.found.push(Alias { first, again });
            return;
        }
        if depth > DEEPEST {
            return;
        }
        self.seen.insert(container, path.clone());
        for (key, value) in &self.containers[container].0 {
            let Value::Container(inner) = value else {
                continue;
            };
            let Some(left) = self.bytes.checked_sub(path.len() + key.len() + 1) else {
                return;
            };
            self.bytes = left;
            self.visit(*inner, format!("{path}{key}.").into(), depth + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Vec<u8> {
        [
            &[b'X'][..],
            &(name.len() as u32).to_le_bytes(),
            name.as_bytes(),
        ]
        .concat()
    }

    fn said(pickle: &[u8]) -> Vec<(String, String)> {
        let found = aliases(pickle).into_iter();
        found
            .map(|alias| (alias.first.to_string(), alias.again.to_string()))
            .collect()
    }

    #[test]
    fn a_dictionary_that_comes_again_is_named() {
        // {"model": {"w": None}, "model_ema": the same}
        let pickle = [
            &b"\x80\x02}q\x00("[..],
            &key("model"),
            b"}q\x01",
            &key("w"),
            b"Ns",
            &key("model_ema"),
            b"h\x01u.",
        ]
        .concat();
        assert_eq!(said(&pickle), [("model.".into(), "model_ema.".into())]);
        for cut in 0..pickle.len() {
            assert_eq!(aliases(&pickle[..cut]), []);
        }
    }

    #[test]
    fn what_is_made_to_harm_costs_little() {
        // A key of a mebibyte, and 2^16 dictionaries under it: each a reference of a few bytes.
        let long = "k".repeat(1 << 20);
        let mut pickle = [&b"}("[..], &key(&long), b"q\x01}"].concat();
        pickle.extend(b"h\x01}".repeat(1 << 16));
        pickle.extend(b"u.");
        assert_eq!(said(&pickle), []);
        // A dictionary that comes again and again.
        let mut pickle = [&b"}("[..], &key("a"), b"}q\x01"].concat();
        for n in 0..2 * MOST_ALIASES {
            pickle.extend(key(&n.to_string()));
            pickle.extend(b"h\x01");
        }
        pickle.extend(b"u.");
        assert_eq!(said(&pickle).len(), MOST_ALIASES);
    }

    #[test]
    fn a_dictionary_that_holds_itself_ends() {
        let pickle = [&b"}q\x00"[..], &key("me"), b"h\x00s."].concat();
        assert_eq!(said(&pickle), [(String::new(), "me.".into())]);
    }
}
