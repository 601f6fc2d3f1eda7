//! Opening a data set: the layout found or told, and what the user said about it.

use std::path::{Path, PathBuf};

use super::files::folders_in;
use super::lists::{List, split_by_lists};
use super::settle::{Settled, settle};
use super::twins::tell_apart;
use super::{Dataset, Kind, Listing, MaskRule, Split, Values};
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
    /// Of [`Kind::Folder`]: a folder of pictures and one of their masks, wherever they are, in place of patterns. The
    /// root is then where `classes.txt` and `splits/` are looked for.
    pub folders: Option<[PathBuf; 2]>,
    /// What the values of masks mean. Without it the layout's own rule holds; a folder's is found from the list of its
    /// classes or else from the values in all masks.
    pub rule: Option<MaskRule>,
    /// Names of the classes, in the order of their ids. A layout that has its own takes as many others.
    pub classes: Option<Vec<String>>,
    /// Values of masks that count as no class, beside those that the rule leaves out.
    pub ignore: Vec<u8>,
    /// A folder of `train.txt`, `val.txt`, `test.txt` that say which picture is in which split. Without it those in
    /// `splits/` are taken, if there are any, and then the layout's own.
    pub splits: Option<PathBuf>,
}

impl Open {
    /// Lists the data set in a folder.
    ///
    /// # Errors
    /// A folder in which no layout is recognised, or which holds no picture; a list that cannot be read, or that
    /// contradicts another; settings that contradict each other or the layout.
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
        tell_apart(&root, &mut listing.items)?;
        listing.items.sort_by(|a, b| a.name.cmp(&b.name));
        self.apply_lists(kind, &root, &mut listing)?;
        let Settled {
            classes,
            meaning,
            notes,
        } = settle(kind, &root, self, &listing)?;
        Ok(Dataset {
            kind,
            root,
            values: Values::new(&meaning, classes.len()),
            classes,
            meaning,
            notes,
            items: listing.items,
            gaps: listing.gaps,
            annotations: listing.annotations,
        })
    }

    /// The layout and its folder: `root`, or the only place up to two folders below where it is found.
    fn find(&self, root: &Path) -> Result<(Kind, PathBuf), DataError> {
        if self.images.is_some() || self.masks.is_some() || self.folders.is_some() {
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
                found.ok_or_else(|| DataError::Unrecognised(root.into()))
            }
        }
    }

    /// Splits that the user's lists say, in place of the layout's own.
    fn apply_lists(&self, kind: Kind, root: &Path, listing: &mut Listing) -> Result<(), DataError> {
        let folder = self.splits.clone().unwrap_or_else(|| root.join("splits"));
        let lists = Split::ALL.map(|split| List::new(split, folder.join(format!("{split}.txt"))));
        if lists.iter().any(|list| list.path.is_file()) {
            for item in &mut listing.items {
                item.split = None;
            }
            return split_by_lists(root, listing, &lists);
        }
        if let Some(folder) = &self.splits {
            return Err(DataError::at(
                "no train.txt, val.txt or test.txt",
                folder,
                "make them: segmenta data split",
            ));
        }
        let lists = match kind {
            Kind::Voc => voc::lists(root),
            Kind::Pets => pets::lists(root),
            Kind::Folder => folder::lists(root),
            Kind::CamVid
            | Kind::Cityscapes
            | Kind::Ade20k
            | Kind::Coco
            | Kind::ImageFolder
            | Kind::Memory => return Ok(()),
        };
        split_by_lists(root, listing, &lists)
    }
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
