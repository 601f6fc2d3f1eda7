//! How property tests draw their cases: the same ones on every run, unless a long run asks for others.
//!
//! Every `proptest!` of the workspace begins with
//!
//! ```text
//! #![proptest_config(segmenta_properties::cases(96))]
//! ```
//!
//! so that the test command draws from one seed and passes tomorrow if it passes today. `tools/long_tests.sh` sets
//! the two variables that change it: `SEGMENTA_SEED` (a whole number; the stream that cases are drawn from) and
//! `SEGMENTA_CASES` (so many times the cases).

use proptest::test_runner::{Config, RngSeed};

/// What the suite draws from.
const SEED: u64 = 0x5e91_3e57;

/// `count` cases from the one seed: what a test is run with that can afford as many on every run.
///
/// # Panics
/// If `SEGMENTA_SEED` or `SEGMENTA_CASES` is set to what is no whole number.
pub fn cases(count: u32) -> Config {
    Config {
        cases: count.saturating_mul(whole_number("SEGMENTA_CASES").unwrap_or(1)),
        rng_seed: RngSeed::Fixed(whole_number("SEGMENTA_SEED").unwrap_or(SEED)),
        ..Config::default()
    }
}

fn whole_number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    let number = value.parse().ok();
    Some(number.unwrap_or_else(|| panic!("{name} is {value:?} · it must be a whole number")))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;

    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use super::*;

    fn drawn() -> Vec<u64> {
        let drawn = RefCell::new(Vec::new());
        let each = |value: u64| {
            drawn.borrow_mut().push(value);
            Ok(())
        };
        TestRunner::new(cases(20)).run(&any::<u64>(), each).unwrap();
        drawn.into_inner()
    }

    #[test]
    fn two_runs_draw_the_same() {
        let first = drawn();
        assert_eq!(first, drawn());
        assert!(first.windows(2).any(|pair| pair[0] != pair[1]));
    }

    /// A property test without the seed would pass or fail by chance.
    #[test]
    fn every_property_of_the_workspace_draws_from_the_seed() {
        fn sources(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.ends_with("target") {
                    sources(&path, found);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        sources(crates, &mut found);
        let (opens, own) = (["proptest", "! {"].concat(), Path::new(file!()).file_name());
        let mut blocks = 0;
        for path in found {
            if path.file_name() == own && path.to_string_lossy().contains("segmenta-properties") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for block in text.split(&opens).skip(1) {
                blocks += 1;
                let seeded = "#![proptest_config(segmenta_properties::cases(";
                let begins = block.trim_start().starts_with(seeded);
                assert!(
                    begins,
                    "{}: a property test without {seeded}…",
                    path.display()
                );
            }
        }
        assert!(blocks > 30, "{blocks} property tests found");
    }
}
