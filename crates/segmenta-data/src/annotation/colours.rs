//! Masks painted in colours, a colour a class.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rayon::prelude::*;
use segmenta_image::{LabelMap, Picture, VOID};

use super::ClassList;
use crate::{Classes, DataError};

/// Which colour is which class: names in the order of ids, and their colours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Colours(ClassList);

impl Colours {
    /// Reads a list of classes with colours, as [`ClassList::read`] does.
    ///
    /// # Errors
    /// A file that cannot be read, a class without a colour, one colour or one name twice, or more than 255 classes.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let list = ClassList::read(path)?;
        Self::new(list).map_err(|what| {
            let remedy = "write a class a line, each with a colour of its own: road 128 64 128";
            DataError::at(what, path, remedy)
        })
    }

    /// Classes of a list that has all their colours.
    ///
    /// # Errors
    /// A class without a colour, or two of one colour.
    pub fn new(list: ClassList) -> Result<Self, String> {
        let mut seen = HashMap::new();
        for (name, colour) in list.names().iter().zip(list.colours()) {
            let colour = colour.ok_or_else(|| format!("no class and colour: `{name}`"))?;
            if let Some(other) = seen.insert(colour, name) {
                return Err(format!("{other} and {name} have one colour"));
            }
        }
        Ok(Self(list))
    }

    /// The same colours under the ids of another list, matched by name. A list whose names are colours (`8040a0`, as
    /// [`Colours::found_in`] calls them) may have more than these.
    ///
    /// # Errors
    /// A class with a colour that the other list does not have.
    pub fn with_classes(&self, classes: &ClassList) -> Result<Self, String> {
        let mut entries: Vec<(String, Option<[u8; 3]>)> = classes
            .names()
            .iter()
            .map(|name| (name.clone(), None))
            .collect();
        for (name, colour) in self.0.names().iter().zip(self.0.colours()) {
            let id = classes.id(name);
            let id = id.ok_or_else(|| format!("`{name}` is not in the list of classes"))?;
            entries[usize::from(id)].1 = *colour;
        }
        ClassList::with_colours(entries).map(Self)
    }

    /// The colours that a list's names are: `8040a0` or `#8040a0` each. None if one is none.
    pub fn from_names(classes: &ClassList) -> Option<Self> {
        let colour = |name: &String| {
            let digits = name.trim_start_matches('#');
            let value = u32::from_str_radix(digits, 16)
                .ok()
                .filter(|_| digits.len() == 6)?;
            let [_, r, g, b] = value.to_be_bytes();
            Some((name.clone(), Some([r, g, b])))
        };
        let entries: Vec<_> = classes.names().iter().map(colour).collect::<Option<_>>()?;
        ClassList::with_colours(entries).ok().map(Self)
    }

    fn named(entries: Vec<(String, [u8; 3])>) -> Result<Self, String> {
        let entries = entries
            .into_iter()
            .map(|(name, colour)| (name, Some(colour)));
        ClassList::with_colours(entries).map(Self)
    }

    /// The classes and their colours.
    pub fn list(&self) -> &ClassList {
        &self.0
    }

    /// The colours that occur in masks, the one with the most pixels first, but black before all. They are named after
    /// themselves, as `8040a0`.
    ///
    /// # Errors
    /// A mask that cannot be read, or more than 254 colours: then they are not flat.
    pub fn found_in(masks: &[impl AsRef<Path> + Sync]) -> Result<Self, DataError> {
        let found = masks.par_iter().map(|path| counts(path.as_ref()));
        let all = found.try_reduce(BTreeMap::new, |mut all, some| {
            for (colour, pixels) in some {
                *all.entry(colour).or_default() += pixels;
            }
            Ok(all)
        })?;
        let mut colours: Vec<([u8; 3], u64)> = all.into_iter().collect();
        colours.sort_by_key(|&(colour, pixels)| (colour != [0; 3], std::cmp::Reverse(pixels)));
        let name = |(colour, _): ([u8; 3], u64)| {
            let [r, g, b] = colour;
            (format!("{r:02x}{g:02x}{b:02x}"), colour)
        };
        Self::named(colours.into_iter().map(name).collect()).map_err(|what| {
            let what = format!("{what} by colour");
            DataError::data(
                what,
                "the masks given",
                "give a list of the colours that count",
            )
        })
    }

    /// The classes with these colours.
    pub fn classes(&self) -> Classes {
        self.0.classes()
    }

    /// A mask in ids, 255 where a colour is no class's, and how many pixels those are.
    pub fn ids(&self, mask: &Picture) -> (LabelMap, usize) {
        let colours = self.0.colours().iter().zip(0..);
        let ids: HashMap<[u8; 3], u8> = colours.filter_map(|(c, id)| Some(((*c)?, id))).collect();
        let (pixels, _) = mask.pixels().as_chunks::<3>();
        let mut unknown = 0;
        let mut last = ([0; 3], ids.get(&[0; 3]).copied());
        let of = |&colour: &[u8; 3]| {
            // Colours come in runs.
            if colour != last.0 {
                last = (colour, ids.get(&colour).copied());
            }
            unknown += usize::from(last.1.is_none());
            last.1.unwrap_or(VOID)
        };
        let map = LabelMap::new(mask.width(), mask.height(), pixels.iter().map(of).collect());
        (map.expect("the size of the mask"), unknown)
    }
}

/// Pixels of each colour; a photograph's thousands are not counted to the end.
fn counts(path: &Path) -> Result<BTreeMap<[u8; 3], u64>, DataError> {
    let mask = Picture::open(path)?;
    let mut counts = BTreeMap::new();
    for pixel in mask.pixels().as_chunks::<3>().0 {
        *counts.entry(*pixel).or_default() += 1;
        if counts.len() > 254 {
            let remedy =
                "give masks of flat colours (no JPEG), or a list of the colours that count";
            return Err(DataError::at("more than 254 colours", path, remedy));
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_colours_are_read_as_people_write_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("colors.txt");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Colours::read(&path)
        };
        let both = read("name,r,g,b\nroad,128,64,128\ntraffic light,1,2,3\n").unwrap();
        assert_eq!(both.classes().names(), ["road", "traffic light"]);
        assert_eq!(
            both,
            read("128 64 128\troad\n1 2 3\ttraffic light").unwrap()
        );
        for (wrong, said) in [
            ("road 1 2", "no class and colour"),
            ("road 1 2 3\nsky 1 2 3", "road and sky have one colour"),
            ("", "0 classes"),
            ("road 1 2 256", "no class and colour"),
        ] {
            let error = read(&format!("a 9 9 9\n{wrong}")[if wrong.is_empty() { 8 } else { 0 }..]);
            assert!(error.unwrap_err().to_string().contains(said), "{wrong}");
        }
    }

    #[test]
    fn colours_become_ids() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        let pixels = [[9, 9, 9], [9, 9, 9], [0, 0, 0], [1, 2, 3]].concat();
        let mask = Picture::from_rgb(4, 1, pixels).unwrap();
        mask.save(&path).unwrap();
        let colours = Colours::found_in(&[&path]).unwrap();
        assert_eq!(colours.classes().names(), ["000000", "090909", "010203"]);
        assert_eq!(colours.ids(&mask).0.ids(), [1, 1, 0, 2]);
        let list = ClassList::new(["#000000", "#090909"]).unwrap();
        let (map, unknown) = Colours::from_names(&list).unwrap().ids(&mask);
        assert_eq!((map.ids(), unknown), (&[1, 1, 0, 255][..], 1));
        // Under the ids of a list that was written before.
        let before = ClassList::new(["010203", "ffffff", "090909", "000000"]).unwrap();
        let same = colours.with_classes(&before).unwrap();
        assert_eq!(same.ids(&mask).0.ids(), [2, 2, 3, 0]);
        assert_eq!(
            Colours::from_names(&before).unwrap().ids(&mask).0.ids(),
            [2, 2, 3, 0]
        );
        let error = colours.with_classes(&list).unwrap_err();
        assert!(error.contains("`010203` is not in the list"), "{error}");
        assert_eq!(
            Colours::from_names(&ClassList::new(["road"]).unwrap()),
            None
        );
    }
}
