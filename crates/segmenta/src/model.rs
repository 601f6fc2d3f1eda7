//! A network with its weights, ready for pictures.

use std::path::{Path, PathBuf};

use segmenta_graph::Graph;
use segmenta_runtime::{
    Engine, EngineOptions, Isa, LowEngine, Precision, RuntimeError, WeightMemory,
};
use segmenta_weights::{Hub, ModelCard, Progress, Published, StateDict, Taken};
use segmenta_zoo::{Options, PublishedWeights, find, published};

use crate::builder::ModelBuilder;
use crate::describe::Description;
use crate::error::{Error, ModelError};
use crate::hub::{Described, Named, describe};
use crate::resolve::{Names, Resolved, resolve};

/// What to load and how to run it. The default asks for nothing; at least an architecture or a
/// file of weights must be named.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ModelOptions {
    /// Name of the architecture; a model file knows its own, and names of SMP's and torchvision's networks say it. Or
    /// a model: a repository of the Hugging Face hub (`OWNER/NAME`, `OWNER/NAME@REVISION`), or a folder like one.
    pub architecture: Option<String>,
    /// Name of the encoder, for architectures that take one; otherwise what the weights have.
    pub encoder: Option<String>,
    /// Settings of SMP's architectures by name, where neither a model file nor the weights' shapes say them;
    /// see [`segmenta_zoo::Settings::set`].
    pub settings: Vec<(String, String)>,
    /// File of weights, or a folder as `save_pretrained` writes it; without it the published ones are pulled.
    pub weights: Option<PathBuf>,
    /// The key of the checkpoint that holds the network, where several do (`ema_state_dict`).
    pub weights_key: Option<String>,
    /// How entries of the file are told apart.
    pub names: Names,
    /// Number of classes; otherwise what the weights have.
    pub classes: Option<usize>,
    /// Results wanted (`out`, `aux`); empty for `out`.
    pub outputs: Vec<String>,
    /// Of a network of one class, the probability above which a pixel is of it, between 0 and 1; otherwise what a
    /// model file says, or ½.
    pub threshold: Option<f32>,
    /// Threads; 0 takes one a core.
    pub threads: usize,
    /// Instruction set; the fastest there is if `None`.
    pub isa: Option<Isa>,
    /// Whether weights may be kept in a second form that is faster to compute with.
    pub memory: WeightMemory,
    /// In what the network is computed; single precision unless another is asked for.
    pub precision: Precision,
    /// What multiplies in low precision; the fastest there is if `None`.
    pub engine: Option<LowEngine>,
}

/// A network with its weights.
#[derive(Debug)]
pub struct Model {
    pub(crate) engine: Engine,
    pub(crate) description: Description,
    /// The name of the first result, of which masks are made.
    pub(crate) result: String,
    pub(crate) taken: Taken,
    /// What is worth knowing of how it was read.
    pub(crate) notes: Vec<String>,
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
        let named = match &options.architecture {
            Some(name) => Named::of(name)?,
            None => None,
        };
        match (&options.weights, named, &options.architecture) {
            // Weights of one's own for a network that a folder or a repository describes.
            (Some(path), Some(named), _) if !path.is_dir() => {
                let mut described = describe(&named, false, progress)?;
                described.source = path.display().to_string();
                described.weights = Some(path.clone());
                Self::of_described(described, options)
            }
            (None, Some(named), _) => {
                Self::of_described(describe(&named, true, progress)?, options)
            }
            (Some(path), named, _) if path.is_dir() => {
                let folder = Named::Folder(path.clone());
                if named.is_some_and(|named| named != folder) {
                    return Err(ModelError::TwoFolders(path.clone()).into());
                }
                let described = describe(&folder, true, progress)?;
                if let Some(name) = &options.architecture
                    && find(name).is_ok_and(|asked| asked.name != described.card.architecture)
                {
                    return Err(Error::Model(ModelError::OtherArchitecture {
                        file: described.source,
                        found: described.card.architecture,
                        named: name.clone(),
                    }));
                }
                Self::of_described(described, options)
            }
            (Some(path), _, _) => {
                let source = path.display().to_string();
                Self::from_state_dict(&StateDict::open(path)?, None, &source, options)
            }
            (None, None, Some(name)) => {
                find(name)?;
                let row = published(name).ok_or_else(|| ModelError::Unpublished(name.clone()))?;
                let path = Hub::from_env()?.pull(&published_file(row), progress)?;
                let source = format!("{} ({})", row.file(), row.name);
                Self::from_state_dict(&StateDict::open(&path)?, Some(row), &source, options)
            }
            (None, None, None) => Err(ModelError::Unnamed.into()),
        }
    }

    /// What a folder describes, with its weights.
    fn of_described(described: Described, options: &ModelOptions) -> Result<Self, Error> {
        let Described {
            card,
            source,
            notes,
            weights,
        } = described;
        let path = weights.ok_or(ModelError::Unnamed)?;
        // The card is the network's name from here on.
        let options = ModelOptions {
            architecture: None,
            ..options.clone()
        };
        let weights = StateDict::open(&path)?;
        let model = Self::with_card(&weights, Some(card), None, &source, &options)?;
        Ok(Self { notes, ..model })
    }

    /// From weights in memory that hold their own description (a model file's bytes).
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_bytes(bytes: &[u8], source: &str, options: &ModelOptions) -> Result<Self, Error> {
        let weights = StateDict::from_bytes(bytes)?;
        Self::from_state_dict(&weights, None, source, options)
    }

    fn from_state_dict(
        weights: &StateDict,
        row: Option<&PublishedWeights>,
        source: &str,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        let card = ModelCard::from_metadata(weights.metadata())?;
        Self::with_card(weights, card, row, source, options)
    }

    fn with_card(
        weights: &StateDict,
        card: Option<ModelCard>,
        row: Option<&PublishedWeights>,
        source: &str,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        let Resolved {
            mut description,
            graph,
            found,
        } = resolve(weights, card.clone(), row, source, options)?;
        let result = result_of(&graph, options);
        description.set_answer(&graph, &result, card.as_ref(), options.threshold)?;
        let engine = Engine::new(graph, &engine_options(options), |parameter| {
            found.weights.read_f32(&parameter.name).map_err(Error::from)
        });
        let engine = engine.map_err(|error| match error {
            Error::Runtime(error @ RuntimeError::WeightsNotFinite { .. }) => Error::Broken {
                error: Box::new(error),
                file: source.into(),
            },
            other => other,
        })?;
        Ok(Self {
            engine,
            description,
            result,
            taken: found.taken,
            notes: Vec::new(),
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
        let source = "untrained".into();
        let mut description = Description::plain(architecture, None, build.classes, source);
        description.options = build.clone();
        let result = result_of(&graph, options);
        description.set_answer(&graph, &result, None, options.threshold)?;
        let engine = Engine::new(graph, &engine_options(options), |parameter| {
            Ok::<_, Error>(fill(parameter))
        })?;
        Ok(Self {
            engine,
            description,
            result,
            taken: Taken::default(),
            notes: Vec::new(),
        })
    }

    /// A network of a graph of one's own, for tests.
    #[cfg(test)]
    pub(crate) fn of_graph(
        graph: Graph,
        fill: impl Fn(&segmenta_graph::Parameter) -> Vec<f32> + Sync,
    ) -> Self {
        let options = ModelOptions {
            threads: 1,
            ..ModelOptions::default()
        };
        let architecture = find("unet_plain").unwrap();
        let classes = graph.node(graph.outputs()[0].node).channels;
        let mut description = Description::plain(architecture, None, classes, "a test".into());
        description.set_answer(&graph, "out", None, None).unwrap();
        let read = |parameter: &segmenta_graph::Parameter| Ok::<_, Error>(fill(parameter));
        Self {
            engine: Engine::new(graph, &engine_options(&options), read).unwrap(),
            description,
            result: "out".into(),
            taken: Taken::default(),
            notes: Vec::new(),
        }
    }

    /// What it is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The same model with another recipe for pictures.
    ///
    /// # Errors
    /// A recipe that no network can be given pictures by: [`Preprocess::check`](segmenta_image::Preprocess::check).
    pub fn with_preprocess(
        mut self,
        preprocess: segmenta_image::Preprocess,
    ) -> Result<Self, Error> {
        preprocess.check()?;
        self.description.preprocess = preprocess;
        Ok(self)
    }

    /// The same model with other names of classes, by id.
    ///
    /// # Errors
    /// Names that are not one for each of [`Description::class_names`]; of a network of one class the background's may
    /// be left out.
    pub fn with_classes<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, Error> {
        self.description.name_classes(names)?;
        Ok(self)
    }

    /// The same model with its classes in other colours.
    #[must_use]
    pub fn with_palette(mut self, palette: segmenta_image::Palette) -> Self {
        self.description.palette = palette;
        self
    }

    /// The same model with another threshold: of a network of one class, the probability above which a pixel is of
    /// it.
    ///
    /// # Errors
    /// One that is not between 0 and 1, or a network of several classes.
    pub fn with_threshold(mut self, threshold: f32) -> Result<Self, Error> {
        self.description.set_threshold(threshold)?;
        Ok(self)
    }

    /// The name of the result that masks are made of: `out`, unless another was asked for.
    pub fn result(&self) -> &str {
        &self.result
    }

    /// Names in the file of weights, of the network's own modules, that it has no place for.
    pub fn unused_weights(&self) -> &[String] {
        &self.taken.unused
    }

    /// What was taken from the file of weights, and what was left.
    pub fn taken(&self) -> &Taken {
        &self.taken
    }

    /// What is worth knowing of how it was read, in words: what a folder of the hub does not say.
    pub fn notes(&self) -> &[String] {
        &self.notes
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
        precision: options.precision,
        engine: options.engine,
    }
}

/// The result that masks are made of: the first that is asked for.
pub(crate) fn result_of(graph: &Graph, options: &ModelOptions) -> String {
    let asked = options.outputs.first();
    asked.unwrap_or(&graph.outputs()[0].name).clone()
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
