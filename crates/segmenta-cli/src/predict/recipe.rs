//! Recipes of `predict`: a file of its options, for what is done again and again.

use std::ffi::OsString;
use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;
use segmenta::recipes;
use toml::{Table, Value};

use crate::message::{Usage, shown};

/// What was typed with a recipe's options added; those that were typed win.
///
/// # Errors
/// A recipe that is not there or is none.
pub(crate) fn expand(
    asked: &str,
    matches: &ArgMatches,
    mut typed: Vec<OsString>,
) -> anyhow::Result<Vec<OsString>> {
    let options = options(asked)?;
    let is_typed = |key: &str| {
        let id = key.replace('-', "_");
        let known = matches.ids().any(|known| *known == id);
        known && matches.value_source(&id) == Some(ValueSource::CommandLine)
    };
    let mut added = Vec::new();
    for (key, value) in options {
        let key = key.replace('_', "-");
        if is_typed(&key) {
            continue;
        }
        match value {
            Value::Boolean(true) => added.push(format!("--{key}").into()),
            Value::Boolean(false) => {}
            Value::Array(values) => {
                let values: Vec<String> = values.iter().map(text).collect();
                added.push(format!("--{key}={}", values.join(",")).into());
            }
            value => added.push(format!("--{key}={}", text(&value)).into()),
        }
    }
    let command = typed.iter().position(|word| word == "predict");
    let after = command.map_or(typed.len(), |at| at + 1);
    typed.splice(after..after, added);
    Ok(typed)
}

/// The table `[predict]` of a recipe.
fn options(asked: &str) -> anyhow::Result<Table> {
    let built_in = recipes::PREDICT.iter().find(|(name, _)| *name == asked);
    let path = Path::new(asked);
    let (text, origin) = match built_in {
        Some((name, text)) => ((*text).to_string(), format!("the recipe {name}")),
        None if !path.exists() && path.extension().is_none() => {
            let known: Vec<&str> = recipes::PREDICT.iter().map(|(name, _)| *name).collect();
            let problem = format!(
                "no recipe of predict is called `{asked}` · give a TOML file, or one of {}",
                known.join(", ")
            );
            return Err(Usage(problem).into());
        }
        None => (segmenta_data::text::read(path)?, shown(path).to_string()),
    };
    let wrong = |problem: String| {
        let remedy = "a recipe of predict has one table, [predict], of its options: model = \"fcn_resnet50\"";
        anyhow::Error::new(Usage(format!("{problem} · {origin} · {remedy}")))
    };
    let mut recipe: Table = text
        .parse()
        .map_err(|error: toml::de::Error| wrong(segmenta_files::of_type(error.message())))?;
    let table = recipe.remove("predict");
    if let Some(other) = recipe.keys().next() {
        return Err(wrong(format!("`{other}` is no key of it")));
    }
    match table {
        Some(Value::Table(options)) if options.contains_key("recipe") => {
            Err(wrong("a recipe cannot name another".into()))
        }
        Some(Value::Table(options)) => Ok(options),
        _ => Err(wrong("there is no table [predict]".into())),
    }
}

/// A value as it is typed.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::args::{Args, Command};

    #[test]
    fn those_that_come_along_are_options_of_predict() {
        for (name, _) in recipes::PREDICT {
            let typed = ["segmenta", "-q", "predict", "photos", "--alpha", "0.4"];
            let typed = typed.map(OsString::from).to_vec();
            let matches = Args::command().get_matches_from(&typed);
            let (_, predict) = matches.subcommand().unwrap();
            let all = expand(name, predict, typed).unwrap();
            let matches = Args::command().try_get_matches_from(all);
            let args = Args::from_arg_matches(&matches.unwrap()).unwrap();
            let Command::Predict(args) = args.command else {
                panic!("{name} is no recipe of predict");
            };
            assert!(args.resize.is_some(), "{name} says a size");
            assert!((args.alpha - 0.4).abs() < 1e-9, "what is typed wins");
        }
    }
}
