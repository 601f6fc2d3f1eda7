//! A backbone's file of weights and what lies beside it: how pictures are prepared for it, and its licence.

use std::path::{Path, PathBuf};

use segmenta_weights::Progress;

use crate::client::{Cached, Client};
use crate::config::{Config, Normalisation};
use crate::error::{FolderError, RepositoryError, RepositoryFault};
use crate::folder::{CONFIG, ModelFolder, PAGE, PROCESSOR, SnapshotError, weights_of};
use crate::licence;
use crate::name::RepositoryName;

/// A backbone's weights, from a repository or from a folder.
#[derive(Clone, Debug)]
pub struct Backbone {
    /// The file; of weights in parts, their index.
    pub weights: PathBuf,
    /// Mean and deviation of its input; `None` if nothing beside the weights says them.
    pub normalisation: Option<Normalisation>,
    /// The licence that its page names.
    pub licence: Option<String>,
    /// The commit, of a repository.
    pub commit: Option<String>,
    /// Why the hub was not asked whether there is a newer state.
    pub unasked: Option<String>,
}

impl Backbone {
    /// That of a repository, brought into the cache if it is not there. No class of network is looked for: a
    /// backbone has none.
    ///
    /// # Errors
    /// As [`Client::file`], if the repository has no weights, or if its configuration cannot be followed.
    pub fn of_repository(
        client: &Client,
        repository: &RepositoryName,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, SnapshotError> {
        // The weights come first, so that an error without a network names them and not what lies beside.
        let Cached {
            path,
            commit,
            unasked,
        } = weights_of(client, repository, progress)?;
        let at = repository.at(&commit);
        let folder = path.parent().unwrap_or(Path::new("."));
        // What nothing is computed from may lack.
        let _ = client.file(&at, PAGE, progress);
        bring(client, &at, CONFIG, progress)?;
        let mut found = Self::beside(path.clone(), folder)?;
        if found.normalisation.is_none() {
            bring(client, &at, PROCESSOR, progress)?;
            found = Self::beside(path.clone(), folder)?;
        }
        Ok(Self {
            commit: Some(commit),
            unasked,
            licence: licence::licence_of(repository.id(), found.licence),
            weights: found.weights,
            normalisation: found.normalisation,
        })
    }

    /// That of a folder of this machine.
    ///
    /// # Errors
    /// If it has no weights, or its configuration cannot be followed.
    pub fn of_folder(folder: &Path) -> Result<Self, FolderError> {
        Self::beside(ModelFolder::weights_in(folder)?, folder)
    }

    fn beside(weights: PathBuf, folder: &Path) -> Result<Self, FolderError> {
        let config = folder.join(CONFIG).is_file();
        let config = config.then(|| Config::open(folder)).transpose()?;
        let said = config.as_ref().map(Config::normalisation).transpose()?;
        let mut normalisation = said.flatten();
        // A processor that is not known here says nothing; whoever asks is told that there is no mean.
        if normalisation.is_none()
            && let Some(processor) = ModelFolder::processor_in(folder).ok().flatten()
        {
            let [mean, std] = [processor.preprocessing.mean, processor.preprocessing.std];
            let three = |values: Vec<f32>| <[f32; 3]>::try_from(values).ok();
            normalisation = three(mean)
                .zip(three(std))
                .map(|(mean, std)| Normalisation { mean, std });
        }
        Ok(Self {
            weights,
            normalisation,
            licence: licence::of_folder(folder),
            commit: None,
            unasked: None,
        })
    }
}

/// Brings what says how pictures are prepared. Where the network is not to be used, weights that were put into the
/// cache by hand may lie alone.
fn bring(
    client: &Client,
    repository: &RepositoryName,
    file: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), Box<RepositoryError>> {
    match client.file(repository, file, progress) {
        Err(error) if !matches!(error.fault, RepositoryFault::Offline { .. }) => Err(error),
        _ => Ok(()),
    }
}
