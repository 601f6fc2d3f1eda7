//! A loss as a configuration says it.

use std::str::FromStr;

use segmenta_kernels::Isa;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::batch::Batch;
use super::{Balance, ClassWeights, Loss, LossError, Mode, Target};

/// One loss or a weighted sum of several. Read from a name, a table with `name`, or a list of such tables, in
/// which `factor` says what each counts.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct LossSpec {
    /// What is added, at least one.
    terms: Vec<Term>,
}

/// One part of a sum.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Term {
    /// What the loss is multiplied by.
    #[serde(skip_serializing_if = "is_one")]
    pub factor: f32,
    /// The loss.
    #[serde(flatten)]
    pub loss: Loss,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde calls"
)]
fn is_one(factor: &f32) -> bool {
    *factor == 1.0
}

impl LossSpec {
    /// A sum of losses.
    ///
    /// # Errors
    /// No term, or a factor that is not finite.
    pub fn new(terms: Vec<Term>) -> Result<Self, LossError> {
        if terms.is_empty() {
            return Err(LossError::Spec("a sum of no losses".into()));
        }
        if let Some(term) = terms.iter().find(|term| !term.factor.is_finite()) {
            let (name, factor) = (term.loss.name(), term.factor);
            return Err(LossError::Spec(format!("factor {factor} of `{name}`")));
        }
        Ok(Self { terms })
    }

    /// What is added.
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The rules by which class weights are still to be found, each once.
    pub fn rules(&self) -> Vec<Balance> {
        let mut rules = Vec::new();
        let mut all = self.clone();
        all.each_weights(|weights| {
            if let Some(rule) = weights.rule().filter(|rule| !rules.contains(rule)) {
                rules.push(rule);
            }
        });
        rules
    }

    /// Puts numbers in the place of rules.
    pub fn find_weights(&mut self, mut find: impl FnMut(Balance) -> Vec<f32>) {
        self.each_weights(|weights| {
            if let Some(rule) = weights.rule() {
                *weights = find(rule).into();
            }
        });
    }

    /// Takes the numbers of the same sum in the place of rules, where it is the same but for them: what a run found when
    /// it began is what its recipe means.
    pub fn take_weights(&mut self, found: &Self) {
        let mut taken = Vec::new();
        found
            .clone()
            .each_weights(|weights| taken.push(weights.clone()));
        let mut taken = taken.into_iter();
        self.each_weights(|weights| {
            if let Some(found) = taken.next().filter(|_| weights.rule().is_some()) {
                *weights = found;
            }
        });
    }

    fn each_weights(&mut self, mut each: impl FnMut(&mut ClassWeights)) {
        let terms = self.terms.iter_mut();
        let all = terms.filter_map(|term| term.loss.class_weights());
        all.flatten().for_each(&mut each);
    }

    /// Whether every loss is defined for targets of this kind, and its settings make sense.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn check(&self, mode: Mode, classes: usize) -> Result<(), LossError> {
        self.terms
            .iter()
            .try_for_each(|term| term.loss.check(mode, classes))
    }

    /// The loss of `logits`, `[image][class][row][column]` of this shape (N, C, H, W), and `factor` times its
    /// gradient by each of them, on the current thread's pool.
    ///
    /// # Errors
    /// Logits of another shape than the target's; a loss that is not defined for the target.
    ///
    /// # Panics
    /// If there are not as many logits as the shape says.
    pub fn value_and_gradient(
        &self,
        isa: Isa,
        logits: &[f32],
        shape: [usize; 4],
        target: &Target,
        factor: f32,
    ) -> Result<(f32, Vec<f32>), LossError> {
        self.fits(shape, target)?;
        assert_eq!(logits.len(), target.len(), "logits of {shape:?}");
        let batch = Batch {
            isa,
            logits,
            target,
        };
        let (mut sum, mut gradient) = (0.0, vec![0.0; logits.len()]);
        let mut own = Vec::new();
        for (at, Term { factor: part, loss }) in self.terms.iter().enumerate() {
            let (part, factor) = (f64::from(*part), f64::from(factor));
            if at == 0 {
                sum += part * loss.compute(&batch, factor * part, &mut gradient);
                continue;
            }
            own.resize(gradient.len(), 0.0);
            sum += part * loss.compute(&batch, factor * part, &mut own);
            gradient
                .iter_mut()
                .zip(&own)
                .for_each(|(all, own)| *all += own);
        }
        Ok((sum as f32, gradient))
    }

    /// Whether logits of this shape have a loss for the target.
    ///
    /// # Errors
    /// Another shape than the target's; a loss that is not defined for the target.
    pub fn fits(&self, logits: [usize; 4], target: &Target) -> Result<(), LossError> {
        let target_shape = target.shape();
        if logits != target_shape {
            return Err(LossError::Shape {
                logits,
                target: target_shape,
            });
        }
        self.check(target.mode(), target.classes())
    }

    fn from_value(value: Value) -> Result<Self, LossError> {
        let terms = match value {
            Value::Array(items) => items.into_iter().map(term).collect::<Result<_, _>>()?,
            one => vec![term(one)?],
        };
        Self::new(terms)
    }
}

fn term(value: Value) -> Result<Term, LossError> {
    let spec = |problem: String| LossError::Spec(problem);
    let mut table = match value {
        Value::String(name) => Map::from_iter([("name".into(), Value::String(name))]),
        Value::Object(table) => table,
        other => return Err(spec(format!("`{other}` is no loss"))),
    };
    let factor = match table.remove("factor") {
        None => 1.0,
        Some(Value::Number(number)) => number.as_f64().unwrap_or(f64::NAN) as f32,
        Some(other) => return Err(spec(format!("factor `{other}` is no number"))),
    };
    let name = table.get("name").cloned();
    let loss = Loss::deserialize(Value::Object(table)).map_err(|error| {
        let message = error.to_string();
        match name {
            // serde would list every alias as well.
            Some(Value::String(name)) if message.starts_with("unknown variant") => {
                spec(format!("there is no loss `{name}`"))
            }
            _ => spec(message),
        }
    })?;
    Ok(Term { factor, loss })
}

impl From<Loss> for LossSpec {
    fn from(loss: Loss) -> Self {
        Self {
            terms: vec![Term { factor: 1.0, loss }],
        }
    }
}

impl FromStr for LossSpec {
    type Err = LossError;

    /// A loss by its name, with its default settings.
    fn from_str(name: &str) -> Result<Self, LossError> {
        Self::from_value(Value::String(name.into()))
    }
}

impl<'de> Deserialize<'de> for LossSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_value(value).map_err(D::Error::custom)
    }
}
