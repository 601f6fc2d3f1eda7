//! A network with its weights, ready for pictures.

use std::path::{Path, PathBuf};

use segmenta_graph::{Graph, Role};
use segmenta_runtime::{Engine, EngineOptions, Isa, WeightMemory};
use segmenta_weights::{Expected, Hub, ModelCard, Progress, Published, StateDict};
use segmenta_zoo::{Architecture, Options, PublishedWeights, find, find_encoder, published};

use crate::builder::ModelBuilder;
use crate::describe::Description;
use crate::error::{Error, ModelError};

/// What to load and how to run it. The default asks for nothing; at least an architecture or a
/// model file must be named.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ModelOptions {
    /// Name of the architecture; a model file knows its own.
    pub architecture: Option<String>,
    /// Name of the encoder, for architectures that take one; otherwise what the weights have.
    pub encoder: Option<String>,
    /// Settings of SMP's architectures by name, where neither a model file nor the weights' shapes say them;
    /// see [`segmenta_zoo::Settings::set`].
    pub settings: Vec<(String, String)>,
    /// File of weights; without it the published ones are pulled.
    pub weights: Option<PathBuf>,
    /// Number of classes; otherwise what the weights have.
    pub classes: Option<usize>,
    /// Results wanted (`out`, `aux`); empty for `out`.
    pub outputs: Vec<String>,
    /// Threads; 0 takes one a core.
    pub threads: usize,
    /// Instruction set; the fastest there is if `None`.
    pub isa: Option<Isa>,
    /// Whether weights may be kept in a second form that is faster to compute with.
    pub memory: WeightMemory,
}

/// A network with its weights.
#[derive(Debug)]
pub struct Model {
    pub(crate) engine: Engine,
    pub(crate) description: Description,
    pub(crate) unused: Vec<String>,
}

impl Model {
    /// Starts a network that has learned nothing yet.
    ///
    /// ```
    /// let model = segmenta::Model::new("unet").encoder("resnet18").classes(1).build()?;
    /// assert_eq!(model.engine().graph().trainable_count(), 14_328_209);
    /// # Ok::<(), segmenta::Error>(())
    /// ```
    #[expect(clippy::new_ret_no_self, reason = "a model is built in steps")]
    pub fn new(architecture: &str) -> ModelBuilder {
        ModelBuilder::new(architecture)
    }

    /// An architecture by name, with weights from a file (`.pth`, `.pt`, `.safetensors`).
    ///
    /// # Errors
    /// If there is no such architecture, or the file cannot be read or holds another network.
    pub fn load(architecture: &str, weights: impl AsRef<Path>) -> Result<Self, Error> {
        let options = ModelOptions::new()
            .architecture(architecture)
            .weights(weights.as_ref());
        Self::open(&options, &mut |_| {})
    }

    /// An architecture by name, with its published weights, pulled on first use.
    ///
    /// # Errors
    /// As [`Model::load`], or if the weights cannot be pulled.
    pub fn pretrained(architecture: &str) -> Result<Self, Error> {
        Self::open(&ModelOptions::new().architecture(architecture), &mut |_| {})
    }

    /// As `options` say; `progress` hears of a download.
    ///
    /// # Errors
    /// As [`Model::pretrained`].
    pub fn open(options: &ModelOptions, progress: &mut dyn FnMut(Progress)) -> Result<Self, Error> {
        match (&options.weights, &options.architecture) {
            (Some(path), _) => {
                let source = path.display().to_string();
                Self::from_state_dict(&StateDict::open(path)?, None, source, options)
            }
            (None, Some(name)) => {
                find(name)?;
                let row = published(name).ok_or_else(|| ModelError::Unpublished(name.clone()))?;
                let path = Hub::from_env()?.pull(&published_file(row), progress)?;
                let source = format!("{} ({})", row.file(), row.name);
                Self::from_state_dict(&StateDict::open(&path)?, Some(row), source, options)
            }
            (None, None) => Err(ModelError::Unnamed.into()),
        }
    }

    /// From weights in memory that hold their own description (a model file's bytes).
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_bytes(bytes: &[u8], source: &str, options: &ModelOptions) -> Result<Self, Error> {
        let weights = StateDict::from_bytes(bytes)?;
        Self::from_state_dict(&weights, None, source.into(), options)
    }

    fn from_state_dict(
        weights: &StateDict,
        row: Option<&PublishedWeights>,
        source: String,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        let card = ModelCard::from_metadata(weights.metadata())?;
        let architecture = architecture(card.as_ref(), options, &source)?;
        let mut description = match &card {
            Some(card) => Description::from_card(card, weights, architecture, source)?,
            None => {
                let classes = options.classes;
                Description::from_state_dict(weights, architecture, row, classes, source)
            }
        };
        if let Some(classes) = options.classes {
            description.options.classes = classes;
        }
        if let Some(encoder) = &options.encoder {
            description.options.encoder = Some(find_encoder(encoder)?);
        }
        for (name, value) in &options.settings {
            let set = description.options.set(name, value);
            set.map_err(|problem| ModelError::setting(name, value, problem))?;
        }
        let aux = weights
            .names()
            .any(|name| name.starts_with("aux_classifier."));
        description.options.aux = aux && architecture.has_aux;
        let graph = architecture.build(&description.options)?;
        let unused = check(weights, &graph)?;
        let engine = Engine::new(graph, &engine_options(options), |parameter| {
            weights.read_f32(&parameter.name).map_err(Error::from)
        })?;
        Ok(Self {
            engine,
            description,
            unused,
        })
    }

    /// A network without trained weights: `fill` gives each parameter's values. For measuring
    /// speed, which does not depend on them, and for tests.
    ///
    /// # Errors
    /// If there is no such architecture, or it cannot be built so.
    pub fn untrained(
        architecture: &str,
        build: &Options,
        options: &ModelOptions,
        fill: impl Fn(&segmenta_graph::Parameter) -> Vec<f32> + Sync,
    ) -> Result<Self, Error> {
        let architecture = find(architecture)?;
        let graph = architecture.build(build)?;
        let engine = Engine::new(graph, &engine_options(options), |parameter| {
            Ok::<_, Error>(fill(parameter))
        })?;
        let source = "untrained".into();
        let mut description = Description::plain(architecture, None, build.classes, source);
        description.options = build.clone();
        Ok(Self {
            engine,
            description,
            unused: Vec::new(),
        })
    }

    /// What it is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The same model with another recipe for pictures.
    #[must_use]
    pub fn with_preprocess(mut self, preprocess: segmenta_image::Preprocess) -> Self {
        self.description.preprocess = preprocess;
        self
    }

    /// Names in the file of weights that the network has no place for.
    pub fn unused_weights(&self) -> &[String] {
        &self.unused
    }

    /// What runs it: for raw tensors, memory, profiles.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

pub(crate) fn engine_options(options: &ModelOptions) -> EngineOptions {
    EngineOptions {
        threads: options.threads,
        isa: options.isa,
        outputs: options.outputs.clone(),
        memory: options.memory,
    }
}

/// How the hub ([`segmenta_weights::Hub`]) knows a row of the zoo's table.
pub fn published_file(row: &PublishedWeights) -> Published {
    Published {
        file: row.file(),
        url: row.url,
        bytes: None,
        sha256: row.sha256_prefix,
    }
}

/// The architecture that the user or the file names; they may not contradict each other.
fn architecture(
    card: Option<&ModelCard>,
    options: &ModelOptions,
    source: &str,
) -> Result<&'static Architecture, Error> {
    match (card, &options.architecture) {
        (Some(card), Some(name)) if card.architecture != *name => {
            Err(Error::Model(ModelError::OtherArchitecture {
                file: source.into(),
                found: card.architecture.clone(),
                named: name.clone(),
            }))
        }
        (Some(card), _) => Ok(find(&card.architecture)?),
        (None, Some(name)) => Ok(find(name)?),
        (None, None) => Err(ModelError::NoArchitecture(source.into()).into()),
    }
}

/// Whether the weights are this network's; gives the names that it has no place for.
pub(crate) fn check(weights: &StateDict, graph: &Graph) -> Result<Vec<String>, Error> {
    let expected: Vec<Expected> = graph
        .parameters()
        .iter()
        .map(|parameter| Expected {
            name: parameter.name.clone(),
            shape: parameter.shape.clone(),
            required: parameter.role != Role::Counter,
        })
        .collect();
    match weights.check(&expected) {
        Ok(()) => Ok(Vec::new()),
        Err(mismatch) if mismatch.is_usable() => Ok(mismatch.unexpected),
        Err(mismatch) => Err(Box::new(mismatch).into()),
    }
}
