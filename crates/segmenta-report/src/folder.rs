//! A run's folder: where everything that a run leaves has its name.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::ReportError;

/// What a run leaves, in the order in which a person would look at it. A name that ends in `/` is a folder, one that
/// ends in `*` stands for all files that begin so.
const CONTENTS: [(&str, &str); 15] = [
    ("report.html", "everything below in one page"),
    (
        "model.safetensors",
        "the best weights, ready to predict with",
    ),
    ("last.safetensors", "the last weights, to resume from"),
    ("config.toml", "every setting, as it was used"),
    (
        "lists/",
        "which pictures were learned from, and which measured on",
    ),
    ("begun.json", "the data and the settings that it began with"),
    ("metrics.csv", "losses and scores, an epoch a line"),
    ("log.txt", "what was said, with times"),
    (
        "curves/",
        "losses, scores and learning rate over the epochs",
    ),
    ("confusion.png", "which class was taken for which"),
    ("confusion.csv", "the same in pixels"),
    ("classes.png", "IoU of each class"),
    ("growth.gif", "how the masks grew over the epochs"),
    ("previews/", "picture, truth and prediction at each epoch"),
    (
        "events.out.tfevents.*",
        "for TensorBoard: tensorboard --logdir",
    ),
];

/// The file that a run holds while it writes. It stays, since removing it would let a second run lock another file
/// of this name.
const LOCK: &str = ".lock";

/// What to do if a run is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone: an error.
    Refuse,
    /// Remove what a run leaves, at once; other files stay.
    Replace,
}

/// The folder of one run, `runs/NAME/`. It is one as soon as it has a `config.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFolder {
    path: PathBuf,
}

/// A run's folder held by the process that writes it, until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct RunLock {
    _file: Option<File>,
}

/// Something that is in a run's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFile {
    /// Its name in the folder; a folder's ends in `/`.
    pub name: String,
    /// Its size in bytes, a folder's with all that is in it.
    pub bytes: u64,
    /// What it is, in a few words; `None` for what no run writes.
    pub about: Option<&'static str>,
}

impl RunFolder {
    /// Makes the folder of a new run and writes its resolved configuration (TOML).
    ///
    /// # Errors
    /// A run is there and may not be replaced or is being written, or there are files that are no run's; the folder
    /// cannot be made or written.
    pub fn create(
        path: impl Into<PathBuf>,
        config: &str,
        existing: Existing,
    ) -> Result<Self, ReportError> {
        let folder = Self { path: path.into() };
        let path = &folder.path;
        if folder.config().exists() {
            match existing {
                Existing::Refuse => return Err(ReportError::Exists(path.clone())),
                Existing::Replace => {
                    let _held = folder.hold()?;
                    folder.clear()?;
                }
            }
        } else {
            fs::create_dir_all(path).map_err(ReportError::write(path))?;
            folder.sweep()?;
            if folder.files()?.next().is_some() {
                return Err(ReportError::Occupied(path.clone()));
            }
        }
        RunFolder::write(&folder.config(), config.as_bytes())?;
        Ok(folder)
    }

    /// Whether [`create`](Self::create) could make a run here, without making or changing anything: for what reads much
    /// before a run begins.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn check(path: impl Into<PathBuf>, existing: Existing) -> Result<(), ReportError> {
        let folder = Self { path: path.into() };
        let path = &folder.path;
        if folder.config().exists() {
            match existing {
                Existing::Refuse => return Err(ReportError::Exists(path.clone())),
                Existing::Replace if path.join(LOCK).exists() => drop(folder.hold()?),
                Existing::Replace => {}
            }
        } else if path.is_dir() {
            let mut files = folder.files()?;
            // What a killed run had not finished is removed when the run is made.
            let is_another = |entry: fs::DirEntry| {
                let name = entry.file_name();
                !name
                    .to_string_lossy()
                    .starts_with(segmenta_files::UNFINISHED)
            };
            if files.any(is_another) {
                return Err(ReportError::Occupied(path.clone()));
            }
        }
        segmenta_files::check_folder(path).map_err(ReportError::write(path))
    }

    /// The folder of a run that there is: to resume it, or to look at it.
    ///
    /// # Errors
    /// No run is there.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ReportError> {
        let folder = Self { path: path.into() };
        if folder.config().is_file() {
            Ok(folder)
        } else {
            Err(ReportError::NoRun(folder.path))
        }
    }

    /// Holds the folder, so that no two runs write it at once. Where the file system knows no locks, nothing is held.
    ///
    /// # Errors
    /// Another process (or another [`RunLock`] of this one) holds it; its lock cannot be written.
    pub fn hold(&self) -> Result<RunLock, ReportError> {
        let path = self.path.join(LOCK);
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(ReportError::write(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(RunLock { _file: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(ReportError::Busy(self.path.clone())),
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => {
                Ok(RunLock { _file: None })
            }
            Err(TryLockError::Error(e)) => Err(ReportError::write(&path)(e)),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's name: the folder's.
    pub fn name(&self) -> String {
        // `runs/.` and `..` have no name of their own.
        let path = self.path.canonicalize();
        let path = path.as_ref().unwrap_or(&self.path);
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The resolved configuration.
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }

    /// The data and the settings that the run began with.
    pub fn begun(&self) -> PathBuf {
        self.path.join("begun.json")
    }

    /// Writes what the run began with, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_begun(&self, text: &str) -> Result<(), ReportError> {
        Self::write(&self.begun(), text.as_bytes())
    }

    /// Replaces the resolved configuration of a run that goes on with other settings, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_config(&self, text: &str) -> Result<(), ReportError> {
        Self::write(&self.config(), text.as_bytes())
    }

    /// The lists of pictures that were learned from and measured on.
    pub fn lists(&self) -> PathBuf {
        self.path.join("lists")
    }

    /// Writes a list of names, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_list(&self, path: &Path, text: &str) -> Result<(), ReportError> {
        fs::create_dir_all(self.lists()).map_err(ReportError::write(path))?;
        Self::write(path, text.as_bytes())
    }

    /// Losses and scores, an epoch a line.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// What was said, with times.
    pub fn log(&self) -> PathBuf {
        self.path.join("log.txt")
    }

    /// The best weights.
    pub fn model(&self) -> PathBuf {
        self.path.join("model.safetensors")
    }

    /// The last weights.
    pub fn last(&self) -> PathBuf {
        self.path.join("last.safetensors")
    }

    /// The report.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// The best epoch's confusion matrix, in pixels.
    pub fn confusion(&self) -> PathBuf {
        self.path.join("confusion.csv")
    }

    /// Figures of fixed pictures at each epoch.
    pub fn previews(&self) -> PathBuf {
        self.path.join("previews")
    }

    /// Losses, scores and learning rate as pictures.
    pub fn curves(&self) -> PathBuf {
        self.path.join("curves")
    }

    /// How the masks grew.
    pub fn growth(&self) -> PathBuf {
        self.path.join("growth.gif")
    }

    /// What is there: first what runs leave, in the order of looking, then the rest by name.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<Vec<RunFile>, ReportError> {
        let mut files: Vec<(usize, RunFile)> = Vec::new();
        for entry in self.files()? {
            let mut name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(segmenta_files::UNFINISHED) {
                continue;
            }
            if entry.path().is_dir() {
                name.push('/');
            }
            let rank = rank(&name);
            let file = RunFile {
                bytes: size(&entry.path()),
                about: rank.map(|rank| CONTENTS[rank].1),
                name,
            };
            files.push((rank.unwrap_or(CONTENTS.len()), file));
        }
        files.sort_by(|(a, x), (b, y)| (a, &x.name).cmp(&(b, &y.name)));
        Ok(files.into_iter().map(|(_, file)| file).collect())
    }

    /// Writes a file of the run whole or not at all, and its folder if there is none.
    pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(ReportError::write(folder))?;
        }
        segmenta_files::write(path, |file| file.write_all(bytes)).map_err(ReportError::write(path))
    }

    /// Removes what a killed run had not finished writing.
    pub(crate) fn sweep(&self) -> Result<(), ReportError> {
        for folder in [self.path.clone(), self.previews(), self.curves()] {
            if !folder.exists() {
                continue;
            }
            for entry in fs::read_dir(&folder).map_err(ReportError::read(&folder))? {
                let path = entry.map_err(ReportError::read(&folder))?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with(segmenta_files::UNFINISHED) {
                    fs::remove_file(&path).map_err(ReportError::write(&path))?;
                }
            }
        }
        Ok(())
    }

    /// Removes what runs leave. The configuration goes last: until then the folder is known as a run's.
    fn clear(&self) -> Result<(), ReportError> {
        self.sweep()?;
        for entry in self.files()? {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            // A link is removed, not what it shows.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = match (is_folder, rank(&name), rank(&format!("{name}/"))) {
                (true, _, Some(_)) => fs::remove_dir_all(&path),
                (false, Some(_), _) if path != self.config() => fs::remove_file(&path),
                _ => Ok(()),
            };
            removed.map_err(ReportError::write(&path))?;
        }
        let config = self.config();
        fs::remove_file(&config).map_err(ReportError::write(&config))
    }

    /// All that is there but the lock.
    fn files(&self) -> Result<impl Iterator<Item = fs::DirEntry>, ReportError> {
        let entries = fs::read_dir(&self.path).map_err(ReportError::read(&self.path))?;
        let entries: io::Result<Vec<_>> = entries.collect();
        let entries = entries.map_err(ReportError::read(&self.path))?.into_iter();
        Ok(entries.filter(|entry| entry.file_name() != LOCK))
    }
}

/// Where a name stands in [`CONTENTS`].
fn rank(name: &str) -> Option<usize> {
    CONTENTS
        .iter()
        .position(|(known, _)| match known.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *known,
        })
}

/// Bytes of a file or of all files below a folder; what cannot be read counts for nothing.
fn size(path: &Path) -> u64 {
    let Ok(about) = fs::symlink_metadata(path) else {
        return 0;
    };
    if !about.is_dir() {
        return about.len();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| size(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_never_overwritten_unasked() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("runs/pets");
        let folder = RunFolder::create(&path, "epochs = 3\n", Existing::Refuse).unwrap();
        fs::write(folder.metrics(), "epoch").unwrap();
        fs::create_dir(folder.previews()).unwrap();
        fs::write(path.join("notes.md"), "mine").unwrap();
        let checked = RunFolder::check(&path, Existing::Refuse).unwrap_err();
        let error = RunFolder::create(&path, "", Existing::Refuse).unwrap_err();
        let text = error.to_string();
        assert_eq!(checked.to_string(), text);
        assert!(
            text.contains("runs/pets") && text.contains("go on with the old one"),
            "{text}"
        );
        assert_eq!(fs::read_to_string(folder.config()).unwrap(), "epochs = 3\n");

        RunFolder::check(&path, Existing::Replace).unwrap();
        assert!(folder.metrics().exists(), "a check changes nothing");
        RunFolder::create(&path, "epochs = 4\n", Existing::Replace).unwrap();
        assert_eq!(fs::read_to_string(folder.config()).unwrap(), "epochs = 4\n");
        assert!(!folder.metrics().exists() && !folder.previews().exists());
        assert!(path.join("notes.md").exists(), "what no run wrote stays");
    }

    #[test]
    fn only_one_run_writes_a_folder() {
        let home = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(home.path(), "epochs = 3\n", Existing::Refuse).unwrap();
        let held = folder.hold().unwrap();
        let again = folder.hold().unwrap_err();
        let replaced = RunFolder::create(home.path(), "", Existing::Replace).unwrap_err();
        let checked = RunFolder::check(home.path(), Existing::Replace).unwrap_err();
        for error in [again, replaced, checked] {
            assert!(matches!(error, ReportError::Busy(_)), "{error}");
        }
        assert_eq!(fs::read_to_string(folder.config()).unwrap(), "epochs = 3\n");
        let names: Vec<_> = folder.list().unwrap().into_iter().map(|f| f.name).collect();
        assert_eq!(names, ["config.toml"], "the lock is nobody's business");

        drop(held);
        folder.hold().unwrap();
        RunFolder::create(home.path(), "", Existing::Replace).unwrap();
    }

    #[test]
    fn what_a_kill_left_unfinished_is_in_nobodys_way() {
        let home = tempfile::tempdir().unwrap();
        let unfinished = home.path().join(".segmenta-Ab3dE");
        fs::write(&unfinished, "half a configura").unwrap();
        RunFolder::check(home.path(), Existing::Refuse).unwrap();
        RunFolder::create(home.path(), "", Existing::Refuse).unwrap();
        assert!(!unfinished.exists());
    }

    #[test]
    fn a_folder_of_somebody_else_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("thesis.tex"), "").unwrap();
        for existing in [Existing::Refuse, Existing::Replace] {
            let error = RunFolder::create(home.path(), "", existing).unwrap_err();
            assert!(matches!(error, ReportError::Occupied(_)), "{error}");
        }
        assert!(matches!(
            RunFolder::open(home.path()),
            Err(ReportError::NoRun(_))
        ));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_one_clear_error() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let error = RunFolder::create(file.join("run"), "", Existing::Refuse).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("file/run") && text.contains("choose another folder"),
            "{text}"
        );
    }

    #[test]
    fn what_is_there_is_told_in_the_order_of_looking() {
        let home = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(home.path().join("a"), "x", Existing::Refuse).unwrap();
        RunFolder::write(&folder.previews().join("epoch-0001.png"), b"123").unwrap();
        RunFolder::write(&folder.report(), b"<!doctype html>").unwrap();
        RunFolder::write(&folder.path().join("a.txt"), b"").unwrap();
        let files = folder.list().unwrap();
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["report.html", "config.toml", "previews/", "a.txt"]);
        assert_eq!((files[2].bytes, files[3].about), (3, None));
    }
}
