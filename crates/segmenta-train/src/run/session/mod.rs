//! The loop.

mod keep;
mod learn;
mod prepare;
mod settings;
mod tell;
mod validate;

use segmenta_files::count;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use segmenta_data::augment::Augmentation;
use segmenta_data::{Dataset, LearnedLists, Loader};
use segmenta_graph::Graph;
use segmenta_image::VOID;
use segmenta_metrics::{Confusion, MetricError};
use segmenta_report::{Classes, Recorded, RunFolder, RunLock, RunLog, RunRecord};

pub(in crate::run) use self::prepare::graph;
use self::prepare::{classes, default_loss, idle, loaders, names, taken};
use super::RunError;
use super::checkpoint::{Kept, Progress};
use super::config::{Config, Per, ScoreName};
use super::event::{Event, Note, Observer, Stage};
use super::finite::check_parameters;
use super::origin::Origin;
use super::resume::{Begun, DataFacts};
use crate::engine::{DeviceSpec, Engine, EngineOptions, Parameters};
use crate::loss::LossSpec;
use crate::optim::{Accumulation, Ema, Optimizer};
use crate::schedule::Schedule;

pub use self::prepare::{verify, weigh};
pub use self::settings::Settings;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All epochs are done.
    Done,
    /// No epoch was better for as long as the configuration says.
    Early,
    /// It was asked to, by a signal or by who observes it.
    Stopped,
    /// It took as many steps as it was to take ([`Settings::most_steps`]).
    Steps,
}

/// What came of a run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// The name and value of the score that tells the best epoch, and the epoch.
    pub best: Option<(&'static str, f64, u32)>,
    /// Epochs that are done.
    pub epochs: u32,
    /// The run's folder.
    pub folder: RunFolder,
    /// The weights of the best epoch, a model file; there is none before the first epoch is done.
    pub model: PathBuf,
    /// The page.
    pub report: PathBuf,
}

/// A run that is about to begin, or to go on.
pub struct Session {
    config: Config,
    settings: Settings,
    folder: RunFolder,
    graph: Graph,
    classes: usize,
    names: Classes,
    train: Loader,
    validation: Loader,
    whole: Augmentation,
    loss: LossSpec,
    engine: Engine,
    optimizer: Optimizer,
    schedule: Option<Schedule>,
    ema: Option<Ema>,
    record: RunRecord,
    log: RunLog,
    _held: RunLock,
    progress: Progress,
    /// Steps that were taken before.
    begun_at: u64,
    /// What there is to tell before the first step.
    notes: Vec<Note>,
    /// The weights that it began with, and whose they are.
    origins: Vec<Origin>,
    /// The pictures of both parts.
    lists: LearnedLists,
    /// Truth against prediction in the batches of the epoch that is going on; `None` where logits are not at hand.
    trained: Option<Confusion>,
}

impl Session {
    /// Makes everything ready: whatever can be wrong is found here, before the first step.
    ///
    /// # Errors
    /// A configuration, data or weights that cannot be; a folder that cannot be written.
    pub fn new(
        config: Config,
        dataset: &Dataset,
        folder: RunFolder,
        settings: Settings,
    ) -> Result<Self, RunError> {
        let classes = classes(&config, dataset)?;
        let names = names(classes, dataset);
        let graph = graph(&config, classes)?;
        settings.device.check()?;
        let mut parameters = Parameters::initial(&graph, config.train.seed);
        let (mut notes, origins) = if settings.resume {
            (Vec::new(), Vec::new())
        } else {
            taken(&config, &names, &graph, &mut parameters)?
        };
        let (train, validation, whole) = loaders(&config, dataset)?;
        notes.extend(idle(&config, dataset));
        let loss = config.loss.clone().unwrap_or_else(|| default_loss(classes));
        let entries = graph.parameters().iter().filter(|p| p.is_trainable());
        let entries = entries.map(|p| (p.name.as_str(), &p.shape[..]));
        let parts = &config.train.parts;
        let algorithm = config.optimizer.algorithm.clone();
        let optimizer = Optimizer::new(algorithm, config.train.clip, parts, entries)?;
        let steps = train.batches().div_ceil(config.train.accumulate) as u64;
        let epochs = u64::from(config.train.epochs);
        let schedule = config.schedule.as_ref().map(|schedule| {
            let run = match schedule.per {
                Per::Step => steps * epochs,
                Per::Epoch => epochs,
            };
            let lr = config.optimizer.algorithm.lr();
            Schedule::new(schedule.spec.clone(), lr, run)
        });
        let schedule = schedule.transpose()?;
        let ema = config.train.ema.map(Ema::new).transpose()?;
        let options = EngineOptions {
            device: settings.device,
            threads: settings.threads,
            parts: parts.clone(),
            seed: config.train.seed,
            checkpointing: config.train.checkpointing,
            debug_numerics: settings.debug_numerics,
            ..EngineOptions::default()
        };
        let engine = Engine::new(graph.clone(), parameters, options)?;
        let best_by = ScoreName::ALL.iter().position(|s| *s == config.train.score);
        let recorded = Recorded {
            classes: names.clone(),
            scores: ScoreName::ALL
                .map(|score| score.label().to_string())
                .to_vec(),
            best_by: best_by.unwrap_or(0),
        };
        let held = folder.hold()?;
        let facts = DataFacts::of(train.dataset(), validation.dataset());
        let lists = LearnedLists::of(train.dataset(), validation.dataset());
        // On other devices logits stay there: reading them back would take longer than the step.
        let trained = (settings.device == DeviceSpec::Cpu).then(|| counts(classes));
        let trained = trained.transpose()?;
        let begun = Begun::read(&folder)?.filter(|_| settings.resume);
        if let Some(begun) = &begun {
            begun.check_data(&facts)?;
        }
        let origins = begun
            .as_ref()
            .map_or(origins, |begun| begun.weights.clone());
        let checkpoint = Some(folder.last()).filter(|path| settings.resume && path.exists());
        let record = if settings.resume {
            let steps = checkpoint.as_deref().map(Progress::read).transpose()?;
            RunRecord::resume(
                &folder,
                recorded,
                steps.map_or(0, |progress| progress.steps),
            )?
        } else {
            RunRecord::create(&folder, recorded)?
        };
        let mut session = Self {
            record,
            log: RunLog::open(&folder)?,
            _held: held,
            progress: Progress::default(),
            begun_at: 0,
            config,
            settings,
            folder,
            graph,
            classes,
            names,
            train,
            validation,
            whole,
            loss,
            engine,
            optimizer,
            schedule,
            ema,
            notes,
            origins,
            lists,
            trained,
        };
        if let Some(path) = checkpoint {
            session.progress = session.kept().restore(&path)?;
            session.take_up_counts()?;
            session.engine.set_steps(session.progress.passes);
            session.begun_at = session.progress.steps;
            check_parameters(
                session.engine.parameters(),
                &path.display().to_string(),
                "begin the run anew",
            )?;
        }
        session.remember(begun.as_ref(), facts)?;
        session.look_ahead();
        Ok(session)
    }

    /// Puts down what the run is, once all is ready: its data, what was given beside the recipe, and of a run that
    /// goes on the settings that are changed.
    fn remember(&self, begun: Option<&Begun>, data: DataFacts) -> Result<(), RunError> {
        let given = &self.settings.given;
        let now = match begun {
            Some(begun) => Begun {
                settings: begun.with_settings(given),
                data: begun.data.clone(),
                weights: begun.weights.clone(),
            },
            None => Begun {
                settings: given.clone(),
                data,
                weights: self.origins.clone(),
            },
        };
        if begun != Some(&now) {
            now.write(&self.folder)?;
        }
        self.write_lists()?;
        let config = self.config.to_toml()?;
        let path = self.folder.config();
        if std::fs::read_to_string(&path).is_ok_and(|there| there != config) {
            self.folder.write_config(&config)?;
        }
        Ok(())
    }

    /// The names of the pictures that are learned from and measured on, once for all.
    fn write_lists(&self) -> Result<(), RunError> {
        let files = LearnedLists::files(&self.folder.lists());
        for (path, part) in files.iter().zip([&self.train, &self.validation]) {
            if !path.exists() {
                self.folder
                    .write_list(path, &part.dataset().whole_list()?)?;
            }
        }
        Ok(())
    }

    /// Counts of the epoch that is going on, as its checkpoint has them.
    fn take_up_counts(&mut self) -> Result<(), RunError> {
        let pixels = &self.progress.pixels;
        if let Some(trained) = &mut self.trained
            && pixels.len() == trained.classes().pow(2)
        {
            *trained =
                Confusion::from_counts(trained.classes(), trained.ignore_index(), pixels, 0)?;
        }
        Ok(())
    }

    /// What there is to say before the first step.
    fn look_ahead(&mut self) {
        let Progress {
            epochs, batches, ..
        } = self.progress;
        if epochs >= self.config.train.epochs {
            self.notes.push(Note::NothingLeft { epochs });
        } else if epochs > 0 || batches > 0 {
            self.notes.push(Note::GoesOn { epochs, batches });
        }
    }

    /// What is worth knowing before the first step; [`Session::run`] tells it, too.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Training and validation pictures.
    pub fn pictures(&self) -> [usize; 2] {
        [self.train.dataset().len(), self.validation.dataset().len()]
    }

    /// The network.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Epochs that are done already.
    pub fn epochs_done(&self) -> u32 {
        self.progress.epochs
    }

    /// Learns until it is done, or told to stop: by `observe`, which hears of everything and may break, or by
    /// [`Settings::stop`]. Either way the step that is being taken is finished and kept.
    ///
    /// # Errors
    /// Data that cannot be read after all, a loss that is no number, a folder that can no longer be written; what
    /// was written before stays whole.
    pub fn run(
        mut self,
        mut observe: impl FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Outcome, RunError> {
        let observer = &mut Observer::new(&mut observe);
        let epochs = self.config.train.epochs;
        let batches = self.train.batches() as u64;
        for note in &self.notes {
            observer.tell(Event::Note(note));
        }
        observer.tell(Event::Started {
            epochs,
            batches,
            done: u64::from(self.progress.epochs) * batches + self.progress.batches as u64,
            parameters: self.graph.trainable_count(),
            pictures: self.pictures(),
        });
        let line = format!(
            "{} · {} · {} to learn from, {} to measure on",
            self.config.model.arch,
            count(self.graph.trainable_count(), "parameter"),
            count(self.pictures()[0], "picture"),
            self.pictures()[1],
        );
        self.log.line(&line)?;
        let learned = self.epochs(observer);
        if let Err(error) = &learned {
            // The error itself is what is to be told; a log that cannot be written adds nothing to it.
            let _ = self.log.line(&error.to_string());
        }
        let ended = learned?;
        let report = self.report(ended)?;
        let best = self.record.best().and_then(|best| {
            let at = ScoreName::ALL
                .iter()
                .position(|s| *s == self.config.train.score)?;
            Some((
                self.config.train.score.label(),
                best.scores[at]?,
                best.epoch,
            ))
        });
        let outcome = Outcome {
            ended,
            best,
            epochs: self.progress.epochs,
            model: self.folder.model(),
            folder: self.folder.clone(),
            report,
        };
        observer.tell(Event::Finished(&outcome));
        Ok(outcome)
    }

    /// The epochs that are left.
    fn epochs(&mut self, observer: &mut Observer<'_>) -> Result<Ended, RunError> {
        if self.record.history().epochs().is_empty() {
            observer.tell(Event::Stage(Stage::Before));
            if self.measure_epoch(0, observer)?.is_none() {
                return Ok(Ended::Stopped);
            }
        }
        while self.progress.epochs < self.config.train.epochs {
            // At the head, so that a run that had ended early ends at once when it is resumed.
            let patience = self.config.train.early_stop;
            if patience.is_some_and(|patience| self.progress.since_best >= patience.max(1)) {
                return Ok(Ended::Early);
            }
            if !self.epoch(observer)? {
                return Ok(self.ended());
            }
        }
        Ok(Ended::Done)
    }

    /// How a run ended that was told to.
    fn ended(&self) -> Ended {
        if self.has_enough() {
            Ended::Steps
        } else {
            Ended::Stopped
        }
    }

    /// Whether as many steps were taken as were to be.
    fn has_enough(&self) -> bool {
        let taken = self.progress.steps - self.begun_at;
        self.settings.most_steps.is_some_and(|most| taken >= most)
    }

    /// The rest of an epoch and its measurement; false if it was told to stop.
    fn epoch(&mut self, observer: &mut Observer<'_>) -> Result<bool, RunError> {
        let number = self.progress.epochs + 1;
        let accumulate = self.config.train.accumulate;
        let mut sum = Accumulation::new(accumulate);
        let mut batches = self
            .train
            .epoch(u64::from(self.progress.epochs), self.progress.batches)?;
        let (start, mut waited) = (Instant::now(), 0.0);
        let mut spent = 0.0;
        let total = self.train.batches();
        while let Some(batch) = batches.next() {
            let batch = batch?;
            let pictures = batch.len();
            let loss = self.learn(batch, &mut sum)?;
            self.progress.batches += 1;
            let is_last = self.progress.batches == total;
            self.progress.loss += f64::from(loss) * pictures as f64;
            self.progress.pictures += pictures as u64;
            let loss = f64::from(loss);
            observer.tell(Event::Batch { loss, pictures });
            if !(sum.is_full() || is_last) {
                continue;
            }
            let learning_rate = self.step(&mut sum)?;
            self.record.step(self.progress.steps, loss, learning_rate)?;
            observer.tell(Event::Step {
                step: self.progress.steps,
                epoch: number,
                loss,
                learning_rate,
            });
            self.progress.seconds[0] += start.elapsed().as_secs_f64() - spent;
            self.progress.seconds[1] += batches.waited().as_secs_f64() - waited;
            (spent, waited) = (
                start.elapsed().as_secs_f64(),
                batches.waited().as_secs_f64(),
            );
            let every = self.config.train.checkpoint_steps;
            let stop = self.is_to_stop(observer);
            let due = every > 0 && self.progress.steps.is_multiple_of(every);
            if (stop || due) && !is_last {
                self.save(observer)?;
            }
            if stop && !is_last {
                return Ok(false);
            }
        }
        drop(batches);
        observer.tell(Event::Stage(Stage::Validating));
        let Some(score) = self.measure_epoch(number, observer)? else {
            return Ok(false);
        };
        if let (Some(schedule), Some(score)) = (&mut self.schedule, score) {
            schedule.observe(score);
        }
        let Progress {
            steps,
            passes,
            best,
            since_best,
            ..
        } = self.progress;
        if let Some(trained) = &mut self.trained {
            *trained = counts(self.classes)?;
        }
        self.progress = Progress {
            epochs: number,
            steps,
            passes,
            best,
            since_best,
            ..Progress::default()
        };
        self.save(observer)?;
        Ok(!self.is_to_stop(observer) || self.progress.epochs == self.config.train.epochs)
    }

    fn is_to_stop(&self, observer: &Observer<'_>) -> bool {
        self.has_enough() || observer.asked_to_end() || self.settings.stop.load(Ordering::Relaxed)
    }

    fn kept(&mut self) -> Kept<'_> {
        Kept {
            parameters: self.engine.parameters_mut(),
            optimizer: &mut self.optimizer,
            schedule: self.schedule.as_mut(),
            ema: self.ema.as_mut(),
        }
    }

    fn save(&mut self, observer: &mut Observer<'_>) -> Result<(), RunError> {
        let (path, mut progress) = (self.folder.last(), self.progress.clone());
        if progress.batches > 0
            && let Some(trained) = &self.trained
        {
            progress.pixels = trained.rows().flatten().copied().collect();
        }
        let card = self.card(None, progress.epochs)?;
        self.kept().save(&path, progress, card)?;
        observer.tell(Event::Checkpoint {
            step: self.progress.steps,
            file: &path,
        });
        Ok(())
    }
}

/// A matrix of nothing yet, for a network's channels of logits.
fn counts(classes: usize) -> Result<Confusion, MetricError> {
    Confusion::new(classes.max(2), Some(u32::from(VOID)))
}
