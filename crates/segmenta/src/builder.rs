//! A network by name, step by step.

use segmenta_graph::{Graph, Parameter};
use segmenta_zoo::{Options, Settings, find, find_encoder};

use crate::error::Error;
use crate::model::{Model, ModelOptions};

/// What a network is to be; [`Model::new`] starts one.
#[derive(Clone, Debug)]
pub struct ModelBuilder {
    architecture: String,
    encoder: Option<String>,
    options: Options,
    named: Vec<(String, String)>,
    seed: u64,
    run: ModelOptions,
}

impl ModelBuilder {
    pub(crate) fn new(architecture: &str) -> Self {
        Self {
            architecture: architecture.into(),
            encoder: None,
            options: Options::new(1),
            named: Vec::new(),
            seed: 0,
            run: ModelOptions::default(),
        }
    }

    /// The encoder, for architectures that take one; SMP's default if none is named.
    #[must_use]
    pub fn encoder(mut self, name: &str) -> Self {
        self.encoder = Some(name.into());
        self
    }

    /// Number of classes, background included; 1 if not given, which is a binary network.
    #[must_use]
    pub fn classes(mut self, classes: usize) -> Self {
        self.options.classes = classes;
        self
    }

    /// Channels of the input; 3 if not given.
    #[must_use]
    pub fn in_channels(mut self, channels: usize) -> Self {
        self.options.in_channels = channels;
        self
    }

    /// Whether torchvision's auxiliary head is there.
    #[must_use]
    pub fn aux(mut self, aux: bool) -> Self {
        self.options.aux = aux;
        self
    }

    /// Settings of SMP's architectures, under the names of SMP's keyword arguments.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.options.settings = settings;
        self
    }

    /// One of them by name, as in a configuration: `set("decoder_channels", "[128, 64, 32, 16, 8]")`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.named.push((name.into(), value.into()));
        self
    }

    /// What parameters are drawn from; 0 if not given. The same seed gives the same numbers everywhere.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How it is to be run: results, threads, instruction set, memory. What these options say of the network
    /// itself is not looked at.
    #[must_use]
    pub fn run_with(mut self, options: ModelOptions) -> Self {
        self.run = options;
        self
    }

    /// What the zoo builds it with.
    ///
    /// # Errors
    /// An encoder that there is not, or a setting that cannot be.
    pub fn options(&self) -> Result<Options, Error> {
        let mut options = self.options.clone();
        if let Some(encoder) = &self.encoder {
            options.encoder = Some(find_encoder(encoder)?);
        }
        for (name, value) in &self.named {
            options.set(name, value).map_err(Error::Setting)?;
        }
        Ok(options)
    }

    /// The network as data, without numbers.
    ///
    /// # Errors
    /// As [`ModelBuilder::options`], an architecture that there is not, or options that contradict each other.
    pub fn graph(&self) -> Result<Graph, Error> {
        Ok(find(&self.architecture)?.build(&self.options()?)?)
    }

    /// The network with parameters as its library draws them before training.
    ///
    /// # Errors
    /// As [`ModelBuilder::graph`], or no threads.
    pub fn build(&self) -> Result<Model, Error> {
        let draw = |parameter: &Parameter| parameter.initial(self.seed);
        Model::untrained(&self.architecture, &self.options()?, &self.run, draw)
    }
}
