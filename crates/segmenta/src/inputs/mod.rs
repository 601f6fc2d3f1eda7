//! Files, folders and globs: a sorted list of pictures, each with a name for what is written about it.

mod names;
mod own;
mod search;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Failure, InputError};
use search::{Found, Search};

/// A picture's file and what its results are called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Input {
    path: PathBuf,
    name: PathBuf,
}

impl Input {
    /// The picture at `path`; the files about it begin with `name`, which may name folders below the output
    /// folder, and should be relative.
    pub fn new(path: impl Into<PathBuf>, name: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            name: name.into(),
        }
    }

    /// The picture's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What files about it are called in the output folder, before `.mask.png`.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// `NAME.suffix`, relative to the output folder.
    pub fn output(&self, suffix: &str) -> PathBuf {
        output(&self.name, suffix)
    }
}

fn output(name: &Path, suffix: &str) -> PathBuf {
    let mut file = OsString::from(name);
    file.push(".");
    file.push(suffix);
    file.into()
}

/// The pictures that a list of files, folders and globs comes to, in a fixed order; what of it was left out,
/// and what is wrong with the rest.
///
/// - A file is taken, whatever it is called.
/// - A folder is searched with the folders below it for what looks like a picture. Hidden files and folders are
///   passed over. So are results of Segmenta (masks, overlays, sheets, previews of runs …), wherever they lie:
///   they are known by the mark that they carry, or by the `predictions.json` that lists them. [`Inputs::left_out`]
///   has them.
/// - A glob (`photos/**/*.jpg`) is searched likewise. A file whose name looks like a glob is a file.
///
/// A picture that is named twice is one picture.
///
/// ```no_run
/// let inputs = segmenta::Inputs::collect(["photos", "more/*.jpg"]);
/// println!("{} pictures, {} results left out", inputs.len(), inputs.left_out().len());
/// ```
#[derive(Debug, Default)]
pub struct Inputs {
    found: Vec<Found>,
    /// Those of `found` that are wanted, in order; all if `None`.
    sample: Option<Vec<usize>>,
    left_out: Vec<PathBuf>,
    own: Vec<PathBuf>,
    problems: Vec<Failure>,
}

impl Inputs {
    /// Looks for pictures in `places`. What is not there or cannot be searched is among the
    /// [`problems`](Inputs::problems); nothing is opened but the first bytes of PNG files.
    pub fn collect<P: AsRef<Path>>(places: impl IntoIterator<Item = P>) -> Self {
        let mut search = Search::default();
        for place in places {
            search.place(place.as_ref());
        }
        search.finish()
    }

    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.sample.as_ref().map_or(self.found.len(), Vec::len)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pictures' files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.chosen().map(|at| &*self.found[at].path)
    }

    /// Only these pictures, in this order, by their places in what [`Inputs::paths`] gives. Names stay what they
    /// are among all.
    ///
    /// # Panics
    /// If a place is beyond the last picture.
    #[must_use]
    pub fn select(mut self, places: &[usize]) -> Self {
        let chosen: Vec<usize> = self.chosen().collect();
        self.sample = Some(places.iter().map(|&place| chosen[place]).collect());
        self
    }

    /// Results of Segmenta that lay in folders and were not taken.
    pub fn left_out(&self) -> &[PathBuf] {
        &self.left_out
    }

    /// Results of Segmenta that were named one by one, and therefore taken.
    pub fn own_results(&self) -> &[PathBuf] {
        &self.own
    }

    /// Places that gave no picture, and why.
    pub fn problems(&self) -> &[Failure] {
        &self.problems
    }

    /// The pictures with the names of their results in the folder `out`: for each the shortest name that no other
    /// has, from its stem to its whole path, so that no result replaces another, nor a picture that is itself an
    /// input. Case tells no names apart. The names do not depend on which pictures were [selected](Inputs::select).
    pub fn named(&self, out: &Path) -> Vec<Input> {
        let names = names::names(&self.found, out);
        let input = |at: usize| Input::new(&*self.found[at].path, &*names[at]);
        self.chosen().map(input).collect()
    }

    /// The files of all pictures, whether selected or not.
    pub(crate) fn all_paths(&self) -> impl Iterator<Item = &Path> {
        self.found.iter().map(|found| &*found.path)
    }

    /// What is wrong with `places`, and the results left out of them, for a report.
    pub(crate) fn into_parts(self) -> (Vec<PathBuf>, Vec<Failure>) {
        (self.left_out, self.problems)
    }

    fn chosen(&self) -> impl Iterator<Item = usize> {
        let all = 0..self.len();
        all.map(|i| self.sample.as_ref().map_or(i, |sample| sample[i]))
    }
}

impl Failure {
    fn input(problem: InputError) -> Self {
        Self::new(problem.path().to_owned(), problem.into())
    }
}

#[cfg(test)]
mod tests;
