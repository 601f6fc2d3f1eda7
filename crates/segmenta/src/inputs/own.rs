//! What Segmenta wrote itself: results are no inputs.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use segmenta_image::result_mark;
use serde::Deserialize;

use super::search::real;
use crate::job::{REPORT, SHEETS};

/// Beyond this a `predictions.json` is not read: a hundred thousand pictures take a tenth of it.
const LARGEST_RECORD: u64 = 1 << 30;

/// Tells results from pictures.
#[derive(Default)]
pub(super) struct Own {
    /// Files that a folder's record lists, by folder; empty where there is none.
    recorded: HashMap<PathBuf, HashSet<PathBuf>>,
}

impl Own {
    /// Whether a file is a result. Its mark says so; where an optimiser of PNGs has thrown that away, the
    /// `predictions.json` of its folder or of one above does.
    pub(super) fn is_result(&mut self, path: &Path) -> bool {
        result_mark(path).is_some() || is_of_a_run(path) || self.is_recorded(&real(path))
    }

    fn is_recorded(&mut self, path: &Path) -> bool {
        let mut folders = path.ancestors().skip(1);
        folders.any(|folder| {
            if !self.recorded.contains_key(folder) {
                self.recorded.insert(folder.into(), recorded(folder));
            }
            self.recorded[folder].contains(path)
        })
    }
}

/// The animation of a training run is no PNG and carries no mark.
fn is_of_a_run(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "growth.gif")
        && path.with_file_name("config.toml").is_file()
}

/// What the record in a folder says was written there.
fn recorded(folder: &Path) -> HashSet<PathBuf> {
    #[derive(Deserialize)]
    struct Record {
        #[serde(rename = "segmenta")]
        _version: String,
        #[serde(default)]
        pictures: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        written: Vec<PathBuf>,
    }
    let path = folder.join(REPORT);
    let is_short = fs::metadata(&path).is_ok_and(|file| file.len() <= LARGEST_RECORD);
    let record = is_short.then(|| fs::read(&path).ok()).flatten();
    let record = record.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
    let Some(record) = record else {
        return HashSet::new();
    };
    let written = record.pictures.into_iter().flat_map(|entry| entry.written);
    written
        .chain(SHEETS.map(PathBuf::from))
        .map(|file| folder.join(file))
        .collect()
}
