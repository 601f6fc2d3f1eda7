//! Lists of classes: which class has which id, in a file that is given to every conversion.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;

use segmenta_files::count;
use segmenta_image::{Palette, VOID};

use crate::{Classes, DataError, text};

/// What labelme calls pixels that no class counts.
pub(crate) const IGNORED: &str = "__ignore__";

/// Whether a class is the background, under one of the names that tools give it.
pub(crate) fn is_background(name: &str) -> bool {
    ["background", "_background_", "__background__"]
        .iter()
        .any(|known| name.trim().eq_ignore_ascii_case(known))
}

/// Names of classes in the order of their ids, with their colours where the list has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassList {
    names: Vec<String>,
    colours: Vec<Option<[u8; 3]>>,
}

impl ClassList {
    /// Names as they stand in a list: what ends a line is a blank, and a `#` at the beginning, which would be a
    /// comment, is dropped.
    ///
    /// # Errors
    /// No name, more than 255 (an id is a byte, and 255 counts nowhere), an empty name, or one that is there twice.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, String> {
        Self::with_colours(names.into_iter().map(|name| (name.into(), None)))
    }

    pub(crate) fn with_colours(
        entries: impl IntoIterator<Item = (String, Option<[u8; 3]>)>,
    ) -> Result<Self, String> {
        let listed = |(name, colour): (String, _)| (as_listed(&name), colour);
        let (names, colours): (Vec<String>, Vec<_>) = entries.into_iter().map(listed).unzip();
        if names.is_empty() || names.len() > usize::from(VOID) {
            return Err(count(names.len(), "class"));
        }
        let mut places = HashMap::new();
        for (id, name) in names.iter().enumerate() {
            if name.is_empty() {
                return Err(format!("a class without a name at id {id}"));
            }
            if let Some(other) = places.insert(name, id) {
                return Err(format!("two classes called `{name}`, ids {other} and {id}"));
            }
        }
        Ok(Self { names, colours })
    }

    /// Reads a list, a class a line in the order of ids. A line is a name; or CVAT's `name:r,g,b:parts:actions` of
    /// `labelmap.txt`; or a name and three numbers from 0 to 255 in any order, apart by blanks, commas or tabs, if all
    /// lines are so (CamVid's `label_colors.txt`, the `class_dict.csv` of many others). labelme's `__ignore__` has no
    /// id.
    ///
    /// # Errors
    /// A file that cannot be read, and as [`ClassList::new`].
    pub fn read(path: &Path) -> Result<Self, DataError> {
        Self::parse(&text::read(path)?, path)
    }

    /// As [`ClassList::read`], from a list's text; messages call it `path`.
    ///
    /// # Errors
    /// As [`ClassList::new`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, DataError> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        let mut entries = Vec::new();
        let labelmap: Option<Vec<_>> = lines.iter().map(|line| of_labelmap(line)).collect();
        let coloured = || -> Option<Vec<_>> {
            let first = lines.first().and_then(|line| of_colours(line));
            // `name,r,g,b`
            let head = usize::from(first.is_none());
            let rows = lines.iter().skip(head);
            let rows: Vec<_> = rows.map(|line| of_colours(line)).collect::<Option<_>>()?;
            (!rows.is_empty() && (head == 0 || is_head(&lines[0]))).then_some(rows)
        };
        if let Some(rows) = labelmap.or_else(coloured) {
            entries.extend(rows);
        } else {
            entries.extend(lines.into_iter().map(|line| (line, None)));
        }
        entries.retain(|(name, _)| as_listed(name) != IGNORED);
        Self::with_colours(entries).map_err(|what| {
            let remedy = "name 1 to 255 classes, each once, one a line, in the order of their ids";
            DataError::at(what, path, remedy)
        })
    }

    /// The list with the background at id 0, if it is not in it.
    ///
    /// # Errors
    /// 255 classes already.
    pub fn with_background(mut self) -> Result<Self, String> {
        if !self.names.iter().any(|name| is_background(name)) {
            if self.names.len() == usize::from(VOID) {
                return Err("255 classes and the background".into());
            }
            self.names.insert(0, "background".into());
            self.colours.insert(0, None);
        }
        Ok(self)
    }

    /// Names in the order of ids.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Colours in the order of ids, of the classes that have one.
    pub fn colours(&self) -> &[Option<[u8; 3]>] {
        &self.colours
    }

    /// The id of a class. Each name of the background finds the background.
    pub fn id(&self, name: &str) -> Option<u8> {
        let name = as_listed(name);
        let mut names = self.names.iter();
        let place = names.position(|known| is_same(known, &name))?;
        u8::try_from(place).ok()
    }

    /// The background's id: 0 in a list without one.
    pub fn background(&self) -> u8 {
        let place = self.names.iter().position(|name| is_background(name));
        place.and_then(|id| u8::try_from(id).ok()).unwrap_or(0)
    }

    /// The classes, in their colours or in Pascal VOC's.
    pub fn classes(&self) -> Classes {
        let palette = Palette::voc();
        let colour = |(id, colour): (usize, &Option<[u8; 3]>)| {
            colour.unwrap_or_else(|| palette.color(u8::try_from(id).unwrap_or(VOID)))
        };
        let colours: Vec<[u8; 3]> = self.colours.iter().enumerate().map(colour).collect();
        Classes::with_palette(self.names.clone(), Palette::from_colors(&colours))
    }

    /// Where this list gives a class another id than another list, or an id another class: the first of them in words,
    /// `other` being what that list is called. None where one list is the beginning of the other.
    pub fn conflict(&self, existing: &Self, other: &str) -> Option<String> {
        let moved = self.names.iter().enumerate().find_map(|(id, name)| {
            let before = existing
                .id(name)
                .filter(|&before| usize::from(before) != id)?;
            Some(format!(
                "`{name}` would be id {id}, and is {before} in {other}"
            ))
        });
        moved.or_else(|| {
            let mut pairs = self.names.iter().zip(&existing.names).enumerate();
            let (id, (name, before)) = pairs.find(|(_, (a, b))| !is_same(a, b))?;
            let text = format!("id {id} would be `{name}`, and is `{before}` in {other}");
            Some(text)
        })
    }

    /// This list, and after it what a longer one has there, in this one's colours.
    #[must_use]
    pub fn continued_by(&self, longer: &Self) -> Self {
        let mut list = self.clone();
        let from = list.names.len().min(longer.names.len());
        list.names.extend_from_slice(&longer.names[from..]);
        list.colours.extend_from_slice(&longer.colours[from..]);
        list
    }

    /// Whether a class other than the background is in both lists.
    pub fn shares_a_class(&self, other: &Self) -> bool {
        let mut names = self.names.iter().filter(|name| !is_background(name));
        names.any(|name| other.id(name).is_some())
    }

    /// As the text of a `classes.txt`: a name a line.
    pub fn to_text(&self) -> String {
        self.names
            .iter()
            .fold(String::new(), |text, name| text + name + "\n")
    }

    /// As the text of a `labelmap.txt`, as CVAT writes and reads it, of the classes that have colours.
    pub fn to_labelmap(&self) -> String {
        let mut text = String::from("# label:color_rgb:parts:actions\n");
        for (name, colour) in self.names.iter().zip(&self.colours) {
            if let Some([r, g, b]) = colour {
                // A colon ends the name.
                let _ = writeln!(text, "{}:{r},{g},{b}::", name.replace(':', " "));
            }
        }
        text
    }
}

/// A name that is read back as it was written.
pub(crate) fn as_listed(name: &str) -> String {
    let line = name.replace(|c: char| c.is_control(), " ");
    line.trim_start_matches(|c: char| c == '#' || c.is_whitespace())
        .trim_end()
        .to_owned()
}

fn is_same(a: &str, b: &str) -> bool {
    a == b || is_background(a) && is_background(b)
}

/// `name:r,g,b:parts:actions`, the colour empty where CVAT chose it.
fn of_labelmap(line: &str) -> Option<(String, Option<[u8; 3]>)> {
    let mut fields = line.split(':');
    let (name, colour) = (fields.next()?.trim(), fields.next()?.trim());
    // Parts and actions.
    if fields.count() > 2 || name.is_empty() {
        return None;
    }
    if colour.is_empty() {
        return Some((name.to_owned(), None));
    }
    let numbers: Option<Vec<u8>> = colour.split(',').map(|n| n.trim().parse().ok()).collect();
    let [r, g, b] = numbers?[..] else { return None };
    Some((name.to_owned(), Some([r, g, b])))
}

/// A name and three numbers in any order.
pub(crate) fn of_colours(line: &str) -> Option<(String, Option<[u8; 3]>)> {
    let words = line
        .split([',', ' ', '\t', ';'])
        .filter(|word| !word.is_empty());
    let (numbers, names): (Vec<&str>, Vec<&str>) =
        words.partition(|word| word.parse::<u8>().is_ok());
    let values: Vec<u8> = numbers
        .iter()
        .filter_map(|word| word.parse().ok())
        .collect();
    match (&*values, names.is_empty()) {
        (&[r, g, b], false) => Some((names.join(" "), Some([r, g, b]))),
        _ => None,
    }
}

/// Whether a line names columns: `name,r,g,b`.
pub(crate) fn is_head(line: &str) -> bool {
    let words = line.split([',', ' ', '\t', ';']);
    let mut letters = words.filter(|word| {
        ["r", "g", "b", "red", "green", "blue"]
            .iter()
            .any(|colour| word.trim().eq_ignore_ascii_case(colour))
    });
    letters.nth(2).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> ClassList {
        ClassList::new(names.iter().copied()).unwrap()
    }

    #[test]
    fn lists_are_read_as_tools_write_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list.txt");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            ClassList::read(&path)
        };
        let cvat =
            "# label:color_rgb:parts:actions\nbackground:0,0,0::\ntraffic light:1,2,3:lamp,pole:\n";
        let labelmap = read(cvat).unwrap();
        assert_eq!(labelmap.names(), ["background", "traffic light"]);
        assert_eq!(labelmap.colours(), [Some([0; 3]), Some([1, 2, 3])]);
        assert_eq!(read(&labelmap.to_labelmap()).unwrap(), labelmap);
        assert_eq!(
            read("0 0 0 background\n1 2 3 traffic light").unwrap(),
            labelmap
        );
        assert_eq!(
            read("name,r,g,b\nbackground,0,0,0\ntraffic light,1,2,3").unwrap(),
            labelmap
        );
        assert_eq!(read("car::::\ndog").unwrap().names(), ["car::::", "dog"]);
        assert_eq!(read("car:::\ndog:::").unwrap().colours(), [None, None]);
        let plain =
            read("\u{feff}__ignore__\r\n_background_\r\ncell type 1 2 3\r\ncell\r\n").unwrap();
        assert_eq!(plain.names(), ["_background_", "cell type 1 2 3", "cell"]);
        assert_eq!(read(&plain.to_text()).unwrap(), plain);
        for (wrong, said) in [
            ("", "0 classes"),
            ("a\nb\na", "two classes called `a`, ids 0 and 2"),
            ("a:1,2,3::\na:1,2,4::", "two classes called `a`"),
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn names_survive_a_file() {
        let odd = list(&["#ff0000", " a\nb ", "x,y:z"]);
        assert_eq!(odd.names(), ["ff0000", "a b", "x,y:z"]);
        assert_eq!(odd.id("#ff0000"), Some(0));
        assert!(ClassList::new(["#a", "a"]).is_err());
        assert!(ClassList::new(["a", "#"]).is_err());
        assert!(ClassList::new((0..256).map(|n| n.to_string())).is_err());
    }

    #[test]
    fn disagreements_are_named() {
        let new = list(&["background", "ant", "dog"]);
        let conflict = |names: &[&str]| new.conflict(&list(names), "c.txt");
        assert_eq!(conflict(&["_background_", "ant"]), None);
        assert_eq!(conflict(&["background", "ant", "dog", "cow"]), None);
        assert_eq!(
            conflict(&["background", "cat", "dog"]).unwrap(),
            "id 1 would be `ant`, and is `cat` in c.txt"
        );
        assert_eq!(
            conflict(&["background", "dog"]).unwrap(),
            "`dog` would be id 2, and is 1 in c.txt"
        );
        assert!(!new.shares_a_class(&list(&["background", "cow"])));
        assert!(new.shares_a_class(&list(&["x", "dog"])));
        assert_eq!(
            list(&["dog", "background"])
                .with_background()
                .unwrap()
                .background(),
            1
        );
        assert_eq!(
            list(&["dog"]).with_background().unwrap().names(),
            ["background", "dog"]
        );
    }
}
