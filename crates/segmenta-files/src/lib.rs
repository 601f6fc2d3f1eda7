//! Files that come into being whole or not at all, and that are read to an end.
//!
//! *In*: a path and what to write. *Out*: the file, complete and on disk, or the system's refusal
//! and whatever was at the path before. What every room that writes files writes them through:
//! pictures, label maps, weights, reports.

mod words;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::Path,
};

pub use words::{count, noun, of_type};

/// How the names of files begin that are being written. A kill can leave one behind; nothing reads it.
pub const UNFINISHED: &str = ".segmenta-";

/// How many bytes are read of what is no file and may have no end: a pipe, a device.
pub const LONGEST_STREAM: u64 = 1 << 30;

/// All bytes of a file, or of a pipe or device that ends.
///
/// # Errors
///
/// What the system says; more than [`LONGEST_STREAM`] bytes from what is no file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    if file.metadata()?.is_file() {
        return fs::read(path);
    }
    let mut bytes = Vec::new();
    (&mut file)
        .take(LONGEST_STREAM + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_STREAM {
        let text = "no file, and it gives more than 1 GiB";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// Writes `path` through a temporary file beside it: filled, synchronised, renamed.
///
/// When anything fails the temporary file is gone and `path` is what it was.
///
/// # Errors
///
/// What `fill` or the system says.
pub fn write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = folder_of(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    // A temporary file is its owner's alone; a model is for whom the umask lets read it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder)?;
    let mut sink = BufWriter::with_capacity(1 << 20, file);
    fill(&mut sink)?;
    let file = sink.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder);
    Ok(())
}

/// Whether [`write()`] could write `path` now: found out with a temporary file beside it, before long work rather than
/// after it. Nothing stays.
///
/// # Errors
///
/// What [`write()`] would say: no folder to write to, one that takes no files, or one of this very name.
pub fn check_file(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    probe(folder_of(path))
}

/// Whether a folder is there and can be written to, or could be made: tried in the nearest folder above it that is
/// there. Nothing is made.
///
/// # Errors
///
/// What the system says.
pub fn check_folder(path: &Path) -> io::Result<()> {
    let there = path.ancestors().find(|path| path.exists());
    match there {
        Some(file) if !file.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        Some(folder) => probe(folder),
        None => probe(Path::new(".")),
    }
}

/// Makes a file in a folder, and removes it.
fn probe(folder: &Path) -> io::Result<()> {
    tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempfile_in(folder)?
        .close()
}

/// Gives a finished and synchronised file its name.
///
/// # Errors
///
/// What the system says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder(folder_of(to));
    Ok(())
}

/// The system's refusal without its number, which tells a reader nothing.
pub fn reason(refusal: &io::Error) -> String {
    let text = refusal.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_lowercase(),
        None => text,
    }
}

/// What a person can do about a file that could not be written.
pub fn write_remedy(refusal: &io::Error) -> &'static str {
    match refusal.kind() {
        io::ErrorKind::NotFound => "make its folder first",
        io::ErrorKind::NotADirectory => "a part of the path is a file: choose another folder",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "write to a folder that is yours"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room, or write to another disk; what was there before stays"
        }
        io::ErrorKind::FileTooLarge => {
            "raise the limit on the size of files (ulimit -f), or write to another disk; what was there before stays"
        }
        io::ErrorKind::InvalidFilename => "give a shorter name",
        io::ErrorKind::IsADirectory | io::ErrorKind::DirectoryNotEmpty => {
            "a folder has this name: choose another"
        }
        _ => "check the disk and try again",
    }
}

/// The folder that a file lies in.
fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Makes a rename last through a power cut, where the system can do this; where it cannot, the file
/// is whole all the same.
fn sync_folder(folder: &Path) {
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_refuses_is_said_without_its_number_and_place() {
        let full = io::Error::from_raw_os_error(27);
        // As the temporary file's crate says it.
        let at = io::Error::new(full.kind(), format!("{full} at path \"/x/.segmenta-1\""));
        #[cfg(target_os = "linux")]
        for refusal in [&full, &at] {
            assert_eq!(reason(refusal), "file too large");
            assert!(write_remedy(refusal).contains("ulimit -f"));
        }
        let full: io::Error = io::ErrorKind::StorageFull.into();
        assert_eq!(reason(&full), "no storage space");
        assert!(write_remedy(&full).starts_with("make room"));
    }

    #[test]
    fn what_cannot_be_written_is_known_before_and_nothing_is_made() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        let kind = |checked: io::Result<()>| checked.map_err(|error| error.kind());
        fs::create_dir(at("folder")).unwrap();
        fs::write(at("file"), "").unwrap();

        assert_eq!(kind(check_file(&at("model"))), Ok(()));
        assert_eq!(kind(check_file(&at("file"))), Ok(()), "it is replaced");
        let refusals = [
            ("folder", io::ErrorKind::IsADirectory),
            ("none/model", io::ErrorKind::NotFound),
            ("file/model", io::ErrorKind::NotADirectory),
        ];
        for (name, refusal) in refusals {
            assert_eq!(kind(check_file(&at(name))), Err(refusal), "{name}");
            assert!(
                write(&at(name), |_| Ok(())).is_err(),
                "{name} is refused later too"
            );
        }

        for name in ["folder", "new", "new/of/several"] {
            assert_eq!(kind(check_folder(&at(name))), Ok(()), "{name}");
        }
        for name in ["file", "file/below"] {
            let refusal = io::ErrorKind::NotADirectory;
            assert_eq!(kind(check_folder(&at(name))), Err(refusal), "{name}");
        }
        let mut left: Vec<_> = fs::read_dir(home.path()).unwrap().collect();
        let left = left.drain(..).map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["file", "folder"]);
    }

    // A device that never ends fills memory where it is read as a file.
    #[cfg(unix)]
    #[test]
    fn what_has_no_end_is_not_read_to_its_end() {
        let refusal = read(Path::new("/dev/zero")).unwrap_err();
        assert!(reason(&refusal).contains("more than 1 GiB"), "{refusal}");
        assert_eq!(read(Path::new("/dev/null")).unwrap(), b"");
        let folder = read(Path::new("/")).unwrap_err();
        assert_eq!(folder.kind(), io::ErrorKind::IsADirectory);
    }

    // The system refuses these folders to everyone, the superuser too.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_that_takes_no_files_is_known_before() {
        for refused in [
            check_file(Path::new("/proc/self/model")),
            check_folder(Path::new("/proc/self")),
            check_folder(Path::new("/proc/self/run/of/mine")),
        ] {
            let refused = refused.unwrap_err();
            assert!(!reason(&refused).is_empty(), "{refused}");
        }
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        write(&path, |sink| sink.write_all(b"old")).unwrap();
        let full = |sink: &mut dyn Write| {
            sink.write_all(b"half of the new")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        let error = write(&path, full).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        write(&path, |sink| sink.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
