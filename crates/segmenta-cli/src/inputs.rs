//! Files, folders and globs: a sorted list of pictures, each with a name for what is written.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use segmenta_image::{EXTENSIONS, looks_like_picture};
use walkdir::{DirEntry, WalkDir};

use super::message::{reason, shown};

/// A picture to segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Input {
    /// The file.
    pub(crate) path: PathBuf,
    /// What files about it are called in the output folder, before `.mask.png`.
    pub(crate) name: PathBuf,
}

impl Input {
    /// `NAME.suffix` in the output folder.
    pub(crate) fn output(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.name);
        name.push(".");
        name.push(suffix);
        name.into()
    }
}

/// Something that could not be segmented, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Failure {
    pub(crate) file: String,
    pub(crate) message: String,
}

impl Failure {
    fn new(path: &Path, what: &str, remedy: &str) -> Self {
        Self {
            file: path.to_string_lossy().into(),
            message: format!("{what} · {} · {remedy}", shown(path)),
        }
    }
}

/// A picture and the folder that was named, of which it was found.
struct Found {
    path: PathBuf,
    root: PathBuf,
}

/// All pictures that `arguments` name, and what is wrong with the others. `out` is not searched:
/// what an earlier run wrote is no input.
pub(crate) fn collect(arguments: &[PathBuf], out: &Path) -> (Vec<Input>, Vec<Failure>) {
    let mut search = Search {
        out: out.canonicalize().ok(),
        ..Search::default()
    };
    for argument in arguments {
        search.argument(argument);
    }
    (named(search.found), search.failed)
}

#[derive(Default)]
struct Search {
    out: Option<PathBuf>,
    found: Vec<Found>,
    seen: HashSet<PathBuf>,
    failed: Vec<Failure>,
}

impl Search {
    fn argument(&mut self, argument: &Path) {
        // A file is what it is called, even if its name looks like a pattern.
        if argument.is_dir() {
            self.folder(argument);
        } else if !argument.exists() && is_pattern(argument) {
            self.glob(argument);
        } else if argument.exists() {
            let root = argument.parent().unwrap_or(Path::new(""));
            self.add(argument.into(), root);
        } else {
            self.failed.push(Failure::new(
                argument,
                "no such file or folder",
                "check the path",
            ));
        }
    }

    fn add(&mut self, path: PathBuf, root: &Path) {
        // Named twice, by whatever path, it is one picture.
        if self
            .seen
            .insert(path.canonicalize().unwrap_or_else(|_| path.clone()))
        {
            let root = root.into();
            self.found.push(Found { path, root });
        }
    }

    fn folder(&mut self, folder: &Path) {
        if !self.walk(folder, |path| looks_like_picture(path)) {
            let remedy = format!("pictures end in {}", EXTENSIONS.join(", "));
            self.failed
                .push(Failure::new(folder, "no picture in the folder", &remedy));
        }
    }

    fn glob(&mut self, pattern: &Path) {
        let root: PathBuf = pattern
            .components()
            .take_while(|c| !is_pattern(c.as_ref()))
            .collect();
        match matcher(pattern) {
            Err(problem) => {
                let remedy = "* is any name, ** any folders, ? a letter, {a,b} one or the other";
                self.failed.push(Failure::new(pattern, &problem, remedy));
            }
            Ok(matcher) => {
                let fits = |path: &Path| {
                    // Without a folder of its own the walk puts `./` before every path.
                    matcher.is_match(path.strip_prefix("./").unwrap_or(path))
                        && looks_like_picture(path)
                };
                let from = if root.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    &root
                };
                if !(from.is_dir() && self.walk(from, fits)) {
                    let what = "the pattern fits no picture";
                    self.failed.push(Failure::new(
                        pattern,
                        what,
                        "check it, and put it in quotes",
                    ));
                }
            }
        }
    }

    /// Adds the files below `root` that are `wanted`; whether there was one.
    fn walk(&mut self, root: &Path, wanted: impl Fn(&Path) -> bool) -> bool {
        let out = self.out.clone();
        let is_out = |entry: &DirEntry| {
            entry.file_type().is_dir() && out.is_some() && entry.path().canonicalize().ok() == out
        };
        let walk = WalkDir::new(root)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter();
        let mut any = false;
        for entry in walk.filter_entry(|e| e.depth() == 0 || !(is_hidden(e) || is_out(e))) {
            match entry {
                Ok(entry) if entry.file_type().is_file() && wanted(entry.path()) => {
                    any = true;
                    self.add(entry.into_path(), root);
                }
                Ok(_) => {}
                Err(error) => {
                    any = true;
                    let path = error.path().unwrap_or(root);
                    let cause = error
                        .io_error()
                        .map_or("a link that leads back to itself".into(), reason);
                    let what = format!("cannot look into it: {cause}");
                    self.failed
                        .push(Failure::new(path, &what, "check who may read it"));
                }
            }
        }
        any
    }
}

/// Hidden things are a program's own: thumbnails, checkpoints, macOS's `._photo.jpg`.
fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}

fn is_pattern(path: &Path) -> bool {
    path.as_os_str()
        .as_encoded_bytes()
        .iter()
        .any(|byte| b"*?[{".contains(byte))
}

fn matcher(pattern: &Path) -> Result<GlobMatcher, String> {
    let text = pattern.to_str().ok_or("a pattern must be Unicode")?;
    let text = text.strip_prefix("./").unwrap_or(text);
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    Ok(glob
        .map_err(|error| format!("no pattern: {}", error.kind()))?
        .compile_matcher())
}

/// Ways to name what is written about a picture, from the shortest to one that is unlike all others.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    Stem,
    FileName,
    FolderAndStem,
    FolderAndFileName,
    Numbered,
}

impl Naming {
    fn longer(self) -> Self {
        match self {
            Self::Stem => Self::FileName,
            Self::FileName => Self::FolderAndStem,
            Self::FolderAndStem => Self::FolderAndFileName,
            Self::FolderAndFileName | Self::Numbered => Self::Numbered,
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
            Self::Numbered => {
                let mut name = OsString::from(folder.join(relative));
                name.push(format!("-{index}"));
                name.into()
            }
        }
    }
}

/// Gives each picture the shortest name that no other has. Case does not tell names apart: it does
/// not on the disks of macOS and Windows.
fn named(found: Vec<Found>) -> Vec<Input> {
    let key = |name: &Path| name.to_string_lossy().to_lowercase();
    let mut namings = vec![Naming::Stem; found.len()];
    loop {
        let names = || {
            namings
                .iter()
                .zip(&found)
                .enumerate()
                .map(|(i, (n, f))| n.of(f, i))
        };
        let mut counts: HashMap<String, usize> = HashMap::new();
        for name in names() {
            *counts.entry(key(&name)).or_default() += 1;
        }
        let names: Vec<PathBuf> = names().collect();
        let is_shared = |i: usize| counts[&key(&names[i])] > 1 && namings[i] != Naming::Numbered;
        let shared: Vec<usize> = (0..names.len()).filter(|&i| is_shared(i)).collect();
        if shared.is_empty() {
            let inputs = found.into_iter().zip(names);
            return inputs
                .map(|(found, name)| Input {
                    path: found.path,
                    name,
                })
                .collect();
        }
        for i in shared {
            namings[i] = namings[i].longer();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The names given to files below a new folder, when `arguments` (of that folder) are asked for.
    fn names(files: &[&str], arguments: &[&str]) -> (Vec<String>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let arguments: Vec<PathBuf> = arguments.iter().map(|a| folder.path().join(a)).collect();
        let (inputs, failed) = collect(&arguments, &folder.path().join("out"));
        let name = |input: Input| input.name.to_string_lossy().replace('\\', "/");
        (
            inputs.into_iter().map(name).collect(),
            failed
                .into_iter()
                .map(|f| f.message.split(" · ").next().unwrap().into())
                .collect(),
        )
    }

    #[test]
    fn folders_keep_their_sub_folders() {
        let files = [
            "a/cat/1.jpg",
            "a/dog/1.jpg",
            "a/notes.txt",
            "a/.hidden/2.jpg",
            "a/._1.jpg",
        ];
        assert_eq!(names(&files, &["a"]).0, ["cat/1", "dog/1"]);
    }

    #[test]
    fn no_two_pictures_share_a_name() {
        let files = [
            "a/1.jpg", "a/1.png", "a/2.jpg", "b/1.jpg", "b/2.JPG", "b/X.png", "b/x.gif",
        ];
        let (mut names, _) = names(&files, &["a", "b"]);
        names.sort();
        assert_eq!(
            names,
            ["1.png", "X.png", "a/1", "a/2", "b/1", "b/2", "x.gif"]
        );
    }

    #[test]
    fn a_picture_named_twice_is_one() {
        assert_eq!(names(&["a/1.jpg"], &["a/1.jpg", "a", "a/*.jpg"]).0, ["1"]);
    }

    #[test]
    fn what_was_written_before_is_no_input() {
        assert_eq!(names(&["1.jpg", "out/1.mask.png"], &["."]).0, ["1"]);
    }

    #[test]
    fn patterns_are_expanded() {
        let files = ["a/1.jpg", "a/2.png", "a/b/3.jpg", "a/b/4.txt", "a/[5].jpg"];
        assert_eq!(names(&files, &["a/*.jpg"]).0, ["1", "[5]"]);
        assert_eq!(names(&files, &["a/**/*.{jpg,txt}"]).0, ["1", "[5]", "b/3"]);
        assert_eq!(names(&files, &["a/[5].jpg"]).0, ["[5]"]);
    }

    #[test]
    fn what_is_not_there_is_said() {
        let (inputs, failed) = names(&["a/1.txt"], &["a", "b", "c/*.jpg", "a/[.jpg"]);
        assert!(inputs.is_empty());
        assert_eq!(
            failed[..2],
            ["no picture in the folder", "no such file or folder"]
        );
        assert_eq!(failed[2], "the pattern fits no picture");
        assert!(failed[3].starts_with("no pattern"), "{}", failed[3]);
    }
}
