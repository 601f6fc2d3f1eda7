//! A network with its weights, ready for pictures.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use segmenta_graph::Graph;
use segmenta_runtime::{Engine, EngineOptions, Int8, Isa, LowEngine, Precision, WeightMemory};
use segmenta_weights::{CardInt8, Hub, ModelCard, Progress, Published, StateDict, Taken};
use segmenta_zoo::{Options, PublishedWeights, find, published};

use crate::builder::ModelBuilder;
use crate::describe::Description;
use crate::error::{Error, ModelError};
use crate::hub::{Described, Named, Purpose, describe};
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
    /// In what the network is computed; if `None`, what the model file says, or single precision.
    pub precision: Option<Precision>,
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
        let found = Weights::of(options, progress)?;
        let model = Self::of_weights(&found)?;
        Ok(Self {
            notes: found.notes,
            ..model
        })
    }

    /// From weights in memory that hold their own description (a model file's bytes).
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn from_bytes(bytes: &[u8], source: &str, options: &ModelOptions) -> Result<Self, Error> {
        let dict = StateDict::from_bytes(bytes)?;
        Self::of_weights(&Weights::plain(dict, None, source.into(), options)?)
    }

    fn of_weights(weights: &Weights) -> Result<Self, Error> {
        let Weights {
            dict,
            card,
            row,
            source,
            options,
            ..
        } = weights;
        let Resolved {
            mut description,
            graph,
            found,
        } = resolve(dict, card.clone(), *row, source, options)?;
        let result = result_of(&graph, options);
        description.set_answer(&graph, &result, card.as_ref(), options.threshold)?;
        let mut run = engine_options(options);
        run.int8 = int8(card.as_ref(), options, source)?;
        if run.int8.is_some() {
            run.precision = Precision::Int8;
        }
        let engine = Engine::new(graph, &run, |parameter| {
            found.weights.read_f32(&parameter.name).map_err(Error::from)
        });
        let engine = engine.map_err(|error| error.of_weights_in(source))?;
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
        precision: options.precision.unwrap_or_default(),
        int8: None,
        low_everywhere: false,
        engine: options.engine,
    }
}

/// The weights that options name, and what is known of their network.
pub(crate) struct Weights {
    pub(crate) dict: StateDict,
    /// What a model file, a folder or a repository says of the network.
    pub(crate) card: Option<ModelCard>,
    /// Their row of the zoo's table, if they are published ones.
    pub(crate) row: Option<&'static PublishedWeights>,
    /// Where they come from, in words.
    pub(crate) source: String,
    /// What is worth saying of where they come from.
    pub(crate) notes: Vec<String>,
    /// As they were given, but for the architecture's name where the card is it.
    pub(crate) options: ModelOptions,
}

impl Weights {
    /// A file's, a folder's, a repository's, or the architecture's published ones; `progress` hears of a download.
    pub(crate) fn of(
        options: &ModelOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, Error> {
        let named = match &options.architecture {
            Some(name) => Named::of(name)?,
            None => None,
        };
        match (&options.weights, named, &options.architecture) {
            // Weights of one's own for a network that a folder or a repository describes.
            (Some(path), Some(named), _) if !path.is_dir() => {
                let mut described = describe(&named, Purpose::Look, progress)?;
                described.source = path.display().to_string();
                described.weights = Some(path.clone());
                Self::described(described, options)
            }
            (None, Some(named), _) => {
                Self::described(describe(&named, Purpose::Run, progress)?, options)
            }
            (Some(path), named, _) if path.is_dir() => {
                let folder = Named::Folder(path.clone());
                if named.is_some_and(|named| named != folder) {
                    return Err(ModelError::TwoFolders(path.clone()).into());
                }
                let described = describe(&folder, Purpose::Run, progress)?;
                if let Some(name) = &options.architecture
                    && find(name).is_ok_and(|asked| asked.name != described.card.architecture)
                {
                    return Err(Error::Model(ModelError::OtherArchitecture {
                        file: described.source,
                        found: described.card.architecture,
                        named: name.clone(),
                    }));
                }
                Self::described(described, options)
            }
            (Some(path), _, _) => {
                let source = path.display().to_string();
                Self::plain(StateDict::open(path)?, None, source, options)
            }
            (None, None, Some(name)) => {
                find(name)?;
                let row = published(name).ok_or_else(|| ModelError::Unpublished(name.clone()))?;
                let path = Hub::from_env()?.pull(&published_file(row), progress)?;
                let source = format!("{} ({})", row.file(), row.name);
                Self::plain(StateDict::open(&path)?, Some(row), source, options)
            }
            (None, None, None) => Err(ModelError::Unnamed.into()),
        }
    }

    /// A file's, which may hold its own description.
    fn plain(
        dict: StateDict,
        row: Option<&'static PublishedWeights>,
        source: String,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        Ok(Self {
            card: ModelCard::from_metadata(dict.metadata())?,
            dict,
            row,
            source,
            notes: Vec::new(),
            options: options.clone(),
        })
    }

    /// What a folder describes, with its weights.
    fn described(described: Described, options: &ModelOptions) -> Result<Self, Error> {
        let path = described.weights.ok_or(ModelError::Unnamed)?;
        Ok(Self {
            dict: StateDict::open(&path)?,
            card: Some(described.card),
            row: None,
            source: described.source,
            notes: described.notes,
            // The card is the network's name from here on.
            options: ModelOptions {
                architecture: None,
                ..options.clone()
            },
        })
    }
}

/// What 8-bit numbers stand for in the network, if it is to be computed in them: because the user says so, or the
/// model file does and the user nothing else.
fn int8(
    card: Option<&ModelCard>,
    options: &ModelOptions,
    source: &str,
) -> Result<Option<Arc<Int8>>, Error> {
    if options
        .precision
        .is_some_and(|asked| asked != Precision::Int8)
    {
        return Ok(None);
    }
    match card.and_then(|card| card.int8.as_ref()) {
        Some(CardInt8 { ranges, full, .. }) => Ok(Some(Arc::new(Int8 {
            ranges: ranges.clone(),
            full: full.iter().cloned().collect(),
        }))),
        None if options.precision.is_some() => Err(ModelError::NotQuantised(source.into()).into()),
        None => Ok(None),
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
