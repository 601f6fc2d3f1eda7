//! Recipes: what a run is to do, as TOML.

use std::path::Path;

use segmenta_train::run::RunError;

use crate::recipes;

/// A recipe: a file of one's own, a text, or one that comes along ([`crate::recipes::TRAIN`]).
/// [`super::explained`] documents every key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    text: String,
    origin: String,
    name: String,
}

impl Recipe {
    /// One that comes along.
    ///
    /// # Errors
    /// A name that there is not; the names that there are are listed.
    pub fn named(name: &str) -> Result<Self, RunError> {
        let found = recipes::TRAIN.iter().find(|(known, _)| *known == name);
        let Some((name, text)) = found else {
            let known: Vec<&str> = recipes::TRAIN.iter().map(|(name, _)| *name).collect();
            return Err(RunError::Config {
                origin: format!("recipe {name}"),
                problem: format!("no recipe is called so · there are {}", known.join(", ")),
            });
        };
        Ok(Self {
            text: (*text).into(),
            origin: format!("the recipe {name}"),
            name: (*name).into(),
        })
    }

    /// A file of one's own.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, RunError> {
        let path = path.as_ref();
        let text = segmenta_data::text::read(path)?;
        let stem = path.file_stem().unwrap_or_default();
        Ok(Self {
            text,
            origin: path.display().to_string(),
            name: stem.to_string_lossy().into_owned(),
        })
    }

    /// A text; errors in it say that it is from `origin`.
    pub fn from_text(text: impl Into<String>, origin: impl Into<String>) -> Self {
        let origin = origin.into();
        Self {
            text: text.into(),
            name: origin.clone(),
            origin,
        }
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it is from, for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// What it is called: a file's without its ending.
    pub fn name(&self) -> &str {
        &self.name
    }
}
