//! What the numbers of a configuration may be: a slip (a batch of 1e9) is told by its key before memory or threads are
//! asked for.

use std::fmt;
use std::ops::RangeInclusive;

use segmenta_data::LoaderOptions;
use toml::{Table, Value};

use super::RunError;

/// Which numbers a key takes.
enum Takes {
    Whole(RangeInclusive<u64>),
    Real(RangeInclusive<f64>),
}
use Takes::{Real, Whole};

/// More epochs than anyone waits for.
const EPOCHS: u64 = 1_000_000;

/// Every number outside the lists (`augment`, `loss`, `optimizer`, `schedule`, `train.parts`, `train.clip`), which
/// check theirs by themselves.
const RANGES: [(&str, Takes); 14] = [
    ("data.train_share", Real(0.0..=1.0)),
    // A tebibyte.
    ("data.cache_mb", Whole(0..=1 << 20)),
    ("data.seed", Whole(0..=i64::MAX as u64)),
    ("data.workers", Whole(1..=LoaderOptions::MAX_WORKERS as u64)),
    ("model.classes", Whole(1..=256)),
    ("model.aux_weight", Real(0.0..=1000.0)),
    ("train.epochs", Whole(1..=EPOCHS)),
    ("train.batch", Whole(1..=LoaderOptions::MAX_BATCH as u64)),
    ("train.accumulate", Whole(1..=1 << 16)),
    ("train.seed", Whole(0..=i64::MAX as u64)),
    ("train.early_stop", Whole(0..=EPOCHS)),
    ("train.ema", Real(0.0..=1.0)),
    ("train.previews", Whole(0..=256)),
    ("train.checkpoint_steps", Whole(0..=i64::MAX as u64)),
];

impl Takes {
    fn fits(&self, value: &Value) -> bool {
        match (self, value) {
            (Whole(range), Value::Integer(n)) => {
                u64::try_from(*n).is_ok_and(|n| range.contains(&n))
            }
            (Real(range), Value::Integer(n)) => range.contains(&(*n as f64)),
            (Real(range), Value::Float(n)) => range.contains(n),
            _ => false,
        }
    }
}

impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whole(range) => write!(
                f,
                "a whole number from {} to {}",
                range.start(),
                range.end()
            ),
            Real(range) => write!(f, "a number from {} to {}", range.start(), range.end()),
        }
    }
}

/// # Errors
/// The first number that is none of those its key takes.
pub(super) fn check(table: &Table) -> Result<(), RunError> {
    for (key, takes) in &RANGES {
        let value = key.split_once('.').and_then(|(section, name)| {
            let section = table.get(section)?.as_table()?;
            section.get(name)
        });
        if let Some(wrong) = value.filter(|value| !takes.fits(value)) {
            return Err(RunError::Config {
                origin: (*key).into(),
                problem: format!("it cannot be {wrong}; give {takes}"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Config, EXPLAINED};

    fn refused(setting: &str) -> String {
        let error = Config::parse("", &[setting.into()], "my.toml");
        error.expect_err(setting).to_string()
    }

    #[test]
    fn a_number_out_of_range_is_told_with_key_value_and_range() {
        for (key, takes) in &RANGES {
            let wrong: &[&str] = match takes {
                Whole(range) if *range.end() >= i64::MAX as u64 => &["-1", "0.5", "\"many\""],
                Whole(_) => &["-1", "1000000000000", "1e9", "0.5", "\"many\"", "[1]"],
                Real(_) => &["-1", "-0.1", "1e9", "nan", "inf", "\"many\""],
            };
            for value in wrong {
                let text = refused(&format!("{key}={value}"));
                assert!(text.ends_with(&format!("; give {takes} · {key}")), "{text}");
                let shown = value.replace("1e9", "1000000000.0");
                assert!(text.contains(&format!("cannot be {shown};")), "{text}");
            }
        }
        assert_eq!(
            refused("train.batch=1000000000"),
            "it cannot be 1000000000; give a whole number from 1 to 4096 · train.batch"
        );
    }

    #[test]
    fn every_number_that_is_explained_has_a_range() {
        let explained: Table = EXPLAINED.parse().unwrap();
        for section in ["data", "model", "train"] {
            for (name, value) in explained[section].as_table().unwrap() {
                let key = format!("{section}.{name}");
                let is_known = RANGES.iter().any(|(known, _)| *known == key);
                let is_number = value.is_integer() || value.is_float();
                assert_eq!(is_known, is_number, "{key}");
            }
        }
    }

    #[test]
    fn sizes_that_no_network_is_given_are_refused() {
        for size in ["[1000000,1000000]", "[0,64]", "[9000,9000]", "[70000,4]"] {
            let text = refused(&format!("input.size={size}"));
            assert!(text.ends_with(" · input.size"), "{text}");
            assert!(
                text.contains("8192×8192") || text.contains("at least 1"),
                "{text}"
            );
        }
        let text = refused("input.size=[-1,64]");
        assert!(
            text.contains("-1") && text.ends_with(" · input.size"),
            "{text}"
        );
        Config::parse("", &["input.size=[8192,8192]".into()], "my.toml").unwrap();
    }

    #[test]
    fn normalisation_is_by_what_divides() {
        for std in [
            "[0.2,0.0,0.2]",
            "[0.2,-0.2,0.2]",
            "[0.2,1e-42,0.2]",
            "[0.2,nan,0.2]",
        ] {
            let text = refused(&format!("input.std={std}"));
            assert!(text.ends_with(" · input.std"), "{text}");
        }
        assert!(refused("input.mean=[0.2,inf,0.2]").ends_with(" · input.mean"));
    }
}
