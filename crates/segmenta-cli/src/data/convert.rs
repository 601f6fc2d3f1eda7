//! `segmenta data convert`: other annotations to masks of ids.

use std::fmt::Write;
use std::fs;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;
use segmenta::prepare_folder;
use segmenta_data::annotation::{Annotations, Colours, coco, cvat, labelme};
use segmenta_data::{Classes, DataError};
use segmenta_image::{LabelMap, Picture, looks_like_picture, write_atomic};
use walkdir::WalkDir;

use super::super::message::{count, reason, result, shown, warning};
use super::args::{Convert, Converted, Rgb};
use super::with_progress;

pub(super) fn run(from: &Convert, quiet: bool) -> anyhow::Result<()> {
    match from {
        Convert::Coco(args) => draw(&coco::read(&one(args, "json")?)?, args, quiet),
        Convert::Cvat(args) => draw(&cvat::read(&one(args, "xml")?)?, args, quiet),
        Convert::Labelme(args) => {
            let ends = |path: &Path| {
                path.extension()
                    .is_some_and(|e| e.eq_ignore_ascii_case("json"))
            };
            draw(&labelme::read(&files(&args.input, ends)?)?, args, quiet)
        }
        Convert::Rgb(args) => rgb(args, quiet),
    }
}

/// The document that was named, or the only one in the folder that was.
fn one(args: &Converted, extension: &str) -> anyhow::Result<PathBuf> {
    let ends = |path: &Path| {
        path.extension()
            .is_some_and(|e| e.eq_ignore_ascii_case(extension))
    };
    let mut found = files(&args.input, ends)?;
    if found.len() == 1 {
        return Ok(found.remove(0));
    }
    let what = format!("{} .{extension} files", found.len());
    Err(anyhow::anyhow!(
        "{what} · {} · name one of them",
        shown(&args.input)
    ))
}

/// A file, or those below a folder that are `wanted`.
fn files(input: &Path, wanted: impl Fn(&Path) -> bool) -> anyhow::Result<Vec<PathBuf>> {
    if input.is_file() {
        return Ok(vec![input.into()]);
    }
    fs::metadata(input).map_err(|cause| {
        anyhow::anyhow!(
            "cannot read it: {} · {} · check the path",
            reason(&cause),
            shown(input)
        )
    })?;
    let walk = WalkDir::new(input).follow_links(true).sort_by_file_name();
    let paths = walk
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file());
    let found: Vec<PathBuf> = paths
        .map(walkdir::DirEntry::into_path)
        .filter(|p| wanted(p))
        .collect();
    if found.is_empty() {
        let text = format!(
            "nothing to convert in it · {} · give the annotations",
            shown(input)
        );
        return Err(anyhow::anyhow!(text));
    }
    Ok(found)
}

fn draw(annotations: &Annotations, args: &Converted, quiet: bool) -> anyhow::Result<()> {
    let names = std::iter::once("background".to_owned()).chain(annotations.classes.iter().cloned());
    let classes = Classes::new(names);
    let out = begin(&args.out, &classes)?;
    let pictures = &annotations.pictures;
    let written = with_progress(pictures.len(), "masks", quiet, |advance| {
        pictures
            .par_iter()
            .enumerate()
            .try_for_each(|(index, picture)| {
                let name = within(Path::new(&picture.file.replace('\\', "/")));
                save(&annotations.draw(index)?, &out, &name, &classes)?;
                advance();
                Ok::<(), anyhow::Error>(())
            })
    });
    written?;
    for (what, count) in &annotations.left_out {
        warning(&format!(
            "{count} {what} were left out · {}",
            shown(&args.input)
        ));
    }
    say(pictures.len(), &classes, &args.out, quiet)
}

fn rgb(args: &Rgb, quiet: bool) -> anyhow::Result<()> {
    let input = &args.paths.input;
    let masks = files(input, |path| looks_like_picture(path))?;
    let colours = match &args.colors {
        Some(list) => Colours::read(list)?,
        None => Colours::found_in(&masks)?,
    };
    let classes = colours.classes();
    let out = begin(&args.paths.out, &classes)?;
    let root = if input.is_dir() {
        input.as_path()
    } else {
        input.parent().unwrap_or(Path::new(""))
    };
    let unknown = with_progress(masks.len(), "masks", quiet, |advance| {
        let convert = |path: &PathBuf| -> anyhow::Result<usize> {
            let (map, unknown) = colours.ids(&Picture::open(path)?);
            save(
                &map,
                &out,
                &within(path.strip_prefix(root).unwrap_or(path)),
                &classes,
            )?;
            advance();
            Ok(unknown)
        };
        masks
            .par_iter()
            .map(convert)
            .collect::<anyhow::Result<Vec<usize>>>()
    })?;
    let strange: Vec<&PathBuf> = masks
        .iter()
        .zip(&unknown)
        .filter(|(_, n)| **n > 0)
        .map(|(path, _)| path)
        .collect();
    if let Some(first) = strange.first() {
        let pixels: usize = unknown.iter().sum();
        let masks = count(strange.len(), "mask");
        warning(&format!(
            "{pixels} pixels in {masks} have a colour that is not listed and became 255 · first in {} · add it to --colors",
            shown(first)
        ));
    }
    say(masks.len(), &classes, &args.paths.out, quiet)
}

/// Makes the folders and writes `classes.txt`; gives the folder of masks.
fn begin(out: &Path, classes: &Classes) -> anyhow::Result<PathBuf> {
    let masks = out.join("masks");
    prepare_folder(out)?;
    prepare_folder(&masks)?;
    let mut text = String::new();
    for name in classes.names() {
        // A name that looks like a comment would be passed over when the list is read.
        let _ = writeln!(
            text,
            "{}",
            name.replace(['\n', '\r'], " ").trim_start_matches('#')
        );
    }
    write_atomic(out.join("classes.txt"), text.as_bytes())?;
    Ok(masks)
}

fn save(map: &LabelMap, out: &Path, name: &Path, classes: &Classes) -> Result<(), anyhow::Error> {
    let path = out.join(name.with_extension("png"));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|cause| {
            let text = format!("cannot make the folder: {}", reason(&cause));
            anyhow::anyhow!("{text} · {} · choose another with --out", shown(folder))
        })?;
    }
    Ok(map
        .save(&path, classes.palette())
        .map_err(DataError::from)?)
}

/// A path that stays in the folder it is joined to, whatever an annotation says.
fn within(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect()
}

fn say(masks: usize, classes: &Classes, out: &Path, quiet: bool) -> anyhow::Result<()> {
    if quiet {
        return Ok(());
    }
    result(&format!(
        "{} of {} classes in {}\nPut the pictures into {}, then: segmenta data check {}\n",
        count(masks, "mask"),
        classes.len(),
        shown(&out.join("masks")),
        shown(&out.join("images")),
        shown(out),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        for (name, kept) in [
            ("../../a/b.jpg", "a/b.jpg"),
            ("/etc/x.png", "etc/x.png"),
            ("./c.jpg", "c.jpg"),
        ] {
            assert_eq!(within(Path::new(name)), Path::new(kept));
        }
    }
}
