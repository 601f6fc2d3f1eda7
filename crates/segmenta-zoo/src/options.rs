//! What a network is built with.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::config::Config;
use crate::encoders::Encoder;
use crate::registry::is_field;
use crate::settings::Settings;

/// What a network is built with.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Number of classes, background included.
    pub classes: usize,
    /// Channels of the input; 3 for RGB.
    pub in_channels: usize,
    /// Whether the auxiliary head of torchvision's networks is there (result `aux`); those of transformers always have
    /// theirs, and its logits are a result then.
    pub aux: bool,
    /// Multiplier of the encoder's channels; 1 except where
    /// [`Architecture::has_width`](crate::Architecture::has_width).
    pub width: f64,
    /// The encoder, for architectures that take one
    /// ([`Architecture::has_encoder`](crate::Architecture::has_encoder)); `None` for
    /// [`Architecture::default_encoder`](crate::Architecture::default_encoder).
    pub encoder: Option<&'static Encoder>,
    /// What else SMP's architectures can be told; [`Architecture::settings`](crate::Architecture::settings)
    /// lists what each takes.
    pub settings: Settings,
    /// Fields of the `config.json` by which networks of the Hugging Face hub are built.
    pub config: Config,
}

impl Options {
    /// For RGB pictures, without auxiliary head, at full width, with the default encoder and settings.
    pub fn new(classes: usize) -> Self {
        Self {
            classes,
            in_channels: 3,
            aux: false,
            width: 1.0,
            encoder: None,
            settings: Settings::default(),
            config: Config::default(),
        }
    }

    /// Sets one by name, as a model file's card and `--set` have them: `width`, or one of
    /// [`Settings::set`]'s, or a field of a `config.json`.
    ///
    /// # Errors
    /// What is wrong with the name or the value, in words.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        if is_field(name) {
            let word = || Value::String(value.into());
            let value = serde_json::from_str(value).unwrap_or_else(|_| word());
            self.config.set(name, value);
            return Ok(());
        }
        if name != "width" {
            return self.settings.set(name, value);
        }
        let number = || format!("the setting `width` is “{value}”, no number");
        self.width = value.parse().map_err(|_| number())?;
        Ok(())
    }

    /// What [`Options::set`] would have to be told, by name: all but the encoder and the numbers of classes
    /// and channels, as far as it is not as by default.
    pub fn named(&self) -> BTreeMap<String, String> {
        let fields = self.config.given().clone();
        let given = self.settings.given().into_iter().chain(fields);
        let mut named: BTreeMap<String, String> = given
            .map(|(name, value)| match value {
                Value::String(word) => (name, word),
                other => (name, other.to_string()),
            })
            .collect();
        if self.width != 1.0 {
            named.insert("width".into(), self.width.to_string());
        }
        named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_can_be_set() {
        let mut options = Options::new(3);
        for (name, value) in [
            ("width", "0.5"),
            ("decoder_merge_policy", "cat"),
            ("decoder_atrous_rates", "[6, 12, 18]"),
        ] {
            options.set(name, value).unwrap();
        }
        let mut again = Options::new(3);
        for (name, value) in options.named() {
            again.set(&name, &value).unwrap();
        }
        assert_eq!((again.width, &again), (0.5, &options));
        assert!(options.set("width", "wide").unwrap_err().contains("“wide”"));
    }
}
