//! Recipes: files, those that come with the binary, and the tutorials' own spelling.

use std::path::PathBuf;

use segmenta::recipes;

use super::Train;
use crate::message::{Usage, shown};

/// A recipe that was found.
pub(super) struct Recipe {
    /// Its text.
    pub(super) text: String,
    /// Where it is from, for messages.
    pub(super) origin: String,
    /// What a run of it is called.
    pub(super) name: String,
    /// What was typed for it.
    pub(super) argument: String,
    /// Where its data is, if that is known.
    pub(super) data: Option<PathBuf>,
}

pub(super) fn find(args: &Train) -> anyhow::Result<Recipe> {
    let asked = args.recipe.clone().unwrap_or_default();
    let path = PathBuf::from(&asked);
    // `segmenta train voc -m unet`, as the tutorials write it.
    let name = match (&args.model, &*asked) {
        (Some(model), "voc") => match model.to_lowercase().as_str() {
            "unet" => "voc-unet".into(),
            "fcn" => "voc-fcn8s".into(),
            "deeplab" => "voc-deeplab".into(),
            _ => {
                let problem = format!("no network is called `{model}` · -m · unet, fcn or deeplab");
                return Err(Usage(problem).into());
            }
        },
        (Some(_), _) => {
            let problem = "-m goes with `segmenta train voc` · recipes name their network: --set model.arch=unet";
            return Err(Usage(problem.into()).into());
        }
        (None, _) => asked.clone(),
    };
    if let Some((name, text)) = recipes::TRAIN.iter().find(|(known, _)| *known == name) {
        let near = PathBuf::from("data").join(&asked);
        return Ok(Recipe {
            text: (*text).into(),
            origin: format!("the recipe {name}"),
            name: (*name).into(),
            argument: asked,
            data: Some(near).filter(|near| near.is_dir()),
        });
    }
    if !path.exists() && path.extension().is_none() {
        let known: Vec<&str> = recipes::TRAIN.iter().map(|(name, _)| *name).collect();
        let problem = format!(
            "no recipe is called `{asked}` · give a TOML file, or one of {}",
            known.join(", ")
        );
        return Err(Usage(problem).into());
    }
    let text = segmenta_data::text::read(&path)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(Recipe {
        text,
        origin: shown(&path).to_string(),
        name: stem.into_owned(),
        argument: asked,
        data: None,
    })
}

#[cfg(test)]
mod tests {
    use segmenta_train::run::Config;

    use super::*;

    #[test]
    fn those_that_come_along_can_be_read() {
        for (name, text) in recipes::TRAIN {
            let config = Config::parse(text, &[], name);
            assert!(config.is_ok(), "{name}: {}", config.unwrap_err());
        }
    }
}
