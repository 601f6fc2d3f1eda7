//! What a run began with, and whether what is asked for now is the same run.

use segmenta_files::count;
use std::path::PathBuf;

use segmenta_data::{Dataset, LearnedLists};
use segmenta_report::RunFolder;
use serde::{Deserialize, Serialize};

use super::checkpoint::Progress;
use super::config::{Config, Difference, key_of};
use super::origin::Origin;
use super::{Note, RunError};

/// The settings that a run may go on with another value of: how long, and what changes no result.
const FREE: [&str; 6] = [
    "train.epochs",
    "train.early_stop",
    "train.previews",
    "train.checkpoint_steps",
    "data.cache_mb",
    "data.workers",
];

/// The settings that a recipe may leave open, beside those of the data: a run's configuration says what was found.
const FOUND: [&str; 6] = [
    "model.hub",
    "model.encoder_weights",
    "input.size",
    "input.mean",
    "input.std",
    "input.channel_order",
];

/// `begun.json`: what the configuration does not say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Begun {
    /// The settings that were given beside the recipe, `key=value`.
    pub(super) settings: Vec<String>,
    /// What it learns from.
    pub(super) data: DataFacts,
    /// The weights that it began with; there are none in files of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) weights: Vec<Origin>,
}

/// A data set as a run sees it. Where it lies may change; what is in it may not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DataFacts {
    pub(super) folder: PathBuf,
    training: usize,
    validation: usize,
    classes: Vec<String>,
    /// The digest of the lists.
    pub(super) names: String,
}

impl DataFacts {
    pub(super) fn of(training: &Dataset, validation: &Dataset) -> Self {
        let classes = training.classes();
        let folder = std::path::absolute(training.root());
        Self {
            folder: folder.unwrap_or_else(|_| training.root().to_path_buf()),
            training: training.len(),
            validation: validation.len(),
            classes: (0..classes.len()).map(|id| classes.name(id)).collect(),
            names: LearnedLists::of(training, validation).digest(),
        }
    }

    /// What differs from the data that a run began with.
    fn differs_from(&self, begun: &Self) -> Option<String> {
        let counts = |of: &Self| {
            format!(
                "{} to learn from and {} to measure on",
                count(of.training, "picture"),
                of.validation
            )
        };
        if self.classes != begun.classes {
            let list = |names: &[String]| names.join(", ");
            return Some(format!(
                "it has the classes {}, and the run learned {}",
                list(&self.classes),
                list(&begun.classes)
            ));
        }
        if (self.training, self.validation) != (begun.training, begun.validation) {
            return Some(format!(
                "it has {}, and the run began with {}",
                counts(self),
                counts(begun)
            ));
        }
        (self.names != begun.names)
            .then(|| "its pictures have other names than those that the run began with".into())
    }
}

impl Begun {
    /// That of a run; `None` for one that ended before it was written.
    pub(super) fn read(folder: &RunFolder) -> Result<Option<Self>, RunError> {
        let path = folder.begun();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(segmenta_report::ReportError::Read { path, cause }.into()),
        };
        let begun = serde_json::from_str(&text).map_err(|e| RunError::Checkpoint {
            problem: format!("not what a run began with ({e})"),
            path: path.display().to_string(),
            remedy: "restore the file, or remove it to go on without comparing",
        })?;
        Ok(Some(begun))
    }

    pub(super) fn write(&self, folder: &RunFolder) -> Result<(), RunError> {
        let text = serde_json::to_string_pretty(self).map_err(|e| RunError::Checkpoint {
            problem: format!("cannot be written ({e})"),
            path: folder.begun().display().to_string(),
            remedy: "report it: this should not happen",
        })?;
        Ok(folder.write_begun(&text)?)
    }

    /// Whether the data are those that the run began with.
    pub(super) fn check_data(&self, now: &DataFacts) -> Result<(), RunError> {
        match now.differs_from(&self.data) {
            Some(problem) => Err(RunError::OtherData {
                folder: now.folder.clone(),
                problem,
                begun: self.data.folder.clone(),
            }),
            None => Ok(()),
        }
    }

    /// With settings that are given now: the later of two for one key counts.
    pub(super) fn with_settings(&self, now: &[String]) -> Vec<String> {
        let keys: Vec<&str> = now.iter().map(|setting| key_of(setting)).collect();
        let earlier = self.settings.iter();
        let earlier = earlier.filter(|setting| !keys.contains(&key_of(setting)));
        earlier.chain(now).cloned().collect()
    }
}

/// What a run that is there is to go on with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resumed {
    /// Its configuration, with what is changed.
    pub config: Config,
    /// What differs from what it was begun with, to be told.
    pub notes: Vec<Note>,
    /// Where its data was.
    pub data: Option<PathBuf>,
}

impl Resumed {
    /// Compares what is asked for with what the run in `folder` is: a recipe's text and where it is from, if one is
    /// named again, and `key=value` settings. How long it goes on may change; anything else would be another run.
    ///
    /// # Errors
    /// Settings that the run does not have, all of them named; fewer epochs than are done.
    pub fn new(
        folder: &RunFolder,
        recipe: Option<(&str, &str)>,
        settings: &[String],
    ) -> Result<Self, RunError> {
        let path = folder.config();
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|cause| segmenta_report::ReportError::Read {
            path: path.clone(),
            cause,
        })?;
        let origin = path.display().to_string();
        let was = Config::parse(&text, &[], &origin)?;
        let begun = Begun::read(folder)?;
        // A mistake in what is given now is told as such.
        Config::parse(&text, settings, &origin)?;
        let mut wanted = match recipe {
            Some((text, origin)) => {
                let all = begun.as_ref().map(|begun| begun.with_settings(settings));
                Config::parse(text, all.as_deref().unwrap_or(settings), origin)?
            }
            None => Config::parse(&text, settings, &origin)?,
        };
        // A recipe that names the model that the run began with, names its network.
        if was.model.hub.as_ref() == Some(&wanted.model.arch) {
            wanted.model.arch.clone_from(&was.model.arch);
            let encoder = wanted.model.encoder.take();
            wanted.model.encoder = encoder.or_else(|| was.model.encoder.clone());
            for (name, value) in &was.model.settings {
                let settings = &mut wanted.model.settings;
                settings
                    .entry(name.clone())
                    .or_insert_with(|| value.clone());
            }
        }
        // Weights that a rule of the recipe found stay those of the run.
        if let (Some(wanted), Some(was)) = (&mut wanted.loss, &was.loss) {
            wanted.take_weights(was);
        }
        let differences = was.differences(&wanted)?;
        // What a recipe leaves open was found when the run began.
        let is_found = |key: &str| key.starts_with("data.") || FOUND.contains(&key);
        let differences = differences
            .into_iter()
            .filter(|d| !(is_found(&d.key) && d.now == Difference::NOTHING));
        let (free, other): (Vec<_>, Vec<_>) = differences.partition(|d| FREE.contains(&&*d.key));
        if !other.is_empty() {
            return Err(RunError::Differs {
                folder: folder.path().to_path_buf(),
                differences: other,
            });
        }
        let mut config = was.clone();
        config.train.epochs = wanted.train.epochs;
        config.train.early_stop = wanted.train.early_stop;
        config.train.previews = wanted.train.previews;
        config.train.checkpoint_steps = wanted.train.checkpoint_steps;
        config.data.cache_mb = wanted.data.cache_mb;
        config.data.workers = wanted.data.workers;
        let last = folder.last();
        let done = if last.exists() {
            Progress::read(&last)?
        } else {
            Progress::default()
        };
        let least = done.epochs + u32::from(done.batches > 0);
        if config.train.epochs < was.train.epochs.min(least) {
            return Err(RunError::Config {
                origin: "train.epochs".into(),
                problem: format!(
                    "{}, and {least} of the run are done or begun; give as many or more",
                    count(config.train.epochs, "epoch")
                ),
            });
        }
        let mut notes: Vec<Note> = free.into_iter().map(Note::Changed).collect();
        let epochs = config.train.epochs;
        if config.schedule.is_some() && epochs != was.train.epochs {
            notes.push(Note::Stretched { epochs });
        }
        Ok(Self {
            config,
            notes,
            data: begun.map(|begun| begun.data.folder),
        })
    }
}
