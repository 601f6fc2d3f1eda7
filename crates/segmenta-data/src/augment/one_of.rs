//! A choice.

use serde::{Deserialize, Serialize};

use super::{Step, Transform, Wrong};
use crate::Sample;
use crate::random::Random;

/// albumentations' `OneOf`: one of the transforms, chosen by how their `p` compare, is applied for certain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneOf {
    /// To choose from.
    pub transforms: Vec<Transform>,
    /// How often one is applied at all, 0.5 by default.
    #[serde(default = "half")]
    pub p: f64,
}

fn half() -> f64 {
    0.5
}

impl OneOf {
    fn weights(&self) -> impl Iterator<Item = f64> {
        self.transforms.iter().map(|transform| transform.step().p())
    }
}

impl Step for OneOf {
    fn p(&self) -> f64 {
        self.p
    }

    fn check(&self) -> Result<(), Wrong> {
        if self.weights().sum::<f64>() > 0.0 {
            return Ok(());
        }
        let names: Vec<&str> = self.transforms.iter().map(Transform::name).collect();
        Err(Wrong::new(
            "transforms",
            names,
            "give transforms whose p is above 0",
        ))
    }

    fn apply(&self, sample: Sample, random: &mut Random) -> Sample {
        let mut left = random.unit_f64() * self.weights().sum::<f64>();
        let chosen = self.transforms.iter().find(|transform| {
            left -= transform.step().p();
            left < 0.0
        });
        match chosen.or(self.transforms.last()) {
            Some(transform) => transform.step().apply(sample, random),
            None => sample,
        }
    }

    fn resizes(&self) -> bool {
        self.transforms
            .iter()
            .any(|transform| transform.step().resizes())
    }

    fn size(&self) -> Option<(usize, usize)> {
        let mut sizes = self
            .transforms
            .iter()
            .map(|transform| transform.step().size());
        let first = sizes.next()??;
        sizes.all(|size| size == Some(first)).then_some(first)
    }
}
