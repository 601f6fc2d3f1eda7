//! Single settings: `key=value` beside a recipe, and configurations compared key by key.

use super::{Difference, RunError};

/// The key of a setting `key=value`.
pub(crate) fn key_of(setting: &str) -> &str {
    setting
        .split_once('=')
        .map_or(setting, |(key, _)| key)
        .trim()
}

/// Whether every setting has its value in the end: one that a later one replaces would have no effect.
pub(super) fn check_all_hold(table: &toml::Table, settings: &[String]) -> Result<(), RunError> {
    for (at, setting) in settings.iter().enumerate() {
        let key = key_of(setting);
        let replaces = |later: &&String| {
            let later = key_of(later);
            later == key
                || key
                    .strip_prefix(later)
                    .is_some_and(|rest| rest.starts_with('.'))
        };
        let later = settings[at + 1..].iter().find(replaces);
        let Some(later) = later else { continue };
        if later == setting || holds(table, setting) {
            continue;
        }
        return Err(RunError::Config {
            origin: format!("the settings {setting} and {later}"),
            problem: format!(
                "`{key}` is set twice, and only the last would count; give one of them"
            ),
        });
    }
    Ok(())
}

/// Whether a table has what a setting says.
fn holds(table: &toml::Table, setting: &str) -> bool {
    let mut alone = toml::Table::new();
    set(&mut alone, setting).is_ok() && contains(table, &alone)
}

fn contains(table: &toml::Table, part: &toml::Table) -> bool {
    part.iter()
        .all(|(key, value)| match (table.get(key), value) {
            (Some(toml::Value::Table(table)), toml::Value::Table(part)) => contains(table, part),
            (found, value) => found == Some(value),
        })
}

/// What two configurations say otherwise, key by key.
pub(super) fn differences(was: &str, now: &str) -> Result<Vec<Difference>, RunError> {
    let read = |text: &str| -> Result<toml::Table, RunError> {
        text.parse().map_err(|e: toml::de::Error| RunError::Config {
            origin: "a resolved configuration".into(),
            problem: e.message().into(),
        })
    };
    let mut all = Vec::new();
    compare("", &read(was)?, &read(now)?, &mut all);
    Ok(all)
}

fn compare(prefix: &str, was: &toml::Table, now: &toml::Table, all: &mut Vec<Difference>) {
    let keys = was
        .keys()
        .chain(now.keys().filter(|key| !was.contains_key(*key)));
    for key in keys {
        let full = format!("{prefix}{key}");
        match (was.get(key), now.get(key)) {
            (was, now) if was == now => {}
            (Some(toml::Value::Table(was)), Some(toml::Value::Table(now))) => {
                compare(&format!("{full}."), was, now, all);
            }
            (was, now) => {
                let text = |value: Option<&toml::Value>| {
                    value.map_or_else(|| Difference::NOTHING.into(), ToString::to_string)
                };
                all.push(Difference {
                    key: full,
                    was: text(was),
                    now: text(now),
                });
            }
        }
    }
}

/// Sets `a.b.c=value`; a value that is no TOML is a text.
pub(super) fn set(table: &mut toml::Table, setting: &str) -> Result<(), String> {
    let (path, value) = setting
        .split_once('=')
        .ok_or("give key=value, such as train.epochs=20")?;
    let parsed = format!("value = {value}").parse::<toml::Table>();
    let value = match parsed {
        Ok(mut parsed) => parsed.remove("value").unwrap_or_default_text(value),
        Err(_) => toml::Value::String(value.into()),
    };
    let mut keys: Vec<&str> = path.trim().split('.').collect();
    let Some(last) = keys.pop().filter(|key| !key.is_empty()) else {
        return Err("a key is missing before =".into());
    };
    let mut table = table;
    for key in keys {
        let inner = table
            .entry(key)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()));
        table = inner
            .as_table_mut()
            .ok_or_else(|| format!("`{key}` is a value, not a section"))?;
    }
    table.insert(last.into(), value);
    Ok(())
}

/// A value, or the text that it was read from.
trait OrText {
    fn unwrap_or_default_text(self, text: &str) -> toml::Value;
}

impl OrText for Option<toml::Value> {
    fn unwrap_or_default_text(self, text: &str) -> toml::Value {
        self.unwrap_or_else(|| toml::Value::String(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use crate::run::Config;

    fn parse(settings: &[&str]) -> Result<Config, String> {
        let settings: Vec<String> = settings.iter().map(|&s| s.into()).collect();
        Config::parse("", &settings, "my.toml").map_err(|e| e.to_string())
    }

    #[test]
    fn a_setting_that_another_replaces_is_refused() {
        for twice in [
            ["train.epochs=2", "train.epochs=3"],
            ["train.clip.norm=1", "train.clip={ value = 2.0 }"],
            ["loss=dice", "loss=jaccard"],
        ] {
            let error = parse(&twice).unwrap_err();
            assert!(
                error.contains(twice[0]) && error.contains(twice[1]),
                "{error}"
            );
            assert!(error.contains("set twice"), "{error}");
        }
        // The same said twice, and more of one section, lose nothing.
        parse(&["train.epochs=2", "train.epochs=2"]).unwrap();
        let both = parse(&["train.clip={ value = 2.0 }", "train.clip.norm=1"]).unwrap();
        assert_eq!(
            (both.train.clip.value, both.train.clip.norm),
            (Some(2.0), Some(1.0))
        );
    }

    #[test]
    fn differences_are_named_with_both_values() {
        let was = parse(&["train.epochs=2", "model.encoder=resnet18"]).unwrap();
        let now = parse(&["train.epochs=3", "loss=dice", "schedule.name=poly"]).unwrap();
        let all = was.differences(&now).unwrap();
        let told: Vec<String> = all
            .iter()
            .map(|d| format!("{}: {} {}", d.key, d.was, d.now))
            .collect();
        assert!(told.contains(&"train.epochs: 2 3".into()), "{told:?}");
        assert!(
            told.contains(&"model.encoder: \"resnet18\" nothing".into()),
            "{told:?}"
        );
        let begins = |key: &str| told.iter().any(|text| text.starts_with(key));
        assert!(
            begins("loss: nothing") && begins("schedule: nothing"),
            "{told:?}"
        );
        assert_eq!(was.differences(&was).unwrap(), []);
    }
}
