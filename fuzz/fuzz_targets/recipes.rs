//! Recipes of any text: a configuration or an error that names the key; what is written of it reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use segmenta_train::run::Config;

fuzz_target!(|text: &str| {
    // The first line sets a key, as `--set` does; the rest is the recipe.
    let (set, recipe) = text.split_once('\n').unwrap_or(("", text));
    let set: Vec<String> = set.split(';').filter(|s| !s.is_empty()).map(Into::into).collect();
    let Ok(config) = Config::parse(recipe, &set, "the recipe") else {
        return;
    };
    let Ok(written) = config.to_toml() else {
        return;
    };
    let again = Config::parse(&written, &[], "what was written of it");
    // NaN is not equal to itself, hence the text is compared.
    let again = again.expect("a configuration that was written can be read");
    assert_eq!(again.to_toml().unwrap(), written);
});
