//! Parameters stepped along their gradients.

use std::borrow::Cow;
use std::collections::BTreeMap;

use segmenta_kernels::Isa;
use segmenta_kernels::optim::Take;

use super::rule::Rule;
use super::{Algorithm, Clip, Group, OptimError, Parts};
use crate::Numbers;

/// A name, and values that lie here or were brought here.
pub type NamedValues<'a> = (String, Cow<'a, [f32]>);

/// An optimiser and the state of every parameter.
#[derive(Clone, Debug)]
pub struct Optimizer {
    algorithm: Algorithm,
    clip: Clip,
    isa: Isa,
    slots: Vec<Slot>,
    by_name: BTreeMap<String, usize>,
}

/// One parameter.
#[derive(Clone, Debug)]
struct Slot {
    name: String,
    len: usize,
    group: Group,
    /// Steps taken; state comes into being with the first.
    steps: u64,
    state: Vec<Numbers>,
}

/// A parameter and where it is to go.
#[derive(Debug)]
pub struct Update<'a> {
    /// The parameter's state-dict name.
    pub name: &'a str,
    /// Its values, changed in place.
    pub parameter: &'a mut Numbers,
    /// The loss's gradient, in the same place.
    pub gradient: &'a Numbers,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The norm of all gradients together before clipping, where clipping or [`Optimizer::step`] asked for it.
    pub norm: Option<f64>,
    /// What clipping by norm multiplied the gradients by.
    pub factor: f64,
}

impl Optimizer {
    /// For parameters with these names and shapes. Their order is the one that norms are summed in.
    ///
    /// # Errors
    /// A setting out of range, a name that comes twice, a part that no parameter belongs to.
    pub fn new<'a>(
        algorithm: Algorithm,
        clip: Clip,
        parts: &Parts,
        parameters: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Result<Self, OptimError> {
        algorithm.check()?;
        clip.check()?;
        let decay = algorithm.weight_decay();
        let (mut slots, mut by_name) = (Vec::new(), BTreeMap::new());
        for (name, shape) in parameters {
            if by_name.insert(name.to_string(), slots.len()).is_some() {
                return Err(OptimError::Duplicate(name.into()));
            }
            slots.push(Slot {
                name: name.into(),
                len: shape.iter().product(),
                group: parts.group(name, shape.len(), decay),
                steps: 0,
                state: Vec::new(),
            });
        }
        parts.check(slots.iter().map(|slot| slot.name.as_str()))?;
        Ok(Self {
            algorithm,
            clip,
            isa: Isa::fastest(),
            slots,
            by_name,
        })
    }

    /// Computes with this instruction set where parameters lie in this machine's memory.
    #[must_use]
    pub fn with_isa(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// The optimiser and its settings.
    pub fn algorithm(&self) -> &Algorithm {
        &self.algorithm
    }

    /// Sets the momentum (Adam: the first beta), as one-cycle schedules do. Does nothing where there is no
    /// momentum, since its state would be missing.
    pub fn set_momentum(&mut self, momentum: f64) {
        if self.algorithm.momentum() != 0.0 {
            self.algorithm.set_momentum(momentum);
        }
    }

    /// What holds for a parameter.
    pub fn group(&self, name: &str) -> Option<Group> {
        self.by_name.get(name).map(|&at| self.slots[at].group)
    }

    /// Moves parameters along their gradients, each times `scale` (one over the batches that were accumulated).
    /// Frozen parameters stay; parameters that are not among `updates` too. `watch` computes the norm even if
    /// nothing is clipped by it; with a norm, nothing is changed unless all gradients are finite.
    ///
    /// # Errors
    /// An unknown parameter, numbers of other lengths, a negative learning rate, a gradient that is not finite.
    pub fn step(
        &mut self,
        lr: f64,
        scale: f64,
        watch: bool,
        updates: Vec<Update<'_>>,
    ) -> Result<Step, OptimError> {
        if !(lr.is_finite() && lr >= 0.0) {
            return Err(OptimError::LearningRate(lr));
        }
        let mut placed = Vec::with_capacity(updates.len());
        for update in updates {
            let at = *self
                .by_name
                .get(update.name)
                .ok_or_else(|| OptimError::Unknown {
                    name: update.name.into(),
                    place: "step",
                })?;
            let slot = &self.slots[at];
            let lengths = [
                ("parameter", update.parameter.len()),
                ("gradient", update.gradient.len()),
            ];
            for (what, len) in lengths {
                slot.fits(what, len, "step")?;
            }
            if !slot.group.frozen {
                placed.push((at, update));
            }
        }
        placed.sort_by_key(|(at, _)| *at);
        let wanted = watch || self.clip.norm.is_some();
        let norm = wanted
            .then(|| self.norm(&placed))
            .transpose()?
            .map(|norm| scale * norm);
        let factor = norm.map_or(1.0, |norm| self.clip.factor(norm));
        let take = Take {
            scale: (scale * factor) as f32,
            limit: self.clip.value.map_or(f32::INFINITY, |limit| limit as f32),
        };
        for (at, update) in placed {
            self.slots[at].step(&self.algorithm, self.isa, lr, take, update)?;
        }
        Ok(Step { norm, factor })
    }

    /// The norm of all gradients together, summed in the order of the parameters.
    fn norm(&self, updates: &[(usize, Update<'_>)]) -> Result<f64, OptimError> {
        let mut sum = 0.0;
        for (at, update) in updates {
            let squares = update.gradient.sum_of_squares(self.isa);
            let squares = squares.map_err(OptimError::Device)?;
            if !squares.is_finite() {
                return Err(OptimError::NotFinite(self.slots[*at].name.clone()));
            }
            sum += squares;
        }
        Ok(sum.sqrt())
    }

    /// The state by name, flat: `PARAMETER.step` (one value) and `PARAMETER.exp_avg` and the like, as torch names
    /// them; lent where it is here, read back from a device. Parameters that were never stepped have none.
    ///
    /// # Errors
    /// What the device says.
    pub fn state(&self) -> Result<Vec<NamedValues<'_>>, OptimError> {
        let mut all = Vec::new();
        for slot in &self.slots {
            if slot.steps > 0 {
                all.push((
                    format!("{}.step", slot.name),
                    vec![slot.steps as f32].into(),
                ));
            }
            for (name, state) in self.algorithm.state_names().iter().zip(&slot.state) {
                let values = state.values().map_err(OptimError::Device)?;
                all.push((format!("{}.{name}", slot.name), values));
            }
        }
        Ok(all)
    }

    /// Takes up the state that [`Optimizer::state`] gave; the next step brings it to its parameters.
    ///
    /// # Errors
    /// Names of other parameters or of another optimiser's state, other lengths, or state that is missing; then
    /// nothing is changed.
    pub fn load_state(
        &mut self,
        state: impl IntoIterator<Item = (String, Vec<f32>)>,
    ) -> Result<(), OptimError> {
        const PLACE: &str = "optimiser state";
        let names = self.algorithm.state_names();
        let mut loaded: Vec<(Option<u64>, Vec<Option<Numbers>>)> =
            vec![(None, vec![None; names.len()]); self.slots.len()];
        for (full, values) in state {
            let unknown = || OptimError::Unknown {
                name: full.clone(),
                place: PLACE,
            };
            let (parameter, what) = full.rsplit_once('.').ok_or_else(unknown)?;
            let at = *self.by_name.get(parameter).ok_or_else(unknown)?;
            if what == "step" {
                loaded[at].0 = Some(values.first().map_or(0, |&count| count as u64));
            } else {
                let index = names
                    .iter()
                    .position(|name| *name == what)
                    .ok_or_else(unknown)?;
                self.slots[at].fits(what, values.len(), PLACE)?;
                loaded[at].1[index] = Some(values.into());
            }
        }
        let mut states = Vec::with_capacity(loaded.len());
        for (slot, (steps, found)) in self.slots.iter().zip(loaded) {
            let missing = |state| OptimError::Missing {
                parameter: slot.name.clone(),
                state,
            };
            let any = found.iter().any(Option::is_some);
            let state = match (steps, any) {
                (None, false) => vec![],
                (None, true) => return Err(missing("step")),
                (Some(_), _) => {
                    let named = names.iter().zip(found);
                    let found = named.map(|(name, state)| state.ok_or_else(|| missing(name)));
                    found.collect::<Result<_, _>>()?
                }
            };
            states.push((steps.unwrap_or(0), state));
        }
        for (slot, state) in self.slots.iter_mut().zip(states) {
            (slot.steps, slot.state) = state;
        }
        Ok(())
    }
}

impl Slot {
    fn fits(&self, what: &str, got: usize, place: &'static str) -> Result<(), OptimError> {
        if got == self.len {
            return Ok(());
        }
        Err(OptimError::Length {
            what: what.into(),
            name: self.name.clone(),
            got,
            expected: self.len,
            place,
        })
    }

    fn step(
        &mut self,
        algorithm: &Algorithm,
        isa: Isa,
        lr: f64,
        take: Take,
        update: Update<'_>,
    ) -> Result<(), OptimError> {
        let Update {
            parameter,
            gradient,
            ..
        } = update;
        if self.steps == 0 {
            let names = algorithm.state_names();
            self.state = names.iter().map(|_| parameter.zeros_like()).collect();
        }
        self.steps += 1;
        let Group {
            lr_factor,
            weight_decay,
            ..
        } = self.group;
        let rule = Rule::new(algorithm, lr * lr_factor, weight_decay, self.steps);
        for state in &mut self.state {
            state.join(parameter).map_err(OptimError::Device)?;
        }
        parameter.step(isa, rule, take, gradient, &mut self.state);
        Ok(())
    }
}
