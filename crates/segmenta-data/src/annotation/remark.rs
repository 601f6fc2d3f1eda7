//! What was found in documents that is no error but must be said.

use std::collections::BTreeMap;
use std::fmt;

use segmenta_files::count;

/// Something that a document has and that gives no pixels, or that it says in two ways: how often, and where first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What, in the singular: `shape`, `ring`.
    pub thing: String,
    /// What about it: `of the type point: left out`.
    pub what: String,
    /// How often.
    pub count: usize,
    /// The first of them, with the values.
    pub first: String,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let things = count(self.count, &self.thing);
        write!(f, "{things} {} (first: {})", self.what, self.first)
    }
}

/// Remarks by what they say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Remarks(BTreeMap<(String, String), (usize, String)>);

impl Remarks {
    pub(crate) fn add(&mut self, thing: &str, what: &str, first: impl FnOnce() -> String) {
        let key = (thing.to_owned(), what.to_owned());
        self.0.entry(key).or_insert_with(|| (0, first())).0 += 1;
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Remark> {
        let remark = |((thing, what), (count, first)): (&(String, String), &(usize, String))| {
            let (thing, what, first) = (thing.clone(), what.clone(), first.clone());
            Remark {
                thing,
                what,
                count: *count,
                first,
            }
        };
        self.0.iter().map(remark)
    }

    pub(crate) fn extend(&mut self, other: Self) {
        for (key, (count, first)) in other.0 {
            self.0.entry(key).or_insert((0, first)).0 += count;
        }
    }
}
