//! Which files a place names.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use segmenta_image::looks_like_picture;
use walkdir::{DirEntry, WalkDir};

use super::Inputs;
use super::own::Own;
use crate::error::{Failure, InputError};

/// A picture and the folder that was named, of which it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) root: PathBuf,
}

#[derive(Default)]
pub(super) struct Search {
    found: Vec<Found>,
    /// Every file seen, by its real path: named twice, by whatever path, it is one picture.
    seen: HashSet<PathBuf>,
    own: Own,
    /// Results found in folders. They count unless another place names them one by one.
    left_out: Vec<PathBuf>,
    named: Vec<PathBuf>,
    problems: Vec<Failure>,
}

impl Search {
    pub(super) fn place(&mut self, place: &Path) {
        // A file is what it is called, even if its name looks like a pattern.
        if place.is_dir() {
            self.folder(place);
        } else if !place.exists() && is_pattern(place) {
            self.glob(place);
        } else if place.exists() {
            let root = place.parent().unwrap_or(Path::new(""));
            if self.add(place.into(), root) && self.own.is_result(place) {
                self.named.push(place.into());
            }
        } else {
            self.problem(InputError::Missing(place.into()));
        }
    }

    pub(super) fn finish(self) -> Inputs {
        let mut left_out = self.left_out;
        left_out.retain(|path| !self.seen.contains(&real(path)));
        let mut once = HashSet::new();
        left_out.retain(|path| once.insert(real(path)));
        Inputs {
            found: self.found,
            sample: None,
            left_out,
            own: self.named,
            problems: self.problems,
        }
    }

    fn problem(&mut self, problem: InputError) {
        self.problems.push(Failure::input(problem));
    }

    fn add(&mut self, path: PathBuf, root: &Path) -> bool {
        let is_new = self.seen.insert(real(&path));
        if is_new {
            let root = root.into();
            self.found.push(Found { path, root });
        }
        is_new
    }

    fn folder(&mut self, folder: &Path) {
        match self.walk(folder, |path| looks_like_picture(path)) {
            Walked::Some => {}
            Walked::Nothing => self.problem(InputError::NoPicture(folder.into())),
            Walked::Results(count) => self.problem(InputError::OnlyResults {
                place: folder.into(),
                count,
            }),
        }
    }

    fn glob(&mut self, pattern: &Path) {
        let root: PathBuf = pattern
            .components()
            .take_while(|c| !is_pattern(c.as_ref()))
            .collect();
        let matcher = match matcher(pattern) {
            Ok(matcher) => matcher,
            Err(problem) => {
                return self.problem(InputError::Pattern {
                    pattern: pattern.into(),
                    problem,
                });
            }
        };
        let fits = |path: &Path| {
            // Without a folder of its own the walk puts `./` before every path.
            matcher.is_match(path.strip_prefix("./").unwrap_or(path)) && looks_like_picture(path)
        };
        let from = if root.as_os_str().is_empty() {
            Path::new(".")
        } else {
            &root
        };
        if !from.is_dir() {
            return self.problem(InputError::NoMatch(pattern.into()));
        }
        match self.walk(from, fits) {
            Walked::Some => {}
            Walked::Nothing => self.problem(InputError::NoMatch(pattern.into())),
            Walked::Results(count) => self.problem(InputError::OnlyResults {
                place: pattern.into(),
                count,
            }),
        }
    }

    /// Adds the files below `root` that are `wanted` and no results.
    fn walk(&mut self, root: &Path, wanted: impl Fn(&Path) -> bool) -> Walked {
        let walk = WalkDir::new(root)
            .follow_links(true)
            .sort_by_file_name()
            .into_iter();
        let mut any = false;
        let mut results = 0;
        for entry in walk.filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry)) {
            match entry {
                Ok(entry) if entry.file_type().is_file() && wanted(entry.path()) => {
                    if self.own.is_result(entry.path()) {
                        results += 1;
                        self.left_out.push(entry.into_path());
                    } else {
                        any = true;
                        self.add(entry.into_path(), root);
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    any = true;
                    let path = error.path().unwrap_or(root).to_owned();
                    let cause = error.io_error().map_or_else(
                        || "a link that leads back to itself".into(),
                        segmenta_files::reason,
                    );
                    self.problem(InputError::Unreadable { path, cause });
                }
            }
        }
        match results {
            _ if any => Walked::Some,
            0 => Walked::Nothing,
            count => Walked::Results(count),
        }
    }
}

/// What was in a folder.
enum Walked {
    /// Pictures, or something that is a problem of its own.
    Some,
    Nothing,
    /// Nothing but so many results.
    Results(usize),
}

/// A file's real path, by which two ways to it are one.
pub(super) fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
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
