//! What a run tells of itself while it goes on: nothing is printed here.

use segmenta_files::count;
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use segmenta_data::Split;
use segmenta_data::check::Finding;
use segmenta_report::Epoch;

use super::config::{Difference, FRESH, Found};
use super::measure::StrangeLoss;
use super::{Outcome, Taken};

/// Something that happened. More kinds may come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// So many pictures of the data set were looked at, before a new run begins.
    Checked {
        /// Pictures looked at so far.
        pictures: usize,
        /// Pictures of the data set.
        of: usize,
    },
    /// Weights that the run begins with are being downloaded.
    Download(segmenta_weights::Progress),
    /// Something worth knowing that is no error.
    Note(&'a Note),
    /// Everything is ready.
    Started {
        /// Epochs of the whole run.
        epochs: u32,
        /// Batches of an epoch.
        batches: u64,
        /// Batches that were learned from before, by a run that goes on.
        done: u64,
        /// Values that learn.
        parameters: usize,
        /// Training and validation pictures.
        pictures: [usize; 2],
    },
    /// A batch was learned from.
    Batch {
        /// Its loss.
        loss: f64,
        /// Its pictures.
        pictures: usize,
    },
    /// The optimiser moved the parameters.
    Step {
        /// Steps since the run began, with those before a resume.
        step: u64,
        /// The epoch that it belongs to, from 1.
        epoch: u32,
        /// The loss of its last batch.
        loss: f64,
        /// The learning rate that it went by.
        learning_rate: f64,
    },
    /// Something else than learning begins.
    Stage(Stage),
    /// So many more validation pictures were measured on.
    Measured {
        /// The pictures.
        pictures: usize,
    },
    /// An epoch is over and measured.
    Epoch(&'a EpochDone),
    /// Predictions of fixed validation pictures were drawn.
    Preview {
        /// The epoch.
        epoch: u32,
        /// The pictures, one below the other.
        file: &'a Path,
    },
    /// The weights of the best epoch so far were written: a model file.
    Model {
        /// The epoch.
        epoch: u32,
        /// The file.
        file: &'a Path,
    },
    /// What the run goes on from, if it should end now, was written.
    Checkpoint {
        /// Steps since the run began.
        step: u64,
        /// The file.
        file: &'a Path,
    },
    /// The run is over.
    Finished(&'a Outcome),
}

/// What a run does beside learning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Measuring the network before it has learned anything.
    Before,
    /// Measuring it after an epoch.
    Validating,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "measuring before training",
            Self::Validating => "validating",
        })
    }
}

/// An epoch and what was measured after it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EpochDone {
    /// Its line of `metrics.csv`; epoch 0 is the network before training.
    pub record: Epoch,
    /// The names of the scores.
    pub names: Vec<&'static str>,
    /// Which of them tells the best epoch.
    pub best_by: usize,
    /// Whether it is the best so far; epoch 0, before training, never is.
    pub is_best: bool,
    /// Validation pixels that were right.
    pub right: u64,
    /// Validation pixels that were counted.
    pub pixels: u64,
}

impl EpochDone {
    /// Of an epoch's line and the names of its scores, of which `best_by` tells the best epoch.
    pub fn new(record: Epoch, names: Vec<&'static str>, best_by: usize, is_best: bool) -> Self {
        Self {
            record,
            names,
            best_by,
            is_best,
            right: 0,
            pixels: 0,
        }
    }

    /// The score that tells the best epoch, with its name; `None` where there was nothing to measure.
    pub fn score(&self) -> (&'static str, Option<f64>) {
        (self.names[self.best_by], self.record.scores[self.best_by])
    }

    /// The epoch in a line, such as `loss 0.4812 · validation 0.5017 · mIoU 0.7130`.
    pub fn summary(&self) -> String {
        let Epoch {
            train_loss,
            validation_loss,
            scores,
            ..
        } = &self.record;
        let mut parts = Vec::new();
        if let Some(loss) = train_loss {
            parts.push(format!("loss {loss:.4}"));
        }
        parts.push(format!("validation {}", number(*validation_loss)));
        for (name, value) in self.names.iter().zip(scores).take(3) {
            parts.push(format!("{name} {}", number(*value)));
        }
        parts.push(format!("{} of {} pixels right", self.right, self.pixels));
        if let Some(score) = self.record.train_score {
            let name = self.names[self.best_by];
            parts.push(format!("{name} of training batches {score:.4}"));
        }
        if let (Some(speed), Some(waiting)) = (self.record.pictures_per_second, self.record.waiting)
        {
            parts.push(format!("{speed:.1} pictures/s"));
            parts.push(format!("waited {:.1} % for data", waiting * 100.0));
        }
        parts.join(" · ")
    }

    /// The score that tells the best epoch in a few words, such as `mIoU 0.7130`.
    pub fn headline(&self) -> String {
        let (name, value) = self.score();
        format!("{name} {}", number(value))
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("n/a".into(), |value| format!("{value:.4}"))
}

/// Something worth knowing that is no error. `Display` says it in a line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Note {
    /// Something about the data that training can live with; whether it should, is the user's to say.
    Data(Finding),
    /// The loss of validation pictures is no number, though their logits are: it is recorded as n/a.
    Loss {
        /// The epoch; 0 is before training.
        epoch: u32,
        /// The first batch that has such a loss.
        strange: StrangeLoss,
    },
    /// Published weights that the encoder begins with.
    Encoder {
        /// The encoder.
        encoder: String,
        /// What they are called.
        weights: String,
        /// Where they come from and under which licence they are, as far as it is known.
        source: Found,
        /// Whether they were asked for; otherwise they are the default.
        asked: bool,
        /// What else is worth knowing of them.
        more: Vec<String>,
    },
    /// A network of the hub, or of a folder like one, is trained on.
    Hub {
        /// Its architecture.
        architecture: String,
        /// Where it comes from, and under which licence it is, as far as that is known.
        source: Found,
        /// What else is worth knowing of it.
        more: Vec<String>,
    },
    /// An encoder begins fresh for which only weights of other names are published.
    FreshEncoder {
        /// The encoder.
        encoder: String,
        /// The names.
        others: Vec<String>,
    },
    /// What the network begins with was taken from a file.
    Taken {
        /// The file.
        file: PathBuf,
        /// What it gave.
        taken: Taken,
    },
    /// A run goes on.
    GoesOn {
        /// Epochs that are done.
        epochs: u32,
        /// Batches of the next epoch that are done.
        batches: usize,
    },
    /// A run goes on with another value of a setting than it was begun with.
    Changed(Difference),
    /// The schedule of the learning rate is stretched over another number of epochs.
    Stretched {
        /// The epochs that it runs over now.
        epochs: u32,
    },
    /// All epochs were done before.
    NothingLeft {
        /// The epochs.
        epochs: u32,
    },
    /// The data set has one split alone: a share of it is learned from, the others are measured on.
    Drawn {
        /// The split.
        from: Split,
    },
    /// The data set says what is measured on, and not what is learned from: the pictures that are in no split.
    Rest {
        /// The split that is measured on.
        measured: Split,
    },
    /// Class weights that a rule found in the pictures that are learned from.
    Weighed {
        /// The rule.
        rule: &'static str,
        /// The classes and their weights.
        weights: Vec<(String, f32)>,
    },
    /// A setting that was given changes nothing in this run.
    NoEffect {
        /// Its key.
        key: &'static str,
        /// Why not.
        why: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(finding) => write!(f, "{finding}"),
            Self::Loss { epoch, strange } => write!(
                f,
                "the validation loss of epoch {epoch} is {}, first on {}, where the logits are numbers · recorded as \
                 n/a, scores hold · look at the masks there, at the loss's settings (loss), or learn more slowly \
                 (optimizer.lr)",
                strange.value,
                strange.pictures.join(", ")
            ),
            Self::Encoder {
                encoder,
                weights,
                source,
                asked,
                more,
            } => {
                let licence = source.licence.as_deref().unwrap_or("not known here");
                write!(
                    f,
                    "{encoder} begins with the weights `{weights}` · {} · licence: {licence}",
                    source.source
                )?;
                more.iter().try_for_each(|more| write!(f, " · {more}"))?;
                if *asked {
                    return Ok(());
                }
                write!(f, " · to begin fresh: model.encoder_weights = \"{FRESH}\"")
            }
            Self::Hub {
                architecture,
                source,
                more,
            } => {
                let licence = source.licence.as_deref().unwrap_or("not known here");
                write!(
                    f,
                    "{architecture} begins with {} · licence: {licence}",
                    source.source
                )?;
                more.iter().try_for_each(|more| write!(f, " · {more}"))
            }
            Self::FreshEncoder { encoder, others } => write!(
                f,
                "{encoder} begins fresh: it has no weights `imagenet`, but {} (model.encoder_weights)",
                others.join(", ")
            ),
            Self::Taken { file, taken } => f.write_str(&taken.summary(file)),
            Self::GoesOn { epochs, batches: 0 } => write!(f, "going on after epoch {epochs}"),
            Self::GoesOn { epochs, batches } => write!(
                f,
                "going on after {} of epoch {}",
                count(*batches, "batch"),
                u64::from(*epochs) + 1
            ),
            Self::Changed(Difference { key, was, now }) => {
                write!(f, "going on with {key} = {now}, begun with {was}")
            }
            Self::Stretched { epochs } => write!(
                f,
                "the learning rate's schedule runs over {} now: the rate may jump",
                count(*epochs, "epoch")
            ),
            Self::NothingLeft { epochs } => write!(
                f,
                "{} done before: nothing is left to do · more of them: train.epochs",
                count(*epochs, "epoch")
            ),
            Self::Drawn { from } => write!(
                f,
                "the data set has pictures for `{from}` alone: a share of them is learned from, the others are measured \
                 on (data.train_share)"
            ),
            Self::Rest { measured } => write!(
                f,
                "no picture is said to be for `train`: those in no split are learned from, those of `{measured}` are \
                 measured on"
            ),
            Self::Weighed { rule, weights } => {
                let each = weights.iter();
                let each: Vec<String> = each.map(|(name, w)| format!("{name} {w:.3}")).collect();
                write!(f, "class weights by `{rule}`: {}", each.join(", "))
            }
            Self::NoEffect { key, why } => write!(f, "{key} changes nothing here: {why}"),
        }
    }
}

/// Who hears of events, and whether it has asked to end.
pub(super) struct Observer<'o> {
    observe: &'o mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    asked_to_end: bool,
}

impl<'o> Observer<'o> {
    pub(super) fn new(observe: &'o mut dyn FnMut(Event<'_>) -> ControlFlow<()>) -> Self {
        Self {
            observe,
            asked_to_end: false,
        }
    }

    pub(super) fn tell(&mut self, event: Event<'_>) {
        self.asked_to_end |= (self.observe)(event).is_break();
    }

    pub(super) fn asked_to_end(&self) -> bool {
        self.asked_to_end
    }
}
