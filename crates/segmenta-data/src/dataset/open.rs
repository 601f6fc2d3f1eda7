//! Opening a data set: the layout found or told, and what the user said about it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::files::{folders_in, read_list};
use super::{Dataset, Gap, Kind, Listing, Split};
use super::{ade20k, camvid, cityscapes, coco, folder, pets, voc};
use crate::DataError;

/// How a data set is opened. The default finds everything out by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// The layout; without it, it is recognised.
    pub kind: Option<Kind>,
    /// Of [`Kind::Folder`]: where pictures lie, from the root on, `{}` standing for a picture's name:
    /// `images/{}.jpg`, `img_{}.png`.
    pub images: Option<String>,
    /// Likewise of masks.
    pub masks: Option<String>,
    /// Names of the classes, in the order of their ids, for layouts that do not know them.
    pub classes: Option<Vec<String>>,
    /// Values of masks that count as no class, beside 255.
    pub ignore: Vec<u8>,
    /// A folder of `train.txt`, `val.txt`, `test.txt` that say which picture is in which split. Without it those in
    /// `splits/` are taken, if there are any, and then the layout's own.
    pub splits: Option<PathBuf>,
}

impl Open {
    /// Lists the data set in a folder.
    ///
    /// # Errors
    /// A folder in which no layout is recognised, or which holds no picture; a list that cannot be read.
    pub fn open(&self, root: impl AsRef<Path>) -> Result<Dataset, DataError> {
        let root = root.as_ref();
        match std::fs::metadata(root) {
            Err(cause) => return Err(DataError::read(root, &cause)),
            Ok(data) if !data.is_dir() => {
                return Err(DataError::at(
                    "no folder",
                    root,
                    "give the folder of a data set",
                ));
            }
            Ok(_) => {}
        }
        let (kind, root) = self.find(root)?;
        let mut listing = list(kind, &root, self)?;
        if listing.items.is_empty() && listing.gaps.is_empty() {
            let remedy = format!("{kind} has {}", kind.layout());
            return Err(DataError::at("no picture in it", &root, remedy));
        }
        listing.items.sort_by(|a, b| a.name.cmp(&b.name));
        self.apply_lists(&root, &mut listing)?;
        Ok(Dataset {
            kind,
            root,
            classes: listing.classes,
            values: listing.values,
            items: listing.items,
            gaps: listing.gaps,
            annotations: listing.annotations,
        })
    }

    /// The layout and its folder: `root`, or the only place up to two folders below where it is found.
    fn find(&self, root: &Path) -> Result<(Kind, PathBuf), DataError> {
        if self.images.is_some() || self.masks.is_some() {
            return match self.kind {
                None | Some(Kind::Folder) => Ok((Kind::Folder, root.into())),
                Some(kind) => Err(DataError::setting(
                    format!("{kind} knows where its pictures lie"),
                    "images, masks",
                    "leave them out, or say kind folder",
                )),
            };
        }
        let below: Vec<PathBuf> = folders_in(root)
            .into_iter()
            .flat_map(|folder| {
                let deeper = folders_in(&folder);
                std::iter::once(folder).chain(deeper)
            })
            .collect();
        let place = |kind: Kind| {
            if is(kind, root) {
                return Some(root.to_path_buf());
            }
            // Pictures in class folders are found by their root alone.
            let mut below = below.iter().filter(|_| kind != Kind::ImageFolder);
            let first = below.find(|folder| is(kind, folder))?;
            // Two years of VOC are two data sets: which one, is the user's to say.
            below.all(|folder| !is(kind, folder)).then(|| first.clone())
        };
        match self.kind {
            Some(kind) => place(kind).map(|place| (kind, place)).ok_or_else(|| {
                let remedy = format!("{kind} has {}", kind.layout());
                DataError::at(format!("no {kind} data set in it"), root, remedy)
            }),
            None => {
                let found = Kind::ALL
                    .into_iter()
                    .find_map(|kind| Some((kind, place(kind)?)));
                found.ok_or_else(|| {
                    let remedy = "put pictures into images/ and masks of the same names into masks/, or say --kind";
                    DataError::at("no data set is recognised in it", root, remedy)
                })
            }
        }
    }

    /// Splits that lists say, in place of the layout's own.
    fn apply_lists(&self, root: &Path, listing: &mut Listing) -> Result<(), DataError> {
        let folder = self.splits.clone().unwrap_or_else(|| root.join("splits"));
        let lists = Split::ALL.map(|split| (split, folder.join(format!("{split}.txt"))));
        if lists.iter().all(|(_, path)| !path.is_file()) {
            return match &self.splits {
                Some(folder) => Err(DataError::at(
                    "no train.txt, val.txt or test.txt",
                    folder,
                    "make them: segmenta data split",
                )),
                None => Ok(()),
            };
        }
        let places = listing.items.iter().enumerate();
        let places: HashMap<String, usize> =
            places.map(|(i, item)| (item.name.clone(), i)).collect();
        for item in &mut listing.items {
            item.split = None;
        }
        for (split, path) in lists.into_iter().filter(|(_, path)| path.is_file()) {
            for name in read_list_names(&path)? {
                match places.get(&name) {
                    Some(&place) => listing.items[place].split = Some(split),
                    None => listing.gaps.push(Gap::Listed {
                        list: path.clone(),
                        name,
                    }),
                }
            }
        }
        Ok(())
    }
}

/// Names may hold blanks, so a line is a name.
fn read_list_names(path: &Path) -> Result<Vec<String>, DataError> {
    super::read_lines(path)
}

/// Gives items the split of the first of `lists` that names them; names without an item are gaps.
pub(super) fn split_by_lists(
    listing: &mut Listing,
    lists: &[(Split, PathBuf)],
) -> Result<(), DataError> {
    let places = listing.items.iter().enumerate();
    let places: HashMap<String, usize> = places.map(|(i, item)| (item.name.clone(), i)).collect();
    for (split, path) in lists.iter().filter(|(_, path)| path.is_file()) {
        for name in read_list(path)? {
            match places.get(&name) {
                Some(&place) => {
                    listing.items[place].split.get_or_insert(*split);
                }
                None => listing.gaps.push(Gap::Listed {
                    list: path.clone(),
                    name,
                }),
            }
        }
    }
    Ok(())
}

fn is(kind: Kind, root: &Path) -> bool {
    match kind {
        Kind::Voc => voc::is(root),
        Kind::Pets => pets::is(root),
        Kind::CamVid => camvid::is(root),
        Kind::Cityscapes => cityscapes::is(root),
        Kind::Ade20k => ade20k::is(root),
        Kind::Coco => coco::is(root),
        Kind::Folder => folder::is(root),
        Kind::ImageFolder => folder::has_pictures(root),
        Kind::Memory => false,
    }
}

fn list(kind: Kind, root: &Path, open: &Open) -> Result<Listing, DataError> {
    match kind {
        Kind::Voc => voc::list(root),
        Kind::Pets => pets::list(root),
        Kind::CamVid => camvid::list(root),
        Kind::Cityscapes => cityscapes::list(root),
        Kind::Ade20k => ade20k::list(root),
        Kind::Coco => coco::list(root),
        Kind::Folder => folder::list(root, open),
        Kind::ImageFolder | Kind::Memory => folder::pictures(root),
    }
}
