//! Recipes: files, those that come with the binary, and the tutorials' own spelling.

use std::path::PathBuf;

use segmenta::recipes;
use segmenta::train::Recipe;

use super::Train;
use crate::message::Usage;

/// A recipe that was found.
pub(super) struct Found {
    pub(super) recipe: Recipe,
    /// Where its data is, if that is known.
    pub(super) data: Option<PathBuf>,
}

/// The recipe that was named; none if none was.
pub(super) fn find(args: &Train) -> anyhow::Result<Option<Found>> {
    let Some(asked) = &args.recipe else {
        return match args.model {
            Some(_) => Err(misplaced()),
            None => Ok(None),
        };
    };
    let path = PathBuf::from(asked);
    // `segmenta train voc -m unet`, as the tutorials write it.
    let name = match (&args.model, &**asked) {
        (Some(model), "voc") => match model.to_lowercase().as_str() {
            "unet" => "voc-unet".into(),
            "fcn" => "voc-fcn".into(),
            "deeplab" => "voc-deeplab".into(),
            _ => {
                let problem = format!("no network is called `{model}` · -m · unet, fcn or deeplab");
                return Err(Usage(problem).into());
            }
        },
        (Some(_), _) => return Err(misplaced()),
        (None, _) => asked.clone(),
    };
    if recipes::TRAIN.iter().any(|(known, _)| *known == name) {
        let near = PathBuf::from("data").join(asked);
        return Ok(Some(Found {
            recipe: Recipe::named(&name)?,
            data: Some(near).filter(|near| near.is_dir()),
        }));
    }
    if !path.exists() && path.extension().is_none() {
        let known: Vec<&str> = recipes::TRAIN.iter().map(|(name, _)| *name).collect();
        let problem = format!(
            "no recipe is called `{asked}` · give a TOML file, or one of {}",
            known.join(", ")
        );
        return Err(Usage(problem).into());
    }
    Ok(Some(Found {
        recipe: Recipe::open(&path)?,
        data: None,
    }))
}

fn misplaced() -> anyhow::Error {
    let problem =
        "-m goes with `segmenta train voc` · recipes name their network: --set model.arch=unet";
    Usage(problem.into()).into()
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
