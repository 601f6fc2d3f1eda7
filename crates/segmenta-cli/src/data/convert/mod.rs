//! `segmenta data convert`: other annotations to masks of ids.

mod agree;
mod rgb;
mod write;

use std::fs;
use std::path::{Path, PathBuf};

use segmenta::check_folder;
use segmenta_data::annotation::{Annotations, coco, cvat, labelme, mask_names};
use walkdir::{DirEntry, WalkDir};

use super::super::message::{count, reason, shown, warn_of, warning};
use super::args::{Convert, Converted, Rgb};
use write::Masks;

pub(super) fn run(from: &Convert, quiet: bool) -> anyhow::Result<()> {
    let (Convert::Coco(paths)
    | Convert::Cvat(paths)
    | Convert::Labelme(paths)
    | Convert::Rgb(Rgb { paths, .. })) = from;
    // Large documents and the colours of many masks are read before the first mask is written.
    check_folder(&paths.out)?;
    match from {
        Convert::Coco(args) => draw(coco::read(&one(args, "json")?)?, args, quiet),
        Convert::Cvat(args) => draw(cvat::read(&one(args, "xml")?)?, args, quiet),
        Convert::Labelme(args) => {
            let documents = files(args, |path| has_extension(path, "json"))?;
            let root = args.input.is_dir().then_some(&*args.input);
            draw(labelme::read(&documents, root)?, args, quiet)
        }
        Convert::Rgb(args) => rgb::run(args, quiet),
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

/// The document that was named, or the only one in the folder that was.
fn one(args: &Converted, extension: &str) -> anyhow::Result<PathBuf> {
    let mut found = files(args, |path| has_extension(path, extension))?;
    if found.len() == 1 {
        return Ok(found.remove(0));
    }
    let what = count(found.len(), &format!(".{extension} file"));
    Err(anyhow::anyhow!(
        "{what} · {} · name one of them",
        shown(&args.input)
    ))
}

/// A file, or those below a folder that are `wanted`: neither hidden ones nor masks that were written before.
fn files(args: &Converted, wanted: impl Fn(&Path) -> bool) -> anyhow::Result<Vec<PathBuf>> {
    let input = &args.input;
    let unread = |cause: &std::io::Error, path: &Path| {
        anyhow::anyhow!(
            "cannot read it: {} · {} · check the path",
            reason(cause),
            shown(path)
        )
    };
    if fs::metadata(input)
        .map_err(|cause| unread(&cause, input))?
        .is_file()
    {
        return Ok(vec![input.clone()]);
    }
    let own = args.out.join("masks").canonicalize().ok();
    let mut own_files = 0;
    let mut found = Vec::new();
    let shown_ones = |entry: &DirEntry| {
        entry.depth() == 0 || !entry.file_name().as_encoded_bytes().starts_with(b".")
    };
    let walk = WalkDir::new(input).follow_links(true).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(shown_ones) {
        let entry = match entry {
            Ok(entry) => entry,
            // What the link leads to is found by its own name.
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) => match error.io_error() {
                Some(cause) => return Err(unread(cause, error.path().unwrap_or(input))),
                None => continue,
            },
        };
        let path = entry.into_path();
        if !path.is_file() || !wanted(&path) {
            continue;
        }
        let is_own = own
            .as_ref()
            .is_some_and(|own| path.canonicalize().is_ok_and(|path| path.starts_with(own)));
        if is_own {
            own_files += 1;
        } else {
            found.push(path);
        }
    }
    if own_files > 0 {
        warning(&format!(
            "{} from the output folder left out · {} · give an --out outside the input",
            count(own_files, "file"),
            shown(&args.out)
        ));
    }
    if found.is_empty() {
        let text = format!(
            "nothing to convert in it · {} · give the annotations",
            shown(input)
        );
        return Err(anyhow::anyhow!(text));
    }
    Ok(found)
}

/// Masks of shapes.
fn draw(annotations: Annotations, args: &Converted, quiet: bool) -> anyhow::Result<()> {
    let list = agree::list(
        agree::given(args)?
            .map(agree::with_background)
            .transpose()?
            .as_ref(),
        || agree::own(annotations.classes.iter(), &args.input),
        args,
    )?;
    let annotations = annotations.with_classes(&list)?;
    let pictures: Vec<(&str, &str)> = annotations
        .pictures
        .iter()
        .map(|picture| (&*picture.file, &*picture.origin))
        .collect();
    let names = mask_names(&pictures)?;
    let masks = Masks {
        names,
        classes: &list,
        labelmap: false,
    };
    let draw = |index: usize| Ok(annotations.draw(index)?);
    masks.write(args, quiet, &draw)?;
    for remark in annotations.remarks() {
        warn_of(&remark, &args.input);
    }
    if annotations.shapes() == 0 {
        let masks = count(pictures.len(), "picture");
        warning(&format!(
            "no shape was drawn on {masks}: the masks are background alone · {} · look at its annotations",
            shown(&args.input)
        ));
    }
    masks.say(args, quiet)
}
