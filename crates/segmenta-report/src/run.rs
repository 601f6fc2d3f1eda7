//! A run's record: what a training loop tells it, epoch by epoch, becomes the files of the run's folder.

use std::fs;
use std::path::{Path, PathBuf};

use segmenta_files::count;
use segmenta_image::{Filter, LabelMap, mark_result};
use segmenta_metrics::{Confusion, Metric, Score};

use crate::chart::{class_bars, confusion_matrix};
use crate::curves::curves;
use crate::events::EventWriter;
use crate::masks::{reduced, stacked, unstacked};
use crate::page::Page;
use crate::{
    Chart, Classes, Epoch, Example, Facts, Growth, History, ReportError, RunFolder, Watched,
    counted,
};
use crate::{figure, growth_gif};

/// Pixels of a chart's picture for each of its units.
const SCALE: f32 = 2.0;

/// Writes a PNG that says what it is, so that a folder of photographs with a run below it is not mixed up.
fn write_result(path: &Path, png: &[u8], kind: &str) -> Result<(), ReportError> {
    RunFolder::write(path, &mark_result(png, kind))
}

fn write_chart(path: &Path, chart: &Chart) -> Result<(), ReportError> {
    write_result(path, &chart.picture(SCALE)?.to_png(), "chart")
}

/// Writes a run's metrics, events, figures and report.
///
/// Tell it of an epoch before the epoch's weights are saved: what a resumed run has forgotten it will hear again, and
/// nothing is missing.
#[derive(Debug)]
pub struct RunRecord {
    folder: RunFolder,
    classes: Classes,
    best_by: usize,
    history: History,
    events: EventWriter,
    watched: Vec<Watched>,
}

/// What is recorded of a run.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The classes' names and colours.
    pub classes: Classes,
    /// The names of the scores that each epoch has, such as `mIoU`: the columns of `metrics.csv`.
    pub scores: Vec<String>,
    /// Which of the scores says what epoch is best: the greatest.
    pub best_by: usize,
}

/// What a report says besides what was recorded.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How the run ended, in a sentence.
    pub ended: String,
    /// The scores to show large, each with its name and how it was made. Without any, those that follow from the
    /// recorded confusion matrix are shown: mIoU, pixel accuracy, class accuracy.
    pub headlines: Vec<(String, Score)>,
    /// Sections of facts: the data, the network, [`Facts::environment`].
    pub facts: Vec<Facts>,
}

impl RunRecord {
    /// The record of a new run.
    ///
    /// # Errors
    /// The folder cannot be written; `best_by` is no score.
    pub fn create(folder: &RunFolder, recorded: Recorded) -> Result<Self, ReportError> {
        let history = History::new(recorded.scores);
        let events = EventWriter::create(folder.path())?;
        let record = Self::new(folder, recorded.classes, recorded.best_by, history, events)?;
        RunFolder::write(&folder.metrics(), &record.history.to_csv())?;
        Ok(record)
    }

    /// Goes on after `step`: what was recorded later is removed.
    ///
    /// # Errors
    /// What was recorded cannot be read, or has other scores; the folder cannot be written.
    pub fn resume(folder: &RunFolder, recorded: Recorded, step: u64) -> Result<Self, ReportError> {
        folder.sweep()?;
        let path = folder.metrics();
        let wanted = History::new(recorded.scores);
        // A run that was killed at its very beginning has none yet.
        let mut history = if path.exists() {
            History::read(&path)?
        } else {
            wanted.clone()
        };
        if history.scores() != wanted.scores() {
            let (old, new) = (history.scores().join(", "), wanted.scores().join(", "));
            return Err(ReportError::Mismatch {
                path,
                problem: format!("the run recorded {old}, and now {new} are to be"),
                remedy: "resume with the same scores, or start a new run",
            });
        }
        history.truncate_after(step);
        let events = EventWriter::resume(folder.path(), step)?;
        let record = Self::new(folder, recorded.classes, recorded.best_by, history, events)?;
        record.forget_later()?;
        RunFolder::write(&path, &record.history.to_csv())?;
        Ok(record)
    }

    fn new(
        folder: &RunFolder,
        classes: Classes,
        best_by: usize,
        history: History,
        events: EventWriter,
    ) -> Result<Self, ReportError> {
        if best_by >= history.scores().len() {
            return Err(ReportError::Mismatch {
                path: folder.metrics(),
                problem: format!(
                    "score {best_by} is to tell the best epoch, of {}",
                    count(history.scores().len(), "score")
                ),
                remedy: "name one of the recorded scores",
            });
        }
        Ok(Self {
            folder: folder.clone(),
            classes,
            best_by,
            history,
            events,
            watched: Vec::new(),
        })
    }

    /// The epochs so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The folder.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// The best epoch so far.
    pub fn best(&self) -> Option<&Epoch> {
        self.history.best(self.best_by)
    }

    /// Logs the loss and learning rate of one step, for TensorBoard.
    ///
    /// # Errors
    /// The events cannot be written.
    pub fn step(&mut self, step: u64, loss: f64, learning_rate: f64) -> Result<(), ReportError> {
        self.events.scalar(step, "step/loss", loss)?;
        self.events
            .scalar(step, "step/learning_rate", learning_rate)
    }

    /// Records an epoch and, if it is the best so far, the confusion matrix of its validation. Says whether it is.
    ///
    /// # Errors
    /// Another number of scores, or an epoch or step that is not after the last; a file that cannot be written.
    pub fn epoch(
        &mut self,
        epoch: Epoch,
        confusion: Option<&Confusion>,
    ) -> Result<bool, ReportError> {
        let (number, step) = (epoch.epoch, epoch.step);
        let mut history = self.history.clone();
        history
            .push(epoch.clone())
            .map_err(|problem| ReportError::Mismatch {
                path: self.folder.metrics(),
                problem,
                remedy: "report it: this should not happen",
            })?;
        let scores = self
            .history
            .scores()
            .iter()
            .map(|name| format!("score/{name}"));
        let mut values = vec![
            ("loss/train".to_owned(), epoch.train_loss),
            ("loss/validation".to_owned(), epoch.validation_loss),
            (
                "speed/pictures_per_second".to_owned(),
                epoch.pictures_per_second,
            ),
            ("speed/waiting".to_owned(), epoch.waiting),
        ];
        let trained = format!("score/training {}", self.history.scores()[self.best_by]);
        values.extend(scores.zip(epoch.scores));
        values.push((trained, epoch.train_score));
        for (tag, value) in values {
            if let Some(value) = value {
                self.events.scalar(step, &tag, value)?;
            }
        }
        self.events.sync()?;
        let best = history
            .best(self.best_by)
            .is_some_and(|best| best.epoch == number);
        if let Some(confusion) = confusion.filter(|_| best) {
            let csv = counted::to_csv(number, confusion, &self.classes);
            RunFolder::write(&self.folder.confusion(), &csv)?;
        }
        RunFolder::write(&self.folder.metrics(), &history.to_csv())?;
        self.history = history;
        Ok(best)
    }

    /// Draws the predictions of fixed validation pictures at the last recorded epoch: `previews/epoch-NNNN.png`,
    /// and their masks for the animation. Give the same pictures in the same order each time. Gives the file's path,
    /// if there was anything to draw.
    ///
    /// # Errors
    /// A label map of another size than its picture; a file that cannot be written.
    pub fn preview(&mut self, examples: &[Example]) -> Result<Option<PathBuf>, ReportError> {
        let Some(last) = self
            .history
            .epochs()
            .last()
            .filter(|_| !examples.is_empty())
        else {
            return Ok(None);
        };
        let title = [format!("Epoch {}", last.epoch), self.caption(last)].join(" · ");
        let drawn = figure(title.trim_end_matches(" · "), examples, &self.classes)?;
        let masks: Vec<LabelMap> = examples
            .iter()
            .map(|example| reduced(&example.prediction))
            .collect();
        let masks = stacked(&masks)?.to_png(self.classes.palette());
        write_result(&self.masks_path(last.epoch), &masks, "mask")?;
        let path = self.preview_path(last.epoch);
        write_result(&path, &drawn.to_png(), "preview")?;
        // A quarter of the pixels: the events keep all epochs in one file.
        let small = drawn.resize(drawn.width() / 2, drawn.height() / 2, Filter::Bilinear);
        self.events.picture(last.step, "previews", &small)?;
        self.watched = examples
            .iter()
            .map(|example| Watched {
                picture: example.picture.clone(),
                truth: example.truth.clone(),
            })
            .collect();
        Ok(Some(path))
    }

    /// Draws everything anew and writes `report.html`; may be called after each epoch. Gives its path.
    ///
    /// # Errors
    /// A file that cannot be read or written.
    pub fn report(&self, summary: &Summary) -> Result<PathBuf, ReportError> {
        let folder = &self.folder;
        let curves = curves(
            &self.history,
            self.best_by,
            self.best().map(|best| best.epoch),
        );
        for (name, chart) in &curves {
            write_chart(&folder.curves().join(format!("{name}.png")), chart)?;
        }
        let confusion = self.read_confusion()?;
        if let Some(confusion) = &confusion {
            self.draw_confusion(confusion)?;
        }
        let gif = self.draw_growth()?;
        if let Some(gif) = &gif {
            RunFolder::write(&folder.growth(), gif)?;
        }
        let shown = self.best().map(|best| best.epoch);
        let preview =
            shown.and_then(|epoch| Some((epoch, fs::read(self.preview_path(epoch)).ok()?)));
        let config =
            fs::read_to_string(folder.config()).map_err(ReportError::read(&folder.config()))?;
        let charts: Vec<Chart> = curves.into_iter().map(|(_, chart)| chart).collect();
        let own = confusion.as_ref().map(headlines).unwrap_or_default();
        let page = Page {
            name: &folder.name(),
            ended: &summary.ended,
            headlines: if summary.headlines.is_empty() {
                &own
            } else {
                &summary.headlines
            },
            shown,
            history: &self.history,
            confusion: confusion.as_ref(),
            classes: &self.classes,
            curves: &charts,
            growth: gif.as_deref(),
            preview: preview
                .as_ref()
                .map(|(epoch, png)| (*epoch, png.as_slice())),
            command: &format!(
                "segmenta predict PHOTO --weights {} --legend",
                quoted(&folder.model())
            ),
            facts: &summary.facts,
            config: &config,
        };
        let report = folder.report();
        RunFolder::write(&report, page.html()?.as_bytes())?;
        Ok(report)
    }

    fn draw_confusion(&self, confusion: &Confusion) -> Result<(), ReportError> {
        let classes = self.classes.padded(confusion.classes());
        let matrix = confusion_matrix(confusion, classes.names());
        let scores = confusion.of_classes(Metric::Iou);
        let bars = class_bars(
            "IoU of each class",
            &scores,
            classes.names(),
            &classes.colours(),
        );
        let folder = self.folder.path();
        write_chart(&folder.join("confusion.png"), &matrix)?;
        write_chart(&folder.join("classes.png"), &bars)
    }

    /// `None` if there are no previews. Epochs whose masks are of other pictures are left out.
    fn draw_growth(&self) -> Result<Option<Vec<u8>>, ReportError> {
        let grown = self.history.epochs().iter().filter_map(|epoch| {
            let masks = unstacked(
                &LabelMap::open(self.masks_path(epoch.epoch)).ok()?,
                &self.watched,
            )?;
            Some(Growth {
                epoch: epoch.epoch,
                caption: self.caption(epoch),
                masks,
            })
        });
        let grown: Vec<Growth> = grown.collect();
        if grown.is_empty() || self.watched.is_empty() {
            return Ok(None);
        }
        growth_gif(&self.watched, &grown, &self.classes).map(Some)
    }

    /// The matrix of the best epoch, if it was recorded.
    fn read_confusion(&self) -> Result<Option<Confusion>, ReportError> {
        let path = self.folder.confusion();
        if !path.exists() {
            return Ok(None);
        }
        let (epoch, confusion) = counted::read(&path)?;
        Ok(self
            .best()
            .is_some_and(|best| best.epoch == epoch)
            .then_some(confusion))
    }

    fn caption(&self, epoch: &Epoch) -> String {
        let name = &self.history.scores()[self.best_by];
        match epoch.scores[self.best_by] {
            Some(score) => format!("{name} {score:.3}"),
            None => String::new(),
        }
    }

    fn preview_path(&self, epoch: u32) -> PathBuf {
        self.folder.previews().join(format!("epoch-{epoch:04}.png"))
    }

    fn masks_path(&self, epoch: u32) -> PathBuf {
        self.folder
            .previews()
            .join(format!("epoch-{epoch:04}.masks.png"))
    }

    /// Removes pictures and the matrix of epochs that the history does not have.
    fn forget_later(&self) -> Result<(), ReportError> {
        let last = self.history.epochs().last().map(|epoch| epoch.epoch);
        let later = |epoch: u32| last.is_none_or(|last| epoch > last);
        let remove = |path: &Path| fs::remove_file(path).map_err(ReportError::write(path));
        let confusion = self.folder.confusion();
        if confusion.exists() && counted::read(&confusion).is_ok_and(|(epoch, _)| later(epoch)) {
            remove(&confusion)?;
        }
        let previews = self.folder.previews();
        if !previews.exists() {
            return Ok(());
        }
        for entry in fs::read_dir(&previews).map_err(ReportError::read(&previews))? {
            let path = entry.map_err(ReportError::read(&previews))?.path();
            if epoch_of(&path).is_some_and(later) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// mIoU, pixel accuracy and class accuracy, as papers report them.
fn headlines(confusion: &Confusion) -> Vec<(String, Score)> {
    vec![
        ("mIoU".into(), confusion.mean_iou()),
        ("Pixel accuracy".into(), confusion.pixel_accuracy()),
        ("Class accuracy".into(), confusion.class_accuracy()),
    ]
}

/// The epoch of a preview's file name.
fn epoch_of(path: &Path) -> Option<u32> {
    let name = path.file_name()?.to_str()?.strip_prefix("epoch-")?;
    name.split('.').next()?.parse().ok()
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
