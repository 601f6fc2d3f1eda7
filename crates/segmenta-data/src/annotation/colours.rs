//! Masks painted in colours, a colour a class.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rayon::prelude::*;
use segmenta_image::{LabelMap, Palette, Picture, VOID};

use super::TOO_MANY;
use crate::dataset::read_lines;
use crate::{Classes, DataError};

/// Which colour is which class: names and colours in the order of ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Colours(Vec<(String, [u8; 3])>);

impl Colours {
    /// Reads a list: a class a line, its name and three numbers from 0 to 255 in any order, apart by blanks, commas or
    /// tabs. So are CamVid's `label_colors.txt` and the `class_dict.csv` of many others.
    ///
    /// # Errors
    /// A file that cannot be read, a line that is no such thing, one colour twice, or more than 254 classes.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let mut entries: Vec<(String, [u8; 3])> = Vec::new();
        for (number, line) in read_lines(path)?.iter().enumerate() {
            let words: Vec<&str> = line
                .split([',', ' ', '\t', ';'])
                .filter(|w| !w.is_empty())
                .collect();
            let (numbers, names): (Vec<&str>, Vec<&str>) = words
                .into_iter()
                .partition(|word| word.parse::<u8>().is_ok());
            let values: Vec<u8> = numbers
                .iter()
                .filter_map(|word| word.parse().ok())
                .collect();
            match (&*values, names.is_empty()) {
                (&[r, g, b], false) => entries.push((names.join(" "), [r, g, b])),
                // `name,r,g,b`
                ([], _) if number == 0 => {}
                _ => {
                    let remedy = "write a class a line: road 128 64 128";
                    return Err(DataError::at(
                        format!("no class and colour: `{line}`"),
                        path,
                        remedy,
                    ));
                }
            }
        }
        let mut seen = HashMap::new();
        for (name, colour) in &entries {
            if let Some(other) = seen.insert(*colour, name) {
                let what = format!("{other} and {name} have one colour");
                return Err(DataError::at(
                    what,
                    path,
                    "give each class a colour of its own",
                ));
            }
        }
        Self::new(entries).map_err(|what| DataError::at(what, path, TOO_MANY))
    }

    fn new(entries: Vec<(String, [u8; 3])>) -> Result<Self, String> {
        match entries.len() {
            1..=254 => Ok(Self(entries)),
            count => Err(format!("{count} classes")),
        }
    }

    /// The colours that occur in masks, the one with the most pixels first, but black before all. They are named after
    /// themselves, as `#8040a0`.
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
            (format!("#{r:02x}{g:02x}{b:02x}"), colour)
        };
        Self::new(colours.into_iter().map(name).collect()).map_err(|what| {
            let what = format!("{what} by colour");
            DataError::data(
                what,
                "the masks given",
                "say which colours count: --colors FILE",
            )
        })
    }

    /// The classes with these colours.
    pub fn classes(&self) -> Classes {
        let colours: Vec<[u8; 3]> = self.0.iter().map(|(_, colour)| *colour).collect();
        let names = self.0.iter().map(|(name, _)| name.clone());
        Classes::with_palette(names, Palette::from_colors(&colours))
    }

    /// A mask in ids, 255 where a colour is no class's, and how many pixels those are.
    pub fn ids(&self, mask: &Picture) -> (LabelMap, usize) {
        let ids: HashMap<[u8; 3], u8> = self
            .0
            .iter()
            .zip(0..)
            .map(|((_, c), id)| (*c, id))
            .collect();
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
            let remedy = "give masks of flat colours (no JPEG), or say which count: --colors FILE";
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
            ("road 1 2", "road 1 2"),
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
        assert_eq!(colours.classes().names(), ["#000000", "#090909", "#010203"]);
        assert_eq!(colours.ids(&mask).0.ids(), [1, 1, 0, 2]);
        let fewer = Colours(colours.0[..2].to_vec());
        let (map, unknown) = fewer.ids(&mask);
        assert_eq!((map.ids(), unknown), (&[1, 1, 0, 255][..], 1));
    }
}
