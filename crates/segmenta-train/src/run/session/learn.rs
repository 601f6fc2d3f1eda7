//! A step: forward, loss, backward, the parameters moved.

use segmenta_data::Batch;
use segmenta_graph::Shape;

use super::Session;
use crate::engine::{DeviceSpec, EngineError, Logits};
use crate::optim::{Accumulation, OptimError};
use crate::run::RunError;
use crate::run::config::Per;
use crate::run::finite::{check_parameters, place_of};
use crate::run::measure::{ids_of, target, truth};

impl Session {
    /// Forward, loss, backward of one batch, whose gradients are added up; its loss.
    pub(super) fn learn(
        &mut self,
        mut batch: Batch,
        sum: &mut Accumulation,
    ) -> Result<f32, RunError> {
        let of_data = self.train.dataset().classes().len();
        let shape = Shape::new(batch.len(), 3, batch.height, batch.width);
        let truth = truth(&batch, self.classes, of_data);
        let logits = self
            .engine
            .forward(std::mem::take(&mut batch.pictures), shape)?;
        self.count(&truth, &logits[0])?;
        let target = target(truth, &batch, self.classes)?;
        self.progress.passes = self.engine.steps();
        let aux = self.config.model.aux_weight as f32;
        let factors = std::iter::once(1.0).chain(std::iter::repeat(aux));
        let results: Vec<_> = logits.iter().zip(factors).collect();
        let made = self.engine.losses(&self.loss, &results, &target)?;
        let (mut total, mut gradients) = (0.0, Vec::new());
        for ((_, factor), (value, gradient)) in results.iter().zip(made) {
            total += factor * value;
            gradients.push(gradient);
        }
        drop(logits);
        if !total.is_finite() {
            return Err(self.strange("the loss".into(), total));
        }
        // With `debug_numerics` the engine itself names the node.
        sum.add(self.engine.backward(gradients)?)?;
        Ok(total)
    }

    /// Counts what the network said of a batch before it learned from it.
    fn count(&mut self, truth: &[u8], logits: &Logits) -> Result<(), RunError> {
        if let Some(trained) = &mut self.trained {
            trained.add(truth, &ids_of(&logits.values()?, logits.shape()))?;
        }
        Ok(())
    }

    /// Moves the parameters; the learning rate that it went by.
    pub(super) fn step(&mut self, sum: &mut Accumulation) -> Result<f64, RunError> {
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
        // On the processor a look at each gradient costs little; elsewhere it would wait for the device.
        let watch = self.settings.device == DeviceSpec::Cpu;
        let (engine, optimizer) = (&mut self.engine, &mut self.optimizer);
        match engine.update(optimizer, lr, scale, watch, gradients) {
            Err(EngineError::Parts(OptimError::NotFinite(name))) => {
                return Err(self.strange(format!("the gradient of `{name}`"), f32::NAN));
            }
            updated => updated?,
        };
        self.progress.steps += 1;
        if let Some(ema) = &mut self.ema {
            let parameters = self.engine.parameters();
            let entries = parameters.entries().iter().enumerate();
            let learned = entries.filter(|(_, entry)| entry.is_trainable());
            ema.update(learned.map(|(at, entry)| (&*entry.name, parameters.numbers(at))))?;
        }
        Ok(lr)
    }

    /// What became no number, with the first layer that made one: the batch is read and learned from once more, with
    /// a look at each value. The parameters are as they were before it.
    fn strange(&mut self, what: String, value: f32) -> RunError {
        let moment = format!("before step {}", self.progress.steps + 1);
        let remedy = "what was kept before stays; begin anew and learn more slowly (optimizer.lr), or limit gradients (train.clip.norm=1)";
        if let Err(error) = check_parameters(self.engine.parameters(), &moment, remedy) {
            return error;
        }
        let found = self.look_again();
        let value = found.as_ref().map_or(value, |(_, value)| *value);
        RunError::NotFinite {
            what,
            value,
            place: found.map(|(place, _)| place),
            step: self.progress.steps + 1,
            epoch: self.progress.epochs + 1,
        }
    }

    /// The first layer that makes a NaN or an infinity of the batch that was learned from last, and which of them.
    fn look_again(&mut self) -> Option<(String, f32)> {
        let (epoch, passes) = (u64::from(self.progress.epochs), self.engine.steps());
        // A loss is counted as done only once its gradients are there.
        for at in [self.progress.batches, self.progress.batches.wrapping_sub(1)] {
            let Ok(mut batches) = self.train.epoch(epoch, at) else {
                continue;
            };
            let Some(Ok(batch)) = batches.next() else {
                continue;
            };
            drop(batches);
            self.engine.set_debug_numerics(true);
            // The same values are dropped as before.
            self.engine.set_steps(passes.saturating_sub(1));
            let error = self.passes(batch).err();
            self.engine.set_debug_numerics(false);
            if let Some(RunError::Engine(error)) = error
                && let EngineError::NotFinite { value, .. } = error
            {
                return place_of(&error).map(|place| (place, value));
            }
        }
        None
    }

    /// Both passes of a batch, for what they say.
    fn passes(&mut self, batch: Batch) -> Result<(), RunError> {
        let of_data = self.train.dataset().classes().len();
        let shape = Shape::new(batch.len(), 3, batch.height, batch.width);
        let truth = truth(&batch, self.classes, of_data);
        let target = target(truth, &batch, self.classes)?;
        let logits = self.engine.forward(batch.pictures, shape)?;
        let results: Vec<_> = logits.iter().map(|logits| (logits, 1.0)).collect();
        let made = self.engine.losses(&self.loss, &results, &target)?;
        let gradients = made.into_iter().map(|(_, gradient)| gradient);
        self.engine.backward(gradients.collect())?;
        Ok(())
    }
}
