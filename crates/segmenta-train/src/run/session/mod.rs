//! The loop.

mod keep;
mod prepare;
mod settings;
mod tell;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use segmenta_data::augment::Augmentation;
use segmenta_data::{Batch, Dataset, Loader};
use segmenta_graph::{Graph, Shape};
use segmenta_report::{
    Classes, Progress as Shown, Recorded, RunFolder, RunLock, RunLog, RunRecord,
};
use segmenta_runtime::EngineOptions as EvaluatorOptions;
use segmenta_zoo::find;

pub(in crate::run) use self::prepare::graph;
use self::prepare::{classes, default_loss, loaders};
use super::RunError;
use super::begin::{Taken, Wanted, take};
use super::checkpoint::{Kept, Progress};
use super::config::{Config, Per, ScoreName};
use super::heads::Heads;
use super::measure::{measure, target, truth};
use crate::engine::{Engine, EngineOptions, Parameters, evaluator};
use crate::loss::LossSpec;
use crate::optim::{Accumulation, Ema, Optimizer};
use crate::schedule::Schedule;

pub use self::prepare::verify;
pub use self::settings::Settings;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All epochs are done.
    Done,
    /// No epoch was better for as long as the configuration says.
    Early,
    /// It was asked to.
    Stopped,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// The name and value of the score that tells the best epoch, and the epoch.
    pub best: Option<(&'static str, f64, u32)>,
    /// The page.
    pub report: PathBuf,
}

/// A run that is about to begin, or to go on.
pub struct Session {
    config: Config,
    settings: Settings,
    device: Device,
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
    taken: Vec<(PathBuf, Taken)>,
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
        let of_data = dataset.classes();
        let classes = classes(&config, dataset)?;
        let names = if classes == 1 {
            // One channel tells the last of the data's classes from the rest.
            let rest = match of_data.len() {
                2 => of_data.name(0),
                _ => "background".into(),
            };
            let last = of_data.name(of_data.len() - 1);
            Classes::new([rest, last], of_data.palette().clone())
        } else {
            let all = 0..classes.max(of_data.len());
            Classes::new(all.map(|id| of_data.name(id)), of_data.palette().clone())
        };
        let graph = graph(&config, classes)?;
        let heads = Heads::of(&config, classes, &graph)?;
        let device = settings.device.device()?;
        let mut parameters = Parameters::initial(&graph, config.train.seed, &device);
        let mut taken = Vec::new();
        let files = [
            (&config.model.encoder_weights, "encoder."),
            (&config.model.weights, ""),
        ];
        for (file, part) in files.into_iter().filter(|_| !settings.resume) {
            if let Some(file) = file {
                let wanted = Wanted {
                    architecture: find(&config.model.arch)?,
                    part,
                    key: config.model.weights_key.as_deref(),
                    matching: config.model.names,
                };
                let fresh = heads.values(&parameters)?;
                let mut found = take(&mut parameters, &graph, file, &wanted)?;
                // An encoder's file has no rows for classes.
                if part.is_empty() {
                    found.classes = heads.by_name(&mut parameters, &fresh, file, names.names())?;
                }
                taken.push((file.clone(), found));
            }
        }
        let (train, validation, whole) = loaders(&config, dataset)?;
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
            device,
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
            taken,
        };
        if let Some(path) = checkpoint {
            session.progress = session.kept().restore(&path)?;
            session.engine.set_steps(session.progress.passes);
            session.begun_at = session.progress.steps;
        }
        Ok(session)
    }

    /// What was taken from weight files.
    pub fn taken(&self) -> &[(PathBuf, Taken)] {
        &self.taken
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

    /// Learns until it is done, or told to stop.
    ///
    /// # Errors
    /// Data that cannot be read after all, a loss that is no number, a folder that can no longer be written; what
    /// was written before stays whole.
    pub fn run(mut self) -> Result<Outcome, RunError> {
        let epochs = self.config.train.epochs;
        let steps = self.train.batches() as u64;
        let done = u64::from(self.progress.epochs) * steps + self.progress.batches as u64;
        let mut shown = Shown::new(epochs, steps, done, self.settings.quiet);
        let line = format!(
            "{} · {} parameters · {} training and {} validation pictures",
            self.config.model.arch,
            self.graph.trainable_count(),
            self.pictures()[0],
            self.pictures()[1],
        );
        self.log.line(&line)?;
        let mut ended = Ended::Done;
        if self.record.history().epochs().is_empty() {
            shown.stage("measuring before training");
            if self.measure_epoch(0, &mut shown)?.is_none() {
                ended = Ended::Stopped;
            }
        }
        while ended == Ended::Done && self.progress.epochs < epochs {
            if !self.epoch(&mut shown)? {
                ended = Ended::Stopped;
                break;
            }
            let patience = self.config.train.early_stop;
            if patience.is_some_and(|patience| self.progress.since_best >= patience) {
                ended = Ended::Early;
                break;
            }
        }
        shown.finish();
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
        Ok(Outcome {
            ended,
            best,
            report,
        })
    }

    /// The rest of an epoch and its measurement; false if it was told to stop.
    fn epoch(&mut self, shown: &mut Shown) -> Result<bool, RunError> {
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
            let loss = self.learn(&batch, &mut sum)?;
            self.progress.batches += 1;
            let is_last = self.progress.batches == total;
            self.progress.loss += f64::from(loss) * batch.len() as f64;
            self.progress.pictures += batch.len() as u64;
            shown.step(f64::from(loss), batch.len());
            if !(sum.is_full() || is_last) {
                continue;
            }
            let lr = self.step(&mut sum)?;
            self.record.step(self.progress.steps, f64::from(loss), lr)?;
            self.progress.seconds[0] += start.elapsed().as_secs_f64() - spent;
            self.progress.seconds[1] += batches.waited().as_secs_f64() - waited;
            (spent, waited) = (
                start.elapsed().as_secs_f64(),
                batches.waited().as_secs_f64(),
            );
            let every = self.config.train.checkpoint_steps;
            let stop = self.is_to_stop();
            let due = every > 0 && self.progress.steps.is_multiple_of(every);
            if (stop || due) && !is_last {
                self.save()?;
            }
            if stop && !is_last {
                return Ok(false);
            }
        }
        drop(batches);
        shown.stage("validating");
        let Some(score) = self.measure_epoch(number, shown)? else {
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
        self.progress = Progress {
            epochs: number,
            steps,
            passes,
            best,
            since_best,
            ..Progress::default()
        };
        self.save()?;
        Ok(!self.is_to_stop() || self.progress.epochs == self.config.train.epochs)
    }

    fn is_to_stop(&self) -> bool {
        let taken = self.progress.steps - self.begun_at;
        let enough = self.settings.most_steps.is_some_and(|most| taken >= most);
        enough || self.settings.stop.load(Ordering::Relaxed)
    }

    /// Forward, loss, backward of one batch, whose gradients are added up; its loss.
    fn learn(&mut self, batch: &Batch, sum: &mut Accumulation) -> Result<f32, RunError> {
        let of_data = self.train.dataset().classes().len();
        let shape = Shape::new(batch.len(), 3, batch.height, batch.width);
        let truth = truth(batch, self.classes, of_data);
        let target = target(truth, batch, self.classes, &self.device)?;
        let logits = self.engine.forward(batch.pictures.clone(), shape)?;
        self.progress.passes = self.engine.steps();
        let (mut total, mut gradients) = (0.0, Vec::new());
        for (output, logits) in logits.iter().enumerate() {
            let factor = if output == 0 {
                1.0
            } else {
                self.config.model.aux_weight as f32
            };
            let (value, gradient) = self.engine.loss(&self.loss, logits, &target, factor)?;
            total += factor * value;
            gradients.push(gradient);
        }
        if !total.is_finite() {
            return Err(RunError::NotFinite {
                loss: total,
                step: self.progress.steps + 1,
                epoch: self.progress.epochs + 1,
            });
        }
        drop(logits);
        sum.add(self.engine.backward(gradients)?);
        Ok(total)
    }

    /// Moves the parameters; the learning rate that it went by.
    fn step(&mut self, sum: &mut Accumulation) -> Result<f64, RunError> {
        let count = match self.config.schedule.as_ref().map(|schedule| schedule.per) {
            Some(Per::Epoch) => u64::from(self.progress.epochs),
            _ => self.progress.steps,
        };
        let base = self.config.optimizer.algorithm.lr();
        let lr = self
            .schedule
            .as_ref()
            .map_or(base, |schedule| schedule.lr(count));
        if let Some(momentum) = self.schedule.as_ref().and_then(|s| s.momentum(count)) {
            self.optimizer.set_momentum(momentum);
        }
        let (gradients, scale) = sum.take();
        self.engine
            .update(&mut self.optimizer, lr, scale, false, gradients)?;
        self.progress.steps += 1;
        if let Some(ema) = &mut self.ema {
            let parameters = self.engine.parameters();
            let entries = parameters.entries().iter().enumerate();
            let learned = entries.filter(|(_, entry)| entry.is_trainable());
            ema.update(learned.map(|(at, entry)| (&*entry.name, parameters.tensor(at))))?;
        }
        Ok(lr)
    }

    /// The parameters that are measured and kept.
    fn measured_parameters(&self) -> Parameters {
        let now = self.engine.parameters();
        match &self.ema {
            Some(ema) => now.averaged(ema),
            None => now.clone(),
        }
    }

    /// Measures the network, records the epoch, and keeps the weights if they are the best; its score. `None` if it
    /// was told to stop meanwhile.
    #[expect(
        clippy::option_option,
        reason = "told to stop, and nothing to measure, are two things"
    )]
    fn measure_epoch(
        &mut self,
        number: u32,
        shown: &mut Shown,
    ) -> Result<Option<Option<f64>>, RunError> {
        let parameters = self.measured_parameters();
        let options = EvaluatorOptions {
            threads: self.engine.threads().count(),
            ..EvaluatorOptions::default()
        };
        let network = evaluator(&self.graph, &parameters, &options)?;
        let (engine, loss, stop) = (&self.engine, &self.loss, &self.settings.stop);
        let of_batch = |logits: &[f32], shape: Shape, target: &crate::loss::Target| {
            let extents = [shape.batch, shape.channels, shape.height, shape.width];
            let logits = TensorData::new(logits.to_vec(), extents);
            let logits = Tensor::from_data(logits, &Device::flex());
            Ok(Some(f64::from(engine.loss(loss, &logits, target, 1.0)?.0)))
        };
        let goes_on = |_| !stop.load(Ordering::Relaxed);
        let measured = measure(&network, &self.validation, self.classes, of_batch, goes_on)?;
        let Some(measured) = measured else {
            return Ok(None);
        };
        let score = self.note(number, &measured, shown)?;
        self.preview(&network)?;
        let better = match (score, self.progress.best) {
            (Some(score), Some(best)) => score > best,
            (score, None) => score.is_some(),
            (None, _) => false,
        };
        if number == 0 {
            return Ok(Some(score));
        }
        if better {
            (self.progress.best, self.progress.since_best) = (score, 0);
            self.keep(&parameters, &measured, number)?;
        } else {
            self.progress.since_best += 1;
            if !self.folder.model().exists() {
                self.keep(&parameters, &measured, number)?;
            }
        }
        Ok(Some(score))
    }

    fn learning_rate(&self) -> f64 {
        let base = self.config.optimizer.algorithm.lr();
        let count = match self.config.schedule.as_ref().map(|schedule| schedule.per) {
            Some(Per::Epoch) => u64::from(self.progress.epochs),
            _ => self.progress.steps.saturating_sub(1),
        };
        self.schedule
            .as_ref()
            .map_or(base, |schedule| schedule.lr(count))
    }

    fn kept(&mut self) -> Kept<'_> {
        Kept {
            parameters: self.engine.parameters_mut(),
            optimizer: &mut self.optimizer,
            schedule: self.schedule.as_mut(),
            ema: self.ema.as_mut(),
            device: &self.device,
        }
    }

    fn save(&mut self) -> Result<(), RunError> {
        let (path, progress) = (self.folder.last(), self.progress.clone());
        self.kept().save(&path, progress)
    }
}
