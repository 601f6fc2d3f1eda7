//! Masks and their list of classes written, nothing that is there already without leave.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use segmenta::prepare_folder;
use segmenta_data::annotation::{ClassList, MaskName};
use segmenta_image::{LabelMap, write_atomic};

use super::super::super::message::{count, reason, result, shown};
use super::super::args::Converted;
use super::super::with_progress;

/// What is to be written: a mask for each name.
pub(super) struct Masks<'a> {
    pub(super) names: Vec<MaskName>,
    pub(super) classes: &'a ClassList,
    /// Whether the classes' colours are written too.
    pub(super) labelmap: bool,
}

type Draw<'a> = dyn Fn(usize) -> anyhow::Result<LabelMap> + Sync + 'a;

impl Masks<'_> {
    /// Draws and writes all masks. Before the first is written, those that are there already are compared.
    pub(super) fn write(
        &self,
        args: &Converted,
        quiet: bool,
        draw: &Draw<'_>,
    ) -> anyhow::Result<()> {
        let folder = args.out.join("masks");
        prepare_folder(&args.out)?;
        prepare_folder(&folder)?;
        check_twins(&self.names, &folder, folds_case)?;
        let palette = self.classes.classes();
        let png = |index: usize| Ok::<_, anyhow::Error>(draw(index)?.to_png(palette.palette()));
        if !args.overwrite {
            self.check_existing(&folder, &png)?;
        }
        write_atomic(
            args.out.join("classes.txt"),
            self.classes.to_text().as_bytes(),
        )?;
        if self.labelmap {
            write_atomic(
                args.out.join("labelmap.txt"),
                self.classes.to_labelmap().as_bytes(),
            )?;
        }
        with_progress(self.names.len(), "masks", quiet, |advance| {
            let save = |(index, name): (usize, &MaskName)| {
                let path = folder.join(&name.path);
                let bytes = png(index)?;
                make_folder(&path)?;
                write_atomic(&path, &bytes)?;
                advance();
                Ok(())
            };
            self.names.par_iter().enumerate().try_for_each(save)
        })
    }

    /// Masks that are there and would become others.
    fn check_existing(
        &self,
        folder: &Path,
        png: &(dyn Fn(usize) -> anyhow::Result<Vec<u8>> + Sync),
    ) -> anyhow::Result<()> {
        let differs = |(index, name): (usize, &MaskName)| {
            let path = folder.join(&name.path);
            match fs::read(&path) {
                Ok(bytes) => Ok((bytes != png(index)?).then_some(path)),
                Err(_) if !path.exists() => Ok(None),
                Err(_) => Ok(Some(path)),
            }
        };
        let masks = self.names.par_iter().enumerate().map(differs);
        let differing: Vec<Option<PathBuf>> = masks.collect::<anyhow::Result<_>>()?;
        let differing: Vec<PathBuf> = differing.into_iter().flatten().collect();
        let Some(first) = differing.first() else {
            return Ok(());
        };
        let masks = count(differing.len(), "other mask");
        let verb = if differing.len() == 1 { "is" } else { "are" };
        Err(anyhow::anyhow!(
            "{masks} of the same name {verb} there already · first: {} · choose another folder with --out, or write over them: --overwrite",
            shown(first)
        ))
    }

    /// What was written, and what comes next.
    pub(super) fn say(&self, args: &Converted, quiet: bool) -> anyhow::Result<()> {
        if quiet {
            return Ok(());
        }
        let out = &args.out;
        result(&format!(
            "{} of {} in {}\nPut the pictures into {}, then: segmenta data check {}\n",
            count(self.names.len(), "mask"),
            count(self.classes.names().len(), "class"),
            shown(&out.join("masks")),
            shown(&out.join("images")),
            shown(out),
        ))
    }
}

/// Names that differ in the case of letters alone are one file where `folds` says so of their folder.
fn check_twins(
    names: &[MaskName],
    folder: &Path,
    folds: impl Fn(&Path) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let twins = names.iter().filter(|name| name.has_twin);
    let mut twins = twins.map(|name| &*name.path);
    let Some(first) = twins.next() else {
        return Ok(());
    };
    let key = |path: &Path| path.to_string_lossy().to_lowercase();
    let Some(other) = twins.find(|path| key(path) == key(first)) else {
        return Ok(());
    };
    if !folds(folder)? {
        return Ok(());
    }
    Err(anyhow::anyhow!(
        "two masks of one name on this file system: {}, {} · {} · rename one of the pictures",
        shown(first),
        shown(other),
        shown(folder)
    ))
}

fn make_folder(path: &Path) -> anyhow::Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    fs::create_dir_all(folder).map_err(|cause| {
        let text = format!("cannot make the folder: {}", reason(&cause));
        anyhow::anyhow!("{text} · {} · choose another with --out", shown(folder))
    })
}

/// Whether a folder takes `A` and `a` for one name: tried with a file.
fn folds_case(folder: &Path) -> anyhow::Result<bool> {
    let probe = folder.join(".segmenta-Case");
    write_atomic(&probe, b"")?;
    let folds = folder.join(".segmenta-case").exists();
    let _ = fs::remove_file(probe);
    Ok(folds)
}

#[cfg(test)]
mod tests {
    use segmenta_data::annotation::mask_names;

    use super::*;

    #[test]
    fn twins_are_one_file_only_where_case_is_folded() {
        let names = |files: &[&str]| {
            let files: Vec<(&str, &str)> = files.iter().map(|file| (*file, "")).collect();
            mask_names(&files).unwrap()
        };
        let twins = names(&["b.jpg", "A.jpg", "c/d.jpg", "a.jpg"]);
        let folder = Path::new("out");
        check_twins(&twins, folder, |_| Ok(false)).unwrap();
        let error = check_twins(&twins, folder, |_| Ok(true)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "two masks of one name on this file system: A.png, a.png · out · rename one of the pictures"
        );
        let never = |_: &Path| -> anyhow::Result<bool> { panic!("there is nothing to try") };
        check_twins(&names(&["A.jpg", "b.jpg"]), folder, never).unwrap();
    }

    #[test]
    fn a_folder_is_tried_for_what_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let folds = folds_case(folder.path()).unwrap();
        fs::write(folder.path().join("A"), b"").unwrap();
        assert_eq!(folder.path().join("a").exists(), folds);
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "the probe is gone");
    }
}
