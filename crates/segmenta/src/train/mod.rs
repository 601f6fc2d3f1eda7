//! Training runs: a recipe, a data set and a folder become a model.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! use segmenta::train::{Event, Recipe, Run};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let outcome = Run::new(Recipe::named("pets-segnet")?, "data/pets", "runs/pets")
//!     .set("train.epochs", 20)
//!     .run(|event| {
//!         if let Event::Epoch(epoch) = event {
//!             println!("{}", epoch.summary());
//!         }
//!         ControlFlow::Continue(())
//!     })?;
//! println!("{}", outcome.model.display());
//! # Ok(())
//! # }
//! ```
//!
//! Nothing is printed: what happens is told as [`Event`]s, and the answer `Break` ends the run after the step that is
//! being taken. [`Run::resume`] goes on from there, to the same bits as if it had not stopped.

mod encoder;
mod network;
mod recipe;

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use segmenta_data::Dataset;
use segmenta_data::check::Severity;
use segmenta_train::run::{Resumed, Session, Settings, verify, weigh};

use crate::Cancel;

pub use recipe::Recipe;
pub use segmenta_report::{Epoch, Existing, ReportError, RunFolder};
pub use segmenta_train::engine::DeviceSpec;
pub use segmenta_train::run::{
    Config, Difference, Ended, EpochDone, Event, FRESH, Found, Note, Outcome, RunError, Stage,
    StrangeLoss, Taken, explained,
};

/// What a run learns from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Data {
    /// A folder, opened as the recipe says and checked before anything is learned from it.
    Folder(PathBuf),
    /// A data set that is open, or that a program made.
    Set(Box<Dataset>),
}

impl From<Dataset> for Data {
    fn from(dataset: Dataset) -> Self {
        Self::Set(Box::new(dataset))
    }
}

macro_rules! from_paths {
    ($($path:ty),*) => {
        $(impl From<$path> for Data {
            fn from(path: $path) -> Self {
                Self::Folder(path.into())
            }
        })*
    };
}
from_paths!(PathBuf, &PathBuf, &Path, String, &str);

/// A training run that is to begin, or to go on.
#[derive(Clone, Debug)]
pub struct Run {
    recipe: Option<Recipe>,
    data: Option<Data>,
    folder: PathBuf,
    existing: Existing,
    settings: Settings,
}

impl Run {
    /// A new run in a folder, which is made. Where a run is already, it stays ([`Run::replace`]).
    pub fn new(recipe: Recipe, data: impl Into<Data>, folder: impl Into<PathBuf>) -> Self {
        Self {
            recipe: Some(recipe),
            data: Some(data.into()),
            folder: folder.into(),
            existing: Existing::Refuse,
            settings: Settings::default(),
        }
    }

    /// The run in a folder, gone on with from its last checkpoint, with its own configuration and where its data
    /// was. Name the data ([`Run::data`]) if it has moved; name the recipe ([`Run::recipe`]) to have it compared.
    pub fn resume(folder: impl Into<PathBuf>) -> Self {
        Self {
            recipe: None,
            data: None,
            folder: folder.into(),
            existing: Existing::Refuse,
            settings: Settings {
                resume: true,
                ..Settings::default()
            },
        }
    }

    /// The recipe. Of a run that goes on it says what it is expected to be: other settings than the run was begun
    /// with are an error that names them, but for how long it goes on.
    #[must_use]
    pub fn recipe(self, recipe: Recipe) -> Self {
        Self {
            recipe: Some(recipe),
            ..self
        }
    }

    /// What it learns from. Of a run that goes on it must be what the run began with, wherever it lies now.
    #[must_use]
    pub fn data(self, data: impl Into<Data>) -> Self {
        Self {
            data: Some(data.into()),
            ..self
        }
    }

    /// Sets a key of the recipe, such as `train.epochs`; a value that is no TOML is a text.
    #[must_use]
    pub fn set(self, key: &str, value: impl fmt::Display) -> Self {
        self.settings([format!("{key}={value}")])
    }

    /// Sets keys of the recipe, each `key=value`. A key that is set twice to different values is an error.
    #[must_use]
    pub fn settings(mut self, settings: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let settings = settings.into_iter().map(Into::into);
        self.settings.given.extend(settings);
        self
    }

    /// Begins anew where there is a run already: what that run left is removed, once all is known to be well.
    #[must_use]
    pub fn replace(self, replace: bool) -> Self {
        let existing = if replace {
            Existing::Replace
        } else {
            Existing::Refuse
        };
        Self { existing, ..self }
    }

    /// Where the network learns.
    #[must_use]
    pub fn device(mut self, device: DeviceSpec) -> Self {
        self.settings.device = device;
        self
    }

    /// Threads to compute with; 0 takes one a core. Results are the same bits for any number.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.settings.threads = threads;
        self
    }

    /// Stops after so many steps, to be gone on with.
    #[must_use]
    pub fn most_steps(mut self, steps: Option<u64>) -> Self {
        self.settings.most_steps = steps;
        self
    }

    /// Looks at every value, so that a NaN names the node that made it where it is made. Slow.
    #[must_use]
    pub fn debug_numerics(mut self, debug_numerics: bool) -> Self {
        self.settings.debug_numerics = debug_numerics;
        self
    }

    /// The switch that ends it after the step that is being taken, for another thread, or a signal.
    #[must_use]
    pub fn cancel(mut self, cancel: &Cancel) -> Self {
        self.settings.stop = cancel.switch();
        self
    }

    /// Runs it: until all epochs are done, no epoch was better for as long as the recipe says, or it is told to stop.
    ///
    /// # Errors
    /// A recipe, data or weights that cannot be, all before a folder is made or changed; a loss that is no number;
    /// a folder that cannot be written. What was written before stays whole.
    pub fn run(
        self,
        mut observe: impl FnMut(Event<'_>) -> ControlFlow<()> + Send,
    ) -> Result<Outcome, RunError> {
        self.settings.device.check()?;
        let session = if self.settings.resume {
            self.go_on(&mut observe)?
        } else {
            self.begin(&mut observe)?
        };
        session.run(observe)
    }

    fn begin<O>(self, observe: &mut O) -> Result<Session, RunError>
    where
        O: FnMut(Event<'_>) -> ControlFlow<()> + Send,
    {
        let recipe = self.recipe.ok_or_else(|| missing("recipe"))?;
        let mut config = Config::parse(recipe.text(), &self.settings.given, recipe.origin())?;
        // All pictures are looked at before the folder is made: whether it can be is known before that.
        RunFolder::check(&self.folder, self.existing)?;
        let dataset = match self.data.ok_or_else(|| missing("data"))? {
            Data::Set(dataset) => *dataset,
            Data::Folder(folder) => {
                let dataset = config.data.open().open(&folder)?;
                check(&dataset, observe)?;
                dataset
            }
        };
        // A run that goes on reads masks by the rule that it began with.
        config.data.settle(&dataset);
        let mut stopped = false;
        let mut progress = |step| stopped |= observe(Event::Download(step)).is_break();
        let of_network = network::settle(&mut config, &mut progress)?;
        let of_encoder = encoder::settle(&mut config, &mut progress)?;
        if stopped {
            return Err(RunError::Cancelled);
        }
        let weighed = weigh(&mut config, &dataset)?;
        for note in of_network.iter().chain(&of_encoder).chain(&weighed) {
            tell(observe, Event::Note(note))?;
        }
        // All defaults are spelled out in what the run keeps.
        let [mean, std] = config.input.normalisation();
        config.input.mean = Some(mean);
        config.input.std = Some(std);
        verify(&config, &dataset)?;
        let folder = RunFolder::create(self.folder, &config.to_toml()?, self.existing)?;
        Session::new(config, &dataset, folder, self.settings)
    }

    fn go_on<O>(self, observe: &mut O) -> Result<Session, RunError>
    where
        O: FnMut(Event<'_>) -> ControlFlow<()> + Send,
    {
        let folder = RunFolder::open(self.folder)?;
        let recipe = self.recipe.as_ref();
        let recipe = recipe.map(|recipe| (recipe.text(), recipe.origin()));
        let resumed = Resumed::new(&folder, recipe, &self.settings.given)?;
        let data = self.data.or(resumed.data.map(Data::Folder));
        let dataset = match data.ok_or_else(|| missing("data"))? {
            Data::Set(dataset) => *dataset,
            Data::Folder(folder) => resumed.config.data.open().open(&folder)?,
        };
        for note in &resumed.notes {
            tell(observe, Event::Note(note))?;
        }
        Session::new(resumed.config, &dataset, folder, self.settings)
    }
}

fn missing(what: &str) -> RunError {
    RunError::Config {
        origin: "the run".into(),
        problem: format!("it has no {what}"),
    }
}

fn tell(
    observe: &mut impl FnMut(Event<'_>) -> ControlFlow<()>,
    event: Event<'_>,
) -> Result<(), RunError> {
    match observe(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(RunError::Cancelled),
    }
}

/// Every problem of the data, before anything is learned from it.
fn check<O>(dataset: &Dataset, observe: &mut O) -> Result<(), RunError>
where
    O: FnMut(Event<'_>) -> ControlFlow<()> + Send,
{
    struct Count<'o, O> {
        pictures: usize,
        cancelled: bool,
        observe: &'o mut O,
    }
    let count = Mutex::new(Count {
        pictures: 0,
        cancelled: false,
        observe,
    });
    let of = dataset.len();
    let report = dataset.check(&|| {
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        count.pictures += 1;
        let pictures = count.pictures;
        let answer = (count.observe)(Event::Checked { pictures, of });
        count.cancelled |= answer.is_break();
    });
    let count = count.into_inner().unwrap_or_else(PoisonError::into_inner);
    if count.cancelled {
        return Err(RunError::Cancelled);
    }
    if report.errors() > 0 {
        return Err(RunError::Checked(format!(
            "the data cannot be learned from as it is · {} · see below\n{report}",
            dataset.root().display()
        )));
    }
    let findings = report.findings.into_iter();
    for finding in findings.filter(|finding| finding.severity == Severity::Warning) {
        tell(count.observe, Event::Note(&Note::Data(finding)))?;
    }
    Ok(())
}
