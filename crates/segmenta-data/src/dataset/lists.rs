//! Lists of names: which picture is in which split.
//!
//! A line is a name, as `data split` writes it, whatever it is made of: blanks at its ends and a `#` at its beginning
//! are part of it where a picture is called so. Otherwise blanks around it are nothing, and a line that begins with `#`
//! is a comment. In VOC's and Pets' lists numbers follow the names.

use std::path::{Path, PathBuf};

use super::twins::Index;
use super::{Dataset, Gap, Item, Listing, Split};
use crate::{DataError, text};

/// A line of a list that means something.
enum Line {
    Item(usize),
    /// A name that nothing has.
    Unknown(String),
}

/// A list of the names of a split.
pub(super) struct List {
    pub(super) split: Split,
    pub(super) path: PathBuf,
    /// Whether it only fills in what the other lists leave out.
    fills: bool,
    /// Whether numbers may follow names.
    numbered: bool,
}

impl List {
    pub(super) fn new(split: Split, path: PathBuf) -> Self {
        Self {
            split,
            path,
            fills: false,
            numbered: false,
        }
    }

    /// With numbers after the names.
    pub(super) fn numbered(self) -> Self {
        Self {
            numbered: true,
            ..self
        }
    }

    /// For what no other list names: VOC's `trainval` holds both others.
    pub(super) fn that_fills(self) -> Self {
        Self {
            fills: true,
            ..self
        }
    }
}

/// Gives items the split of the list that names them. Names without an item and names that a list has twice are gaps.
///
/// # Errors
/// A list that cannot be read; a name in two splits, or that several pictures have.
pub(super) fn split_by_lists(
    root: &Path,
    listing: &mut Listing,
    lists: &[List],
) -> Result<(), DataError> {
    let index = Index::of(root, &listing.items);
    // The list that each item's split is from; without one it is its folder's.
    let mut from: Vec<Option<&Path>> = vec![None; listing.items.len()];
    let mut conflicts = Vec::new();
    for list in lists.iter().filter(|list| list.path.is_file()) {
        let List {
            split, path, fills, ..
        } = list;
        for line in read(list, &index, &listing.items)? {
            let at = match line {
                Line::Item(at) => at,
                Line::Unknown(name) => {
                    let list = path.clone();
                    listing.gaps.push(Gap::Listed { list, name });
                    continue;
                }
            };
            let item = &mut listing.items[at];
            if from[at] == Some(path.as_path()) {
                let (list, name) = (path.clone(), item.name.clone());
                listing.gaps.push(Gap::Again { list, name });
                continue;
            }
            match item.split {
                None => (item.split, from[at]) = (Some(*split), Some(path.as_path())),
                Some(_) if *fills => {}
                Some(other) if other == *split => from[at] = Some(path.as_path()),
                Some(other) => conflicts.push((at, from[at], other, path.as_path())),
            }
        }
    }
    let Some(&(_, first, split, second)) = conflicts.first() else {
        return Ok(());
    };
    let names = conflicts.iter().take(5);
    let names: Vec<&str> = names.map(|&(at, ..)| &*listing.items[at].name).collect();
    let more = if conflicts.len() > names.len() {
        ", …"
    } else {
        ""
    };
    let first = first.map_or_else(
        || format!("the folder of {split}"),
        |path| path.display().to_string(),
    );
    let what = match conflicts.len() {
        1 => "a name in two splits".to_string(),
        n => format!("{n} names in two splits"),
    };
    Err(DataError::data(
        format!("{what}: {}{more}", names.join(", ")),
        format!("{first}, {}", second.display()),
        "leave each in one of them",
    ))
}

fn read(list: &List, index: &Index, items: &[Item]) -> Result<Vec<Line>, DataError> {
    let path = &list.path;
    let text = text::read(path)?;
    let several = |name: &str, places: Vec<usize>| {
        let files = places.into_iter().filter_map(|at| items[at].picture_path());
        let files: Vec<String> = files.map(|path| path.display().to_string()).collect();
        DataError::at(
            format!("`{name}` may be any of {}", files.join(", ")),
            path,
            "write the name with its extension",
        )
    };
    let find = |name: &str| index.find(name).map_err(|places| several(name, places));
    let mut lines = Vec::new();
    for line in text.split('\n') {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let trimmed = line.trim();
        if let Some(at) = find(line)? {
            lines.push(Line::Item(at));
        } else if trimmed.is_empty() {
        } else if let Some(at) = find(trimmed)? {
            lines.push(Line::Item(at));
        } else if !trimmed.starts_with('#') {
            let name = if list.numbered {
                without_numbers(trimmed)
            } else {
                trimmed
            };
            lines.push(match find(name)? {
                Some(at) => Line::Item(at),
                None => Line::Unknown(name.to_owned()),
            });
        }
    }
    Ok(lines)
}

/// A line without the numbers that follow its name.
fn without_numbers(line: &str) -> &str {
    let mut name = line;
    while let Some((rest, last)) = name.rsplit_once(char::is_whitespace) {
        if last.parse::<i64>().is_err() || rest.trim().is_empty() {
            break;
        }
        name = rest.trim_end();
    }
    name
}

impl Dataset {
    /// The list of a split's names, as [`crate::Open::splits`] reads it: a line a name. Empty where there is none.
    ///
    /// # Errors
    /// A name that no line can hold.
    pub fn list(&self, split: Split) -> Result<String, DataError> {
        self.only(split).whole_list()
    }

    /// The list of all its names, whatever split they are in: a line a name.
    ///
    /// # Errors
    /// A name that no line can hold.
    pub fn whole_list(&self) -> Result<String, DataError> {
        let mut text = String::new();
        for item in self.items() {
            let name = item.name();
            // The first line's would be taken for a byte order mark.
            if name.contains(['\n', '\r']) || name.starts_with('\u{feff}') {
                return Err(DataError::data(
                    "a name that a list cannot hold",
                    item.picture_path()
                        .unwrap_or(Path::new(name))
                        .display()
                        .to_string()
                        .escape_debug(),
                    "give the file a name without line breaks",
                ));
            }
            text.push_str(name);
            text.push('\n');
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_after_a_name_are_passed_over() {
        for (line, name) in [
            ("cat_1 1 1 1", "cat_1"),
            ("2008_000001 -1", "2008_000001"),
            ("my cat 2", "my cat"),
            ("my cat", "my cat"),
            ("7", "7"),
            ("7 1", "7"),
        ] {
            assert_eq!(without_numbers(line), name);
        }
    }
}
