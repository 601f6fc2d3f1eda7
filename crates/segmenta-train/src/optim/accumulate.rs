//! Gradients of several batches added up before a step.

use super::OptimError;
use crate::Numbers;

/// Gradients added up over some batches: the memory of a small batch, the step of a large one.
#[derive(Clone, Debug)]
pub struct Accumulation {
    every: usize,
    seen: usize,
    sums: Vec<(String, Numbers)>,
}

impl Accumulation {
    /// For steps after every `every` batches; 0 counts as 1.
    pub fn new(every: usize) -> Self {
        Self {
            every: every.max(1),
            seen: 0,
            sums: Vec::new(),
        }
    }

    /// Adds the gradients of a batch, by parameter. Parameters need not be the same each time.
    ///
    /// # Errors
    /// What a device says.
    pub fn add(
        &mut self,
        gradients: impl IntoIterator<Item = (String, Numbers)>,
    ) -> Result<(), OptimError> {
        self.seen += 1;
        for (index, (name, gradient)) in gradients.into_iter().enumerate() {
            // They mostly come in the same order.
            let here = self
                .sums
                .get(index)
                .is_some_and(|(known, _)| *known == name);
            let place = if here {
                Some(index)
            } else {
                self.sums.iter().position(|(known, _)| *known == name)
            };
            match place {
                Some(at) => self.sums[at].1.add(gradient).map_err(OptimError::Device)?,
                None => self.sums.push((name, gradient)),
            }
        }
        Ok(())
    }

    /// Whether it is time for a step.
    pub fn is_full(&self) -> bool {
        self.seen >= self.every
    }

    /// The sums, and what turns them into means (the `scale` of [`super::Optimizer::step`]); begins anew. May be
    /// called early, at the end of an epoch.
    pub fn take(&mut self) -> (Vec<(String, Numbers)>, f64) {
        let scale = 1.0 / self.seen.max(1) as f64;
        self.seen = 0;
        (std::mem::take(&mut self.sums), scale)
    }
}
