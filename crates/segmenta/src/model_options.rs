//! What to load and how to run it, said step by step.

use std::path::{Path, PathBuf};

use segmenta_runtime::{Isa, LowEngine, Precision, WeightMemory};

use crate::model::ModelOptions;
use crate::resolve::Names;

impl ModelOptions {
    /// Asks for nothing yet.
    ///
    /// ```no_run
    /// use segmenta::{Model, ModelOptions};
    ///
    /// let options = ModelOptions::new().weights("street.safetensors").threads(4);
    /// let model = Model::open(&options, &mut |_| {})?;
    /// # Ok::<(), segmenta::Error>(())
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// A model by one text, as people name one: a file of weights, a run's folder (its best epoch), a folder as
    /// `save_pretrained` writes it, a repository of the hub, or a network with published weights.
    #[must_use]
    pub fn named(mut self, text: &str) -> Self {
        let path = Path::new(text);
        let in_run = path.join("model.safetensors");
        if path.is_file() {
            self.weights = Some(path.into());
        } else if path.is_dir() && !path.join("config.json").is_file() && in_run.is_file() {
            self.weights = Some(in_run);
        } else {
            self.architecture = Some(text.into());
        }
        self
    }

    /// The architecture, by name.
    #[must_use]
    pub fn architecture(mut self, name: impl Into<String>) -> Self {
        self.architecture = Some(name.into());
        self
    }

    /// The encoder, by name.
    #[must_use]
    pub fn encoder(mut self, name: impl Into<String>) -> Self {
        self.encoder = Some(name.into());
        self
    }

    /// A setting of the architecture, by name.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// The file of weights.
    #[must_use]
    pub fn weights(mut self, file: impl Into<PathBuf>) -> Self {
        self.weights = Some(file.into());
        self
    }

    /// The key of the checkpoint that holds the network, where several do.
    #[must_use]
    pub fn weights_key(mut self, key: impl Into<String>) -> Self {
        self.weights_key = Some(key.into());
        self
    }

    /// How entries of the file are told apart.
    #[must_use]
    pub fn names(mut self, names: Names) -> Self {
        self.names = names;
        self
    }

    /// Number of classes, where the weights do not say it.
    #[must_use]
    pub fn classes(mut self, classes: usize) -> Self {
        self.classes = Some(classes);
        self
    }

    /// The results wanted: `out`, `aux`.
    #[must_use]
    pub fn outputs<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.outputs = names.into_iter().map(Into::into).collect();
        self
    }

    /// Of a network of one class, the probability above which a pixel is of it, between 0 and 1.
    #[must_use]
    pub fn threshold(mut self, threshold: f32) -> Self {
        self.threshold = Some(threshold);
        self
    }

    /// Threads to compute with; 0 takes one a core.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The instruction set to compute with, in place of the fastest.
    #[must_use]
    pub fn isa(mut self, isa: Isa) -> Self {
        self.isa = Some(isa);
        self
    }

    /// Whether weights may be kept in a second form that is faster to compute with.
    #[must_use]
    pub fn memory(mut self, memory: WeightMemory) -> Self {
        self.memory = memory;
        self
    }

    /// What multiplies in low precision, in place of the fastest.
    #[must_use]
    pub fn engine(mut self, engine: LowEngine) -> Self {
        self.engine = Some(engine);
        self
    }

    /// In what the network is computed, whatever the model file says.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = Some(precision);
        self
    }
}
