//! Weights that encoders begin with, by name: brought here, with what they say of pictures.

use std::path::{Path, PathBuf};

use segmenta_hub::{
    Backbone, Client, EncoderWeights, Environment, Normalisation, RepositoryName, WeightsSource,
};
use segmenta_weights::{Hub, Progress};

use crate::error::{Error, ModelError};

/// A file of weights of an encoder, on this machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EncoderFile {
    /// The file; of weights in parts, their index.
    pub path: PathBuf,
    /// Where it comes from, in words.
    pub source: String,
    /// The licence, where it is known.
    pub licence: Option<String>,
    /// Mean and deviation of the pictures that the weights were made with; `None` if nothing says them.
    pub normalisation: Option<Normalisation>,
    /// What is worth knowing of how it was found.
    pub notes: Vec<String>,
}

impl EncoderFile {
    /// Published weights, downloaded if they are not here.
    ///
    /// # Errors
    /// No network and nothing in the cache, a refusal of the server, a full disk, another content than was published.
    pub fn pull(
        row: &'static EncoderWeights,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        let mut found = match (&row.source, row.published()) {
            (WeightsSource::Repository(name), _) => Self::of_repository(name, progress)?,
            (WeightsSource::Url(_), Some(published)) => Self {
                path: Hub::from_env()?.pull(&published, progress)?,
                source: published.file.into(),
                licence: None,
                // torchvision prepares all of them so.
                normalisation: Some(IMAGENET),
                notes: Vec::new(),
            },
            (WeightsSource::Url(_), None) => return Err(ModelError::Unnamed.into()),
        };
        // The repository's page knows best; many have none.
        found.licence = found.licence.or_else(|| row.licence.clone());
        Ok(found)
    }

    /// The file of published weights, if it is here already; the network is not asked.
    pub fn cached(row: &'static EncoderWeights) -> Option<PathBuf> {
        match (&row.source, row.published()) {
            (WeightsSource::Repository(name), _) => {
                let client = Client::new(Environment::from_env()?);
                client.cached(name, "model.safetensors")
            }
            (WeightsSource::Url(_), published) => Hub::from_env().ok()?.cached(&published?),
        }
    }

    /// The weights of a repository of the hub, whatever network they are of.
    ///
    /// # Errors
    /// As [`EncoderFile::pull`], or if the repository has no weights.
    pub fn of_repository(
        name: &RepositoryName,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        let environment = Environment::from_env().ok_or(ModelError::NoHome)?;
        let client = Client::new(environment);
        let backbone = Backbone::of_repository(&client, name, progress)?;
        let unasked = backbone.unasked.as_ref().map(|why| {
            format!("the hub cannot be reached ({why}), so that what the cache has is taken")
        });
        let commit = backbone.commit.as_deref().unwrap_or_default();
        let source = format!("{} at {}", name.id(), commit.get(..8).unwrap_or(commit));
        Ok(Self {
            notes: unasked.into_iter().collect(),
            ..Self::of(backbone, source)
        })
    }

    /// The weights in a folder like a repository.
    ///
    /// # Errors
    /// If it has no weights, or its `config.json` cannot be followed.
    pub fn of_folder(folder: &Path) -> Result<Self, Error> {
        let source = folder.display().to_string();
        Ok(Self::of(Backbone::of_folder(folder)?, source))
    }

    fn of(backbone: Backbone, source: String) -> Self {
        Self {
            path: backbone.weights,
            source,
            licence: backbone.licence,
            normalisation: backbone.normalisation,
            notes: Vec::new(),
        }
    }
}

const IMAGENET: Normalisation = Normalisation {
    mean: segmenta_image::Preprocess::IMAGENET_MEAN,
    std: segmenta_image::Preprocess::IMAGENET_STD,
};
