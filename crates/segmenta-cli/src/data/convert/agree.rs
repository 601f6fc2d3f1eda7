//! One list of classes for all conversions of a data set.

use std::fs;
use std::path::{Path, PathBuf};

use segmenta_data::annotation::ClassList;

use super::super::super::message::{Usage, count, shown, warning};
use super::super::args::Converted;

/// The list that `--classes` gives: a file's, or the names themselves.
pub(super) fn given(args: &Converted) -> anyhow::Result<Option<ClassList>> {
    let Some(text) = &args.classes else {
        return Ok(None);
    };
    let path = Path::new(text);
    if path.is_file() {
        return Ok(Some(ClassList::read(path)?));
    }
    let is_path = path.extension().is_some_and(|e| e == "txt" || e == "csv");
    if is_path || text.contains(['/', '\\']) {
        let text = format!(
            "no such list · --classes {} · give a file with a class a line, or A,B,C",
            shown(path)
        );
        return Err(Usage(text).into());
    }
    let list = ClassList::new(text.split(',').map(str::trim)).map_err(|what| {
        let remedy = "name each class once: --classes A,B,C";
        Usage(format!("{what} · --classes · {remedy}"))
    })?;
    Ok(Some(list))
}

pub(super) fn with_background(list: ClassList) -> anyhow::Result<ClassList> {
    list.with_background()
        .map_err(|what| Usage(format!("{what} · --classes · leave one class out")).into())
}

/// The list that a document makes.
pub(super) fn own(
    names: impl Iterator<Item = impl Into<String>>,
    input: &Path,
) -> anyhow::Result<ClassList> {
    let names: Vec<String> = names.map(Into::into).collect();
    let list = ClassList::new(names.iter().cloned()).map_err(|what| {
        let remedy = "give each class a name of its own";
        anyhow::anyhow!("{what} · {} · {remedy}", shown(input))
    })?;
    // A line of the list is a name: line breaks and a `#` at the beginning have no place there.
    let pairs = names.iter().zip(list.names());
    let renamed: Vec<_> = pairs
        .filter(|(name, listed)| name.trim() != *listed)
        .collect();
    if let Some((name, listed)) = renamed.first() {
        warning(&format!(
            "{} called otherwise in the list of classes · first: {name:?} is `{listed}` there · {}",
            count(renamed.len(), "class"),
            shown(input)
        ));
    }
    Ok(list)
}

/// The classes in the order of their ids: as they were given, or else the document's own, as far as no list that is
/// there says otherwise. One in the output folder that goes on from there is kept.
pub(super) fn list(
    given: Option<&ClassList>,
    own: impl FnOnce() -> anyhow::Result<ClassList>,
    args: &Converted,
) -> anyhow::Result<ClassList> {
    let list = given.map_or_else(own, |list| Ok(list.clone()))?;
    if args.renumber {
        return Ok(list);
    }
    let there = args.out.join("classes.txt");
    if there.is_file() {
        let existing = ClassList::read(&there)?;
        if let Some(what) = list.conflict(&existing, &shown(&there).to_string()) {
            return Err(disagreement(&what, &there, args));
        }
        if existing.names().len() > list.names().len() {
            return Ok(list.continued_by(&existing));
        }
        return Ok(list);
    }
    if given.is_some() {
        return Ok(list);
    }
    for path in beside(args) {
        // A list that cannot be read is none of this data set's.
        let Ok(existing) = ClassList::read(&path) else {
            continue;
        };
        if !list.shares_a_class(&existing) {
            continue;
        }
        if let Some(what) = list.conflict(&existing, &shown(&path).to_string()) {
            return Err(disagreement(&what, &path, args));
        }
    }
    Ok(list)
}

fn disagreement(what: &str, path: &Path, args: &Converted) -> anyhow::Error {
    let (list, out) = (shown(path), shown(&args.out));
    anyhow::anyhow!(
        "{what} · {out} · give that list, new classes added at its end: --classes {list}, or number them anew: --renumber"
    )
}

/// Lists that other conversions of the same data may have written or been given: in the folders of the input, in the
/// folder of the output folder, and in those beside it that have masks.
fn beside(args: &Converted) -> Vec<PathBuf> {
    let folder = |path: &Path| -> PathBuf {
        match path.parent() {
            Some(parent) if parent.as_os_str().is_empty() => ".".into(),
            Some(parent) => parent.into(),
            None => path.into(),
        }
    };
    let mut folders = Vec::new();
    if args.input.is_dir() {
        folders.push(args.input.clone());
    }
    folders.push(folder(&args.input));
    let above = folder(&args.out);
    let siblings = fs::read_dir(&above).into_iter().flatten().flatten();
    let mut siblings: Vec<PathBuf> = siblings
        .map(|entry| entry.path())
        .filter(|path| path.join("masks").is_dir())
        .collect();
    siblings.sort();
    folders.push(above);
    folders.extend(siblings);
    let lists = folders.into_iter().map(|folder| folder.join("classes.txt"));
    let lists = lists.filter(|path| path.is_file());
    lists
        .map(|path| {
            path.strip_prefix(".")
                .map_or(path.clone(), Path::to_path_buf)
        })
        .collect()
}
