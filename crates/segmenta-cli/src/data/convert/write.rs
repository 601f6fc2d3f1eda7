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
        self.check_twins(&folder)?;
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

    /// Names that differ in the case of letters alone are one file on some systems.
    fn check_twins(&self, folder: &Path) -> anyhow::Result<()> {
        let twins: Vec<&Path> = self
            .names
            .iter()
            .filter(|name| name.has_twin)
            .map(|name| &*name.path)
            .collect();
        let Some(&first) = twins.first() else {
            return Ok(());
        };
        if !folds_case(folder)? {
            return Ok(());
        }
        let key = |path: &Path| path.to_string_lossy().to_lowercase();
        let same = twins[1..].iter().find(|path| key(path) == key(first));
        let other = same.map_or_else(|| shown(first), |path| shown(path));
        Err(anyhow::anyhow!(
            "two masks of one name on this file system: {}, {other} · {} · rename one of the pictures",
            shown(first),
            shown(folder)
        ))
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
            "{} of {} classes in {}\nPut the pictures into {}, then: segmenta data check {}\n",
            count(self.names.len(), "mask"),
            self.classes.names().len(),
            shown(&out.join("masks")),
            shown(&out.join("images")),
            shown(out),
        ))
    }
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
