//! Which pictures a run learned from, and which it was measured on: what a score has to say of itself.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{Dataset, Item, Split};
use crate::{DataError, text};

/// The names of the pictures of a run, in the order of its data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LearnedLists {
    /// Those that were learned from.
    pub training: Vec<String>,
    /// Those that were measured on after each epoch.
    pub validation: Vec<String>,
}

impl LearnedLists {
    /// Of the two parts of a data set.
    pub fn of(training: &Dataset, validation: &Dataset) -> Self {
        let names = |part: &Dataset| -> Vec<String> {
            let items = part.items().iter();
            items.map(|item| item.name().to_owned()).collect()
        };
        Self {
            training: names(training),
            validation: names(validation),
        }
    }

    /// The lists in a run's folder of lists; `None` where there are none.
    ///
    /// # Errors
    /// A list that is there and cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>, DataError> {
        let [train, val] = Self::files(folder);
        if !train.is_file() || !val.is_file() {
            return Ok(None);
        }
        let names = |path: &Path| -> Result<Vec<String>, DataError> {
            let text = text::read(path)?;
            let lines = text.lines().filter(|line| !line.is_empty());
            Ok(lines.map(Into::into).collect())
        };
        Ok(Some(Self {
            training: names(&train)?,
            validation: names(&val)?,
        }))
    }

    /// Their files in a folder: `train.txt` and `val.txt`, as [`crate::Open::splits`] reads them.
    pub fn files(folder: &Path) -> [PathBuf; 2] {
        [Split::Train, Split::Val].map(|split| folder.join(format!("{split}.txt")))
    }

    /// Sixteen hexadecimal digits that say whether two runs have the same lists, in whatever order: FNV-1a of the
    /// sorted names.
    pub fn digest(&self) -> String {
        let sorted = [&self.training, &self.validation].map(|names| {
            let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
            names.sort_unstable();
            names.join("\n")
        });
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let hash = sorted.join("\0").bytes().fold(0xcbf2_9ce4_8422_2325, step);
        format!("{hash:016x}")
    }

    /// Whether a data set has all pictures of both lists: the run's own data, as far as names say.
    pub fn are_of(&self, dataset: &Dataset) -> bool {
        let names: HashSet<&str> = dataset.items().iter().map(Item::name).collect();
        let mut all = self.training.iter().chain(&self.validation);
        !self.validation.is_empty() && all.all(|name| names.contains(&**name))
    }

    /// The pictures of a data set that are in the list of a split: of `train` or of `val`.
    #[must_use]
    pub fn only(&self, dataset: &Dataset, split: Split) -> Dataset {
        let list = match split {
            Split::Train => &self.training[..],
            Split::Val => &self.validation,
            Split::Test => &[],
        };
        let names: HashSet<&str> = list.iter().map(String::as_str).collect();
        dataset.filtered(|item| names.contains(item.name()))
    }
}
