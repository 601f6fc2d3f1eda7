//! A folder as `save_pretrained` writes it and as a snapshot of a repository is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use segmenta_files::reason;
use segmenta_weights::Progress;
use serde_json::Value;

use crate::client::{Cached, Client};
use crate::config::{Config, without_mark};
use crate::error::{FolderError, RepositoryError, RepositoryFault};
use crate::licence;
use crate::name::RepositoryName;
use crate::processor::Processor;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const PROCESSOR: &str = "preprocessor_config.json";
pub(crate) const PAGE: &str = "README.md";
/// Files of weights, the best first: safetensors, whole or in parts, and pickles.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    INDEXES[0],
    "pytorch_model.bin",
    INDEXES[1],
];
/// What names the parts.
const INDEXES: [&str; 2] = [
    "model.safetensors.index.json",
    "pytorch_model.bin.index.json",
];

/// A folder with a `config.json`, and what it says.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    path: PathBuf,
    config: Config,
}

/// A repository whose `config.json` is here, and not yet its weights.
#[derive(Debug)]
pub struct Snapshot<'c> {
    client: &'c Client,
    repository: RepositoryName,
    folder: ModelFolder,
    /// Why the hub was not asked whether there is a newer state.
    unasked: Option<String>,
}

impl ModelFolder {
    /// A folder of this machine.
    ///
    /// # Errors
    /// If there is none, or it has no `config.json` that can be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, FolderError> {
        let path = path.into();
        if let Err(error) = fs::read_dir(&path) {
            let what = match error.kind() {
                io::ErrorKind::NotFound => "there is no such folder".into(),
                _ => format!("the folder cannot be read: {}", reason(&error)),
            };
            let remedy = "check the path; a repository of the hub is OWNER/NAME";
            return Err(FolderError::new(what, path, remedy));
        }
        let config = Config::open(&path)?;
        Ok(Self { path, config })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its `config.json` says.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// How a picture becomes the input; `None` if the folder has no `preprocessor_config.json`.
    ///
    /// # Errors
    /// If the file cannot be read, or followed.
    pub fn processor(&self) -> Result<Option<Processor>, FolderError> {
        Self::processor_in(&self.path)
    }

    pub(crate) fn processor_in(folder: &Path) -> Result<Option<Processor>, FolderError> {
        let path = folder.join(PROCESSOR);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let what = format!("{PROCESSOR} cannot be read: {}", reason(&error));
                return Err(FolderError::new(what, path, "check who may read it"));
            }
        };
        let processor = Processor::of(&text).map_err(|problem| {
            let what = format!("{PROCESSOR} cannot be followed: {problem}");
            FolderError::new(what, path, "correct it, or get the file again")
        })?;
        Ok(Some(processor))
    }

    /// The licence that its `README.md` names.
    pub fn licence(&self) -> Option<String> {
        licence::of_folder(&self.path)
    }

    /// Its file of weights: `model.safetensors`, or the index of its parts, or `pytorch_model.bin`, or that of its.
    ///
    /// # Errors
    /// If it has none of them.
    pub fn weights(&self) -> Result<PathBuf, FolderError> {
        Self::weights_in(&self.path)
    }

    pub(crate) fn weights_in(folder: &Path) -> Result<PathBuf, FolderError> {
        let found = WEIGHTS.iter().map(|name| folder.join(name));
        found
            .into_iter()
            .find(|path| path.is_file())
            .ok_or_else(|| {
                FolderError::new(
                    format!("the folder has no weights ({})", WEIGHTS.join(", ")),
                    folder,
                    "put the file there, or save the network again with save_pretrained",
                )
            })
    }
}

impl<'c> Snapshot<'c> {
    /// The repository's `config.json` and what else is small.
    ///
    /// # Errors
    /// As [`Client::file`], or if the repository has no `config.json`.
    pub fn begin(
        client: &'c Client,
        repository: &RepositoryName,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, SnapshotError> {
        let Some(config) = client.file(repository, CONFIG, progress)? else {
            return Err(lacking(client, repository, CONFIG).into());
        };
        let Cached {
            path,
            commit,
            unasked,
        } = config;
        // All files are of one state, whatever is pushed meanwhile.
        let at = repository.at(&commit);
        client.file(&at, PROCESSOR, progress)?;
        // What nothing is computed from may lack.
        let _ = client.file(&at, PAGE, progress);
        let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
        Ok(Self {
            client,
            repository: at,
            folder: ModelFolder::open(folder)?,
            unasked,
        })
    }

    /// What is there so far.
    pub fn folder(&self) -> &ModelFolder {
        &self.folder
    }

    /// The commit that the files are of.
    pub fn commit(&self) -> &str {
        self.repository.revision()
    }

    /// Why the hub was not asked whether there is a newer state.
    pub fn unasked(&self) -> Option<&str> {
        self.unasked.as_deref()
    }

    /// Brings the weights, and gives the folder with all of it.
    ///
    /// # Errors
    /// As [`Client::file`], or if the repository has no weights.
    pub fn with_weights(
        self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ModelFolder, SnapshotError> {
        weights_of(self.client, &self.repository, progress)?;
        Ok(self.folder)
    }
}

/// Brings a repository's weights: the whole file, or the index with all its parts.
pub(crate) fn weights_of(
    client: &Client,
    repository: &RepositoryName,
    progress: &mut dyn FnMut(Progress),
) -> Result<Cached, Box<RepositoryError>> {
    let mut refused = None;
    for name in WEIGHTS {
        match client.file(repository, name, progress) {
            Ok(None) => {}
            Ok(Some(file)) => {
                if INDEXES.contains(&name) {
                    shards(client, &repository.at(&file.commit), &file.path, progress)?;
                }
                return Ok(file);
            }
            // Without the network another of them may be there.
            Err(error) if matches!(error.fault, RepositoryFault::Offline { .. }) => {
                refused.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| lacking(client, repository, &WEIGHTS.join(" or "))))
}

/// Brings the parts that an index names.
fn shards(
    client: &Client,
    repository: &RepositoryName,
    index: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), Box<RepositoryError>> {
    let text = fs::read_to_string(index).unwrap_or_default();
    let value: Value = serde_json::from_str(without_mark(&text)).unwrap_or_default();
    let map = value.get("weight_map").and_then(Value::as_object);
    let mut names: Vec<&str> = map
        .into_iter()
        .flat_map(|map| map.values().filter_map(Value::as_str))
        .collect();
    names.sort_unstable();
    names.dedup();
    // What else is wrong with the index, its reader says.
    let plain = |name: &&str| Path::new(name).file_name() == Some(name.as_ref());
    for name in names.into_iter().filter(plain) {
        if client.file(repository, name, progress)?.is_none() {
            return Err(lacking(client, repository, name));
        }
    }
    Ok(())
}

/// A repository whose files cannot be had, or give no model.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file cannot be had.
    #[error(transparent)]
    Repository(#[from] Box<RepositoryError>),
    /// The files give no model.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

fn lacking(client: &Client, repository: &RepositoryName, file: &str) -> Box<RepositoryError> {
    client.failed(repository, file, RepositoryFault::NoFile(file.into()))
}
