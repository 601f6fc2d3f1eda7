//! Names for what is written about pictures.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::output;
use super::search::{Found, real};
use crate::job::What;

/// Ways to name what is written about a picture, from the shortest to those that are unlike all others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    Stem,
    FileName,
    FolderAndStem,
    FolderAndFileName,
    /// Its place among all pictures, said so many times: one that a file has by chance can be left behind.
    Numbered(usize),
}

impl Naming {
    fn longer(self) -> Self {
        match self {
            Self::Stem => Self::FileName,
            Self::FileName => Self::FolderAndStem,
            Self::FolderAndStem => Self::FolderAndFileName,
            Self::FolderAndFileName => Self::Numbered(1),
            Self::Numbered(times) => Self::Numbered(times + 1),
        }
    }

    fn of(self, found: &Found, index: usize) -> PathBuf {
        let relative = found.path.strip_prefix(&found.root).unwrap_or(&found.path);
        let stem = relative.with_extension("");
        let root = found.root.canonicalize().unwrap_or_default();
        let folder = PathBuf::from(root.file_name().unwrap_or_default());
        match self {
            Self::Stem => stem,
            Self::FileName => relative.into(),
            Self::FolderAndStem => folder.join(stem),
            Self::FolderAndFileName => folder.join(relative),
            Self::Numbered(times) => {
                let mut name = OsString::from(folder.join(relative));
                (0..times).for_each(|_| name.push(format!("-{index}")));
                name.into()
            }
        }
    }
}

/// Case does not tell names apart: it does not on the disks of macOS and Windows.
fn key(name: &Path) -> String {
    name.to_string_lossy().to_lowercase()
}

/// Gives each picture the shortest name that no other has, and with which nothing written into `out` replaces one
/// of the pictures or is in the way of a folder. All kinds of results count, so that a name does not depend on
/// which of them are written.
pub(super) fn names(found: &[Found], out: &Path) -> Vec<PathBuf> {
    let mut pictures = Pictures::new(found, out);
    let mut namings = vec![Naming::Stem; found.len()];
    let mut names: Vec<PathBuf> = (0..found.len())
        .map(|i| namings[i].of(&found[i], i))
        .collect();
    loop {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut folders = HashSet::new();
        for name in &names {
            *counts.entry(key(name)).or_default() += 1;
            folders.extend(name.ancestors().skip(1).map(key));
        }
        let mut is_taken = |name: &Path| {
            counts[&key(name)] > 1
                || What::ALL.iter().any(|what| {
                    let file = output(name, what.suffix());
                    folders.contains(&key(&file)) || pictures.has(&file)
                })
        };
        let taken: Vec<usize> = (0..names.len()).filter(|&i| is_taken(&names[i])).collect();
        if taken.is_empty() {
            return names;
        }
        for i in taken {
            namings[i] = namings[i].longer();
            names[i] = namings[i].of(&found[i], i);
        }
    }
}

/// The pictures that lie in the output folder or below it.
struct Pictures {
    out: PathBuf,
    keys: HashSet<String>,
    /// Real paths of folders that results go into.
    folders: HashMap<PathBuf, PathBuf>,
}

impl Pictures {
    fn new(found: &[Found], out: &Path) -> Self {
        Self {
            out: out.into(),
            keys: found.iter().map(|found| key(&real(&found.path))).collect(),
            folders: HashMap::new(),
        }
    }

    /// Whether `file` (in the output folder) is one of the pictures.
    fn has(&mut self, file: &Path) -> bool {
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
            return false;
        };
        if !self.folders.contains_key(folder) {
            let real = real(&self.out.join(folder));
            self.folders.insert(folder.into(), real);
        }
        self.keys.contains(&key(&self.folders[folder].join(name)))
    }
}
