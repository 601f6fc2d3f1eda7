//! Masks of colours.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use segmenta_data::annotation::{ClassList, Colours, mask_names};
use segmenta_image::{LabelMap, Picture, looks_like_picture};

use super::super::super::message::{Usage, count, note, shown, warning};
use super::super::args::{Converted, Rgb};
use super::agree;
use super::files;
use super::write::Masks;
use std::sync::Mutex;
use std::sync::PoisonError;

/// Lists of colours as tools leave them beside masks: CVAT's and Datumaro's, CamVid's, and what this command writes.
const LISTS: [&str; 3] = ["labelmap.txt", "label_colors.txt", "class_dict.csv"];

pub(super) fn run(args: &Rgb, quiet: bool) -> anyhow::Result<()> {
    let paths = &args.paths;
    let masks = files(paths, |path| looks_like_picture(path))?;
    let given = agree::given(paths)?;
    let colours = colours(args, given.as_ref(), &masks, quiet)?;
    let list = agree::list(
        given.is_some().then(|| colours.list()),
        || Ok(colours.list().clone()),
        paths,
    )?;
    let root = if paths.input.is_dir() {
        paths.input.as_path()
    } else {
        paths.input.parent().unwrap_or(Path::new(""))
    };
    let named: Vec<(String, String)> = masks
        .iter()
        .map(|path| {
            let name = path.strip_prefix(root).unwrap_or(path);
            (name.to_string_lossy().into_owned(), shown(path).to_string())
        })
        .collect();
    let named: Vec<(&str, &str)> = named
        .iter()
        .map(|(name, path)| (&**name, &**path))
        .collect();
    let output = Masks {
        names: mask_names(&named)?,
        classes: &list,
        labelmap: true,
    };
    let unknown = Mutex::new(vec![0; masks.len()]);
    let draw = |index: usize| -> anyhow::Result<LabelMap> {
        let path: &PathBuf = &masks[index];
        let picture = Picture::open(path).map_err(segmenta_data::DataError::from)?;
        let (map, strange) = colours.ids(&picture);
        let mut unknown = unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown[index] = strange;
        Ok(map)
    };
    output.write(paths, quiet, &draw)?;
    let unknown = unknown.into_inner().unwrap_or_else(PoisonError::into_inner);
    let strange: Vec<&PathBuf> = masks
        .iter()
        .zip(&unknown)
        .filter(|(_, n)| **n > 0)
        .map(|(path, _)| path)
        .collect();
    if let Some(first) = strange.first() {
        let pixels: usize = unknown.iter().sum();
        let verb = if pixels == 1 { "has" } else { "have" };
        let (pixels, masks) = (count(pixels, "pixel"), count(strange.len(), "mask"));
        warning(&format!(
            "{pixels} in {masks} {verb} a colour that is not listed and became 255 · first in {} · add it to --colors",
            shown(first)
        ));
    }
    output.say(paths, quiet)
}

/// Which colour is which class: as a list says, given or beside the masks, or as the masks show.
fn colours(
    args: &Rgb,
    given: Option<&ClassList>,
    masks: &[PathBuf],
    quiet: bool,
) -> anyhow::Result<Colours> {
    let listed = match &args.colors {
        Some(list) => Some((Colours::read(list)?, list.clone())),
        None => given
            .is_none_or(|list| !has_colours(list))
            .then(|| beside(&args.paths, quiet))
            .flatten(),
    };
    let Some(classes) = given else {
        return match listed {
            Some((colours, _)) => Ok(colours),
            None => Ok(Colours::found_in(masks)?),
        };
    };
    if let Some((colours, path)) = listed {
        return colours.with_classes(classes).map_err(|what| {
            let remedy = "add it to the end of --classes, or take it out of the colours";
            anyhow!("{what} · {} · {remedy}", shown(&path))
        });
    }
    let own = Colours::from_names(classes).map_or_else(|| Colours::new(classes.clone()), Ok);
    own.map_err(|what| {
        let remedy = "say which colour each class has: --colors FILE";
        Usage(format!("{what} · --classes · {remedy}")).into()
    })
}

fn has_colours(list: &ClassList) -> bool {
    list.colours().iter().any(Option::is_some) || Colours::from_names(list).is_some()
}

/// The list that lies in the folder of the masks or in the one above.
fn beside(paths: &Converted, quiet: bool) -> Option<(Colours, PathBuf)> {
    let folder = if paths.input.is_dir() {
        paths.input.clone()
    } else {
        paths.input.parent()?.to_path_buf()
    };
    let above = folder.parent().map(Path::to_path_buf);
    let folders = [Some(folder), above].into_iter().flatten();
    let mut lists = folders.flat_map(|folder| LISTS.map(|name| folder.join(name)));
    let path = lists.find(|path| path.is_file())?;
    match Colours::read(&path) {
        Ok(colours) => {
            if !quiet {
                note(&format!("colours of the classes: {}", shown(&path)));
            }
            Some((colours, path))
        }
        Err(error) => {
            warning(&format!("no list of colours: passed over · {error}"));
            None
        }
    }
}
