//! What a recipe can say, read off the types that read it: the names of losses, optimisers, schedules and augmentations,
//! their settings and the defaults of these.

use std::fmt::Write;

use segmenta_data::augment::Transform;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::config::{EXPLAINED, ScoreName};
use crate::loss::{self, Loss};
use crate::optim::Algorithm;
use crate::schedule::ScheduleSpec;

/// A name that nothing has.
const NOTHING: &str = "?";

/// Every key of a recipe with its meaning and default, and below them every name that stands for a loss, an optimiser, a
/// schedule, an augmentation or a score, with its settings: what `segmenta train --explain` prints.
pub fn explained() -> String {
    let mut text = EXPLAINED.to_owned();
    let losses = loss::NAMES.iter().map(|&name| name.to_owned()).collect();
    section::<Loss>(
        &mut text,
        "Losses: loss = \"NAME\", or loss = { name = \"NAME\", … }",
        losses,
    );
    section::<Algorithm>(
        &mut text,
        "Optimisers: [optimizer] name = \"NAME\"",
        names::<Algorithm>(),
    );
    section::<ScheduleSpec>(
        &mut text,
        "Schedules: [schedule] name = \"NAME\"",
        names::<ScheduleSpec>(),
    );
    section::<Transform>(
        &mut text,
        "Augmentations: augment = [{ name = \"NAME\", … }, …]",
        names::<Transform>(),
    );
    let _ = writeln!(text, "\n# Scores: [train] score = \"NAME\"");
    for score in ScoreName::ALL {
        let name = serde_json::to_value(score).unwrap_or_default();
        let name = name.as_str().unwrap_or_default().to_owned();
        let _ = writeln!(text, "#   {name:<26} {}", score.label());
    }
    text
}

fn section<T: DeserializeOwned + Serialize>(text: &mut String, title: &str, names: Vec<String>) {
    let _ = writeln!(text, "\n# {title}");
    for name in names {
        let line = format!("#   {name:<26} {}", settings::<T>(&name).join(", "));
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

/// What a table says when it is read.
fn read<T: DeserializeOwned>(table: &Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(table.clone())).map_err(|error| error.to_string())
}

fn named(name: &str) -> Map<String, Value> {
    Map::from_iter([("name".to_owned(), json!(name))])
}

/// The words in backticks of a message, but for the first.
fn quoted(message: &str) -> Vec<String> {
    let words = message.split('`').skip(1).step_by(2);
    words.skip(1).map(Into::into).collect()
}

/// The names of what there is of a kind; other libraries' spellings left out.
fn names<T: DeserializeOwned>() -> Vec<String> {
    let message = read::<T>(&named(NOTHING)).err().unwrap_or_default();
    let is_ours = |name: &String| name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    quoted(&message).into_iter().filter(is_ours).collect()
}

/// The settings of one: `gamma = 2.0`, `step_size` where it must be given, `alpha (not set)`.
fn settings<T: DeserializeOwned + Serialize>(name: &str) -> Vec<String> {
    let mut table = named(name);
    table.insert(NOTHING.into(), Value::Null);
    let message = read::<T>(&table).err().unwrap_or_default();
    let all = quoted(&message);
    let (defaults, required) = defaults::<T>(name);
    let mut told = Vec::new();
    for field in &all {
        if required.contains(field) {
            told.push(field.clone());
        } else if let Some(value) = defaults.get(field) {
            told.push(format!("{field} = {}", written(value)));
        } else if !is_alias::<T>(name, field, &all) {
            told.push(format!("{field} (not set)"));
        }
    }
    told
}

/// A value as it would be written: single precision without the digits that it has as a double.
fn written(value: &Value) -> String {
    match value.as_f64() {
        Some(number) if value.is_f64() && f64::from(number as f32) == number => {
            format!("{:?}", number as f32)
        }
        _ => value.to_string(),
    }
}

/// The values that settings have if they are not given, and the settings that must be.
fn defaults<T: DeserializeOwned + Serialize>(name: &str) -> (Map<String, Value>, Vec<String>) {
    let (mut table, mut required) = (named(name), Vec::new());
    loop {
        match read::<T>(&table) {
            Ok(value) => {
                let value = serde_json::to_value(value).unwrap_or_default();
                let value = value.as_object().cloned().unwrap_or_default();
                return (value, required);
            }
            Err(message) => {
                let missing = message.strip_prefix("missing field `");
                let missing = missing.and_then(|rest| rest.split('`').next());
                let Some(missing) = missing.filter(|name| !table.contains_key(*name)) else {
                    return (Map::new(), required);
                };
                let missing = missing.to_owned();
                required.push(missing.clone());
                // Whatever its type takes, so that the others can be asked for.
                for value in [json!(1), json!("1x1"), json!([1]), json!([])] {
                    table.insert(missing.clone(), value);
                    let error = read::<T>(&table).err();
                    if error.is_none_or(|error| error.starts_with("missing field")) {
                        break;
                    }
                }
            }
        }
    }
}

/// Whether a setting is another's name in another library: given beside it, it is the same one twice.
fn is_alias<T: DeserializeOwned>(name: &str, field: &str, all: &[String]) -> bool {
    let others = all.iter().filter(|other| *other != field);
    others.into_iter().any(|other| {
        let twice = |value: Value| {
            let mut table = named(name);
            table.insert(other.clone(), value.clone());
            table.insert(field.to_owned(), value);
            let message = read::<T>(&table).err().unwrap_or_default();
            // Of two names of one setting this tells of its own.
            message.starts_with(&format!("duplicate field `{other}`"))
        };
        [json!(1), json!([1])].into_iter().any(twice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_there_is_is_listed_with_its_settings() {
        let text = explained();
        let line = |name: &str| {
            let found = text
                .lines()
                .find(|line| line.starts_with(&format!("#   {name} ")));
            found.unwrap_or_else(|| panic!("{name}: {text}"))
        };
        for (name, parts) in [
            (
                "focal",
                &["gamma = 2.0", "alpha (not set)", "class_weights (not set)"][..],
            ),
            (
                "cross_entropy",
                &["label_smoothing = 0.0", "weight (not set)"],
            ),
            ("adamw", &["betas = [0.9,0.999]", "weight_decay = 0.01"]),
            ("step", &["step_size,", "gamma = 0.1"]),
            ("poly", &["power = 1.0", "total (not set)"]),
            ("color_jitter", &["brightness", "p = "]),
            ("random_crop", &["size,"]),
            ("miou", &["mIoU"]),
        ] {
            for part in parts {
                assert!(line(name).contains(part), "{part}: {}", line(name));
            }
        }
        assert!(!line("poly").contains("total_iters"), "{}", line("poly"));
        assert!(
            !line("cross_entropy").contains("class_weights"),
            "{}",
            line("cross_entropy")
        );
        assert!(line("ohem_cross_entropy").contains("threshold = 0.7,"));
        for name in loss::NAMES {
            line(name);
        }
        assert!(!text.contains("StepLR"), "other libraries' spellings");
    }
}
